package jencode_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"busd/rpc/jencode"
)

// read reads into any; it returns the error's text.
func read(text string, d jencode.Dialect) string {
	var v any
	err := jencode.Unmarshal([]byte(text), &v, d)
	if err == nil {
		return ""
	}
	var bad *jencode.ValueError
	if !errors.As(err, &bad) || bad.Error() != err.Error() {
		return fmt.Sprintf("not a *ValueError: %T %v", err, err)
	}
	return err.Error()
}

// TestRefuses is what no dialect takes.
func TestRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``:                           "byte 0: want a value, got the end",
		`  `:                         "byte 2: want a value, got the end",
		"\xef\xbb\xbf1":              "byte 0: want a value, got a byte order mark",
		`1 2`:                        "byte 2: want nothing behind the value, got '2'",
		`[1] x`:                      "byte 4: want nothing behind the value, got 'x'",
		"1\x00":                      "byte 1: want nothing behind the value, got the byte 0x00",
		`[1`:                         "byte 2: want a comma or ], got the end",
		`[1}`:                        "byte 2: want a comma or ], got '}'",
		`[1,]`:                       "byte 3: want a value, got ']'",
		`[,1]`:                       "byte 1: want a value, got ','",
		`]`:                          "byte 0: want a value, got ']'",
		`{"a" 1}`:                    "byte 5: want a colon, got '1'",
		`{"a": 1,}`:                  "byte 8: want a name in quotes, got '}'",
		`{"a": 1]`:                   "byte 7: want a comma or }, got ']'",
		`{"a"`:                       "byte 4: want a colon, got the end",
		`{a: 1}`:                     "byte 1: want a name in quotes, or }, got 'a'",
		`{1: 1}`:                     "byte 1: want a name in quotes, or }, got '1'",
		`{'a': 1}`:                   `byte 1: want a name in quotes, or }, got '\''`,
		`'a'`:                        `byte 0: want a value, got '\''`,
		`nul`:                        "byte 0: want a value, got 'n'",
		`nulll`:                      "byte 4: want nothing behind the value, got 'l'",
		`True`:                       "byte 0: want a value, got 'T'",
		`nan`:                        "byte 0: want a value, got 'n'",
		`-NaN`:                       "byte 1: want a digit, got 'N'",
		`-`:                          "byte 1: want a digit, got the end",
		`+1`:                         "byte 0: want a value, got '+'",
		`.5`:                         "byte 0: want a value, got '.'",
		`1.`:                         "byte 2: want a digit behind the point, got the end",
		`1.e5`:                       "byte 2: want a digit behind the point, got 'e'",
		`1e`:                         "byte 2: want a digit in the exponent, got the end",
		`1e+x`:                       "byte 3: want a digit in the exponent, got 'x'",
		`[-01]`:                      "byte 1: want a number without leading zeros, got one with them",
		`0x10`:                       "byte 1: want nothing behind the value, got 'x'",
		`1_000`:                      "byte 1: want nothing behind the value, got '_'",
		`"a`:                         `byte 2: want the closing ", got the end`,
		`"a\"`:                       `byte 4: want the closing ", got the end`,
		`"\`:                         `byte 2: want one of "\/bfnrtu behind a backslash, got the end`,
		`"\x41"`:                     `byte 2: want one of "\/bfnrtu behind a backslash, got 'x'`,
		`"\u12"`:                     `byte 1: want four hexadecimal digits behind \u, got '\\'`,
		`"\u12g4"`:                   `byte 1: want four hexadecimal digits behind \u, got '\\'`,
		"\"a\nb\"":                   `byte 2: want an escape such as \n for a control character, got the byte 0x0a`,
		"\"0123456789abcdef\x01\"":   `byte 17: want an escape such as \n for a control character, got the byte 0x01`,
		"\"a\xff\"":                  "byte 2: want text in UTF-8, got the byte 0xff",
		"\"01234567\xc3\"":           "byte 9: want text in UTF-8, got the byte 0xc3",
		"\"\xed\xa0\x80\"":           "byte 1: want text in UTF-8, got the byte 0xed",
		"\"\xc0\xaf\"":               "byte 1: want text in UTF-8, got the byte 0xc0",
		"{\"\xff\": 1}":              "byte 2: want text in UTF-8, got the byte 0xff",
		"\xff":                       "byte 0: want a value, got the byte 0xff",
		"[1,\u00a02]":                "byte 3: want a value, got the byte 0xc2",
		"[1,\v2]":                    "byte 3: want a value, got the byte 0x0b",
		`[1, /* no */ 2]`:            "byte 4: want a value, got '/'",
		`[[1, 2], {"a": [1, 2, x]}]`: "byte 22: want a value, got 'x'",
	} {
		for _, d := range []jencode.Dialect{jencode.DIRAC, jencode.JSON} {
			if got := read(text, d); got != want {
				t.Errorf("%q: got %s\nwant %s", text, got, want)
			}
			var raw jencode.Raw
			if err := jencode.Unmarshal([]byte(text), &raw, d); err == nil || raw != nil {
				t.Errorf("%q: is taken as it is", text)
			}
			if _, err := jencode.Append(nil, jencode.Raw(text), d); err == nil && text != "" {
				t.Errorf("%q: is passed on", text)
			}
		}
	}
}

