package jencode_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"busd/rpc/jencode"
)

// FuzzJSON holds the JSON dialect against encoding/json: what both take means the
// same, and what encoding/json takes is refused for no other reason than that names
// stand twice, or that it is more than may be.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{
		`[1, -0, 0.5, 1E5, 1e+05, -1.25e-3, 1180591620717411303424, 9007199254740993, 1e400]`, `{"a": {"b": [null, true, false]}, "A": 1}`, `{"a": 1, "a": 2}`,
		` "\u00e9\ud83d\ude00 \ud800 \"\\\/\b\f\n\r\t" `, "\"\xff\"", "\ufeff1", `[1,]`, `01`, `1.`, `NaN`, `{"a"}`, `"` + "\t" + `"`, `[[[[[[[[[[]]]]]]]]]]`, ``, `1 2`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var got any
		err := jencode.Unmarshal(data, &got, jencode.JSON)
		var want any
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		wanted := d.Decode(&want)
		if wanted == nil {
			if _, more := d.Token(); more != io.EOF {
				wanted = io.ErrUnexpectedEOF
			}
		}
		switch {
		case err != nil && wanted == nil:
			reason := err.Error()
			for _, known := range []string{"twice", "at most", "more than", "UTF-8", "surrogate", "deep", "larger", "digits"} {
				if strings.Contains(reason, known) {
					return
				}
			}
			t.Fatalf("%q: encoding/json takes it: %v", data, err)
		case err == nil && wanted != nil:
			t.Fatalf("%q: taken, encoding/json says %v", data, wanted)
		case err != nil:
			return
		}
		again, err := jencode.Append(nil, got, jencode.JSON)
		if err != nil {
			t.Fatalf("%q: read as %v, which cannot be written: %v", data, got, err)
		}
		var one, two any // as floats: how a number is written may differ
		if json.Unmarshal(data, &one) != nil {
			return // a float beyond all
		}
		if err := json.Unmarshal(again, &two); err != nil || !reflect.DeepEqual(one, two) {
			t.Fatalf("%q: means %#v, and written again %q %#v, %v", data, one, again, two, err)
		}
	})
}

// A snake is a Python that answers one question after another.
type snake struct {
	mu  sync.Mutex
	in  io.Writer
	out *bufio.Reader
}

// theSnake lives as long as the process: a fuzz worker asks it thousands of times.
var theSnake = sync.OnceValues(func() (*snake, error) {
	const program = "/usr/bin/python3"
	if _, err := os.Stat(program); err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "-u", "-X", "utf8", "testdata/jencode.py")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &snake{in: in, out: bufio.NewReader(out)}, cmd.Start()
})

func (s *snake) ask(question string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := io.WriteString(s.in, question+"\n"); err != nil {
		return "", err
	}
	line, err := s.out.ReadString('\n')
	return strings.TrimSuffix(line, "\n"), err
}

// FuzzPython holds JEncode against Python's json with DIRAC's hooks: both take the
// same texts, and both write what they have read in the same way. What is in classes
// has tests of its own: Python reads dates with spaces and base64 with dirt in it.
func FuzzPython(f *testing.F) {
	python, err := theSnake()
	if err != nil {
		f.Skipf("there is no Python to compare with: %v", err)
	}
	for _, seed := range []string{
		`[1, -0, 0.5, 1E5, 1e+05, -1.25e-3, NaN, Infinity, -Infinity, 1180591620717411303424, 1e999]`, `{"a": [true, false, null], "b": {"": "x"}, "b": 1}`,
		"  [ \"\\u00e9\\ud83d\\ude00\", \"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\" ,\t\"é☃😀\" ]\r", `"text"`, `0`, `[[[[]]], {}]`, "\ufeff1", "\"\x7f\"", `-`, `[1,]`, `"\ud800"`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "\n") || !utf8.ValidString(text) || strings.Contains(text, "__d") || strings.Contains(strings.ToLower(text), `\u005`) ||
			strings.Contains(strings.ToLower(text), `\u006`) {
			return
		}
		want, err := python.ask("read " + text)
		if err != nil {
			t.Fatalf("Python is gone: %v", err)
		}
		got := again(text)
		if got == want || strings.Contains(got, `\ufffd`) || strings.Contains(want, `\ufffd`) {
			return // half a pair, which Go's strings do not hold
		}
		if got == "error" {
			var v any
			reason := jencode.Unmarshal([]byte(text), &v, jencode.DIRAC).Error()
			for _, bound := range []string{"at most", "more than", "deep", "digits", "larger"} {
				if strings.Contains(reason, bound) {
					return
				}
			}
		}
		t.Fatalf("%q: Python has %s, Go %s", text, want, got)
	})
}
