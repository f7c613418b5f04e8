package docs

import (
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// code is what the sources say, by "package.Name", where a package is the last
// element of its path.
type code struct {
	values map[string]constant.Value // constants of numbers; nil: something else by that name
	tests  map[string]bool
	fields map[string]bool // "Type.Field", of all packages
}

// readCode parses all sources of the module.
func readCode(t *testing.T) *code {
	t.Helper()
	c := &code{values: map[string]constant.Value{}, tests: map[string]bool{}, fields: map[string]bool{}}
	exprs := map[string]ast.Expr{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "bench" && filepath.Dir(path) == root || d.Name() == "tools"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		c.add(filepath.Base(filepath.Dir(path)), strings.HasSuffix(path, "_test.go"), file, exprs)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range exprs {
		if v, err := evaluate(name, exprs); err == nil {
			c.values[name] = v
		} else {
			c.values[name] = nil
		}
	}
	return c
}

func (c *code) add(pkg string, isTest bool, file *ast.File, exprs map[string]ast.Expr) {
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && isTest && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
			c.tests[pkg+"."+f.Name.Name] = true
		}
		g, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range g.Specs {
			switch s := spec.(type) {
			case *ast.ValueSpec:
				for i, name := range s.Names {
					if i < len(s.Values) && g.Tok == token.CONST {
						exprs[pkg+"."+name.Name] = s.Values[i]
					}
				}
			case *ast.TypeSpec:
				if st, ok := s.Type.(*ast.StructType); ok {
					for _, f := range st.Fields.List {
						for _, name := range f.Names {
							c.fields[s.Name.Name+"."+name.Name] = true
						}
					}
				}
			}
		}
	}
}

var errNoNumber = errors.New("no constant number")

// evaluate computes a constant; durations are nanoseconds.
func evaluate(name string, exprs map[string]ast.Expr) (constant.Value, error) {
	pkg, _, _ := strings.Cut(name, ".")
	var of func(e ast.Expr) (constant.Value, error)
	of = func(e ast.Expr) (constant.Value, error) {
		switch e := e.(type) {
		case *ast.BasicLit:
			return constant.MakeFromLiteral(e.Value, e.Kind, 0), nil
		case *ast.ParenExpr:
			return of(e.X)
		case *ast.Ident:
			if other, ok := exprs[pkg+"."+e.Name]; ok {
				return of(other)
			}
		case *ast.SelectorExpr:
			from, ok := e.X.(*ast.Ident)
			if !ok {
				return nil, errNoNumber
			}
			if d, ok := map[string]time.Duration{"time.Millisecond": time.Millisecond, "time.Second": time.Second, "time.Minute": time.Minute, "time.Hour": time.Hour}[from.Name+"."+e.Sel.Name]; ok {
				return constant.MakeInt64(int64(d)), nil
			}
			if _, ok := exprs[from.Name+"."+e.Sel.Name]; ok {
				return evaluate(from.Name+"."+e.Sel.Name, exprs)
			}
		case *ast.BinaryExpr:
			x, err := of(e.X)
			y, err2 := of(e.Y)
			if err != nil || err2 != nil {
				return nil, errNoNumber
			}
			if e.Op == token.SHL {
				n, _ := constant.Uint64Val(y)
				return constant.Shift(x, token.SHL, uint(n)), nil
			}
			return constant.BinaryOp(x, e.Op, y), nil
		}
		return nil, errNoNumber
	}
	return of(exprs[name])
}

var quantity = regexp.MustCompile(`^([\d,]+) ?(B|KiB|MiB|GiB|ms|s|min|m|h)?\b`)

// amount reads how a table writes a number, a size or a time; durations are
// nanoseconds.
func amount(text string) (n int64, ok bool) {
	m := quantity.FindStringSubmatch(strings.Trim(text, "` "))
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(m[1], ",", ""), 10, 64)
	unit := map[string]int64{
		"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "ms": int64(time.Millisecond), "s": int64(time.Second),
		"min": int64(time.Minute), "m": int64(time.Minute), "h": int64(time.Hour),
	}[m[2]]
	return n * unit, err == nil
}

