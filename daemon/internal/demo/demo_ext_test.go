package demo_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"busd/bus"
	"busd/daemon/internal/demo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRunShowsItAll(t *testing.T) {
	t.Parallel()
	for _, live := range []bool{false, true} {
		var out bytes.Buffer
		sum, err := demo.Run(t.Context(), demo.Options{Agents: 2, For: 1200 * time.Millisecond, Out: &out, Live: live, Colour: live})
		if err != nil {
			t.Fatalf("live=%v: %v\n%s", live, err, &out)
		}
		if sum.Agents != 2 || sum.RoundTrips < 100 || sum.Errors != 0 || sum.Seconds < 1.2 || sum.P50 <= 0 || sum.P99 < sum.P50 {
			t.Errorf("live=%v: got %+v", live, sum)
		}
		if sum.Reconnects != 1 || sum.Resumed != 1 || sum.Moved != 2 || sum.Lost != 0 || sum.Doubled != 0 || sum.Repeated == 0 {
			t.Errorf("live=%v: got %+v, want one session that goes on, two moves and nothing lost or doubled", live, sum)
		}
		last := 0
		for _, want := range []string{
			"agent-2: its TCP line is cut now", "agent-2: lost its connection (unavailable", "agent-2: connected again after",
			"its session goes on, still dns:agent-2/demo", "a second one listens at its address", "agent-2: moved to the second server",
			"2 of 2 agents moved, and none was cut off",
		} {
			at := strings.Index(out.String()[last:], want)
			if at < 0 {
				t.Fatalf("live=%v: %q is missing after %q in\n%s", live, want, out.String()[:last], &out)
			}
			last += at
		}
		for _, want := range []string{"agent-2: all 2000 answers came, ", " of them written again, 0 lost, 0 doubled", "agent-1: moved to the second server", "round trips/s"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("live=%v: %q is missing in\n%s", live, want, &out)
			}
		}
		if escaped := strings.Contains(out.String(), "\x1b["); escaped != live {
			t.Errorf("live=%v: escape sequences: %v", live, escaped)
		}
	}
}

// A game that ends with the first interval still shows how fast it was.
func TestRunShowsShortGames(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if _, err := demo.Run(t.Context(), demo.Options{Agents: 1, For: demo.MinFor, Out: &out}); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, "round trips/s") || !strings.Contains(got, "both sides, 1 agent\n") {
		t.Errorf("want the rate and 1 agent, got\n%s", got)
	}
}

func TestRunUntilTold(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	sum, err := demo.Run(ctx, demo.Options{Agents: 1})
	if err != nil || sum.RoundTrips == 0 || sum.Reconnects != 0 {
		t.Errorf("got %+v, %v", sum, err)
	}
}

func TestRunRefusesNonsense(t *testing.T) {
	t.Parallel()
	for _, o := range []demo.Options{{Agents: -1}, {Agents: demo.MaxAgents + 1}, {For: time.Millisecond}, {For: -time.Second}} {
		if _, err := demo.Run(t.Context(), o); bus.CodeOf(err) != bus.CodeInvalidArgument {
			t.Errorf("%+v: got %v, want invalid_argument", o, err)
		}
	}
}
