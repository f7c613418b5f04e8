package rpc_test

import (
	"testing"

	"busd/bus"
)

// TestArgumentErrors: each says which argument, what was wanted and what came.
func TestArgumentErrors(t *testing.T) {
	t.Parallel()
	s := newCalc()
	for _, c := range []struct{ method, args, want string }{
		// Their number.
		{"add", ``, `add(): want 2 arguments (a, b), got 0`},
		{"add", `[]`, `add(): want 2 arguments (a, b), got 0`},
		{"add", `[1]`, `add(): want 2 arguments (a, b), got 1`},
		{"add", `[1, 2, 3]`, `add(): want 2 arguments (a, b), got 3`},
		{"nothing", `[1]`, `nothing(): want no arguments, got 1`},
		{"half", `[]`, `half(): want 1 argument (arg1), got 0`},
		{"repeat", `[]`, `repeat(): want at least 1 argument (text, times, sep), got 0`},
		{"repeat", `["x", 1, "-", 2]`, `repeat(): want at most 3 arguments (text, times, sep), got 4`},
		{"join", `[]`, `join(): want at least 1 argument (sep, parts), got 0`},
		{"find", `[1, 2, 3, 4, 5]`, `find(): want at most 4 arguments (owner, state, limit, tags), got 5`},
		{"ping", `[1]`, `ping(): want no arguments, got 1`},
		{"echo", `[]`, `echo(): want 1 argument (data), got 0`},

		// Their names.
		{"add", `{"a": 1}`, `add(b): it is missing: want int`},
		{"add", `{}`, `add(a): it is missing: want int`},
		{"add", `{"a": 1, "b": 2, "c": 3}`, `add(): it has no argument "c" (did you mean "a"?)`},
		{"repeat", `{"txt": "x"}`, `repeat(): it has no argument "txt" (did you mean "text"?)`},
		{"repeat", `{"sep": "-"}`, `repeat(text): it is missing: want string`},
		{"nothing", `{"a": 1}`, `nothing(): it has no argument "a"`},
		{"find", `{"owner": "ann"}`, `find(state): want string, got nothing`},
		{"find", `{}`, `find(owner): want string, got nothing`},
		{"find", `[]`, `find(owner): want string, got nothing`},
		{"find", `["ann"]`, `find(state): want string, got nothing`},
		{"find", `{"owner": "ann", "state": "new", "size": 1}`, `find(size): want one of the names limit, owner, tags, state, got an unknown one`},
		{"echo", `{"date": 1}`, `echo(): it has no argument "date" (did you mean "data"?)`},

		// Their types.
		{"add", `[1, "x"]`, `add(b): want int, got string`},
		{"add", `[1.0, 2]`, `add(a): want int, got float 1.0`},
		{"add", `[true, 2]`, `add(a): want int, got bool`},
		{"add", `[null, 2]`, `add(a): want int, got null`},
		{"add", `{"a": 1, "b": []}`, `add(b): want int, got list`},
		{"add", `[9223372036854775808, 2]`, `add(a): want int of 64 bits, got int 9223372036854775808`},
		{"half", `["1"]`, `half(arg1): want float, got string`},
		{"join", `["-", "a", 1]`, `join(parts)[1]: want string, got int 1`},
		{"join", `["-", ["a", 1]]`, `join(parts)[1]: want string, got int 1`},
		{"join", `{"sep": "-", "parts": "a"}`, `join(parts): want list, got string`},
		{"repeat", `["x", "3"]`, `repeat(times): want int, got string`},
		{"find", `{"owner": 1, "state": "new"}`, `find(owner): want string, got int 1`},
		{"find", `{"owner": "ann", "state": "new", "tags": ["a", 2]}`, `find(tags)[1]: want string, got int 2`},
		{"find", `["ann", "new", "1"]`, `find(limit): want int, got string`},
		{"big", `[null]`, `big(arg1): want int, got null`},
		{"big", `[1.0]`, `big(arg1): want int, got float 1.0`},
		{"kinds", `[true, "x", null, null, null, null, null, null]`, `kinds(arg2): want bytes, got string`},
		{"kinds", `[true, {"__dCls": "b64", "obj": ""}, {"__dCls": "dt", "obj": "2020-01-02 03:04:05"}, {"__dCls": "date", "obj": "2020-01-02"}, 1, {"x": [128]}, 1, 1]`, `kinds(arg6).x[0]: want int of -128 to 127, got int 128`},

		// Their limits.
		{"find", `{"owner": "", "state": "new"}`, `find(owner): want string of at least 1 characters, got one of 0`},
		{"find", `{"owner": "ann", "state": "old"}`, `find(state): want one of new, done, got another string`},
		{"find", `{"owner": "ann", "state": "new", "limit": 101}`, `find(limit): want int of 1 to 100, got int 101`},

		// What is no list of arguments at all.
		{"add", `"ab"`, `add(): want a list of arguments, or an object of named ones`},
		{"add", `17`, `add(): want a list of arguments, or an object of named ones`},
		{"add", `nonsense`, `add(): want a list of arguments, or an object of named ones`},
	} {
		_, err := ask(t, s, c.method, c.args)
		fails(t, err, bus.CodeInvalidArgument, c.want)
	}
}

// FuzzArguments: whatever comes is taken, or refused as a bad argument.
func FuzzArguments(f *testing.F) {
	s := newCalc()
	methods := s.Methods()
	for i, args := range []string{`[1, 2]`, `{"a": 1, "b": 2}`, `["x", null, "-"]`, `[{"owner": "ann", "state": "new"}]`, `[[1], NaN]`, ` null`, `[`, `{"__dCls": "dt"}`} {
		f.Add(i, args)
	}
	f.Fuzz(func(t *testing.T, i int, args string) {
		method := methods[uint(i)%uint(len(methods))].Name
		if method == "repeat" { // it may be asked to repeat its text a thousand million times
			return
		}
		_, err := ask(t, s, method, args)
		if code := bus.CodeOf(err); code != 0 && code != bus.CodeInvalidArgument {
			t.Errorf("%s %q: got %v", method, args, err)
		}
	})
}
