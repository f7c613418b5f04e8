package rpc_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"strings"
	"testing"
	"time"

	"busd/access"
	"busd/bus"
	"busd/rpc"
	"busd/rpc/jencode"
	"busd/schema"
)

// alice has shown a certificate.
var alice = &access.Caller{
	Via: access.ViaCertificate, Peer: bus.Peer{Name: "dns:alice", Kind: "dns", DN: "/C=ch/O=DIRAC/CN=alice"},
	Subject: "/C=ch/O=DIRAC/CN=alice", Issuer: "/C=ch/O=DIRAC/CN=CA",
}

// ask calls a method as alice.
func ask(t *testing.T, s *rpc.Service, method, args string) (string, error) {
	t.Helper()
	return askAs(t.Context(), s, alice, method, args)
}

func askAs(ctx context.Context, s *rpc.Service, c *access.Caller, method, args string) (string, error) {
	answer, err := s.Call(ctx, c, access.Claim{}, method, []byte(args))
	return string(answer), err
}

// fails checks that an error has a code and a text.
func fails(t *testing.T, err error, code bus.Code, text string) {
	t.Helper()
	var e *bus.Error
	if !errors.As(err, &e) || e.Code != code || e.Text() != text {
		t.Errorf("got %v, want %s: %s", err, code, text)
	}
}

type (
	query struct {
		Limit *int     `bus:"limit,min=1,max=100" doc:"how many at most"`
		Owner string   `bus:"owner,minlen=1"`
		Tags  []string `bus:"tags,optional"`
		State string   `bus:"state,enum=new|done"`
	}
	job struct {
		ID    int64   `bus:"id"`
		Owner string  `bus:"owner"`
		Note  *string `bus:"note"`
	}
)

// newCalc is a service with methods of every form.
func newCalc() *rpc.Service {
	s := rpc.NewService("Test/Calc")
	rpc.Export(s, "add", func(a, b int) int { return a + b }).Named("a", "b").Describe("Adds two integers.")
	rpc.Export(s, "half", func(x float64) float64 { return x / 2 })
	rpc.Export(s, "join", func(sep string, parts ...string) string { return strings.Join(parts, sep) }).Named("sep", "parts")
	rpc.Export(s, "repeat", func(_ context.Context, text string, times *int, sep *string) (string, error) {
		n, between := 2, ""
		if times != nil {
			n = *times
		}
		if sep != nil {
			between = *sep
		}
		return strings.TrimSuffix(strings.Repeat(text+between, n), between), nil
	}).Named("text", "times", "sep")
	rpc.Export(s, "find", func(_ context.Context, q query) ([]job, error) {
		note := q.State + strings.Join(q.Tags, ",")
		all := []job{{ID: 1, Owner: q.Owner, Note: &note}, {ID: 1 << 60, Owner: q.Owner}}
		if q.Limit != nil {
			all = all[:min(*q.Limit, len(all))]
		}
		return all, nil
	})
	rpc.Export(s, "findAll", func(q *query) string { return q.Owner })
	rpc.Export(s, "kinds", func(b bool, data []byte, at time.Time, day jencode.Date, n *big.Int, m map[string][]int8, x any, raw jencode.Raw) []any {
		return []any{b, data, at, day, n, m, x, raw}
	})
	rpc.Export(s, "big", func(n *big.Int) *big.Int { return n.Mul(n, n) })
	rpc.Export(s, "nothing", func() {})
	rpc.Export(s, "null", func() (*job, error) { return nil, nil })
	rpc.Export(s, "sum", func(numbers ...int) (sum int) {
		for _, n := range numbers {
			sum += n
		}
		return sum
	})
	rpc.Export(s, "count", func(values ...any) int { return len(values) })
	rpc.Export(s, "pair", func(a *int, b int) bool { return a == nil && b == 1 })
	return s
}

