package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"
)

// A bench is one run of the harness.
type bench struct {
	scale    scale
	quick    bool           // only the works of the quick scale
	only     *regexp.Regexp // nil: everything; else what matches work/contender
	dir      string         // of the run: certificates, logs
	profiles string         // a directory for profiles of all processes; empty: there are none
	progress io.Writer

	work string // that is measured now
}

// newBench makes the certificates of a run, in a directory that remove removes.
func newBench(s scale, progress io.Writer) (b *bench, remove func(), err error) {
	dir, err := os.MkdirTemp("", "busd-bench-")
	if err != nil {
		return nil, nil, err
	}
	remove = func() { _ = os.RemoveAll(dir) } // in the directory for such
	if _, err := makePKI(dir); err != nil {
		remove()
		return nil, nil, err
	}
	return &bench{scale: s, dir: dir, progress: progress}, remove, nil
}

// wants tells whether a contender is to be measured with a work.
func (b *bench) wants(w *work, c *contender) bool {
	return w.takes(c) && (w.quick || !b.quick) && (b.only == nil || b.only.MatchString(w.name+"/"+c.name))
}

// run measures all that is wanted: work by work, in rounds, and in each round all
// contenders, one after the other, so that the figures of a round are of the
// same minutes. Each round begins with another one. What fails is noted, and
// the run goes on, until ctx ends.
func (b *bench) run(ctx context.Context) *results {
	r := newResults(b.scale)
	for _, w := range works() {
		var takers []*contender
		for _, c := range contenders {
			if b.wants(w, c) {
				takers = append(takers, c)
			}
		}
		rounds := b.scale.Rounds
		if w.rounds > 0 {
			rounds = min(rounds, w.rounds)
		}
		for round := range rounds {
			for i := range takers {
				c := takers[(i+round)%len(takers)]
				s := b.measure(ctx, w, c, round)
				if ctx.Err() != nil { // what was under way was not measured
					r.finish()
					return r
				}
				r.add(s)
			}
		}
	}
	r.finish()
	return r
}

// measure measures a contender once.
func (b *bench) measure(ctx context.Context, w *work, c *contender, round int) sample {
	b.work = w.name
	s := sample{Work: w.name, Contender: c.name, Round: round}
	began := time.Now()
	m, err := w.run(ctx, b, c)
	took := time.Since(began).Round(100 * time.Millisecond)
	if err != nil {
		s.Error = err.Error()
		fmt.Fprintf(b.progress, "%-20s %-14s round %d  failed after %s: %v\n", w.name, c.name, round+1, took, err)
		return s
	}
	s.Metrics = m
	first := w.columns[0]
	fmt.Fprintf(b.progress, "%-20s %-14s round %d  %s %s   (%s)\n", w.name, c.name, round+1, first.unit(m[first.metric]), first.head, took)
	return s
}
