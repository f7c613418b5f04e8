package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "busd"

// room is a row of the table. What is not listed is forbidden; the standard
// library is free.
type room struct {
	ours    []string
	foreign []string
}

const (
	uuid       = "github.com/google/uuid"
	msgpack    = "github.com/vmihailenco/msgpack/v5"
	gorilla    = "github.com/gorilla/websocket"
	zap        = "go.uber.org/zap"
	yaml       = "github.com/goccy/go-yaml"
	cobra      = "github.com/spf13/cobra"
	pflag      = "github.com/spf13/pflag" // cobra's flags
	term       = "golang.org/x/term"
	prometheus = "github.com/prometheus/client_golang"
	sys        = "golang.org/x/sys"
	goleak     = "go.uber.org/goleak"
	jose       = "github.com/go-jose/go-jose/v4"
)

// table is the house. A name that ends in /... stands for the rooms below it.
var table = map[string]room{
	"bus":               {nil, []string{uuid}},
	"access":            {[]string{"bus", "internal/nearest"}, nil},
	"schema":            {[]string{"internal/nearest"}, nil},
	"schema/schemafile": {[]string{"schema", "internal/nearest"}, []string{yaml}},
	"schema/apidoc":     {[]string{"schema"}, nil},

	"internal/wire":    {[]string{"bus", "schema"}, []string{msgpack}},
	"internal/bounded": {nil, nil},
	"internal/session": {[]string{"bus", "internal/wire"}, nil},
	"internal/link":    {[]string{"bus", "internal/bounded", "internal/wire", "internal/session"}, nil},
	"internal/ws":      {[]string{"bus", "internal/link"}, []string{gorilla, sys}},
	"internal/mtls":    {[]string{"bus"}, nil},
	"internal/auth":    {[]string{"bus", "access", "internal/mtls"}, []string{jose}},
	"internal/nearest": {nil, nil},
	"internal/keys":    {[]string{"bus"}, []string{zap}},

	"rpc/jencode": {[]string{"schema", "internal/nearest"}, nil},
	"rpc": {
		[]string{"bus", "access", "schema", "rpc/jencode", "internal/bounded", "internal/mtls", "internal/keys", "internal/nearest"},
		[]string{zap},
	},
	"rpc/rpcclient": {
		[]string{"bus", "schema", "rpc", "rpc/jencode", "msgclient", "internal/bounded", "internal/mtls", "internal/keys"},
		[]string{zap},
	},

	"msgbus": {
		[]string{"bus", "access", "schema", "internal/wire", "internal/link", "internal/session", "internal/ws", "internal/mtls", "internal/keys"},
		[]string{zap},
	},
	"msgclient": {
		[]string{"bus", "schema", "internal/wire", "internal/link", "internal/session", "internal/ws", "internal/mtls", "internal/keys"},
		[]string{zap, uuid},
	},
	"bustest": {[]string{"bus", "msgbus", "msgclient", "internal/mtls"}, nil},

	"daemon/internal/gate":    {nil, nil},
	"daemon/internal/memory":  {nil, nil},
	"daemon/internal/hostile": {nil, nil}, // tests only: here they can reach the gate
	"daemon/internal/config":  {[]string{"internal/nearest"}, []string{yaml}},
	"daemon/internal/admin":   {[]string{"bus", "msgbus", "rpc", "daemon/internal/gate"}, []string{prometheus}},
	"daemon/internal/demo": {
		[]string{"bus", "msgbus", "msgclient", "internal/mtls", "daemon/internal/gate", "daemon/internal/histogram", "examples/pingpong"},
		[]string{zap},
	},
	"daemon/internal/histogram": {nil, nil},
	"daemon/internal/bench": {
		[]string{"bus", "schema", "msgclient", "rpc/jencode", "rpc/rpcclient", "internal/mtls", "daemon/internal/histogram"}, nil,
	},
	"daemon/internal/doctor": {[]string{"bus", "schema", "internal/link", "internal/mtls", "internal/nearest", "internal/wire", "internal/ws"}, nil},
	"daemon/internal/cli": {
		[]string{"bus", "schema", "schema/schemafile", "schema/apidoc", "msgclient", "rpc/jencode", "rpc/rpcclient", "internal/mtls", "internal/nearest", "daemon/internal/admin", "daemon/internal/bench", "daemon/internal/config", "daemon/internal/demo", "daemon/internal/doctor", "daemon/internal/histogram"},
		[]string{cobra, pflag, term, zap},
	},
	"daemon": {
		[]string{
			"bus", "access", "schema", "msgbus", "msgclient", "rpc", "internal/auth", "internal/mtls", "daemon/internal/cli", "daemon/internal/demo",
			"daemon/internal/config", "daemon/internal/admin", "daemon/internal/gate", "daemon/internal/memory",
		},
		[]string{zap},
	},
	"cmd/busd": {[]string{"daemon", "examples/pingpong"}, nil},

	// What fault tests are made with knows no bus: what it does to a connection or
	// a process is what a network or a kernel does to anybody's.
	"test/fault/port":    {nil, nil},
	"test/fault/proxy":   {[]string{"test/fault/port"}, []string{sys}},
	"test/fault/netns":   {nil, []string{sys}},
	"test/fault/process": {[]string{"test/fault/port"}, []string{goleak}},
	// The ledger is a service like any other, and ledgerd a program.
	"test/fault/ledger":         {[]string{"bus", "access", "schema", "msgbus"}, nil},
	"test/fault/ledger/ledgerd": {[]string{"daemon", "test/fault/ledger"}, nil},
	// The victim of attacks is a program, too.
	// How attackers hear what is said to them.
	"test/hostile/stranger": {[]string{"bus"}, nil},
	"test/hostile/victim":   {[]string{"daemon", "access", "msgbus", "rpc", "schema"}, nil},

	"examples/...": {[]string{"bus", "access", "schema", "msgbus", "msgclient", "rpc", "rpc/rpcclient", "bustest", "daemon", "examples/pingpong", "examples/inventory"}, []string{zap}},
}

