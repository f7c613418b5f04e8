package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestTargetURL(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                       "",
		"bus-2":                  "wss://bus-2:8443",
		"bus-2:1/":               "wss://bus-2:1",
		"wss://bus-2":            "wss://bus-2:8443",
		"wss://bus-2/A/B":        "wss://bus-2:8443/A/B",
		"[::1]:1/A/B":            "wss://[::1]:1/A/B",
		"ws://bus-2":             "error",
		"wss://bus-2/A":          "error",
		"wss://me@bus-2":         "error",
		"wss://bus-2?x=1":        "error",
		"wss://bus-2:8443/A/B/C": "error",
	} {
		got, err := targetURL(text)
		if err != nil {
			got = "error"
			if exitOf(err) != exitUsage {
				t.Errorf("%q: %v, want wrong usage", text, err)
			}
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestAdminAddress(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ said, environ, want string }{
		{"", "", "127.0.0.1:8444"},
		{"", "10.0.0.1:1", "10.0.0.1:1"},
		{"localhost:2", "10.0.0.1:1", "localhost:2"},
		{":2", "", "127.0.0.1:2"},
		{"0.0.0.0:2", "", "127.0.0.1:2"},
		{"[::]:2", "", "[::1]:2"},
		{"http://127.0.0.1:2/", "", "127.0.0.1:2"},
		{"", "off", "error"},
		{"127.0.0.1", "", "error"},
		{"127.0.0.1:0", "", "error"},
	} {
		got, err := adminAddress(tc.said, func(string) string { return tc.environ })
		if err != nil {
			got = "error"
			if exitOf(err) != exitUsage {
				t.Errorf("%+v: %v, want wrong usage", tc, err)
			}
		}
		if got != tc.want {
			t.Errorf("%+v: got %q", tc, got)
		}
	}
}

// drains runs the command against a server that answers as it is told.
func drains(t *testing.T, answer http.HandlerFunc, args ...string) (exit int, out, fail string) {
	t.Helper()
	s := httptest.NewServer(answer)
	defer s.Close()
	var o, e strings.Builder
	args = append([]string{"drain", "--admin", strings.TrimPrefix(s.URL, "http://")}, args...)
	exit = Run(t.Context(), args, strings.NewReader(""), &o, &e, Actions{})
	return exit, o.String(), strings.ReplaceAll(e.String(), strings.TrimPrefix(s.URL, "http://"), "ADMIN")
}

const (
	halfWay = `{"time":"2026-03-01T12:00:00Z","state":"draining","connections":2,"seconds":0}` + "\n"
	done    = `{"time":"2026-03-01T12:00:01Z","state":"drained","connections":0,"seconds":1.04}` + "\n"
)

func TestDrainIsFollowed(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, lines string
		status      int
		exit        int
		fail        string // all of standard error
	}{
		{name: "well", lines: halfWay + done, exit: exitOK, fail: "draining ADMIN: 2 connections left, 0s\ndrained in 1s: all clients had finished, and the server has ended\n"},
		{
			name: "already", lines: strings.Replace(halfWay, "}", `,"already":true}`, 1) + done, exit: exitOK,
			fail: "the server at ADMIN drains already, for 0s: 2 connections left\ndrained in 1s: all clients had finished, and the server has ended\n",
		},
		{
			name:  "cut off",
			lines: `{"state":"cut_off","seconds":30,"code":"deadline_exceeded","reason":"2 connections had not finished"}`, exit: exitTimeout,
			fail: "stopped after 30s\nbusd: the server has ended, but not in good order: 2 connections had not finished (deadline_exceeded)\n",
		},
		{
			name:  "a second signal",
			lines: `{"state":"cut_off","seconds":3,"code":"canceled","reason":"stopped at once"}`, exit: exitFailed,
			fail: "stopped after 3s\nbusd: the server has ended, but not in good order: stopped at once (canceled)\n",
		},
		{
			name: "killed", lines: halfWay, exit: exitFailed,
			fail: "draining ADMIN: 2 connections left, 0s\nbusd: the server at ADMIN has ended before all its clients had finished: it was killed (aborted)\n",
		},
		{
			name: "refused", status: http.StatusForbidden, lines: "not for you", exit: exitNotAllowed,
			fail: "busd: the server at ADMIN does not drain: not for you\n  try          busd drain on the server's own machine, or SIGTERM to it\n",
		},
		{
			name: "another program", status: http.StatusNotFound, lines: "404 page not found", exit: exitFailed,
			fail: "busd: what listens at ADMIN is not the admin listener of a busd that can drain\n" +
				"  try          --admin HOST:PORT                 as admin.address in the server's configuration\n",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			answer := func(w http.ResponseWriter, _ *http.Request) {
				if tc.status != 0 {
					w.WriteHeader(tc.status)
				}
				_, _ = fmt.Fprint(w, tc.lines)
			}
			if exit, out, fail := drains(t, answer); exit != tc.exit || out != "" || fail != tc.fail {
				t.Errorf("got exit %d, %q,\n%s\nwant %d,\n%s", exit, out, fail, tc.exit, tc.fail)
			}
			exit, out, fail := drains(t, answer, "--json", "-q")
			if exit != tc.exit || tc.exit == exitOK && (strings.Count(out, "\n") != 2 || !strings.HasPrefix(out, `{"time":`) || fail != "") {
				t.Errorf("--json: got exit %d, %q, %q", exit, out, fail)
			}
		})
	}
}

// Who goes away leaves the server draining.
func TestDrainIsInterrupted(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else nobody notices that the client goes
		_, _ = fmt.Fprint(w, halfWay)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer s.Close()
	screen := newLines(t)
	ctx, interrupt := context.WithCancelCause(t.Context())
	ended := make(chan int, 1)
	go func() { // ends with interrupt
		ended <- Run(ctx, []string{"drain", "--admin", s.URL}, strings.NewReader(""), io.Discard, screen, Actions{})
	}()
	screen.want("2 connections left")
	interrupt(errInterrupted)
	screen.want("goes on draining")
	screen.want("busd: interrupted")
	if exit := <-ended; exit != exitInterrupted {
		t.Errorf("got exit %d, want %d", exit, exitInterrupted)
	}
}
