package main

import (
	"bytes"
	"testing"
)

func TestApplication(t *testing.T) {
	t.Parallel()
	app := newApplication()
	var sent [][]byte
	app.broadcast = func(p []byte) error {
		sent = append(sent, bytes.Clone(p))
		return nil
	}
	ask := newPayload(fanOut, fanOutSize)
	ask.setCount(3)
	for _, tt := range []struct {
		name  string
		in    []byte
		reply bool
		fails bool
	}{
		{"one way", newPayload(oneWay, tinyMessage), false, false},
		{"an echo", newPayload(echo, tinyMessage), true, false},
		{"a fan-out", ask, false, false},
		{"one that the server sends", newPayload(delivered, tinyMessage), false, true},
		{"too short", []byte{oneWay}, false, true},
	} {
		if reply, err := app.receive(tt.in); reply != tt.reply || (err != nil) != tt.fails {
			t.Errorf("%s: got %t, %v", tt.name, reply, err)
		}
	}
	if n := app.handled.Load(); n != 1 {
		t.Errorf("one-way messages: got %d, want 1", n)
	}
	if len(sent) != 3 || len(sent[0]) != fanOutSize || payload(sent[2]).kind() != delivered {
		t.Errorf("sent to all: got %q", sent)
	}
}

func TestPayload(t *testing.T) {
	t.Parallel()
	p := newPayload(echo, 1)
	p.setNumber(1<<63 + 5)
	p.setCount(40)
	if len(p) != minPayload || p.kind() != echo || p.number() != 1<<63+5 || p.count() != 40 {
		t.Errorf("got % x", []byte(p))
	}
}
