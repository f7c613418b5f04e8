package cli

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	load "busd/daemon/internal/bench"
)

// quick is a short bench of messages, since the test's service has no methods.
func quick(b *bench, message string, args ...string) []string {
	return append([]string{"bench", b.url(), "--message", message, "--duration", "100ms", "--connections", "3"}, args...)
}

func TestBench(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	exit, out, fail := b.run(quick(b, `Do {"what": ""}`)...)
	if exit != exitOK || fail != "" {
		t.Fatalf("got exit %d, %s", exit, fail)
	}
	rest := out
	for _, want := range []string{ // in this order
		"conns in flight  per second       p50       p90       p99     p99.9       max  errors\n",
		"latency      echo, stable connection  not measured: ",
		"             echo, HTTPS              not measured: ",
		"             request Do                    3         1 ",
		"throughput   echo, stable connection  not measured: ",
		"             send Do                       3         - ",
		"fan-out      Do to all                not measured: nothing came to the other 3 connections",
		"connections  full TLS handshake            3         3 ",
		"               3 of 3 opened, 0 of them with a resumed TLS session\n",
		"             resumed TLS session           3         3 ",
		"               3 of 3 opened, 3 of them with a resumed TLS session\n",
		"reconnect    back after a cut              3         3 ",
		"               3 of 3 back after ",
		": 3 sessions resumed, 0 new, 0 messages unknown\n",
		"\nwss://" + b.url() + ", as dns:agent, in ",
	} {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("got\n%s\nwant %q after what came before", out, want)
		}
		rest = after
	}
}

// Programs read the report by these names.
func TestBenchJSON(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	exit, out, fail := b.run(quick(b, `Do {"what": ""}`, "--only", "latency,connections", "--json", "--histogram")...)
	if exit != exitOK || fail != "" || strings.Count(out, "\n") != 1 {
		t.Fatalf("got exit %d, %s%s", exit, out, fail)
	}
	var r struct {
		Version int    `json:"report_version"`
		URL     string `json:"url"`
		Service string `json:"service"`
		Peer    string `json:"peer"`
		Client  struct {
			Version string `json:"version"`
			CPUs    int    `json:"cpus"`
		} `json:"client"`
		Time        time.Time `json:"time"`
		Seconds     float64   `json:"seconds"`
		Interrupted *bool     `json:"interrupted"`
		Results     []struct {
			Test        string             `json:"test"`
			Way         string             `json:"way"`
			Message     string             `json:"message"`
			Connections int                `json:"connections"`
			InFlight    int                `json:"in_flight"`
			Seconds     float64            `json:"seconds"`
			Operations  int                `json:"operations"`
			PerSecond   float64            `json:"operations_per_second"`
			Latency     map[string]any     `json:"latency"`
			Errors      map[string]float64 `json:"errors"`
			NotMeasured string             `json:"not_measured"`
			Opened      struct {
				Resumed int `json:"tls_resumed"`
			} `json:"opened"`
		} `json:"results"`
	}
	b.must(json.Unmarshal([]byte(out), &r))
	if r.Version != load.ReportVersion || r.URL != "wss://"+b.url() || r.Service != "Test/Bench" || r.Peer != "dns:agent" ||
		r.Client.Version != Version || r.Client.CPUs < 1 || r.Seconds <= 0 || time.Since(r.Time) > time.Minute || r.Interrupted == nil || *r.Interrupted {
		t.Errorf("got %s", out)
	}
	ways := []string{}
	for _, x := range r.Results {
		ways = append(ways, x.Test+" "+x.Way)
		if x.Errors == nil {
			t.Errorf("%s has no errors, not even none: %s", x.Way, out)
		}
		if x.Way == "stable" || x.Way == "https" {
			if x.NotMeasured == "" {
				t.Errorf("%s: got %+v, want why it was not measured", x.Way, x)
			}
			continue
		}
		if x.Connections != 3 || x.Operations < 1 || x.Seconds <= 0 || x.PerSecond <= 0 {
			t.Errorf("%s: got %+v", x.Way, x)
		}
		for _, key := range []string{"p50_us", "p90_us", "p99_us", "p999_us", "max_us"} {
			if us, ok := x.Latency[key].(float64); !ok || us <= 0 {
				t.Errorf("%s: got latency %v, want %s", x.Way, x.Latency, key)
			}
		}
		if parts, ok := x.Latency["histogram"].([]any); !ok || len(parts) == 0 || x.Latency["measured_from"] != "sent" {
			t.Errorf("%s: got latency %v, want a histogram", x.Way, x.Latency)
		}
	}
	if want := []string{"latency stable", "latency https", "latency request", "connections full_tls", "connections resumed_tls"}; !slices.Equal(ways, want) {
		t.Errorf("got %q, want %q", ways, want)
	}
}

