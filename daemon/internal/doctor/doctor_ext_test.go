package doctor_test

import (
	"context"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"busd/bus"
	"busd/daemon/internal/doctor"
	"busd/internal/mtls"
	"busd/msgbus"
	"busd/msgclient"
)

// elsewhere are codes that this machine's network does not make at will; they are
// tested by their errors.
var elsewhere = []doctor.Code{"tcp_unreachable", "tcp_failed", "latency_high"}

// TestSituations makes each situation for real, and asks what the doctor says.
func TestSituations(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	met := map[doctor.Code]bool{}
	t.Run("all", func(t *testing.T) {
		for _, s := range slices.Concat(ownSituations(), wayThere(), serverSituations(), upgradeSituations(), helloSituations()) {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				report := examine(t, s.set(w))
				mu.Lock()
				for _, f := range report.Findings {
					met[f.Code] = true
				}
				mu.Unlock()
				s.check(t, report)
			})
		}
	})
	for _, kind := range doctor.Codes() {
		if !met[kind.Code] && !slices.Contains(elsewhere, kind.Code) {
			t.Errorf("no situation leads to %s", kind.Code)
		}
		delete(met, kind.Code)
	}
	if len(met) > 0 {
		t.Errorf("codes that are not listed: %v", slices.Collect(maps.Keys(met)))
	}
}

func examine(t *testing.T, o doctor.Options) *doctor.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	report, err := doctor.Examine(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func (s *situation) check(t *testing.T, report *doctor.Report) {
	t.Helper()
	var codes []string
	var said strings.Builder
	for _, f := range report.Findings {
		if f.Level == doctor.OK {
			continue
		}
		codes = append(codes, string(f.Code))
		said.WriteString(f.Seen + "\n" + strings.Join(f.Try, "\n") + "\n")
	}
	if got := strings.Join(codes, " "); got != s.want {
		t.Errorf("got findings %s, want %s:\n%s", got, s.want, &said)
	}
	for _, part := range s.says {
		if !strings.Contains(said.String(), part) {
			t.Errorf("nothing says %q:\n%s", part, &said)
		}
	}
	failed, means := report.Failed()
	if (failed == nil) != report.Good || means != s.exit {
		t.Errorf("good %t, means %s, want %s", report.Good, means, s.exit)
	}
	if strings.Contains(said.String(), "PRIVATE KEY") {
		t.Error("a secret is said")
	}
}

// A report names the steps that were not reached, and tells findings as they come.
func TestReport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options(w.nobody())
	var told []doctor.Code
	o.Report = func(f doctor.Finding) { told = append(told, f.Code) }
	report := examine(t, o)
	want := []doctor.Step{
		doctor.StepTLS, doctor.StepServer, doctor.StepAccepted, doctor.StepUpgrade, doctor.StepHello, doctor.StepContract, doctor.StepLatency,
	}
	if !slices.Equal(report.NotTried, want) {
		t.Errorf("not tried: got %v, want %v", report.NotTried, want)
	}
	if !slices.Equal(told, []doctor.Code{"url_good", "own_good", "ca_good", "name_not_needed", "tcp_refused"}) {
		t.Errorf("told: %v", told)
	}
}

// An examination ends with its context, wherever it is.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	reached := make(chan struct{}, 10)
	addr := w.raw(func(c net.Conn) { reached <- struct{}{}; mute(c) })
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-reached
		<-reached // TCP alone was the first
		cancel()
	}()
	o := w.options(addr)
	o.Timeout = time.Minute
	began := time.Now()
	if _, err := doctor.Examine(ctx, o); err == nil || time.Since(began) > 20*time.Second {
		t.Errorf("got %v after %s, want that it was interrupted at once", err, time.Since(began))
	}
}

// A doctor's visit ends nobody's connection, whatever identities are made of.
func TestDoesNoHarm(t *testing.T) {
	t.Parallel()
	for _, identity := range []msgbus.IdentityPolicy{msgbus.PerClient, msgbus.PerCertificate} {
		w := newWorld(t)
		came := make(chan bus.Identity, 10)
		addr := w.web(w.conf(w.server.TLS(), mtls.Policy{}), w.bus(func(s *msgbus.Service) {
			s.Identity = identity
			s.OnConnect = func(_ context.Context, c *msgbus.Conn) error {
				came <- c.Identity()
				return nil
			}
		}))
		o := w.options(addr)
		dropped := make(chan error, 1)
		c, err := msgclient.New(msgclient.Config{
			URL: o.URL, CertFile: o.Cert, KeyFile: o.Key, CAFiles: o.CA, Instance: "live",
			OnDrop: func(_ context.Context, _ *msgclient.Client, why error) { dropped <- why },
		})
		w.must(err)
		w.must(c.Connect(t.Context()))
		<-came
		report := examine(t, o)
		if !report.Good {
			t.Errorf("identity policy %d: %+v", identity, report.Findings)
		}
		if identity == msgbus.PerCertificate && len(came) > 0 {
			t.Errorf("the doctor connected as %s, in the place of a client", <-came)
		}
		if identity == msgbus.PerClient {
			if who := <-came; !strings.HasPrefix(string(who), "dns:agent/doctor-") {
				t.Errorf("the doctor connected as %s", who)
			}
		}
		select {
		case why := <-dropped:
			t.Errorf("identity policy %d: the client was dropped: %v", identity, why)
		default:
		}
		if !c.Connected() {
			t.Errorf("identity policy %d: the client is gone", identity)
		}
		w.must(c.Close(t.Context()))
	}
}

// TestDocumented holds the documentation to the codes.
func TestDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "doctor.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range doctor.Codes() {
		if strings.Count(string(page), "\n| `"+string(kind.Code)+"` |") != 1 {
			t.Errorf("docs/doctor.md: want one row for `%s`", kind.Code)
		}
	}
	if rows := strings.Count(string(page), "\n| `"); rows != len(doctor.Codes()) {
		t.Errorf("docs/doctor.md has %d rows, there are %d codes", rows, len(doctor.Codes()))
	}
}