// TestCalls: the ways to give arguments, and what comes back.
func TestCalls(t *testing.T) {
	t.Parallel()
	s := newCalc()
	for _, c := range []struct{ method, args, want string }{
		{"add", `[1, 2]`, `3`},
		{"add", ` [ 1 ,2 ] `, `3`},
		{"add", `{"b": 2, "a": 1}`, `3`},
		{"half", `[1]`, `0.5`}, // an int is taken for a float
		{"half", `[NaN]`, `NaN`},
		{"half", `{"arg1": 4.0}`, `2.0`},
		{"join", `["-", "a", "b", "c"]`, `"a-b-c"`},
		{"join", `["-"]`, `""`},
		{"join", `["-", ["a", "b"]]`, `"a-b"`}, // as the contract has it
		{"join", `{"sep": "+", "parts": ["a", "b"]}`, `"a+b"`},
		{"join", `{"sep": "+"}`, `""`},
		{"sum", `[]`, `0`},
		{"sum", ``, `0`},
		{"sum", `[1, 2, 3]`, `6`},
		{"count", `[[1, 2]]`, `1`}, // a list may be one of the rest
		{"count", `{"arg1": [1, 2]}`, `2`},
		{"repeat", `["ab"]`, `"abab"`},
		{"repeat", `["ab", 3]`, `"ababab"`},
		{"repeat", `["ab", null, "-"]`, `"ab-ab"`},
		{"repeat", `{"text": "x", "sep": ","}`, `"x,x"`},
		{"pair", `[null, 1]`, `true`},
		{"find", `{"owner": "ann", "state": "new", "limit": 1}`, `[{"id": 1, "owner": "ann", "note": "new"}]`},
		{"find", `[{"owner": "ann", "state": "new", "limit": 1}]`, `[{"id": 1, "owner": "ann", "note": "new"}]`},
		{"find", `["ann", "done", null, ["x", "y"]]`, `[{"id": 1, "owner": "ann", "note": "donex,y"}, {"id": 1152921504606846976, "owner": "ann"}]`},
		{"findAll", `{"owner": "ann", "state": "new"}`, `"ann"`},
		{"big", `[1180591620717411303424]`, `1393796574908163946345982392040522594123776`},
		{"nothing", ``, `null`},
		{"nothing", `null`, `null`},
		{"nothing", `{}`, `null`},
		{"null", `[]`, `null`},
		{"echo", `[{"__dCls": "nobody knows"}]`, `{"__dCls": "nobody knows"}`},
		{"echo", `{"data": [1,  2.0, NaN]}`, `[1,  2.0, NaN]`},
		{
			"kinds",
			`[true, {"__dCls": "b64", "obj": "AP8="}, {"__dCls": "dt", "obj": "2020-01-02 03:04:05"}, {"__dCls": "date", "obj": "2020-01-02"}, 1180591620717411303424, {"x": [-1]}, [1, 1.0, null], "\ud800"]`,
			`[true, {"__dCls": "b64", "obj": "AP8="}, {"__dCls": "dt", "obj": "2020-01-02 03:04:05"}, {"__dCls": "date", "obj": "2020-01-02"}, 1180591620717411303424, {"x": [-1]}, [1, 1.0, null], "\ud800"]`,
		},
	} {
		if got, err := ask(t, s, c.method, c.args); err != nil || got != c.want {
			t.Errorf("%s %s: got %s, %v, want %s", c.method, c.args, got, err, c.want)
		}
	}
}

// TestArgumentsBelongToTheMethod: what was sent may be reused as soon as Call has
// returned.
func TestArgumentsBelongToTheMethod(t *testing.T) {
	t.Parallel()
	s := rpc.NewService("Test/Keep")
	var kept jencode.Raw
	rpc.Export(s, "keep", func(raw jencode.Raw) { kept = raw })
	args := []byte(`["hello"]`)
	if _, err := s.Call(t.Context(), alice, access.Claim{}, "keep", args); err != nil {
		t.Fatal(err)
	}
	clear(args)
	if string(kept) != `"hello"` {
		t.Errorf("got %q, want what was sent", kept)
	}
}

