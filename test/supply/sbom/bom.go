package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
)

// The document, as far as we have something to say.
type (
	bom struct {
		Format       string       `json:"bomFormat"`
		SpecVersion  string       `json:"specVersion"`
		SerialNumber string       `json:"serialNumber"`
		Version      int          `json:"version"`
		Metadata     metadata     `json:"metadata"`
		Components   []component  `json:"components"`
		Dependencies []dependency `json:"dependencies"`
	}
	metadata struct {
		Component component `json:"component"`
	}
	component struct {
		Type       string     `json:"type"`
		Ref        string     `json:"bom-ref"`
		Name       string     `json:"name"`
		Version    string     `json:"version,omitempty"`
		Scope      string     `json:"scope,omitempty"`
		Hashes     []hash     `json:"hashes,omitempty"`
		Licenses   []licensed `json:"licenses,omitempty"`
		PURL       string     `json:"purl,omitempty"`
		Properties []property `json:"properties,omitempty"`
	}
	hash struct {
		Algorithm string `json:"alg"`
		Content   string `json:"content"`
	}
	licensed struct {
		License license `json:"license"`
	}
	license struct {
		ID string `json:"id"`
	}
	property struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	dependency struct {
		Ref       string   `json:"ref"`
		DependsOn []string `json:"dependsOn,omitempty"`
	}
)

// standard is the name of the standard library, as vulnerability databases have it.
const standard = "stdlib"

// describe makes the document of a program.
func describe(program string) ([]byte, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(program) //nolint:gosec // who runs this names it himself
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(content)
	main := component{
		Type: "application", Name: info.Main.Path, Version: versionOf(info),
		Hashes: []hash{{"SHA-256", hex.EncodeToString(sum[:])}}, Properties: settings(info),
	}
	main.Ref = main.Name
	doc := bom{
		Format: "CycloneDX", SpecVersion: "1.5", Version: 1,
		// A name made of the program's hash: the same program, the same document.
		SerialNumber: "urn:uuid:" + uuidOf(sum), Metadata: metadata{main},
	}
	refs := map[string]string{info.Main.Path: main.Ref}
	where, err := directories(info.Deps)
	if err != nil {
		return nil, err
	}
	for _, m := range info.Deps {
		c := moduleComponent(m, where[m.Path])
		doc.Components = append(doc.Components, c)
		refs[m.Path] = c.Ref
	}
	goVersion, _, _ := strings.Cut(strings.TrimPrefix(info.GoVersion, "go"), " ")
	std := component{
		Type: "library", Name: standard, Version: goVersion, Scope: "required",
		PURL: "pkg:golang/stdlib@" + goVersion, Licenses: []licensed{{license{"BSD-3-Clause"}}},
	}
	std.Ref = std.PURL
	doc.Components = append(doc.Components, std)
	refs[standard] = std.Ref
	slices.SortFunc(doc.Components, func(a, b component) int { return strings.Compare(a.Ref, b.Ref) })
	if doc.Dependencies, err = dependencies(info.Path, refs); err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(doc, "", "  ")
	return append(text, '\n'), err
}

// versionOf is the program's version: its module's, or the revision that it was built
// from.
func versionOf(info *debug.BuildInfo) string {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}

// settings are those of the build that make a difference.
func settings(info *debug.BuildInfo) []property {
	all := []property{{"go:version", info.GoVersion}}
	for _, s := range info.Settings {
		switch s.Key {
		case "GOOS", "GOARCH", "GOAMD64", "GOARM64", "CGO_ENABLED", "-trimpath", "-tags", "vcs.revision", "vcs.modified":
			all = append(all, property{"go:build:" + s.Key, s.Value})
		}
	}
	return all
}

// uuidOf makes a UUID (version 8: of our own making) of a hash.
func uuidOf(sum [sha256.Size]byte) string {
	b := sum[:16]
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80
	s := hex.EncodeToString(b)
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// directories finds where the sources of modules are.
func directories(modules []*debug.Module) (map[string]string, error) {
	args := []string{"list", "-m", "-f", "{{.Path}}|{{.Dir}}"}
	for _, m := range modules {
		args = append(args, m.Path)
	}
	out, err := goTool(args...)
	if err != nil {
		return nil, err
	}
	where := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, dir, _ := strings.Cut(strings.TrimSpace(line), "|")
		where[path] = dir
	}
	return where, nil
}

func moduleComponent(m *debug.Module, dir string) component {
	c := component{
		Type: "library", Name: m.Path, Version: m.Version, Scope: "required",
		PURL: "pkg:golang/" + m.Path + "@" + m.Version,
	}
	c.Ref = c.PURL
	if m.Sum != "" { // of the module's files, as go.sum has it
		c.Properties = []property{{"go:sum", m.Sum}}
	}
	if dir != "" {
		for _, id := range licensesIn(dir) {
			c.Licenses = append(c.Licenses, licensed{license{id}})
		}
	}
	return c
}

// dependencies says which module needs which, by what the packages of the program
// import.
func dependencies(program string, refs map[string]string) ([]dependency, error) {
	out, err := goTool("list", "-deps", "-f", "{{.ImportPath}}|{{if .Module}}{{.Module.Path}}{{else}}"+standard+"{{end}}|{{join .Imports \" \"}}", program)
	if err != nil {
		return nil, err
	}
	moduleOf, imports := map[string]string{}, map[string][]string{}
	for line := range strings.Lines(string(out)) {
		parts := strings.Split(strings.TrimSpace(line), "|")
		if len(parts) != 3 {
			return nil, fmt.Errorf("go list: %q", line)
		}
		moduleOf[parts[0]] = parts[1]
		imports[parts[1]] = append(imports[parts[1]], strings.Fields(parts[2])...)
	}
	all := make([]dependency, 0, len(refs))
	for path, ref := range refs {
		d := dependency{Ref: ref}
		for _, imported := range imports[path] {
			if to, ok := refs[moduleOf[imported]]; ok && to != ref {
				d.DependsOn = append(d.DependsOn, to)
			}
		}
		slices.Sort(d.DependsOn)
		d.DependsOn = slices.Compact(d.DependsOn)
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b dependency) int { return strings.Compare(a.Ref, b.Ref) })
	return all, nil
}

// licences are told by a sentence that each has and no other; those that hold one
// another's stand first.
var licences = []struct{ id, sentence string }{
	{"Apache-2.0", "apache license version 2.0"},
	{"MPL-2.0", "mozilla public license version 2.0"},
	{"BSD-3-Clause", "neither the name of"},
	{"BSD-2-Clause", "redistributions in binary form must reproduce"},
	{"MIT", "permission is hereby granted, free of charge"},
	{"ISC", "permission to use, copy, modify, and/or distribute this software"},
}

// licensesIn finds the licences of a module, by the files in its directory; none, if
// they cannot be told.
func licensesIn(dir string) (ids []string) {
	files, _ := filepath.Glob(filepath.Join(dir, "*")) // of a good pattern
	for _, file := range files {
		name := strings.ToUpper(filepath.Base(file))
		if !strings.HasPrefix(name, "LICENSE") && !strings.HasPrefix(name, "LICENCE") && !strings.HasPrefix(name, "COPYING") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a directory
		}
		plain := strings.Join(strings.Fields(strings.ToLower(string(text))), " ")
		for _, l := range licences {
			if strings.Contains(plain, l.sentence) {
				ids = append(ids, l.id)
				break
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func goTool(args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...) //nolint:gosec // who runs this names the program himself
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out, nil
}
