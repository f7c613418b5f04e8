package rpc

import (
	"bytes"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"busd/bus"
)

// FuzzForm: a form says what net/url finds in it.
func FuzzForm(f *testing.F) {
	for _, seed := range []string{
		"method=add&args=%5B1%2C+2%5D", "procedure=x&method=y", "args=[1]&args=[2]&&=&x", "clientVO=vo&clientSetup=s&rawContent=true&extraCredentials=%22hosts%22",
		"method=%zz", "a%00=1&method=a%00b", "kwargs={}&unknown=%ff", strings.Repeat("a&", 70), "method=" + strings.Repeat("x", 300), ";=&method",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var form fields
		if err := form.parse([]byte(text)); err != nil {
			if err.Code != bus.CodeInvalidArgument && err.Code != bus.CodeOutOfRange || err.Reason == "" || !utf8.ValidString(err.Reason) && utf8.ValidString(text) {
				t.Fatalf("%q: got %v", text, err)
			}
			return
		}
		if strings.Contains(text, ";") { // net/url takes it for an end of the times when it was one
			return
		}
		values, err := url.ParseQuery(text)
		if err != nil {
			t.Fatalf("%q is taken, and net/url says %v", text, err)
		}
		if form.count > MaxFields {
			t.Fatalf("%q: %d fields are taken", text, form.count)
		}
		last := func(name string) string {
			all := values[name]
			if len(all) == 0 {
				return ""
			}
			value := []byte(all[len(all)-1])
			for i, c := range value {
				if isControl(c) {
					value[i] = ' '
				}
			}
			return string(bytes.TrimSpace(value))
		}
		if _, both := values["procedure"]; !both && form.method != last("method") {
			t.Errorf("%q: method %q, want %q", text, form.method, last("method"))
		}
		if string(form.args) != last("args") || string(form.kwargs) != last("kwargs") || form.vo != last("clientVO") {
			t.Errorf("%q: got %+v, want %v", text, form, values)
		}
		if in := methodIn([]byte(text)); in != "" && in != strings.TrimSpace(in) {
			t.Errorf("%q: method %q", text, in)
		}
	})
}

// FuzzMultipart: a multipart form says what mime/multipart finds in it, within the
// bounds, however it comes.
func FuzzMultipart(f *testing.F) {
	const head = "--b\r\nContent-Disposition: form-data; name="
	for _, seed := range []string{
		head + "\"method\"\r\n\r\nadd\r\n" + head + "\"args\"\r\n\r\n[1, 2]\r\n--b--\r\n", head + "\"args\"; filename=\"f\"\r\n\r\nfile\r\n--b--", head + "args\r\n\r\n\x00\xff\r\n--b--",
		"--b\r\n\r\n\r\n--b--", "--b", "", head + "\"x\"\r\nX: " + strings.Repeat("x", 200) + "\r\n\r\n--b--", head + "\"" + strings.Repeat("n", 300) + "\"\r\n\r\n--b--",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		form := &largeForm{fields: &fields{}, args: store{most: 1 << 20}, file: store{most: 1 << 20}}
		if err := form.takeMultipart(bytes.NewReader(body), "b"); err != nil {
			var said *bus.Error
			if !errors.As(err, &said) || said.Reason == "" {
				t.Fatalf("%q: got %v", body, err)
			}
			return
		}
		parts, values := 0, map[string]string{}
		for r := multipart.NewReader(bytes.NewReader(body), "b"); ; parts++ {
			part, err := r.NextRawPart()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%q is taken, and mime/multipart says %v", body, err)
			}
			text, err := io.ReadAll(textReader{part})
			if err != nil {
				t.Fatalf("%q is taken, and mime/multipart says %v", body, err)
			}
			if part.FileName() == "" {
				values[part.FormName()] = string(bytes.TrimSpace(text))
			}
		}
		if parts != form.fields.count || parts > MaxFields {
			t.Errorf("%q: %d fields, want %d", body, form.fields.count, parts)
		}
		if _, both := values["procedure"]; !both && form.fields.method != values["method"] {
			t.Errorf("%q: method %q, want %q", body, form.fields.method, values["method"])
		}
	})
}

// FuzzAcceptsGzip: who does not name gzip, or anything, does not get it; and what one
// line says several say.
func FuzzAcceptsGzip(f *testing.F) {
	for _, seed := range []string{"gzip", "gzip;q=0", "*;q=0.1, gzip;q=0", "deflate, X-GZIP ; q=1", "*", "", "gzip;q=nan", "gzip;;q", ",,,"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got := acceptsGzip(http.Header{"Accept-Encoding": {value}})
		if got && !strings.Contains(strings.ToLower(value), "gzip") && !strings.Contains(value, "*") {
			t.Errorf("%q is taken for gzip", value)
		}
		if lines := acceptsGzip(http.Header{"Accept-Encoding": strings.Split(value, ",")}); lines != got {
			t.Errorf("%q: got %t, and in several lines %t", value, got, lines)
		}
	})
}
