package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// A request asks a process that the harness started to do one thing; an answer
// says what came of it. They are JSON values, one after the other, in a pipe
// each.
type request struct {
	Op   string          `json:"op"`
	Args json.RawMessage `json:"args,omitempty"`
}

type answer struct {
	Error  string          `json:"error,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// An operation is what a process can be asked to do.
type operation func(args json.RawMessage) (any, error)

// operationOf makes an operation of a function with typed arguments.
func operationOf[A any](fn func(A) (any, error)) operation {
	return func(args json.RawMessage) (any, error) {
		var a A
		if len(args) > 0 {
			if err := json.Unmarshal(args, &a); err != nil {
				return nil, fmt.Errorf("arguments: %w", err)
			}
		}
		return fn(a)
	}
}

// answerAll answers requests, one after the other, until the harness closes its
// end.
func answerAll(in io.Reader, out io.Writer, operations map[string]operation) error {
	requests, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var r request
		switch err := requests.Decode(&r); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("request: %w", err)
		}
		if err := answers.Encode(answerOf(operations, r)); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
}

func answerOf(operations map[string]operation, r request) answer {
	run := operations[r.Op]
	if run == nil {
		return answer{Error: "there is no operation " + r.Op}
	}
	result, err := run(r.Args)
	if err != nil {
		return answer{Error: err.Error()}
	}
	text, err := json.Marshal(result)
	if err != nil {
		return answer{Error: "result: " + err.Error()}
	}
	return answer{Result: text}
}
