package rpc

import (
	"errors"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"busd/bus"
	"busd/internal/keys"
)

// ServiceStats are what was counted of one service since it was made.
type ServiceStats struct {
	Service string
	// Running is how many calls run now, those left behind included.
	Running int
	Methods []MethodStats
}

// MethodStats are what was counted of one method.
type MethodStats struct {
	// Method is its name; empty: all calls of methods that there are not.
	Method string
	// Calls counts answers by their outcome: "ok", or the code's word.
	Calls map[string]uint64
	// Running is how many run now; LeftBehind how many of these nobody waits for
	// any more.
	Running, LeftBehind int
	// Seconds is how long all answers took together; BytesIn and BytesOut what the
	// calls' bodies brought and took.
	Seconds           float64
	BytesIn, BytesOut uint64
}

// methodStats are counters.
type methodStats struct {
	answers    [maxCode + 1]atomic.Uint64 // by code; 0 is ok
	leftBehind atomic.Int64
	took       atomic.Int64 // nanoseconds
	in, out    atomic.Uint64
}

// maxCode bounds the codes that are told apart in the counters; those above count
// as unknown.
const maxCode = 95

// An outcome is what came of a call, when it has been answered.
type outcome struct {
	// method is nil where there is none of that name; request has its name as
	// asked for, and must then not be trusted.
	method  *Method
	request *Request
	// err is nil, a *refusal, a *bus.Error (the caller was not let in) or an *Error.
	err error
	// status is HTTP's; 0: it came over a stable connection.
	status  int
	took    time.Duration
	in, out int64 // bytes of the bodies
}

// code is that of the error; 0: none.
func (o *outcome) code() bus.Code {
	if o.err == nil { // else own would be an allocation for nothing
		return 0
	}
	var own *Error
	if errors.As(o.err, &own) {
		return own.code()
	}
	return bus.CodeOf(o.err)
}

// answered counts a call and writes its line to the log.
func (s *Service) answered(o outcome) {
	code := o.code()
	c := &s.unknown
	if o.method != nil {
		c = &o.method.stats
	}
	if code > maxCode {
		c.answers[bus.CodeUnknown].Add(1)
	} else {
		c.answers[code].Add(1)
	}
	c.took.Add(int64(o.took))
	c.in.Add(uint64(max(o.in, 0)))
	c.out.Add(uint64(max(o.out, 0)))
	s.log(&o, code)
}

// maxLogged bounds a name in the log that somebody chose who is not trusted, in
// bytes.
const maxLogged = 64

// log writes the line of a call: what failed here and its caller was not told is a
// warning.
func (s *Service) log(o *outcome, code bus.Code) {
	level, cause := zap.InfoLevel, untold(o.err)
	if cause != nil {
		level = zap.WarnLevel
	}
	entry := s.bound().cfg.Logger.Check(level, "call answered")
	if entry == nil {
		return
	}
	r := o.request
	method := r.Method
	if len(method) > maxLogged {
		method = method[:maxLogged]
	}
	outcome := "ok"
	if code != 0 {
		outcome = code.String()
	}
	fields := append(make([]zap.Field, 0, 14), keys.Service(s.name), zap.String("method", method), zap.String("request", r.ID),
		zap.String("code", outcome), keys.Duration(o.took), zap.Int64("in", o.in), zap.Int64("out", o.out))
	if o.status != 0 {
		fields = append(fields, zap.Int("status", o.status))
	}
	if r.Remote != "" {
		fields = append(fields, keys.Remote(r.Remote))
	}
	if r.Caller != nil && !r.Caller.Nobody() {
		fields = append(fields, keys.Peer(r.Caller.Peer))
	}
	if g := r.Grant; g != nil {
		fields = append(fields, zap.String("user", g.User), zap.String("group", g.Group))
		if g.ForwardedBy != "" {
			fields = append(fields, zap.String("forwarded_by", g.ForwardedBy))
		}
	}
	if cause != nil {
		fields = append(fields, keys.Reason(cause))
	}
	entry.Write(fields...)
}

// untold is what is known of a failure, and its caller was not told; nil: nothing.
func untold(err error) error {
	if err == nil {
		return nil
	}
	var own *Error
	if errors.As(err, &own) {
		return own.cause
	}
	if b := (*bus.Error)(nil); errors.As(err, &b) && b != nil {
		return b.Cause
	}
	return nil
}

// Stats returns what was counted, of each service.
func (s *Server) Stats() []ServiceStats {
	all := make([]ServiceStats, len(s.order))
	for i, svc := range s.order {
		all[i] = svc.Stats()
	}
	return all
}

// Stats returns what was counted since the service was made, by HTTPS and over
// stable connections together.
func (s *Service) Stats() ServiceStats {
	stats := ServiceStats{Service: s.name, Running: int(s.running.Load())}
	for _, m := range s.order {
		read := m.stats.read(m.name)
		read.Running = int(m.running.Load())
		stats.Methods = append(stats.Methods, read)
	}
	if unknown := s.unknown.read(""); len(unknown.Calls) > 0 {
		stats.Methods = append(stats.Methods, unknown)
	}
	return stats
}

func (c *methodStats) read(name string) MethodStats {
	stats := MethodStats{
		Method: name, Calls: map[string]uint64{}, LeftBehind: int(c.leftBehind.Load()),
		Seconds: time.Duration(c.took.Load()).Seconds(), BytesIn: c.in.Load(), BytesOut: c.out.Load(),
	}
	for code := range c.answers {
		switch n := c.answers[code].Load(); {
		case n == 0:
		case code == 0:
			stats.Calls["ok"] = n
		default:
			stats.Calls[bus.Code(code).String()] = n
		}
	}
	return stats
}
