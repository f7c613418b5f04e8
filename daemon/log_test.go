package daemon

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"busd/bus"
	"busd/daemon/internal/config"
)

func TestFloodsOfOneRemote(t *testing.T) {
	t.Parallel()
	inner, seen := observer.New(zapcore.InfoLevel)
	floods := newFloods()
	core := &floodCore{inner, floods}
	begin := time.Now()
	say := func(after time.Duration, remote, message string, more ...zap.Field) {
		fields := append([]zap.Field{zap.String("remote", remote)}, more...)
		if err := core.Write(zapcore.Entry{Message: message, Time: begin.Add(after)}, fields); err != nil {
			t.Fatal(err)
		}
	}
	timeout, rate := zap.String("reason", "timeout"), zap.String("reason", "rate")
	for i := range 100 {
		say(0, fmt.Sprintf("192.0.2.1:%d", i), "refused", timeout)
	}
	say(0, "192.0.2.1:1", "refused", rate)    // another reason
	say(0, "192.0.2.2:1", "refused", timeout) // another remote
	err := bus.Errorf(bus.CodePermissionDenied, "no")
	for range 5 {
		say(0, "192.0.2.1:1", "refused", zap.NamedError("reason", err), zap.Stringer("code", bus.CodeOf(err)))
		say(0, "192.0.2.1:1", "connection opened") // no failure
	}
	if got := seen.Len(); got != 4+5 || floods.held.Load() != 99+4 {
		t.Errorf("got %d lines, %d held, want 9 and 103: %v", got, floods.held.Load(), seen.All())
	}
	seen.TakeAll()
	say(floodPause, "192.0.2.1:1", "refused", timeout)
	say(floodPause, "192.0.2.1:1", "refused", timeout)
	lines := seen.TakeAll()
	if len(lines) != 1 || lines[0].ContextMap()["repeated"] != int64(99) {
		t.Errorf("got %v, want one line with repeated 99", lines)
	}
}

func TestFloodsOfMany(t *testing.T) {
	t.Parallel()
	f := newFloods()
	now := time.Now()
	written := 0
	for i := range 3 * maxFloods {
		if _, write := f.look(flood{"refused", fmt.Sprint(i), "timeout"}, now); write {
			written++
		}
	}
	if len(f.seen) > maxFloods+1 || written > maxFloods+1 {
		t.Errorf("remembers %d, wrote %d, want at most %d", len(f.seen), written, maxFloods+1)
	}
	if _, write := f.look(flood{"refused", "new", "timeout"}, now.Add(floodPause)); !write || len(f.seen) > 2 {
		t.Errorf("after the pause: written %v, remembers %d", write, len(f.seen))
	}
}

// stuck is a log that nobody reads, until it is released.
type stuck struct {
	release chan struct{}
	buffer  bytes.Buffer
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.release
	return s.buffer.Write(p)
}

func TestLogNobodyReads(t *testing.T) {
	t.Parallel()
	s := &stuck{release: make(chan struct{})}
	l := newLogs(s, config.Log{Level: "info", Format: "json"})
	text := strings.Repeat("x", 10_000)
	for range 300 { // 3 MB
		l.Info("a line", zap.String("text", text))
	}
	dropped := l.writer.dropped.Load()
	if dropped < 50 || dropped > 250 {
		t.Errorf("dropped %d of 300 lines, want what is beyond 1 MiB", dropped)
	}
	close(s.release)
	l.close()
	<-l.writer.ended
	if got, want := s.buffer.String(), fmt.Sprintf("busd: %d log lines dropped: they were not read in time\n", dropped); !strings.Contains(got, want) {
		t.Errorf("the log does not end with %q", want)
	}
	if got := strings.Count(s.buffer.String(), text); got != int(300-dropped) {
		t.Errorf("wrote %d lines, want %d", got, 300-dropped)
	}
}

// Of many lines of one text in a second some are written, and the others counted.
func TestManyLinesOfOneText(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := newLogs(&out, config.Log{Level: "info", Format: "json"})
	const lines = 20_000
	for range lines {
		l.Info("x")
	}
	l.close()
	<-l.writer.ended
	written, n := strings.Count(out.String(), `"msg":"x"`), l.lines()
	if n.Dropped != 0 || written+int(n.Sampled) != lines || n.Sampled == 0 || written < lineBurst {
		t.Errorf("%d of %d written, %+v; want %d at least, and the others counted as sampled", written, lines, n, lineBurst)
	}
}

func TestLogLevelAndFormat(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := newLogs(&out, config.Log{Level: "warn", Format: "console"})
	l.Info("unwanted")
	l.setLevel("info")
	l.Info("wanted", zap.Duration("duration", 2*time.Second))
	l.close()
	if got := out.String(); strings.Contains(got, "unwanted") || !strings.Contains(got, "wanted") || !strings.Contains(got, `"2s"`) {
		t.Errorf("got %q", got)
	}
	l.Info("too late")
	if got := l.writer.dropped.Load(); got != 1 {
		t.Errorf("dropped %d lines after close, want 1", got)
	}
}

func BenchmarkLog(b *testing.B) {
	l := newLogs(io.Discard, config.Log{Level: "info", Format: "json"})
	defer l.close()
	for b.Loop() {
		l.Info("connection opened", zap.String("remote", "192.0.2.1:1"), zap.String("service", "Test/One"))
	}
}