// TestContract: the methods as a contract has them.
func TestContract(t *testing.T) {
	t.Parallel()
	s := newCalc()
	contract := schema.MustNew(s.Name(), parts(s.Methods())...)
	var names []string
	for _, m := range contract.Methods() {
		names = append(names, m.Name)
	}
	if got, want := strings.Join(names, " "), "ping echo whoami add half join repeat find findAll kinds big nothing null sum count pair"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	var doc struct {
		Methods []json.RawMessage `json:"methods"`
	}
	if err := json.Unmarshal(contract.JSON(), &doc); err != nil {
		t.Fatal(err)
	}
	for i, want := range map[int]string{
		1: `{"name":"echo","doc":"Returns what it was given.","params":[{"name":"data","type":"any"}],"result":{"type":"any"}}`,
		3: `{"name":"add","doc":"Adds two integers.","params":[{"name":"a","type":"int"},{"name":"b","type":"int"}],"result":{"type":"int"}}`,
		4: `{"name":"half","params":[{"name":"arg1","type":"float","nonfinite":true}],"result":{"type":"float","nonfinite":true}}`,
		5: `{"name":"join","params":[{"name":"sep","type":"string"},{"name":"parts","type":"list","elem":{"type":"string"},"optional":true,"doc":"the rest of the arguments"}],"result":{"type":"string"}}`,
		6: `{"name":"repeat","params":[{"name":"text","type":"string"},{"name":"times","type":"int","optional":true},{"name":"sep","type":"string","optional":true}],"result":{"type":"string"}}`,
		7: `{"name":"find","params":[{"name":"owner","type":"string","minlen":1},{"name":"state","type":"enum","values":["new","done"]},` +
			`{"name":"limit","type":"int","min":1,"max":100,"optional":true,"doc":"how many at most"},{"name":"tags","type":"list","elem":{"type":"string"},"optional":true}],` +
			`"result":{"type":"list","elem":{"type":"struct","attrs":[{"name":"id","type":"int"},{"name":"owner","type":"string"},{"name":"note","type":"string","optional":true}]}}}`,
		10: `{"name":"big","params":[{"name":"arg1","type":"any"}],"result":{"type":"any"}}`,
		11: `{"name":"nothing","params":[]}`,
	} {
		if got := string(doc.Methods[i]); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func parts(methods []schema.Method) []schema.Part {
	all := make([]schema.Part, len(methods))
	for i, m := range methods {
		all[i] = m
	}
	return all
}

// TestStreamsAreBytes: streams in a contract, which stable connections do not
// carry.
func TestStreamsAreBytes(t *testing.T) {
	t.Parallel()
	s := rpc.NewService("Test/Files")
	rpc.Export(s, "get", func(name string) (io.Reader, error) { return strings.NewReader(name), nil }).Named("name")
	rpc.Export(s, "put", func(string, io.Reader) error { return nil }).Named("name", "content")
	rpc.Export(s, "hidden", func() any { return strings.NewReader("x") })
	contract := string(schema.MustNew(s.Name(), parts(s.Methods()[3:5])...).JSON())
	want := `[{"name":"get","params":[{"name":"name","type":"string"}],"result":{"type":"bytes"},"download":true},` +
		`{"name":"put","params":[{"name":"name","type":"string"},{"name":"content","type":"bytes"}],"upload":true}]`
	if !strings.Contains(contract, want) {
		t.Errorf("got %s, want in it %s", contract, want)
	}
	_, err := ask(t, s, "get", `["x"]`)
	fails(t, err, bus.CodeFailedPrecondition, "get: over https:// only: it takes or gives a stream")
	_, err = ask(t, s, "put", `["x", {"__dCls": "b64", "obj": ""}]`)
	fails(t, err, bus.CodeFailedPrecondition, "put: over https:// only: it takes or gives a stream")
	_, err = ask(t, s, "hidden", ``)
	fails(t, err, bus.CodeFailedPrecondition, "hidden: over https:// only: its result is a stream")
	if running := s.Stats().Running; running != 0 {
		t.Errorf("%d calls run, want none", running)
	}
}

// TestExportRefuses: mistakes of the program are found as it starts.
func TestExportRefuses(t *testing.T) {
	t.Parallel()
	for want, mistake := range map[string]func(s *rpc.Service){
		"want a function, got int":           func(s *rpc.Service) { rpc.Export(s, "m", 1) },
		"want a function, got <nil>":         func(s *rpc.Service) { rpc.Export(s, "m", nil) },
		"want a function, got func()":        func(s *rpc.Service) { rpc.Export(s, "m", (func())(nil)) },
		"want at most a result and an error": func(s *rpc.Service) { rpc.Export(s, "m", func() (int, int) { return 0, 0 }) },
		"a Go value of type chan int cannot": func(s *rpc.Service) { rpc.Export(s, "m", func(chan int) {}) },
		"its result":                         func(s *rpc.Service) { rpc.Export(s, "m", func() func() { return nil }) },
		"the field needs a tag":              func(s *rpc.Service) { rpc.Export(s, "m", func(struct{ A int }) {}) },
		"unknown option": func(s *rpc.Service) {
			rpc.Export(s, "m", func(struct {
				A int `bus:"a,least=1"`
			}) {
			})
		},
		"its argument 2":            func(s *rpc.Service) { rpc.Export(s, "m", func(int, context.Context) {}) },
		"as name of a method":       func(s *rpc.Service) { rpc.Export(s, "_m", func() {}) },
		"has a method m already":    func(s *rpc.Service) { rpc.Export(s, "m", func() {}); rpc.Export(s, "m", func() {}) },
		"has a method ping already": func(s *rpc.Service) { rpc.Export(s, "ping", func() {}); rpc.Export(s, "ping", func() {}) },
		"Named(1 names)":            func(s *rpc.Service) { rpc.Export(s, "m", func(int, int) {}).Named("a") },
		"Named(4 names)":            func(s *rpc.Service) { rpc.Export(s, "m", func(query) {}).Named("a", "b", "c", "d") },
		"declared twice":            func(s *rpc.Service) { rpc.Export(s, "m", func(int, int) {}).Named("a", "a") },
		"as name of an attribute":   func(s *rpc.Service) { rpc.Export(s, "m", func(int) {}).Named("a b") },
		"is served already": func(s *rpc.Service) {
			_, _ = ask(t, s, "ping", "")
			rpc.Export(s, "m", func() {})
		},
		"must not be changed": func(s *rpc.Service) {
			m := rpc.Export(s, "m", func(int) {})
			_, _ = ask(t, s, "ping", "")
			m.Named("a")
		},
	} {
		if got := panicOf(func() { mistake(rpc.NewService("Test/Bad")) }); !strings.Contains(got, want) {
			t.Errorf("got panic %q, want one that says %q", got, want)
		}
	}
	if got := panicOf(func() { rpc.NewService("NoSystem") }); !strings.Contains(got, "want System/Component") {
		t.Errorf("a bad name of a service: got panic %q", got)
	}
}

func panicOf(f func()) (text string) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case string:
			text = v
		default:
			text = "no text"
		}
	}()
	f()
	return ""
}

