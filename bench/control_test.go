package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestAnswers(t *testing.T) {
	t.Parallel()
	operations := map[string]operation{
		"double": operationOf(func(n int) (any, error) { return 2 * n, nil }),
		"fail":   operationOf(func(struct{}) (any, error) { return nil, errors.New("it failed") }),
	}
	var out bytes.Buffer
	in := strings.NewReader(`{"op":"double","args":21} {"op":"fail"} {"op":"double","args":"x"} {"op":"nothing"}`)
	if err := answerAll(in, &out, operations); err != nil {
		t.Fatal(err)
	}
	answers := json.NewDecoder(&out)
	for _, want := range []answer{
		{Result: json.RawMessage("42")},
		{Error: "it failed"},
		{Error: "arguments"},
		{Error: "there is no operation nothing"},
	} {
		var got answer
		if err := answers.Decode(&got); err != nil {
			t.Fatal(err)
		}
		if string(got.Result) != string(want.Result) || !strings.HasPrefix(got.Error, want.Error) || (want.Error == "") != (got.Error == "") {
			t.Errorf("got %s, %q, want %s, %q", got.Result, got.Error, want.Result, want.Error)
		}
	}
}