// TestJSONRefuses is what JEncode takes, and JSON does not.
func TestJSONRefuses(t *testing.T) {
	t.Parallel()
	many := make([]string, 40)
	for i := range many {
		many[i] = fmt.Sprintf(`"name%d": 1`, i)
	}
	distinct := "{" + strings.Join(many, ",") + "}"
	many[37] = many[5]
	for text, want := range map[string]string{
		`NaN`:                               "byte 0: want a value that JSON knows, got the word NaN",
		`[Infinity]`:                        "byte 1: want a value that JSON knows, got the word Infinity",
		`-Infinity`:                         "byte 1: want a value that JSON knows, got the word Infinity",
		`[1e309]`:                           "byte 1: want a number that a float can hold, got a larger one",
		`{"a": 1, "b": 2, "a": 3}`:          "byte 17: want each name of an object once, got a twice",
		`[{"a": {"b": 1}, "\u0061": 3}]`:    "byte 17: want each name of an object once, got a twice",
		`{"x": [{"a": 1}, {"": 1,"":1}]}`:   `byte 24: want each name of an object once, got [""] twice`,
		"{" + strings.Join(many, ",") + "}": "want each name of an object once, got name5 twice",
		`"\ud83d"`:                          "byte 1: want both halves of a surrogate pair, got one",
		`"\ud83d\u0041"`:                    "byte 1: want both halves of a surrogate pair, got one",
		`"\ude00\ud83d"`:                    "byte 1: want both halves of a surrogate pair, got one",
		`"\ud83d\ud83d"`:                    "byte 1: want both halves of a surrogate pair, got one",
	} {
		if got := read(text, jencode.JSON); !strings.HasSuffix(got, want) {
			t.Errorf("%s: got %s\nwant %s", text, got, want)
		}
		if got := read(text, jencode.DIRAC); got != "" {
			t.Errorf("%s in the DIRAC dialect: %s", text, got)
		}
	}
	for _, text := range []string{
		distinct, `{"a": {"a": {"a": 1}}, "A": [{"a": 1}, {"a": 1}]}`, `{"\u0061": 1, "\u0062": 1}`, `"\ud83d\ude00"`, `[1e308]`,
	} {
		if got := read(text, jencode.JSON); got != "" {
			t.Errorf("%s: %s", text, got)
		}
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	list := func(n int) string { return "[" + strings.Repeat("1,", n-2) + "1]" } // n values, with itself
	for _, c := range []struct{ text, want string }{
		{nested(jencode.MaxDepth), ""},
		{nested(jencode.MaxDepth + 1), "byte 64: want no more than 64 levels of lists and objects, got another"},
		{strings.Repeat(`{"a":`, 1e6), "byte 320: want no more than 64 levels of lists and objects, got another"},
		{strings.Repeat(`[`, 1e6), "byte 64: want no more than 64 levels of lists and objects, got another"},
		{list(jencode.MaxValues), ""},
		{list(jencode.MaxValues + 1), "byte 39999: want no more than 20000 values, got another"},
		{strings.Repeat("9", jencode.MaxNumber), ""},
		{"-" + strings.Repeat("9", jencode.MaxNumber), ""},
		{strings.Repeat("9", jencode.MaxNumber+1), "byte 0: want a number of at most 40 digits, got one of 41"},
		{"0." + strings.Repeat("1", jencode.MaxNumber), "byte 0: want a number of at most 40 digits, got one of 41"},
		{"[1e" + strings.Repeat("0", jencode.MaxNumber) + "]", "byte 1: want a number of at most 40 digits, got one of 41"},
	} {
		for _, d := range []jencode.Dialect{jencode.DIRAC, jencode.JSON} {
			if got := read(c.text, d); got != c.want {
				t.Errorf("%.20s…: got %s\nwant %s", c.text, got, c.want)
			}
		}
	}
	var v any
	if err := jencode.UnmarshalAnswer([]byte(list(jencode.MaxValues+1)), &v, jencode.DIRAC); err != nil {
		t.Errorf("an answer: %v", err)
	}
	most := strings.Repeat("9", jencode.MaxAnswerNumber)
	if err := jencode.UnmarshalAnswer([]byte(most), &v, jencode.DIRAC); err != nil || fmt.Sprint(v) != most {
		t.Errorf("a large number in an answer: got %v, %v", v, err)
	}
	err := jencode.UnmarshalAnswer([]byte(most+"9"), &v, jencode.DIRAC)
	if err == nil || err.Error() != "byte 0: want a number of at most 10000 digits, got one of 10001" {
		t.Errorf("a larger one: got %v", err)
	}
	if err := jencode.UnmarshalAnswer([]byte(most), new(int), jencode.DIRAC); err == nil || len(err.Error()) > 200 {
		t.Errorf("a large number where an int is wanted: got %v", err)
	}
}

// TestRawKeeps that what is passed on is not touched.
func TestRawKeeps(t *testing.T) {
	t.Parallel()
	text := `{"b" : 1.50, "a":[ "\ud800" , "\u00e9é", NaN, {"__dCls": "x"}] , "b": 1E5}`
	var raw jencode.Raw
	if err := jencode.Unmarshal([]byte("\n"+text+" "), &raw, jencode.DIRAC); err != nil || string(raw) != text {
		t.Fatalf("got %s, %v", raw, err)
	}
	got, err := jencode.Append(nil, map[string]any{"OK": true, "Value": raw}, jencode.DIRAC)
	if err != nil || string(got) != `{"OK": true, "Value": `+text+`}` {
		t.Errorf("got %s, %v", got, err)
	}
	_, err = jencode.Append(nil, []any{1, raw}, jencode.JSON)
	if err == nil || err.Error() != "[1].byte 20: want both halves of a surrogate pair, got one" {
		t.Errorf("got %v", err)
	}
	deep := strings.Repeat("[", jencode.MaxDepth) + strings.Repeat("]", jencode.MaxDepth)
	if _, err := jencode.Append(nil, []any{jencode.Raw(deep)}, jencode.DIRAC); err == nil {
		t.Error("what is written nests deeper than can be read")
	}
}

func TestElements(t *testing.T) {
	t.Parallel()
	text := []byte(` [ 1 , "a]\"" ,[{"b":[]}],{} ,null, NaN ] `)
	got, err := jencode.Elements(text, jencode.DIRAC)
	if err != nil || fmt.Sprintf("%s", got) != `[1 "a]\"" [{"b":[]}] {} null NaN]` {
		t.Fatalf("got %s, %v", got, err)
	}
	if &got[0][0] != &text[3] || cap(got[0]) != 1 {
		t.Errorf("the first is a copy, or has room behind it: %d", cap(got[0]))
	}
	if got, err := jencode.Elements([]byte(`[]`), jencode.JSON); err != nil || got == nil || len(got) != 0 {
		t.Errorf("got %v, %v; want none", got, err)
	}
	for text, want := range map[string]string{
		`{"a": 1}`:               "want list, got object",
		`"abc"`:                  "want list, got string",
		` null`:                  "want list, got null",
		`12`:                     "want list, got int 12",
		`[1, 2`:                  "byte 5: want a comma or ], got the end",
		`[[1], [nope]]`:          "byte 7: want a value, got 'n'",
		`{"__dCls": "b64"}`:      "want list, got bytes",
		`{"x": 1, "__dCls":"C"}`: "want list, got object of class C",
	} {
		if _, err := jencode.Elements([]byte(text), jencode.DIRAC); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func TestMembers(t *testing.T) {
	t.Parallel()
	text := []byte(`{"a": [1, 2], "\u0062": "x", "a": 3, "__dCls": null}`)
	got, err := jencode.Members(text, jencode.DIRAC)
	if err != nil || fmt.Sprintf("%s", got) != `map[a:3 b:"x"]` {
		t.Fatalf("got %s, %v", got, err)
	}
	if text[34] != '3' || &got["a"][0] != &text[34] {
		t.Error("the value is a copy")
	}
	if got, err := jencode.Members([]byte(`{"__dCls": "x"}`), jencode.JSON); err != nil || len(got) != 1 {
		t.Errorf("in JSON: got %s, %v", got, err)
	}
	for text, want := range map[string]string{
		`[1]`:                                 "want object, got list",
		`{"__dCls": "dt"}`:                    "want object, got time",
		`{"__dCls": [1]}`:                     "want object, got object of a class without a name",
		`{"__dCls": {"__dCls": "b64"}}`:       "__dCls: want a text named obj beside __dCls, got none",
		`{"a": 1 "b": 2}`:                     "byte 8: want a comma or }, got '\"'",
		`{"a": {"__dCls": "anything"}, "b":}`: "byte 34: want a value, got '}'",
	} {
		if _, err := jencode.Members([]byte(text), jencode.DIRAC); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// TestErrorsAreShort, however long what is wrong is.
func TestErrorsAreShort(t *testing.T) {
	t.Parallel()
	long := "x" + strings.Repeat("é", 1e4)
	name, _ := json.Marshal(long)
	for _, text := range []string{
		strings.Repeat(`{`+string(name)+`:[1,`, 30) + `{"__dCls": "dt"}` + strings.Repeat(`]}`, 30),
		`{"__dCls": ` + string(name) + `}`,
		`{` + string(name) + `: {"__dCls": 1}}`,
	} {
		if got := read(text, jencode.DIRAC); got == "" || len(got) > 700 || strings.ContainsRune(got, '\ufffd') {
			t.Errorf("got an error of %d bytes: %.100s", len(got), got)
		}
	}
	var into struct {
		A int `bus:"a"`
	}
	for _, d := range []jencode.Dialect{jencode.DIRAC, jencode.JSON} {
		err := jencode.Unmarshal([]byte(`{`+string(name)+`: 1, `+string(name)+`: 2}`), &into, d)
		if err == nil || len(err.Error()) > 700 {
			t.Errorf("got %.100v", err)
		}
	}
}
