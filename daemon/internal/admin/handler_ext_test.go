package admin_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"busd/bus"
	"busd/daemon/internal/admin"
	"busd/msgbus"
	"busd/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newAdmin() *admin.Admin { return newAdminOf(false) }

// newAdminOf makes one of a process that is short of memory, or not.
func newAdminOf(short bool) *admin.Admin {
	return admin.New(admin.Config{
		Version: "1.2.3", Revision: "abc", Node: "n1",
		Services: func() []msgbus.ServiceStats {
			return []msgbus.ServiceStats{{
				Service: "Test/One", Conns: 3, Connects: 5, Queued: 100, QueuedMax: 60,
				Sessions: 14, Resumed: 15, NotResumed: map[string]uint64{"expired": 16, "restarted": 17},
				Repeated: 18, Volatile: 19, Replaced: 21,
				Dropped: map[bus.Code]uint64{bus.CodeGoingAway: 2, 4000: 1, 4001: 2, 0: 1},
				Refused: map[bus.Code]uint64{bus.CodePermissionDenied: 7},
				Messages: []msgbus.MessageStats{{
					Message: "Ping", In: 9, Out: 1, InBytes: 90, OutBytes: 10, Failed: 4,
					Latency: [8]uint64{1, 2, 0, 0, 0, 0, 0, 3}, LatencySum: 1500 * time.Millisecond,
				}},
			}}
		},
		Calls: func() []rpc.ServiceStats {
			return []rpc.ServiceStats{{Service: "Test/One", Running: 3, Methods: []rpc.MethodStats{
				{
					Method: "add", Calls: map[string]uint64{"ok": 24, "invalid_argument": 25}, Running: 2, LeftBehind: 1,
					Seconds: 2.5, BytesIn: 26, BytesOut: 27,
				},
				{Calls: map[string]uint64{"unimplemented": 28}},
			}}}
		},
		Transport: func() admin.Transport {
			return admin.Transport{
				Open: 10, Unauthenticated: 2, Waiting: 1, Handshaking: 4, Computing: 3, Handshakes: 20, Resumed: 6, AcceptErrors: 8,
				Refused: map[string]uint64{"rate": 11}, Failed: map[string]uint64{"timeout": 12},
			}
		},
		CertificateEnd: func() time.Time { return time.Unix(1_800_000_000, 0) },
		LogLines:       func() admin.LogLines { return admin.LogLines{Dropped: 13, Repeated: 29, Sampled: 30} },
		Revocations: func() admin.Revocations {
			return admin.Revocations{
				Good: 29, Stale: 30, Unverified: 31, Revoked: 32, Denied: 33,
				NextUpdate: time.Unix(1_700_000_000, 0), Reloads: 34, Failed: 35, Failing: true,
			}
		},
		Deny:           new(denyList),
		SessionsAtRest: func() (int, int) { return 22, 23 },
		Overflowed:     func() uint64 { return 31 },
		Memory:         func() admin.Memory { return admin.Memory{Used: 32, Limit: 33, Short: short, Cut: 34} },
	})
}

func get(t *testing.T, h http.Handler, host, path string) (status int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+path, nil))
	data, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(data)
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	a := newAdmin()
	h := a.Handler(false)
	expect := func(status int, body string) {
		t.Helper()
		if s, b := get(t, h, "x", "/readyz"); s != status || b != body+"\n" {
			t.Errorf("/readyz: got %d %q, want %d %q", s, b, status, body)
		}
		if s, b := get(t, h, "x", "/healthz"); s != http.StatusOK || b != "ok\n" {
			t.Errorf("/healthz: got %d %q", s, b)
		}
	}
	expect(http.StatusServiceUnavailable, "starting")
	a.SetPhase(admin.Serving)
	expect(http.StatusOK, "ready")
	a.Reloaded(errors.New("line 3: secrets"))
	expect(http.StatusServiceUnavailable, "the last reload of the configuration failed, and what ran before goes on: the log says why")
	a.Reloaded(nil)
	expect(http.StatusOK, "ready")
	a.SetPhase(admin.Draining)
	expect(http.StatusServiceUnavailable, "draining")
	if ok, failed := a.Reloads(); ok != 1 || failed != 1 {
		t.Errorf("reloads: got %d, %d, want 1, 1", ok, failed)
	}
	a = newAdminOf(true)
	a.SetPhase(admin.Serving)
	h = a.Handler(false)
	expect(http.StatusServiceUnavailable, "memory is short")
}

