package doctor

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"busd/internal/ws"
)

const (
	// pings is how often the way there and back is measured.
	pings = 5
	// slow is a way there and back that people notice.
	slow = 500 * time.Millisecond
)

// ping measures the way to the service and back, by WebSocket pings. It tells
// whether they were answered.
func (e *examination) ping(ctx context.Context, sock *ws.Socket) bool {
	pongs := make(chan string, pings)
	sock.Handle(func(payload string) { _ = sock.Pong(payload) }, func(payload string) { // a line that is broken ends the reading
		select {
		case pongs <- payload:
		default: // more than were asked for
		}
	})
	sock.Limit(maxWelcome, (pings+1)*e.Timeout, time.Now().Add((pings+1)*e.Timeout)) // measure has a closer look at the time
	var reader sync.WaitGroup
	broken := make(chan error, 1)
	reader.Go(func() { // ends with Interrupt
		for {
			if _, err := sock.Read(); err != nil { // what the service sends is not for us
				broken <- err
				return
			}
		}
	})
	times, err := e.measure(ctx, sock, pongs, broken)
	sock.Interrupt()
	reader.Wait()
	if err != nil {
		e.fail(StepLatency, "latency_none", "pings are not answered: "+reasonOf(err)+"; clients drop such a connection after a while",
			"if a proxy is in between: does it pass WebSocket frames on both ways?")
		return false
	}
	e.find(judgeLatency(times))
	return true
}

// judgeLatency says what a way takes that was measured some times.
func judgeLatency(times []time.Duration) Finding {
	slices.Sort(times)
	middle := times[len(times)/2]
	f := Finding{
		Step: StepLatency, Level: OK, Code: "latency_good",
		Seen: fmt.Sprintf("%s there and back (median of %d pings; %s to %s)", short(middle), len(times), short(times[0]), short(times[len(times)-1])),
	}
	if middle >= slow {
		f.Level, f.Code = Warn, "latency_high"
		f.Seen += ": requests will take as long"
		f.Try = []string{"look at the network between, or for a server that is nearer"}
	}
	return f
}

// measure sends pings, one after the other.
func (e *examination) measure(ctx context.Context, sock *ws.Socket, pongs <-chan string, broken <-chan error) ([]time.Duration, error) {
	var times []time.Duration
	timer := time.NewTimer(e.Timeout)
	defer timer.Stop()
	for i := range pings {
		began := time.Now()
		if err := sock.Ping(strconv.Itoa(i)); err != nil {
			return nil, err
		}
		timer.Reset(e.Timeout)
		select {
		case payload := <-pongs:
			if payload != strconv.Itoa(i) {
				return nil, fmt.Errorf("another answer came than was asked for")
			}
			times = append(times, time.Since(began))
		case err := <-broken:
			return nil, err
		case <-timer.C:
			return nil, fmt.Errorf("nothing came in %s", e.Timeout)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return times, nil
}
