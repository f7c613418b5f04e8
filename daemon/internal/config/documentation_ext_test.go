package config_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"busd/daemon/internal/config"
)

var update = flag.Bool("update", false, "write the table of keys into docs/configuration.md")

const docs = "../../../docs"

// table is the table of keys as docs/configuration.md has it.
func table() string {
	var b strings.Builder
	b.WriteString("| key | form | default | reload | |\n| --- | --- | --- | --- | --- |\n")
	for _, k := range config.Keys() {
		def, live := "required", ""
		if k.Default != "" {
			def = "`" + k.Default + "`"
		}
		if k.Live {
			live = "yes"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", k.Path, k.Form, def, live, k.Doc)
	}
	return b.String()
}

func TestDocumentationHasEveryKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(docs, "configuration.md")
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := bytes.Cut(page, []byte("-update -->\n"))
	_, after, ok2 := bytes.Cut(rest, []byte("<!-- end -->"))
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table of keys", path)
	}
	want := fmt.Sprintf("%s-update -->\n%s<!-- end -->%s", before, table(), after)
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(page) != want {
		t.Errorf("the table in %s is not that of the program; run this test with -update. Want\n%s", path, table())
	}
}

// sample is a line of the example that is commented out, as a default is nothing.
var sample = regexp.MustCompile(`(?m)^( *)#(\S)`)

// in is where the example has the key of a row of the table.
func in(path string) string {
	return strings.NewReplacer("[]", "[0]", "users.*", "users.alice", "hosts.*", "hosts.node-2", "groups.*", "groups.operators",
		"messages.*", "messages.Ping", "methods.*", "methods.add", "services.*", "services.Framework/PingPong").Replace(path)
}

// The example has every key, with its default; where that is that there are none,
// a sample.
func TestExample(t *testing.T) {
	t.Parallel()
	o := config.Options{File: filepath.Join(docs, "examples", "busd.yaml"), Services: []string{"Framework/PingPong"}}
	as, warnings, err := config.Load(o)
	if err != nil || warnings != nil {
		t.Fatalf("got %v, %v", warnings, err)
	}
	text, err := os.ReadFile(o.File)
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := load(t, sample.ReplaceAllString(string(text), "$1$2"), config.Options{Services: o.Services})
	if err != nil {
		t.Fatalf("with the samples: %v", err)
	}
	unquoted := strings.NewReplacer(`"`, "")
	for _, k := range config.Keys() {
		path := in(k.Path)
		f := c.Fault(path, "")
		key := path[strings.LastIndex(path, ".")+1:] + ": "
		if !strings.ContainsAny(k.Path, "*[") || k.Program && !k.Live { // what there are several of are samples
			key += k.Default
		}
		if f.Line == 0 || !strings.Contains(unquoted.Replace(f.Source), strings.TrimSuffix(unquoted.Replace(key), " ")) {
			t.Errorf("%s: got line %d %q, want %q", path, f.Line, f.Source, key)
		}
	}
	o.File = ""
	o.Environ = []string{"BUSD_TLS__CERTIFICATE=x", "BUSD_TLS__KEY=x", "BUSD_TLS__CLIENT_CA=x"}
	defaults, _, err := config.Load(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range defaults.Changes(as) {
		if !strings.HasPrefix(change.Path, "tls.") && !strings.HasPrefix(change.Path, "services.") {
			t.Errorf("%s: the example has %q, the default is %q", change.Path, change.New, change.Old)
		}
	}
}