// So many scrapes at a time are answered, and others told that it is too much.
func TestScrapesAtOnce(t *testing.T) {
	t.Parallel()
	const most = 4
	inside, release := make(chan struct{}, 2*most), make(chan struct{})
	a := admin.New(admin.Config{
		Services: func() []msgbus.ServiceStats {
			inside <- struct{}{}
			<-release
			return nil
		},
		Calls: func() []rpc.ServiceStats { return nil }, Transport: func() admin.Transport { return admin.Transport{} },
		CertificateEnd: time.Now, LogLines: func() admin.LogLines { return admin.LogLines{} }, Memory: func() admin.Memory { return admin.Memory{} },
		SessionsAtRest: func() (int, int) { return 0, 0 }, Overflowed: func() uint64 { return 0 },
	})
	h := a.Handler(false)
	var scrapes sync.WaitGroup
	for range most {
		scrapes.Go(func() {
			if status, _ := get(t, h, "x", "/metrics"); status != http.StatusOK {
				t.Errorf("got %d", status)
			}
		})
	}
	for range most {
		<-inside
	}
	if status, _ := get(t, h, "x", "/metrics"); status != http.StatusServiceUnavailable {
		t.Errorf("one more: got %d, want 503", status)
	}
	close(release)
	scrapes.Wait()
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	status, body := get(t, newAdmin().Handler(false), "x", "/metrics")
	if status != http.StatusOK {
		t.Fatalf("got %d: %s", status, body)
	}
	for want := range strings.Lines(`busd_connections{service="Test/One"} 3
busd_connects_total{service="Test/One"} 5
busd_drops_total{code="going_away",service="Test/One"} 2
busd_drops_total{code="other",service="Test/One"} 4
busd_refused_total{reason="permission_denied",service="Test/One"} 7
busd_refused_total{reason="rate",service=""} 11
busd_messages_total{direction="in",message="Ping",service="Test/One"} 9
busd_messages_total{direction="out",message="Ping",service="Test/One"} 1
busd_message_bytes_total{direction="in",message="Ping",service="Test/One"} 90
busd_messages_failed_total{message="Ping",service="Test/One"} 4
busd_handler_seconds_bucket{message="Ping",service="Test/One",le="1e-05"} 1
busd_handler_seconds_bucket{message="Ping",service="Test/One",le="10"} 3
busd_handler_seconds_bucket{message="Ping",service="Test/One",le="+Inf"} 6
busd_handler_seconds_sum{message="Ping",service="Test/One"} 1.5
busd_handler_seconds_count{message="Ping",service="Test/One"} 6
busd_calls_total{code="ok",method="add",service="Test/One"} 24
busd_calls_total{code="invalid_argument",method="add",service="Test/One"} 25
busd_calls_total{code="unimplemented",method="",service="Test/One"} 28
busd_calls_running{method="add",service="Test/One"} 2
busd_calls_left_behind{method="add",service="Test/One"} 1
busd_call_seconds_sum{method="add",service="Test/One"} 2.5
busd_call_seconds_count{method="add",service="Test/One"} 49
busd_call_bytes_total{direction="in",method="add",service="Test/One"} 26
busd_call_bytes_total{direction="out",method="add",service="Test/One"} 27
busd_sessions{service="Test/One"} 14
busd_sessions_resting 22
busd_sessions_resting_bytes 23
busd_sessions_overflowed_total 31
busd_memory_used_bytes 32
busd_memory_limit_bytes 33
busd_memory_short 0
busd_memory_sessions_cut_total 34
busd_handshakes_computing 3
busd_log_lines_held_total{reason="repeated"} 29
busd_log_lines_held_total{reason="sampled"} 30
busd_sessions_resumed_total{service="Test/One"} 15
busd_sessions_not_resumed_total{reason="expired",service="Test/One"} 16
busd_sessions_not_resumed_total{reason="restarted",service="Test/One"} 17
busd_frames_repeated_total{service="Test/One"} 18
busd_messages_volatile_dropped_total{service="Test/One"} 19
busd_messages_latest_replaced_total{service="Test/One"} 21
busd_queue_bytes{service="Test/One"} 100
busd_queue_bytes_max{service="Test/One"} 60
busd_tcp_connections{state="all"} 10
busd_tcp_connections{state="unauthenticated"} 2
busd_tcp_connections{state="waiting"} 1
busd_handshakes_total{result="ok"} 20
busd_handshakes_total{result="timeout"} 12
busd_handshakes_resumed_total 6
busd_handshakes_in_progress 4
busd_accept_errors_total 8
busd_certificate_not_after_seconds 1.8e+09
busd_certificate_files_failing 1
busd_certificate_reloads_total{result="failed"} 35
busd_certificate_reloads_total{result="ok"} 34
busd_crls{state="good"} 29
busd_crls{state="stale"} 30
busd_crls{state="unverified"} 31
busd_crl_next_update_seconds 1.7e+09
busd_crl_revoked_certificates 32
busd_deny_entries 33
busd_config_reloads_total{result="ok"} 0
busd_config_reloads_total{result="failed"} 0
busd_log_lines_dropped_total 13
`) {
		if !strings.Contains(body, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if !regexp.MustCompile(`busd_build_info\{go_version="go[^"]+",node="n1",revision="abc",version="1.2.3"\} 1`).MatchString(body) {
		t.Error("metrics lack busd_build_info")
	}
	if t.Failed() {
		t.Log(body)
	}
}

// Every metric stands in the operators' handbook, and nothing else does.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	_, body := get(t, newAdmin().Handler(false), "x", "/metrics")
	var exported []string
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (busd_\w+)`).FindAllStringSubmatch(body, -1) {
		exported = append(exported, m[1])
	}
	page, err := os.ReadFile("../../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(busd_\\w+)").FindAllStringSubmatch(string(page), -1) {
		documented = append(documented, m[1])
	}
	slices.Sort(exported)
	slices.Sort(documented)
	if !slices.Equal(exported, documented) {
		t.Errorf("docs/operating.md has\n%s\nand the program\n%s", strings.Join(documented, "\n"), strings.Join(exported, "\n"))
	}
}

func TestLocalListener(t *testing.T) {
	t.Parallel()
	local, open := newAdmin().Handler(true), newAdmin().Handler(false)
	for _, tc := range []struct {
		h          http.Handler
		host, path string
		want       int
	}{
		{local, "127.0.0.1:8444", "/healthz", http.StatusOK},
		{local, "localhost:8444", "/healthz", http.StatusOK},
		{local, "localhost", "/healthz", http.StatusOK},
		{local, "[::1]:8444", "/healthz", http.StatusOK},
		{local, "[::1]", "/healthz", http.StatusOK},
		{local, "evil.example:8444", "/healthz", http.StatusMisdirectedRequest},
		{local, "evil.example:8444", "/debug/pprof/", http.StatusMisdirectedRequest},
		{local, "127.0.0.1:8444", "/debug/pprof/cmdline", http.StatusOK},
		{local, "127.0.0.1:8444", "/debug/pprof/", http.StatusOK},
		{local, "127.0.0.1:8444", "/debug/pprof/goroutine", http.StatusOK},
		{open, "busd.example:8444", "/healthz", http.StatusOK},
		{open, "busd.example:8444", "/debug/pprof/", http.StatusNotFound},
		{open, "busd.example:8444", "/", http.StatusNotFound},
	} {
		if got, _ := get(t, tc.h, tc.host, tc.path); got != tc.want {
			t.Errorf("http://%s%s: got %d, want %d", tc.host, tc.path, got, tc.want)
		}
	}
	w := httptest.NewRecorder()
	open.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://x/healthz", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST /healthz: got %d, want 405", w.Code)
	}
}

// A profile or a trace takes a minute at most, and nothing that is no time.
func TestProfilesAreBrief(t *testing.T) {
	t.Parallel()
	handler := newAdmin().Handler(true)
	for _, seconds := range []string{"86400", "61", "0", "-1", "NaN", "x"} {
		for _, path := range []string{"profile", "trace"} {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost/debug/pprof/"+path+"?seconds="+seconds, nil))
			if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "at most 60") {
				t.Errorf("%s of %s s: got %d %q, want 400", path, seconds, w.Code, w.Body)
			}
		}
	}
}
