package main

import (
	"fmt"
	"io"
)

// A mark is a figure that busd is to reach: by itself, or divided by a peer's of
// the same round.
type mark struct {
	work, metric string
	contender    string
	peer         string // empty: the figure stands for itself
	// of reads another figure than the metric, called text; false: it was not
	// measured.
	of   func(r *results) (summary, bool)
	text string
	// limit must be reached, or, if most is set, not be exceeded; ambition is what we
	// would like, 0: no more than that.
	limit, ambition float64
	most            bool
	// full: it means something at the full scale only.
	full bool
}

// marks are the figures that were set before busd was measured.
var marks = []mark{
	ratioMark("echo-16-1", "rate", "grpc", 6, 8),
	ratioMark("echo-16-1", "rate", "nats-ws", 5, 0),
	ratioMark("echo-16-1", "rate", "tls", 0.3, 0.5),
	atMost(ratioMark("echo-16-1", "cpu", "grpc", 1.0/7, 0)),
	ratioMark("echo-256-16", "rate", "grpc", 5, 7),
	ratioMark("echo-256-16", "rate", "nats-ws", 5, 7),
	ratioMark("one-way-256-1", "rate", "grpc", 4, 6),
	ratioMark("one-way-256-1", "rate", "nats-ws", 5, 6),
	ratioMark("one-way-4K-1", "rate", "grpc", 1.5, 2),
	ratioMark("one-way-4K-1", "rate", "tls", 0.7, 0),
	ratioMark("ping-pong", "rate", "grpc", 1.5, 1.8),
	ratioMark("ping-pong", "rate", "nats-ws", 2, 0),
	ratioMark("ping-pong", "rate", "tls", 0.65, 0.85),
	atMost(ratioMark("ping-pong", "p99", "gorilla", 1, 0)),
	atFullScale(ratioMark("fan-out-1", "rate", "grpc", 2, 0)),
	atFullScale(ratioMark("fan-out-1", "rate", "nats-ws", 1.1, 0)),
	atFullScale(ratioMark("fan-out-40", "rate", "grpc", 3.5, 0)),
	atFullScale(ratioMark("fan-out-40", "rate", "nats-ws", 1.8, 0)),
	atFullScale(atMost(figureMark("idle", "rss", 24<<10, 18<<10))),
	atFullScale(atMost(ratioMark("idle", "rss", "nats-ws", 0.6, 0))),
	atFullScale(atMost(ratioMark("idle", "rss", "grpc", 0.5, 0))),
	atFullScale(atMost(figureMark("idle", "cpu", 2, 1))),
	ratioMark("handshakes-full", "rate", "tls", 0.85, 0.95),
	ratioMark("handshakes-resumed", "rate", "tls", 0.85, 0.95),
	atFullScale(atMost(mark{
		work: "storm", metric: "all", contender: busdContender.name, peer: floorContender.name, limit: 1.3, ambition: 1.1,
		of: stormToHandshakes, text: "all are back, ÷ what raw TLS needs for as many resumed handshakes",
	})),
	atFullScale(atMost(figureMark("storm", "p99", 1e6, 0))),
	atMost(figureMark("codec", "allocs", 0, 0)),
	atMost(figureMark("codec", "check_decode_1", 60, 40)),
	atMost(figureMark("codec", "check_decode_12", 600, 400)),
	{work: "calls", metric: "rate", contender: "busd-post", peer: "http", limit: 0.85, ambition: 0.95},
	{work: "calls", metric: "rate", contender: "busd-wss", peer: "busd-post", limit: 5, ambition: 10},
}

// ratioMark is about busd's metric, divided by a peer's.
func ratioMark(work, metric, peer string, limit, ambition float64) mark {
	return mark{work: work, metric: metric, contender: busdContender.name, peer: peer, limit: limit, ambition: ambition}
}

// figureMark is about busd's metric itself.
func figureMark(work, metric string, limit, ambition float64) mark {
	return mark{work: work, metric: metric, contender: busdContender.name, limit: limit, ambition: ambition}
}

// atMost makes a mark one that is reached from above.
func atMost(m mark) mark {
	m.most = true
	return m
}

// atFullScale makes a mark one that a smaller run says nothing about.
func atFullScale(m mark) mark {
	m.full = true
	return m
}

// stormToHandshakes divides the time that busd's clients needed by what their
// number needs at the rate at which raw TLS resumes.
func stormToHandshakes(r *results) (summary, bool) {
	took, ok := r.summary("storm", busdContender.name, "all")
	rate, known := r.summary("handshakes-resumed", floorContender.name, "rate")
	if !ok || !known {
		return summary{}, false
	}
	allowed := float64(r.Scale.Storm) / rate.Median
	return summary{
		Median: took.Median / allowed, Min: took.Min / allowed, Max: took.Max / allowed,
		Low: took.Low / allowed, High: took.High / allowed, Count: took.Count,
	}, true
}

// figure reads the figure of a run; false: it was not measured.
func (m mark) figure(r *results) (summary, bool) {
	switch {
	case m.of != nil:
		return m.of(r)
	case m.peer != "":
		return r.ratio(m.work, m.metric, m.contender, m.peer)
	}
	return r.summary(m.work, m.contender, m.metric)
}

// column is the one of the mark's metric, and the title of its work.
func (m mark) column() (title string, c column) {
	for _, w := range works() {
		for _, c := range w.columns {
			if w.name == m.work && c.metric == m.metric {
				return w.title, c
			}
		}
	}
	panic(fmt.Sprintf("there is no metric %s of work %s", m.metric, m.work)) // our own mistake
}

func (m mark) unit() unit {
	if m.peer != "" {
		return times
	}
	_, c := m.column()
	return c.unit
}

// verdict says what came of a mark.
func (m mark) verdict(r *results) (figure, verdict string) {
	s, ok := m.figure(r)
	if !ok {
		return "", "not measured"
	}
	figure = spread(s, m.unit())
	switch {
	case m.full && r.Scale.Idle < fullScale.Idle:
		return figure, "wants the full run"
	case !m.reached(s.Median, m.limit):
		return figure, "NOT REACHED"
	case m.ambition != 0 && m.reached(s.Median, m.ambition):
		return figure, "reached, and the ambition"
	}
	return figure, "reached"
}

func (m mark) reached(v, limit float64) bool {
	if m.most {
		return v <= limit
	}
	return v >= limit
}

// wanted writes what a mark wants.
func (m mark) wanted() (limit, ambition string) {
	sign, u := "≥ ", m.unit()
	if m.most {
		sign = "≤ "
	}
	if m.ambition != 0 {
		ambition = sign + u(m.ambition)
	}
	return sign + u(m.limit), ambition
}

// about says what a mark is about.
func (m mark) about() (title, figure string) {
	title, c := m.column()
	switch {
	case m.text != "":
		return title, m.text
	case m.peer != "":
		return title, fmt.Sprintf("%s, %s ÷ %s", c.head, m.contender, m.peer)
	}
	return title, c.head
}

// marksTable says of each mark what was reached.
func marksTable(r *results) table {
	t := table{head: []string{"work", "figure", "median (least – most)", "mark", "ambition", "verdict"}}
	for _, m := range marks {
		figure, verdict := m.verdict(r)
		limit, ambition := m.wanted()
		title, about := m.about()
		t.rows = append(t.rows, []string{title, about, figure, limit, ambition, verdict})
	}
	return t
}

// writeMarks writes it for a terminal.
func writeMarks(r *results, w io.Writer) error {
	fmt.Fprintln(w)
	return marksTable(r).text(w)
}
