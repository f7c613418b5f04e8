package admin

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"busd/bus"
	"busd/msgbus"
	"busd/rpc"
)

// collector makes metrics of the numbers when they are asked for, so that
// counting costs the bus nothing more. Labels are names of services, messages,
// codes and reasons that the program knows: a peer cannot make new ones.
type collector struct{ admin *Admin }

func newDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("busd_"+name, help, labels, nil)
}

// The metrics. docs/operating.md lists them, which a test compares.
var (
	build         = newDesc("build_info", "1; the labels say which busd this is", "version", "revision", "go_version", "node")
	connections   = newDesc("connections", "stable connections now", "service")
	connects      = newDesc("connects_total", "clients welcomed", "service")
	drops         = newDesc("drops_total", "stable connections that ended, by the code of the cause", "service", "code")
	refused       = newDesc("refused_total", "connections and requests refused; without a service before TLS, by the listener", "service", "reason")
	messages      = newDesc("messages_total", "messages handled (in) and queued for clients (out)", "service", "message", "direction")
	messageBytes  = newDesc("message_bytes_total", "the same in bytes on the wire", "service", "message", "direction")
	failedOnes    = newDesc("messages_failed_total", "messages that failed, here or at the client", "service", "message")
	handlerTime   = newDesc("handler_seconds", "how long handlers took", "service", "message")
	calls         = newDesc("calls_total", "calls answered, by ok or the code of the error; without a method those of methods that there are not", "service", "method", "code")
	callsRunning  = newDesc("calls_running", "calls that run now", "service", "method")
	callsLeft     = newDesc("calls_left_behind", "of these, those that nobody waits for any more: their time is over, or their caller has gone", "service", "method")
	callTime      = newDesc("call_seconds", "how long calls took", "service", "method")
	callBytes     = newDesc("call_bytes_total", "bytes of calls (in) and of their answers (out)", "service", "method", "direction")
	sessions      = newDesc("sessions", "sessions now, with a connection or without", "service")
	resting       = newDesc("sessions_resting", "sessions now that wait for their clients to come back, all services together")
	restingBytes  = newDesc("sessions_resting_bytes", "what those keep for their clients and of them, in bytes")
	overflowed    = newDesc("sessions_overflowed_total", "sessions that ended while their client was away because they kept too much, or were too many")
	goneOn        = newDesc("sessions_resumed_total", "connections that went on with a session", "service")
	notGoneOn     = newDesc("sessions_not_resumed_total", "connections that asked for a session and got a new one, by the reason that the client was told", "service", "reason")
	repeated      = newDesc("frames_repeated_total", "frames that were written again after a resume", "service")
	volatile      = newDesc("messages_volatile_dropped_total", "messages of class volatile that found no room", "service")
	replaced      = newDesc("messages_latest_replaced_total", "messages of class latest whose place a newer one took", "service")
	queued        = newDesc("queue_bytes", "bytes that wait to be written or acknowledged, all connections together", "service")
	queuedMax     = newDesc("queue_bytes_max", "the same of the connection where it is most", "service")
	tcp           = newDesc("tcp_connections", "open TCP connections now, by state: all, unauthenticated, waiting (for the bounds of their address)", "state")
	handshakes    = newDesc("handshakes_total", "TLS handshakes by result; ok, or why they failed", "result")
	resumed       = newDesc("handshakes_resumed_total", "TLS handshakes that resumed a session, of those that are ok")
	handshaking   = newDesc("handshakes_in_progress", "TLS handshakes now")
	computing     = newDesc("handshakes_computing", "of these, those that compute; the others wait for their client, or for their turn")
	acceptErrors  = newDesc("accept_errors_total", "errors of the operating system when accepting, such as no more open files")
	certificate   = newDesc("certificate_not_after_seconds", "when the server's certificate expires, in seconds since 1970")
	certReloads   = newDesc("certificate_reloads_total", "reloads of certificate, key, CA, CRL and deny files, by result: ok, failed", "result")
	certFailing   = newDesc("certificate_files_failing", "1 while such files cannot be used, and what was there before is; else 0")
	crls          = newDesc("crls", "lists of revoked certificates now, by state: good, stale (out of date), unverified (whose issuer nobody has shown yet)", "state")
	crlNext       = newDesc("crl_next_update_seconds", "when the first list of revoked certificates is out of date, in seconds since 1970; 0: there is none")
	crlRevoked    = newDesc("crl_revoked_certificates", "certificates on the lists of revoked ones")
	denyEntries   = newDesc("deny_entries", "entries of the deny list of certificates")
	configReloads = newDesc("config_reloads_total", "reloads of the configuration, by result: ok, failed", "result")
	memoryUsed    = newDesc("memory_used_bytes", "memory in use that cannot be given back, of what Go's runtime may use")
	memoryLimit   = newDesc("memory_limit_bytes", "what Go's runtime may use; 0: there is no limit")
	memoryShort   = newDesc("memory_short", "1 while memory is short, and new connections and calls are refused; else 0")
	memoryCut     = newDesc("memory_sessions_cut_total", "sessions of slow clients that were given up because memory was short")
	logDropped    = newDesc("log_lines_dropped_total", "log lines that could not be written in time")
	logHeld       = newDesc("log_lines_held_total", "log lines that were not written because there were many like them: of one remote and reason (repeated), of one text (sampled)", "reason")
)

