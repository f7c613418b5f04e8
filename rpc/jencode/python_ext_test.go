package jencode_test

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"busd/rpc/jencode"
)

// python asks Python's own json, with JEncode's hooks, one question for each line.
func python(t *testing.T, questions []string) []string {
	t.Helper()
	const program = "/usr/bin/python3"
	if _, err := os.Stat(program); err != nil {
		t.Skipf("there is no Python to compare with: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-X", "utf8", "testdata/jencode.py")
	cmd.Stdin = strings.NewReader(strings.Join(questions, "\n") + "\n")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("python: %v\n%s", err, stderr.Bytes())
	}
	answers := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(answers) != len(questions) {
		t.Fatalf("got %d answers to %d questions\n%s", len(answers), len(questions), stderr.Bytes())
	}
	return answers
}

// again reads a text and writes what it means, or "error".
func again(text string) string {
	var v any
	if err := jencode.Unmarshal([]byte(text), &v, jencode.DIRAC); err != nil {
		return "error"
	}
	b, err := jencode.Append(nil, v, jencode.DIRAC)
	if err != nil {
		return "not written: " + err.Error()
	}
	return string(b)
}

// TestPythonReadsGo: what we write Python reads, and writes in the same way.
func TestPythonReadsGo(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	const n = 3000
	texts, questions := make([]string, n), make([]string, n)
	for i := range n {
		b, err := jencode.Append(nil, randomValue(r, 0), jencode.DIRAC)
		if err != nil {
			t.Fatal(err)
		}
		texts[i], questions[i] = string(b), "read "+string(b)
	}
	for i, got := range python(t, questions) {
		if got != texts[i] {
			t.Errorf("Go wrote  %s\nPython has %s", texts[i], got)
		}
		if got := again(texts[i]); got != texts[i] {
			t.Errorf("Go wrote  %s\nand now    %s", texts[i], got)
		}
	}
	// Years that Python writes without zeros, and then refuses.
	text, _ := jencode.Append(nil, []any{time.Date(9, 1, 2, 3, 4, 5, 0, time.UTC), jencode.Date{999, 1, 2}}, jencode.DIRAC)
	if got := python(t, []string{"read " + string(text)})[0]; got == "error" {
		t.Errorf("Python does not read %s", text)
	}
}

// TestGoReadsPython: what Python writes we read, and write in the same way.
func TestGoReadsPython(t *testing.T) {
	t.Parallel()
	questions := make([]string, 3000)
	for i := range questions {
		questions[i] = fmt.Sprintf("make %d", i)
	}
	for _, text := range python(t, questions) {
		if got := again(text); got != text {
			t.Errorf("Python wrote %s\nGo has       %s", text, got)
		}
	}
}

// TestGoReadsLikePython breaks good texts: what Python refuses we refuse, and what
// it reads means the same here.
func TestGoReadsLikePython(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	seeds := []string{
		`[1, -0, 0.5, 1E5, 1e+05, -1.25e-3, NaN, Infinity, -Infinity, 1180591620717411303424, 1e999]`,
		`{"a": [true, false, null], "b": {"": "x"}, "b": {"c": 1}, "d": [], "e": {}}`,
		"  [ \"\\u00e9\\ud83d\\ude00\", \"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\" ,\t\"é☃😀\" ]\r",
		`"text"`, `0`, `[[[[]]], {"a": {"b": {"c": {}}}}]`,
	}
	const letters = "0123456789+-.eE[]{}:,\"\\/ \t\rabfnrtuNIxé"
	questions := make([]string, 6000)
	for i := range questions {
		text := []rune(seeds[r.IntN(len(seeds))])
		for range 1 + r.IntN(3) {
			at, letter := r.IntN(len(text)), []rune(letters)[r.IntN(len([]rune(letters)))]
			switch r.IntN(4) {
			case 0:
				text[at] = letter
			case 1:
				text = append(text[:at], text[min(at+1+r.IntN(3), len(text)):]...)
				text = append(text, letter)
			case 2:
				text = append(text[:at], append([]rune{letter}, text[at:]...)...)
			default:
				from := r.IntN(at + 1)
				text = append(text, text[from:at]...)
			}
		}
		questions[i] = "read " + string(text)
	}
	refused := 0
	for i, want := range python(t, questions) {
		text := strings.TrimPrefix(questions[i], "read ")
		got := again(text)
		if want == "error" {
			refused++
		}
		if strings.Contains(got, `\ufffd`) && want != "error" {
			continue // half a pair, which Go's strings do not hold
		}
		if got != want {
			t.Errorf("%q: Python has %s, Go %s", text, want, got)
		}
	}
	if refused < len(questions)/10 || refused > len(questions)*95/100 {
		t.Errorf("%d of %d texts were wrong: that shows little", refused, len(questions))
	}
}

// randomValue makes what reading makes, and other Go values that mean the same.
func randomValue(r *rand.Rand, depth int) any {
	kinds := 12
	if depth == 5 {
		kinds = 9
	}
	switch r.IntN(kinds) {
	case 0:
		return []any{nil, true, false}[r.IntN(3)]
	case 1, 2:
		return randomText(r)
	case 3:
		return math.Float64frombits(r.Uint64())
	case 4:
		return math.Round(r.NormFloat64()*1e6) / math.Pow10(r.IntN(8))
	case 5:
		n := new(big.Int).SetUint64(r.Uint64())
		return n.Mul(n, big.NewInt(r.Int64()-r.Int64())).Rsh(n, uint(r.IntN(130)))
	case 6:
		return time.Unix(r.Int64N(253402300800+30610224000)-30610224000, r.Int64N(1e9)) // years 1000 to 9999
	case 7:
		return jencode.Date{1000 + r.IntN(9000), time.Month(1 + r.IntN(12)), 1 + r.IntN(28)}
	case 8:
		return []byte(randomText(r))
	case 9:
		all := make([]any, r.IntN(5))
		for i := range all {
			all[i] = randomValue(r, depth+1)
		}
		return all
	case 10:
		return randomMap(r, depth)
	default:
		return jencode.Serializable{Class: "Operation", Module: "DIRAC.Client.Operation", Fields: randomMap(r, depth)}
	}
}

func randomMap(r *rand.Rand, depth int) map[string]any {
	all := map[string]any{}
	for range r.IntN(5) {
		all[randomText(r)] = randomValue(r, depth+1)
	}
	return all
}

func randomText(r *rand.Rand) string {
	planes := [][2]rune{{0, 0x7f}, {' ', '~'}, {0x80, 0x7ff}, {0x800, 0xd7ff}, {0xe000, 0xffff}, {0x10000, 0x10ffff}}
	var b strings.Builder
	for range []int{0, 1, 3, 9, 30}[r.IntN(5)] {
		plane := planes[r.IntN(len(planes))]
		b.WriteRune(plane[0] + r.Int32N(plane[1]-plane[0]+1))
	}
	return b.String()
}
