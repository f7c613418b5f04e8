package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The document of a busd names all that go.mod says it needs, each with a version, a
// checksum and a licence, what needs what, and nothing that changes by itself.
func TestBusd(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "busd")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, "busd/cmd/busd")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	text, err := describe(program)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := describe(program); err != nil || !bytes.Equal(text, again) {
		t.Errorf("made twice: %v, and not the same", err)
	}
	var doc bom
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Format != "CycloneDX" || doc.SpecVersion != "1.5" || doc.Version != 1 || doc.Metadata.Component.Name != "busd" || doc.Metadata.Component.Type != "application" ||
		!regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(doc.SerialNumber) {
		t.Errorf("got %s %s, %+v", doc.Format, doc.SpecVersion, doc.Metadata)
	}
	refs := map[string]string{}
	for _, c := range doc.Components {
		if refs[c.Name] != "" || c.Type != "library" || c.Version == "" || !strings.HasSuffix(c.PURL, "@"+c.Version) || len(c.Licenses) == 0 {
			t.Errorf("got %+v", c)
		}
		if c.Name != standard && (len(c.Properties) != 1 || !strings.HasPrefix(c.Properties[0].Value, "h1:")) {
			t.Errorf("%s has no checksum: %+v", c.Name, c.Properties)
		}
		refs[c.Name] = c.Ref
	}
	for _, want := range []string{
		standard, "github.com/gorilla/websocket", "github.com/vmihailenco/msgpack/v5", "go.uber.org/zap", "go.uber.org/multierr", "github.com/google/uuid",
		"github.com/go-jose/go-jose/v4", "github.com/goccy/go-yaml", "github.com/prometheus/client_golang", "github.com/spf13/cobra", "golang.org/x/sys",
	} {
		if refs[want] == "" {
			t.Errorf("%s is missing", want)
		}
	}
	if refs["go.uber.org/goleak"] != "" {
		t.Error("what only tests need is not in the program")
	}
	needs := map[string][]string{}
	for _, d := range doc.Dependencies {
		needs[d.Ref] = d.DependsOn
	}
	if len(needs) != len(refs)+1 || !slices.Contains(needs["busd"], refs["go.uber.org/zap"]) || slices.Contains(needs["busd"], refs["go.uber.org/multierr"]) ||
		!slices.Contains(needs[refs["go.uber.org/zap"]], refs["go.uber.org/multierr"]) {
		t.Errorf("who needs whom: %v", needs)
	}
}

// A licence is told by its text.
func TestLicenses(t *testing.T) {
	t.Parallel()
	for file, want := range map[string][]string{
		"LICENSE":    {"Apache-2.0"}, // this project's own
		"nothing":    nil,
		"LICENSE.md": {"MIT"},
	} {
		dir := t.TempDir()
		text := map[string]string{"nothing": "do what you like", "LICENSE.md": "Permission is hereby\ngranted, free of charge, to any person"}[file]
		if text == "" {
			own, err := os.ReadFile(filepath.Join("..", "..", "..", "LICENSE"))
			if err != nil {
				t.Fatal(err)
			}
			text = string(own)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := licensesIn(dir); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", file, got, want)
		}
	}
}