var all = []*prometheus.Desc{
	build, connections, connects, drops, refused, messages, messageBytes, failedOnes, handlerTime,
	calls, callsRunning, callsLeft, callTime, callBytes,
	sessions, resting, restingBytes, overflowed, goneOn, notGoneOn, repeated, volatile, replaced, queued, queuedMax,
	tcp, handshakes, resumed, handshaking, computing, acceptErrors, certificate, certReloads, certFailing,
	crls, crlNext, crlRevoked, denyEntries, configReloads, logDropped, logHeld,
	memoryUsed, memoryLimit, memoryShort, memoryCut,
}

// Describe sends all descriptions.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range all {
		to <- d
	}
}

// Collect sends all numbers.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	e := emitter{to}
	a := c.admin
	e.gauge(build, 1, a.config.Version, a.config.Revision, runtime.Version(), a.config.Node)
	for _, s := range a.Services() {
		e.service(s)
	}
	for _, s := range a.Calls() {
		e.calls(s)
	}
	atRest, kept := a.SessionsAtRest()
	e.gauge(resting, float64(atRest))
	e.gauge(restingBytes, float64(kept))
	e.count(overflowed, a.config.Overflowed())
	e.transport(a.Transport())
	e.gauge(certificate, seconds(a.config.CertificateEnd()))
	if a.config.Revocations != nil {
		e.revocations(a.config.Revocations())
	}
	ok, failed := a.Reloads()
	e.count(configReloads, ok, "ok")
	e.count(configReloads, failed, "failed")
	lines := a.config.LogLines()
	e.count(logDropped, lines.Dropped)
	e.count(logHeld, lines.Repeated, "repeated")
	e.count(logHeld, lines.Sampled, "sampled")
	e.memory(a.config.Memory())
}

func (e emitter) memory(m Memory) {
	e.gauge(memoryUsed, float64(m.Used))
	e.gauge(memoryLimit, float64(m.Limit))
	short := 0.0
	if m.Short {
		short = 1
	}
	e.gauge(memoryShort, short)
	e.count(memoryCut, m.Cut)
}