func TestBenchEndsAsItShould(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, test := range []struct {
		args []string
		exit int
		want string // in standard error
	}{
		{quick(b, `Do {"what": "fail"}`), exitNotAllowed, "busd: the service did not take Do: not today (permission_denied)"},
		{quick(b, `Do {"what": 1}`), exitSchema, "Do.what: want string, got int"},
		{quick(b, `Do`), exitSchema, "Do.what: want string, got nothing"},
		{quick(b, `Do {`), exitUsage, "the attributes cannot be read"},
		{quick(b, `News {"n": 1}`), exitSchema, "only the service may send News"},
		{quick(b, `Dou {}`), exitNotFound, "did you mean Do?"},
		{quick(b, `Do {"what": ""}`, "--only", "fan-out"), exitFailed, "busd: nothing could be measured"},
		{[]string{"bench", b.url(), "--only", "latency"}, exitNotFound, "busd: the service did not take calls of echo: "},
		{[]string{"bench", "127.0.0.1:1/Test/Bench"}, exitNetwork, "cannot connect to wss://127.0.0.1:1/Test/Bench: nobody listens there (unavailable)"},
		{[]string{"bench", b.url() + "x"}, exitNotFound, "cannot connect to"},
		{[]string{"bench", b.url(), "--args", `{"site": "x"}`}, exitFailed, "want cern"},
		{[]string{"bench", b.url(), "--only", "latncy"}, exitUsage, "there is no such test; there are latency, throughput, fan-out, connections, reconnect\n  try          --only latency"},
		{[]string{"bench", b.url(), "--only", "fan-out"}, exitUsage, "--only fan-out: want a message, too"},
		{[]string{"bench", b.url(), "--connections", "0"}, exitUsage, "--connections 0: want 1 to 20000"},
		{[]string{"bench", b.url(), "--connections", "20000", "--in-flight", "4096"}, exitUsage, "want at most 200000 together"},
		{[]string{"bench", b.url(), "--duration", "1ms"}, exitUsage, "--duration 1ms: want 100ms to 1h0m0s"},
		{[]string{"bench", b.url(), "--rate", "NaN"}, exitUsage, "--rate NaN: want more than 0"},
		{[]string{"bench", b.url(), "--size", "-1"}, exitUsage, "--size -1: want 1 to 131072"},
	} {
		exit, out, fail := b.run(test.args...)
		if exit != test.exit || !strings.Contains(fail, test.want) {
			t.Errorf("%q: got exit %d, %s%s; want %d, %s", test.args, exit, out, fail, test.exit, test.want)
		}
	}
}

// Ctrl-C gives what there is so far.
func TestBenchInterrupted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, asJSON := range []bool{false, true} {
		ctx, interrupt := context.WithCancelCause(t.Context())
		args := quick(b, `Do {"what": "news"}`, "--only", "latency")
		args[slices.Index(args, "100ms")] = "1h"
		if asJSON {
			args = append(args, "--json")
		}
		data, screen := newLines(t), newLines(t)
		ended := make(chan int, 1)
		go func() { // ends with interrupt
			ended <- Run(ctx, b.args(args...), strings.NewReader(""), data, screen, Actions{})
		}()
		b.untilConnected(1 + 3) // it looks around, then it measures
		interrupt(errInterrupted)
		if asJSON {
			if line := data.next(); !strings.Contains(line, `"interrupted":true`) {
				t.Errorf("got %s", line)
			}
		} else {
			data.until("as dns:agent, in ")
		}
		screen.want("busd: interrupted")
		if exit := <-ended; exit != exitInterrupted {
			t.Errorf("got exit %d, want %d", exit, exitInterrupted)
		}
	}
}

// untilConnected waits until so many connections more have been welcomed than there
// were when the service began, those that have ended among them.
func (b *bench) untilConnected(n int) {
	b.t.Helper()
	for end := time.Now().Add(20 * time.Second); len(b.svc.Conns()) < n-1; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("got %d connections, want %d", len(b.svc.Conns()), n-1)
		}
	}
}

