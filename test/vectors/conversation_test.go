package vectors_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// A conversation is one file.
type conversation struct {
	file    string
	archive *txtar.Archive
	set     settings
	steps   []step
}

// A step is one line: something that a side says, or that happens.
type step struct {
	who    byte   // 'C', 'S', '~' for what happens, or 0 for a comment
	conn   int    // on which connection, from 1
	text   string // what
	joined bool   // in the same WebSocket message as the line before
	lost   bool   // it never arrives
	prefix string // of raw: everything before text
	raw    string
}

// settings are the words of the section setup, by key.
type settings map[string][]string

func (s settings) has(key, word string) bool { return slices.Contains(s[key], word) }

const folder = "testdata"

func files(t testing.TB) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(folder, "*.txtar"))
	if err != nil || len(all) == 0 {
		t.Fatalf("no conversations in %s: %v", folder, err)
	}
	return all
}

func load(t testing.TB, file string) *conversation {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := &conversation{file: file, archive: txtar.Parse(data), set: settings{}}
	for line := range strings.Lines(c.section("setup")) {
		key, words, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			t.Fatalf("%s: setup: want KEY: WORDS, got %q", file, line)
		}
		c.set[key] = strings.Fields(words)
	}
	for line := range strings.Lines(c.section("conversation")) {
		s, err := parseStep(strings.TrimSuffix(line, "\n"))
		if err != nil {
			t.Fatalf("%s: %q: %v", file, line, err)
		}
		c.steps = append(c.steps, s)
	}
	return c
}

var said = regexp.MustCompile(`^([CS])([1-9]?)([<>+!]) (.*)$`)

func parseStep(line string) (step, error) {
	s := step{raw: line, conn: 1}
	if line == "" || line[0] == '#' {
		return s, nil
	}
	if text, ok := strings.CutPrefix(line, "~ "); ok {
		s.who, s.text, s.prefix = '~', text, "~ "
		return s, nil
	}
	m := said.FindStringSubmatch(line)
	if m == nil || (m[1] == "C" && m[3] == "<") || (m[1] == "S" && m[3] == ">") {
		return s, fmt.Errorf(`want "C> ", "C+ ", "C! ", "S< ", "S+ ", "S! ", the same with a digit as in "C2> ", "~ " or "#"`)
	}
	s.who, s.joined, s.lost, s.text = m[1][0], m[3] == "+", m[3] == "!", m[4]
	if m[2] != "" {
		s.conn = int(m[2][0] - '0')
	}
	s.prefix = line[:len(line)-len(s.text)]
	return s, nil
}

