package rpcclient_test

import (
	"io"
	"math"
	"math/big"
	"net/http"
	"net/url"
	"testing"
	"time"

	"busd/bus"
	"busd/rpc/jencode"
	"busd/rpc/rpcclient"
)

// records keeps the body of each request and answers with null.
func records(l *logged) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		l.add(string(body))
		_, _ = io.WriteString(w, `{"OK": true, "Value": null}`)
	}
}

// What goes out is what DIRAC's own client sends, byte for byte (its captures stand
// here).
func TestForm(t *testing.T) {
	t.Parallel()
	dirac := rpcclient.Config{VO: "vo", Setup: "TestSetup"}
	with := func(change func(*rpcclient.Config)) rpcclient.Config {
		c := dirac
		change(&c)
		return c
	}
	day := time.Date(2020, 1, 2, 3, 4, 5, 678901000, time.UTC)
	big70 := new(big.Int).Lsh(big.NewInt(1), 70)
	for _, tt := range []struct {
		name   string
		cfg    rpcclient.Config
		method string
		args   []any
		want   string
	}{
		{"ping", dirac, "ping", nil, "method=ping&args=%5B%5D&clientVO=vo&clientSetup=TestSetup"},
		{"two args", dirac, "add", []any{1, "x"}, "method=add&args=%5B1%2C+%22x%22%5D&clientVO=vo&clientSetup=TestSetup"},
		{"VO, setup", rpcclient.Config{VO: "myvo", Setup: "My-Setup"}, "ping", nil, "method=ping&args=%5B%5D&clientVO=myvo&clientSetup=My-Setup"},
		{"nothing said", rpcclient.Config{}, "ping", nil, "method=ping&args=%5B%5D&clientVO=&clientSetup="},
		{
			"group", with(func(c *rpcclient.Config) { c.Group = "dirac_admin" }), "ping", nil,
			"method=ping&args=%5B%5D&extraCredentials=%22dirac_admin%22&clientVO=vo&clientSetup=TestSetup",
		},
		{
			"host", with(func(c *rpcclient.Config) { c.Host = true }), "ping", nil,
			"method=ping&args=%5B%5D&extraCredentials=%22hosts%22&clientVO=vo&clientSetup=TestSetup",
		},
		{
			"forwarded", with(func(c *rpcclient.Config) { c.Host, c.Forward = true, &rpcclient.Forward{DN: "/C=x/CN=y", Group: "g"} }), "ping", nil,
			"method=ping&args=%5B%5D&extraCredentials=%5B%22%2FC%3Dx%2FCN%3Dy%22%2C+%22g%22%5D&clientVO=vo&clientSetup=TestSetup",
		},
		{
			"many values", dirac, "echo",
			[]any{[]any{
				1, 2.5, nil, true, "é☃ &=+%",
				[]int{1, 2},
				jencode.Raw(`{"a": 1, "2": "b", "null": 3, "true": 4, "1.5": 5}`),
				day,
				jencode.Date{Year: 2020, Month: 1, Day: 2},
				[]byte{0, 0xff},
				math.NaN(), math.Inf(1), big70,
			}},
			"method=echo&args=%5B%5B1%2C+2.5%2C+null%2C+true%2C+%22%5Cu00e9%5Cu2603+%26%3D%2B%25%22%2C+%5B1%2C+2%5D%2C+%7B%22a%22%3A+1%2C+%222%22%3A+%22b%22%2C+%22null%22%3A+3%2C+%22true%22%3A+4%2C+%221.5%22%3A+5%7D%2C+%7B%22__dCls%22%3A+%22dt%22%2C+%22obj%22%3A+%222020-01-02+03%3A04%3A05%22%7D%2C+%7B%22__dCls%22%3A+%22date%22%2C+%22obj%22%3A+%222020-01-02%22%7D%2C+%7B%22__dCls%22%3A+%22b64%22%2C+%22obj%22%3A+%22AP8%3D%22%7D%2C+NaN%2C+Infinity%2C+1180591620717411303424%5D%5D&clientVO=vo&clientSetup=TestSetup",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got logged
			c := client(t, tt.cfg, serve(t, records(&got)))
			if _, err := c.Call(t.Context(), tt.method, tt.args...); err != nil {
				t.Fatal(err)
			}
			if got.last() != tt.want {
				t.Errorf("got  %s\nwant %s", got.last(), tt.want)
			}
		})
	}
}

// The header, and what a request does not say.
func TestRequest(t *testing.T) {
	t.Parallel()
	var seen http.Header
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Clone()
		if r.Method != http.MethodPost || r.URL.Path != service || r.URL.RawQuery != "" {
			t.Errorf("got %s %s", r.Method, r.URL)
		}
		answers(`{"OK": true, "Value": 1}`)(w, r)
	})
	c := client(t, rpcclient.Config{Token: "abc.def", Name: "pilot", Version: "7"}, s)
	if _, err := c.Call(t.Context(), "ping"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/x-www-form-urlencoded", "User-Agent": "pilot/7 busd",
		"Authorization": "Bearer abc.def", "Accept-Encoding": "gzip",
	} {
		if got := seen.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// Named arguments go out so that a DIRAC server, which does not know them, refuses the
// call where it would otherwise be made without arguments.
func TestNamedArguments(t *testing.T) {
	t.Parallel()
	var got logged
	c := client(t, rpcclient.Config{}, serve(t, records(&got)))
	type query struct {
		Owner string `bus:"owner"`
		Most  *int   `bus:"most"`
	}
	for _, args := range []any{map[string]any{"owner": "me"}, query{Owner: "me"}, &query{Owner: "me"}} {
		if _, err := c.CallNamed(t.Context(), "find", args); err != nil {
			t.Fatal(err)
		}
		form, err := url.ParseQuery(got.last())
		if err != nil || form.Get("procedure") != "find" || form.Get("kwargs") != `{"owner": "me"}` || form.Has("method") || form.Has("args") {
			t.Errorf("%T: got %s", args, got.last())
		}
	}
	for _, args := range []any{nil, 1, []int{1}, "x"} {
		_, err := c.CallNamed(t.Context(), "find", args)
		if e := failure(t, err); e.Err.Code != bus.CodeInvalidArgument {
			t.Errorf("%v: got %v", args, err)
		}
	}
	_, err := c.CallRaw(t.Context(), "find", []byte(`{"owner": "me"}`))
	if form, _ := url.ParseQuery(got.last()); err != nil || form.Get("kwargs") != `{"owner": "me"}` {
		t.Errorf("raw: got %s, %v", got.last(), err)
	}
}