// What failed is said in the table, and at the end.
func TestBenchFailures(t *testing.T) {
	t.Parallel()
	r := load.Result{
		Test: load.Throughput, Way: load.Send, Message: "Do", Connections: 2, Seconds: 2, Operations: 1_234_567, PerSecond: 617_283.5, Lost: 1,
		Errors: map[string]uint64{"internal": 2, "unavailable": 30}, First: "no\nluck", Rate: 7e5, NotBegun: 3, Class: "latest",
	}
	var out strings.Builder
	p := &app{out: &out, err: &out}
	table := p.newBenchTable(&benching{})
	table.add(r)
	const want = "                                       conns in flight  per second       p50       p90       p99     p99.9       max  errors\n" +
		"throughput   send Do                       2         -     617 284         -         -         -         -         -      32\n" +
		"               errors: 30 unavailable, 2 internal; the first: no\\nluck\n" +
		"               1 connection lost meanwhile\n" +
		"               the rate of 700 000/s was not reached: 3 were due and not begun\n" +
		"               Do is of class latest: what finds no room may be replaced or dropped, and counts as sent\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	denied := load.Result{Test: load.Latency, Way: load.HTTPS, NotMeasured: "not you", Failed: true}
	left := load.Result{Test: load.FanOut, Way: load.Delivery, NotMeasured: "no message"}
	fine := load.Result{Test: load.Latency, Way: load.Stable}
	for _, test := range []struct {
		results []load.Result
		want    string
	}{
		{[]load.Result{fine, left}, ""},
		{[]load.Result{left}, "busd: nothing could be measured\n"},
		{[]load.Result{fine, denied}, "busd: not everything worked\n  latency      echo, HTTPS: not you\n"},
		{[]load.Result{fine, r}, "busd: not everything worked\n  throughput   send Do: 30 unavailable, 2 internal; the first: no\\nluck\n"},
	} {
		err := verdict(&load.Report{Results: test.results})
		var said strings.Builder
		if err != nil {
			report(&said, err, false)
		}
		if said.String() != test.want || err != nil && exitOf(err) != exitFailed {
			t.Errorf("got %q, exit %d; want %q", said.String(), exitOf(err), test.want)
		}
	}
}

func TestBenchHistogram(t *testing.T) {
	t.Parallel()
	got := drawHistogram([]load.Bucket{{UpTo: 90, Count: 1}, {UpTo: 100, Count: 49}, {UpTo: 140, Count: 25}, {UpTo: 1999, Count: 25}})
	lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
	if len(lines) != 14 { // 100 125 150 200 250 300 400 500 600 800 1000 1250 1500 2000
		t.Errorf("got %d rows, want 14:\n%s", len(lines), got)
	}
	for i, want := range map[int]string{
		0: "             to   100 µs  " + strings.Repeat("#", 50) + "  50  50 %",
		1: "             to   125 µs  " + strings.Repeat(" ", 50) + "  0  50 %",
		2: "             to   150 µs  " + strings.Repeat("#", 25) + strings.Repeat(" ", 25) + "  25  75 %",
	} {
		if lines[i] != want {
			t.Errorf("line %d: got %q, want %q", i, lines[i], want)
		}
	}
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "             to     2 ms  ####") || !strings.HasSuffix(last, "  25  100 %") {
		t.Errorf("the last: got %q", last)
	}
	// What is spread wide has coarse rows, few enough for a screen.
	wide := drawHistogram([]load.Bucket{{UpTo: 1.5, Count: 1}, {UpTo: 3e7, Count: 1_000_000}})
	if n := strings.Count(wide, "\n"); n > histogramRows || !strings.Contains(wide, "to     2 µs  #  ") || !strings.HasSuffix(wide, "  1000000  100 %\n") {
		t.Errorf("got %d rows\n%s", n, wide)
	}
	if drawHistogram(nil) != "" {
		t.Error("nothing is drawn as something")
	}
}

func TestBenchProgress(t *testing.T) {
	t.Parallel()
	var screen strings.Builder
	table := &benchTable{app: &app{out: &screen}, bar: &progress{to: &screen}}
	table.moved(load.Progress{Result: load.Result{Test: load.Latency, Way: load.Stable}, Done: 0.5, PerSecond: 12345})
	const want = "\rlatency, echo, stable connection  [############------------]  12 345/s"
	if screen.String() != want {
		t.Errorf("got %q, want %q", screen.String(), want)
	}
	screen.Reset()
	table.add(load.Result{Test: load.Latency, Way: load.Stable})
	if blank := "\r" + strings.Repeat(" ", len(want)-1) + "\r"; !strings.HasPrefix(screen.String(), blank) {
		t.Errorf("got %q, want that the line is taken away first", screen.String())
	}
}
