package rpc

import (
	"bytes"
	"encoding/json"
	"io"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzUnescape: it decodes as net/url does, but for control characters, wherever
// what is read is cut.
func FuzzUnescape(f *testing.F) {
	for _, seed := range []string{"", "a+b", "%41%zz", "%e2%98%83", "%0", "a%00b\x01c\td", "%2", "100%", "%%%", "+%2B+"} {
		f.Add(seed, 1)
	}
	f.Fuzz(func(t *testing.T, s string, cut int) {
		decoded, err := url.QueryUnescape(s)
		want := []byte(decoded)
		for i, c := range want {
			if isControl(c) {
				want[i] = ' '
			}
		}
		got, rest, ok := unescape([]byte(s), true)
		if ok != (err == nil) || ok && (!bytes.Equal(got, want) || len(rest) > 0) {
			t.Fatalf("%q: got %q, %q, %t, want %q, %v", s, got, rest, ok, want, err)
		}
		if strings.Contains(s, "&") || ok && (len(s) > MaxField || !utf8.Valid(got)) {
			return
		}
		l := &largeForm{fields: &fields{}, args: store{most: 1 << 20}}
		from := io.MultiReader(strings.NewReader("args="+s[:min(max(cut, 0), len(s))]), strings.NewReader(s[min(max(cut, 0), len(s)):]+"&x="+s))
		if err := l.takeURLEncoded(from); (err == nil) != ok || ok && !bytes.Equal(l.args.small, got) {
			t.Fatalf("%q: read in pieces: got %q, %v, want %q", s, l.args.small, err, got)
		}
	})
}

// FuzzSplitUpload: what is split off a list in a file is what a decoder finds as its
// last element, and the rest is the list without it.
func FuzzSplitUpload(f *testing.F) {
	for _, seed := range []string{
		`["id", "", 7, {"__dCls": "b64", "obj": "QUJD"}]`, `[{"__dCls":"b64","obj":""}]`, `[]`, `[1]`, `{}`, `[[],{},"\"]}",{"__dCls": "b64", "obj": "QQ=="}] `,
		`[{"__dCls": "b64", "obj": "QUJD"}, {"__dCls": "b64", "obj": "QUJD"}]`, `[{"__dCls": "b64", "obj": "QUJD"}, 1]`, `[{"__dCls": "b64", "obj": "QUJD", "x": 1}]`,
		`["a" {"__dCls": "b64", "obj": "QUJD"}]`, `[,{"__dCls": "b64", "obj": "QUJD"}]`, `[1,,{"__dCls": "b64", "obj": "QUJD"}]`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, problem := newSpool(&room{most: MaxSpools}, "")
		if problem != nil {
			t.Fatal(problem)
		}
		defer s.close()
		_, _ = io.WriteString(s, text)
		if err := s.flush(); err != nil {
			t.Fatal(err)
		}
		head, last, problem := s.splitUpload()
		var all []json.RawMessage
		if json.Unmarshal([]byte(text), &all) != nil {
			if problem == nil && json.Valid(head) {
				rest, err := io.ReadAll(last)
				if err == nil { // then it has to be one: nothing else may be thrown away
					t.Fatalf("%q is no JSON: got %q and %q", text, head, rest)
				}
			}
			return
		}
		if problem != nil {
			return
		}
		var shorter []json.RawMessage
		if err := json.Unmarshal(head, &shorter); err != nil || len(shorter) != len(all)-1 {
			t.Fatalf("%q: head %q: %v", text, head, err)
		}
		for i, each := range shorter {
			if !bytes.Equal(each, all[i]) {
				t.Fatalf("%q: head %q", text, head)
			}
		}
		content, err := io.ReadAll(last)
		var want struct {
			Class string `json:"__dCls"`
			Obj   []byte `json:"obj"`
		}
		if wantErr := json.Unmarshal(all[len(all)-1], &want); (err == nil) != (wantErr == nil) || err == nil && (want.Class != "b64" || !bytes.Equal(content, want.Obj)) {
			t.Fatalf("%q: got %q, %v, want %q, %v", text, content, err, want.Obj, wantErr)
		}
	})
}
