//go:build linux

package fault_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A group is a control group (version 1) that a test has made.
type group struct {
	t   testing.TB
	dir string
}

// newGroup makes one under a controller, or skips the test.
func newGroup(t testing.TB, controller string) *group {
	t.Helper()
	dir, err := os.MkdirTemp("/sys/fs/cgroup/"+controller, "busd-fault-")
	if err != nil {
		t.Skipf("there is no control group to be had (version 1, as root): %v", err)
	}
	t.Cleanup(func() { // before the programs in it are killed: they go home
		for _, pid := range strings.Fields((&group{t, dir}).read("cgroup.procs")) {
			_ = os.WriteFile("/sys/fs/cgroup/"+controller+"/cgroup.procs", []byte(pid), 0o600) // it may have ended
		}
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return &group{t, dir}
}

func (g *group) write(name string, value int) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, name), []byte(strconv.Itoa(value)), 0o600); err != nil {
		g.t.Skipf("the control group cannot be set: %v", err)
	}
}

func (g *group) read(name string) string {
	g.t.Helper()
	text, err := os.ReadFile(filepath.Join(g.dir, name))
	if err != nil {
		g.t.Fatal(err)
	}
	return string(text)
}

// count reads a file that is a number, or of one with several the one named.
func (g *group) count(name, key string) int {
	g.t.Helper()
	for line := range strings.Lines(g.read(name)) {
		words := strings.Fields(line)
		if (key == "" && len(words) == 1) || (len(words) == 2 && words[0] == key) {
			n, err := strconv.Atoi(words[len(words)-1])
			if err != nil {
				g.t.Fatal(err)
			}
			return n
		}
	}
	g.t.Fatalf("%s has no %s", name, key)
	return 0
}