func (e emitter) revocations(r Revocations) {
	e.count(certReloads, r.Reloads, "ok")
	e.count(certReloads, r.Failed, "failed")
	failing := 0.0
	if r.Failing {
		failing = 1
	}
	e.gauge(certFailing, failing)
	e.gauge(crls, float64(r.Good), "good")
	e.gauge(crls, float64(r.Stale), "stale")
	e.gauge(crls, float64(r.Unverified), "unverified")
	next := 0.0
	if !r.NextUpdate.IsZero() {
		next = seconds(r.NextUpdate)
	}
	e.gauge(crlNext, next)
	e.gauge(crlRevoked, float64(r.Revoked))
	e.gauge(denyEntries, float64(r.Denied))
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

type emitter struct{ to chan<- prometheus.Metric }

func (e emitter) gauge(d *prometheus.Desc, v float64, labels ...string) {
	e.to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (e emitter) count(d *prometheus.Desc, n uint64, labels ...string) {
	e.to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func (e emitter) service(s msgbus.ServiceStats) {
	e.gauge(connections, float64(s.Conns), s.Service)
	e.count(connects, s.Connects, s.Service)
	for code, n := range byName(s.Dropped) {
		e.count(drops, n, s.Service, code)
	}
	for code, n := range byName(s.Refused) {
		e.count(refused, n, s.Service, code)
	}
	e.gauge(sessions, float64(s.Sessions), s.Service)
	e.count(goneOn, s.Resumed, s.Service)
	for reason, n := range s.NotResumed {
		e.count(notGoneOn, n, s.Service, reason)
	}
	e.count(repeated, s.Repeated, s.Service)
	e.count(volatile, s.Volatile, s.Service)
	e.count(replaced, s.Replaced, s.Service)
	e.gauge(queued, float64(s.Queued), s.Service)
	e.gauge(queuedMax, float64(s.QueuedMax), s.Service)
	for _, m := range s.Messages {
		e.count(messages, m.In, s.Service, m.Message, "in")
		e.count(messages, m.Out, s.Service, m.Message, "out")
		e.count(messageBytes, m.InBytes, s.Service, m.Message, "in")
		e.count(messageBytes, m.OutBytes, s.Service, m.Message, "out")
		e.count(failedOnes, m.Failed, s.Service, m.Message)
		e.latency(s.Service, m)
	}
}

func (e emitter) calls(s rpc.ServiceStats) {
	for _, m := range s.Methods {
		var count uint64
		for code, n := range m.Calls {
			e.count(calls, n, s.Service, m.Method, code)
			count += n
		}
		e.gauge(callsRunning, float64(m.Running), s.Service, m.Method)
		e.gauge(callsLeft, float64(m.LeftBehind), s.Service, m.Method)
		e.to <- prometheus.MustNewConstSummary(callTime, count, m.Seconds, nil, s.Service, m.Method)
		e.count(callBytes, m.BytesIn, s.Service, m.Method, "in")
		e.count(callBytes, m.BytesOut, s.Service, m.Method, "out")
	}
}

// otherCode stands for the codes that have no name: a peer may send any
// number.
const otherCode = "other"

func byName(counts map[bus.Code]uint64) map[string]uint64 {
	named := map[string]uint64{}
	for code, n := range counts {
		name := code.String()
		if _, known := bus.ParseCode(name); !known {
			name = otherCode
		}
		named[name] += n
	}
	return named
}

func (e emitter) latency(service string, m msgbus.MessageStats) {
	buckets := make(map[float64]uint64, len(msgbus.LatencyBounds))
	var count uint64
	for i, bound := range msgbus.LatencyBounds {
		count += m.Latency[i]
		buckets[bound] = count
	}
	count += m.Latency[len(msgbus.LatencyBounds)]
	e.to <- prometheus.MustNewConstHistogram(handlerTime, count, m.LatencySum.Seconds(), buckets, service, m.Message)
}

func (e emitter) transport(t Transport) {
	e.gauge(tcp, float64(t.Open), "all")
	e.gauge(tcp, float64(t.Unauthenticated), "unauthenticated")
	e.gauge(tcp, float64(t.Waiting), "waiting")
	e.gauge(handshaking, float64(t.Handshaking))
	e.gauge(computing, float64(t.Computing))
	e.count(handshakes, t.Handshakes, "ok")
	for reason, n := range t.Failed {
		e.count(handshakes, n, reason)
	}
	e.count(resumed, t.Resumed)
	e.count(acceptErrors, t.AcceptErrors)
	for reason, n := range t.Refused {
		e.count(refused, n, "", reason)
	}
}
