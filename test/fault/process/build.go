//go:build linux

package process

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// programs are those that were built, for all tests of a package.
var programs struct {
	mu sync.Mutex
	// Guarded by mu.
	dir  string // empty: Main does not run
	made map[string]*program
}

type program struct {
	once   sync.Once
	failed error
	output []byte // of go build
}

// Main is what the TestMain of a package calls that uses [Build] or [Serve]: it
// runs the tests, looks for goroutines that were left, removes what was built
// and ends the process.
func Main(m *testing.M) {
	dir, err := os.MkdirTemp("", "busd-fault-")
	if err != nil {
		panic(err) // there is no test yet that could fail
	}
	programs.dir, programs.made = dir, map[string]*program{}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir) // it is in the directory for such things
		os.Exit(code)
	}))
}

// Build returns the path of the program of a package of this module, such as
// "busd/cmd/busd". It is built once for all tests that Main runs, without the
// race detector.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	programs.mu.Lock()
	dir := programs.dir
	if dir == "" {
		programs.mu.Unlock()
		t.Fatal("TestMain must call process.Main")
	}
	p := programs.made[pkg]
	if p == nil {
		p = new(program)
		programs.made[pkg] = p
	}
	programs.mu.Unlock()

	// Two packages may have programs of the same name.
	at := filepath.Join(dir, filepath.FromSlash(pkg), path.Base(pkg))
	p.once.Do(func() {
		cmd := exec.Command("go", "build", "-o", at, pkg) //nolint:gosec // of a test's own choice
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		p.output, p.failed = cmd.CombinedOutput()
	})
	if p.failed != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, p.failed, p.output)
	}
	return at
}