var row = regexp.MustCompile(`(?m)^\| (.*) \|$`)

// table returns the cells of a document's tables.
func table(text string) (rows [][]string) {
	for _, m := range row.FindAllStringSubmatch(text, -1) {
		cells := strings.Split(m[1], " | ")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if cells[0] != "---" {
			rows = append(rows, cells)
		}
	}
	return rows
}

var quoted = regexp.MustCompile("`([^`]+)`")

func words(cell string) (all []string) {
	for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
		all = append(all, m[1])
	}
	return all
}

// TestLimits: of each limit, what sets it exists and has the default that is said; its
// metric is one that there is, and its test too.
func TestLimits(t *testing.T) {
	t.Parallel()
	source := readCode(t)
	keys, metrics := map[string]string{}, map[string][]string{}
	for _, cells := range table(read(t, filepath.Join(root, "docs/configuration.md"))) {
		if len(cells) >= 3 && strings.HasPrefix(cells[0], "`") {
			keys[strings.Trim(cells[0], "`")] = cells[2]
		}
	}
	for _, cells := range table(read(t, filepath.Join(root, "docs/operating.md"))) {
		if len(cells) >= 3 && strings.HasPrefix(cells[0], "`busd_") {
			metrics[strings.Trim(cells[0], "`")] = strings.Split(cells[2], ", ")
		}
	}
	rows := table(read(t, filepath.Join(root, "docs/limits.md")))
	seen := 0
	for _, cells := range rows {
		if cells[0] == "what" {
			continue
		}
		if len(cells) != 6 {
			t.Errorf("%s: %d columns, want 6", cells[0], len(cells))
			continue
		}
		seen++
		what, def, where, metric, tests := cells[0], cells[1], cells[2], cells[4], cells[5]
		if err := setBy(source, keys, def, where); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		for _, name := range words(metric) {
			bare, labels, _ := strings.Cut(strings.TrimSuffix(name, "}"), "{")
			label, _, _ := strings.Cut(labels, "=")
			if has, ok := metrics[bare]; !ok || label != "" && !slices.Contains(has, label) {
				t.Errorf("%s: there is no metric %s (docs/operating.md)", what, name)
			}
		}
		if metric != "–" && len(words(metric)) == 0 {
			t.Errorf("%s: no metric", what)
		}
		if len(words(tests)) == 0 {
			t.Errorf("%s: no test", what)
		}
		for _, name := range words(tests) {
			if !source.tests[name] {
				t.Errorf("%s: there is no test %s", what, name)
			}
		}
	}
	if seen < 70 {
		t.Errorf("only %d limits found", seen)
	}
	// What an operator can limit is all there.
	whole := read(t, filepath.Join(root, "docs/limits.md"))
	for key := range keys {
		for _, prefix := range []string{"limits.", "timeouts.", "keep_alive.", "services.*.m", "services.*.c", "services.*.w", "shutdown."} {
			if strings.HasPrefix(key, prefix) && !strings.Contains(whole, "`"+key+"`") {
				t.Errorf("the key %s is in no row", key)
			}
		}
	}
}

// setBy checks what sets a limit: keys and constants have the defaults that are said,
// in their order, or all the one that is.
func setBy(source *code, keys map[string]string, def, where string) error {
	names, parts := words(where), strings.Split(def, "; ")
	if len(names) == 0 {
		return errors.New("nothing sets it")
	}
	for i, name := range names {
		said := parts[0]
		if len(parts) == len(names) {
			said = parts[i]
		}
		want, comparable := amount(said)
		is, isKey := keys[name]
		value, isConst := source.values[name]
		switch {
		case isKey:
			if got, ok := amount(is); ok && comparable && got != want {
				return fmt.Errorf("%s is %s, and not %s", name, is, said)
			}
		case isConst && value != nil:
			if got, ok := constant.Int64Val(constant.ToInt(value)); ok && comparable && got != want {
				return fmt.Errorf("%s is %v, and not %s", name, value, said)
			}
		case !isConst && !source.fields[name]:
			return fmt.Errorf("there is no %s", name)
		}
	}
	return nil
}