// reasons are printed with a breach.
var reasons = map[string]string{
	"internal/wire → internal/link":  "bytes know no socket, so the protocol can be fuzzed and replayed from a file",
	"internal/link → internal/ws":    "a link knows no WebSocket, so tests join two links in memory, and another transport is one new room",
	"internal/link → msgbus":         "a connection knows no service, so server and client share one implementation of keep-alive, queueing and ending",
	"msgbus → msgclient":             "the two ends of a connection never import each other: a server binary holds no client",
	"msgclient → msgbus":             "the two ends of a connection never import each other: a client binary holds no server",
	"access → internal/mtls":         "who may do what knows no certificates, only what they prove",
	"access → msgbus":                "who may do what knows no connections: messages and methods are decided by one set of rules",
	"rpc → rpc/rpcclient":            "the two ends of a call: a service that calls others imports the client itself",
	"rpc/rpcclient → access":         "who may do what is decided where the service is, and a client says only what he claims",
	"schema → bus":                   "a message can be checked where there is no connection: in CI, in an editor, in another program",
	"daemon/internal/cli → msgbus":   "the program's commands are clients like any other",
	"daemon/internal/admin → daemon": "what an operator may see is one type; screens and flags stand above it",
}

// pkg is what go list says of a package.
type pkg struct {
	ImportPath string
	Imports    []string
	Standard   bool
}

func TestImports(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, p := range list(t, "./...") {
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		row, key, ok := find(name)
		if !ok && strings.HasPrefix(name, "test/") {
			continue // tests may look everywhere; what is made for them has a row
		}
		if !ok {
			t.Errorf("room %s is not in the table: say there what it may import", name)
			continue
		}
		seen[key] = true
		for _, path := range p.Imports {
			check(t, name, row, path)
		}
	}
	for name := range table {
		if !seen[name] {
			t.Errorf("room %s is in the table, but does not exist", name)
		}
	}
}

func check(t *testing.T, name string, row room, path string) {
	t.Helper()
	switch ours, isOurs := strings.CutPrefix(path, module+"/"); {
	case isOurs:
		if !slices.Contains(row.ours, ours) {
			t.Errorf("%s imports %s, which the table forbids: %s", name, ours, reason(name, ours))
		}
	case strings.Contains(strings.Split(path, "/")[0], "."):
		if !slices.ContainsFunc(row.foreign, func(lib string) bool { return path == lib || strings.HasPrefix(path, lib+"/") }) {
			t.Errorf("%s imports %s: a foreign library lives in the rooms that the table names", name, path)
		}
	}
}

func reason(from, to string) string {
	if r, ok := reasons[from+" → "+to]; ok {
		return r
	}
	return "no room imports a room above it, nor one that it need not know"
}

func find(name string) (room, string, bool) {
	if row, ok := table[name]; ok {
		return row, name, true
	}
	for key, row := range table {
		if prefix, ok := strings.CutSuffix(key, "..."); ok && strings.HasPrefix(name, prefix) {
			return row, key, true
		}
	}
	return room{}, "", false
}

// TestClientHasNoServer looks at what a client binary really links.
func TestClientHasNoServer(t *testing.T) {
	t.Parallel()
	for _, client := range []string{"msgclient", "rpc/rpcclient"} {
		for _, p := range list(t, "-deps", "./"+client) {
			if p.ImportPath == module+"/msgbus" {
				t.Errorf("%s depends on msgbus: %s", client, reasons["msgclient → msgbus"])
			}
		}
	}
}

func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Standard"}, args...)...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list's answer: %v", err)
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		t.Fatal("go list found no package")
	}
	return all
}