// TestNewServerRefuses: what is wrong with services as they are given to a
// server.
func TestNewServerRefuses(t *testing.T) {
	t.Parallel()
	served := rpc.NewService("Test/Served")
	if _, err := rpc.NewServer(rpc.Config{}, served); err != nil {
		t.Fatal(err)
	}
	negative := rpc.NewService("Test/Negative")
	negative.Timeout = -1
	method := rpc.NewService("Test/Method")
	rpc.Export(method, "m", func() {}).MaxConcurrent = -1
	for want, services := range map[string][]*rpc.Service{
		"two services have the name Test/Twice":    {rpc.NewService("Test/Twice"), rpc.NewService("Test/Twice")},
		"service Test/Served is served already":    {served},
		"a service without a name: use NewService": {{}},
		"its bounds must not be negative":          {negative},
		"the bounds of m must not be negative":     {method},
	} {
		if _, err := rpc.NewServer(rpc.Config{}, services...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestRequestOf: what a method can ask of its context.
func TestRequestOf(t *testing.T) {
	t.Parallel()
	s := rpc.NewService("Test/Ask")
	var before *rpc.Request
	s.Before = func(ctx context.Context, r *rpc.Request) error {
		if before = r; rpc.RequestOf(ctx) != r {
			t.Error("Before's context has another request")
		}
		return nil
	}
	rpc.Export(s, "m", func(ctx context.Context) (string, error) {
		r := rpc.RequestOf(ctx)
		if _, ok := ctx.Deadline(); !ok {
			t.Error("the context has no deadline")
		}
		if r != before || r.Service != "Test/Ask" || r.Method != "m" || r.Caller != alice || len(r.ID) != 16 {
			t.Errorf("got %+v", r)
		}
		return r.Grant.User, nil
	})
	if got, err := ask(t, s, "m", ""); err != nil || got != `"dns:alice"` {
		t.Errorf("got %s, %v", got, err)
	}
	if rpc.RequestOf(t.Context()) != nil {
		t.Error("another context has a request")
	}
}

// TestBefore: its error is the answer, and the method is not called.
func TestBefore(t *testing.T) {
	t.Parallel()
	s := rpc.NewService("Test/Closed")
	s.Before = func(_ context.Context, r *rpc.Request) error {
		if r.Method == "ping" {
			return nil
		}
		return rpc.Errno(1, "closed on Sundays")
	}
	rpc.Export(s, "m", func() { t.Error("the method was called") })
	_, err := ask(t, s, "m", "")
	fails(t, err, bus.CodeFailedPrecondition, "Operation not permitted ( 1 : closed on Sundays)")
	_, err = ask(t, s, "echo", `[1]`) // the methods of every service too
	fails(t, err, bus.CodeFailedPrecondition, "Operation not permitted ( 1 : closed on Sundays)")
	if _, err := ask(t, s, "ping", ""); err != nil {
		t.Error(err)
	}
}