func (c *conversation) section(name string) string {
	for _, f := range c.archive.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

// setSection changes a section; one that was not there goes to the end.
func (c *conversation) setSection(name, text string) {
	for i, f := range c.archive.Files {
		if f.Name == name {
			c.archive.Files[i].Data = []byte(text)
			return
		}
	}
	if text != "" {
		c.archive.Files = append(c.archive.Files, txtar.File{Name: name, Data: []byte(text)})
	}
}

// heard notes what a side really said.
func (c *conversation) heard(i int, text string) {
	s := &c.steps[i]
	s.text, s.raw = text, s.prefix+text
}

// save writes the file with the steps as they are now, if that changes it.
func (c *conversation) save(t testing.TB) {
	t.Helper()
	var b strings.Builder
	for _, s := range c.steps {
		b.WriteString(s.raw + "\n")
	}
	c.setSection("conversation", b.String())
	c.setSection("hex", c.hex())
	data := txtar.Format(c.archive)
	if old, err := os.ReadFile(c.file); err == nil && bytes.Equal(old, data) {
		return
	}
	if err := os.WriteFile(c.file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s was rewritten", c.file)
}

// hex writes the bytes of the frames, line by line, for players that do not
// read the notation.
func (c *conversation) hex() string {
	var b strings.Builder
	for _, s := range c.steps {
		op, payload, err := encode(s.text, variables())
		switch {
		case s.who != 'C' && s.who != 'S' || err != nil || op != opBinary:
			continue
		case strings.Contains(s.text, "*"):
			b.WriteString(s.prefix + "any\n")
		case abbreviations[s.text] != "":
			b.WriteString(s.raw + "\n")
		case len(payload) > maxHex && !strings.HasPrefix(s.text, "welcome"):
			fmt.Fprintf(&b, "%s(%d bytes)\n", s.prefix, len(payload))
		default:
			b.WriteString(s.prefix + hexOf(payload) + "\n")
		}
	}
	return b.String()
}

// maxHex bounds what is written in hexadecimal, in bytes.
const maxHex = 1 << 10

// variables are what the conversations may name; see README.md.
func variables() map[string]any {
	vars := map[string]any{
		"contract":    string(contract.JSON()),
		"fingerprint": contract.Fingerprint(),
		"trid":        wildcard{name: "trid", sample: "6f1c8a52-3d3b-4b8e-9a55-0d6a3c5b9f10"},
		"seconds":     wildcard{name: "seconds", sample: int64(7)},
		"any":         wildcard{name: "any", sample: ""},
	}
	for i := range 9 {
		n := ""
		if i > 0 {
			n = strconv.Itoa(i + 1)
		}
		token := make([]byte, 32)
		for j := range token {
			token[j] = byte(0x10*i + j)
		}
		vars["token"+n] = wildcard{name: "token" + n, sample: token, kept: true}
		vars["session"+n] = wildcard{name: "session" + n, sample: fmt.Sprintf("5e0c5d8a.b0071d00.000000000000000%d", i+1), kept: true}
	}
	return vars
}

// abbreviations are lines that stand for longer ones.
var abbreviations = map[string]string{
	"hello": `hello {"instance": "i1", "credit": 1048576, "features": ["resume", "move"], "client": {"name": "vectors", "version": "1"}}`,
	"welcome": `welcome {"trid": $trid, "identity": "dns:agent/i1", "session": $session, "token": $token, "resumed": false, ` +
		`"seen": 0, "window_ms": 120000, "credit": 1048576, "keep_alive_ms": 30000, "idle_ms": 75000, ` +
		`"limits": {"message": 262144, "batch": 1048576, "depth": 16, "values": 20000}, ` +
		`"features": ["resume", "move"], "fingerprint": $fingerprint, "contract": $contract}`,
	"hello plain": `hello {"instance": "i1", "credit": 1048576, "client": {"name": "vectors", "version": "1"}}`,
	"welcome plain": `welcome {"trid": $trid, "identity": "dns:agent/i1", "resumed": false, "seen": 0, "credit": 1048576, ` +
		`"keep_alive_ms": 30000, "idle_ms": 75000, ` +
		`"limits": {"message": 262144, "batch": 1048576, "depth": 16, "values": 20000}, ` +
		`"fingerprint": $fingerprint, "contract": $contract}`,
}

// again are lines that stand for longer ones, with what is added to them.
var again = map[string]string{
	"hello again {": `hello {"instance": "i1", "fingerprint": $fingerprint, "credit": 1048576, ` +
		`"features": ["resume", "move"], "client": {"name": "vectors", "version": "1"}, `,
	"welcome again {": `welcome {"trid": $trid, "identity": "dns:agent/i1", "window_ms": 120000, "credit": 1048576, ` +
		`"keep_alive_ms": 30000, "idle_ms": 75000, ` +
		`"limits": {"message": 262144, "batch": 1048576, "depth": 16, "values": 20000}, ` +
		`"features": ["resume", "move"], "fingerprint": $fingerprint, `,
}

// spelled replaces an abbreviation.
func spelled(text string) string {
	if long, ok := abbreviations[text]; ok {
		return long
	}
	for short, long := range again {
		if rest, ok := strings.CutPrefix(text, short); ok {
			return long + rest
		}
	}
	return text
}

// named puts variables back into what was heard.
func named(text string, vars map[string]any) string {
	for name, v := range vars {
		switch v.(type) {
		case string, []byte:
			text = strings.ReplaceAll(text, show(v), "$"+name)
		}
	}
	for short, long := range abbreviations {
		if text == long {
			return short
		}
	}
	return text
}

// passes tells whether a "~" line is a pause, and how long.
func (s step) passes() (time.Duration, bool) {
	d, err := time.ParseDuration(s.text)
	return d, err == nil
}

// happens tells whether a line says what happens beside the conversation.
func (s step) happens() bool {
	_, pause := s.passes()
	return s.who == '~' && !pause
}

// TestFiles holds what is derived from the conversations: their hexadecimal
// form.
func TestFiles(t *testing.T) {
	t.Parallel()
	for _, file := range files(t) {
		c := load(t, file)
		if want := c.hex(); c.section("hex") != want && !*update {
			t.Errorf("%s: the section hex is not what the conversation says: run go test ./test/vectors -update", file)
		}
	}
}
