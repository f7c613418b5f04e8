package main

import (
	"encoding/json"
	"os"
	"slices"
	"time"
)

// A sample is what one measurement of a contender brought.
type sample struct {
	Work      string  `json:"work"`
	Contender string  `json:"contender"`
	Round     int     `json:"round"`
	Metrics   metrics `json:"metrics,omitempty"`
	Error     string  `json:"error,omitempty"`
}

// results are what a run brought, and where.
type results struct {
	Machine  machine   `json:"machine"`
	Began    time.Time `json:"began"`
	Ended    time.Time `json:"ended"`
	LoadThen string    `json:"load_then"` // of the machine, before and after
	LoadNow  string    `json:"load_now"`
	Scale    scale     `json:"scale"`
	Samples  []sample  `json:"samples"`
}

func newResults(s scale) *results {
	return &results{Machine: thisMachine(), Began: time.Now(), LoadThen: loadAverage(), Scale: s}
}

func (r *results) add(s sample) { r.Samples = append(r.Samples, s) }

func (r *results) finish() { r.Ended, r.LoadNow = time.Now(), loadAverage() }

// write writes all of it into a file, as JSON.
func (r *results) write(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644) //nolint:gosec // G306: for everybody to read
}

// values returns a contender's metric by round; what failed is missing.
func (r *results) values(work, contender, metric string) map[int]float64 {
	values := map[int]float64{}
	for _, s := range r.Samples {
		if v, ok := s.Metrics[metric]; ok && s.Work == work && s.Contender == contender {
			values[s.Round] = v
		}
	}
	return values
}

// summary summarises a contender's metric over the rounds.
func (r *results) summary(work, contender, metric string) (summary, bool) {
	var list []float64
	for _, v := range r.values(work, contender, metric) {
		list = append(list, v)
	}
	return summarise(list)
}

// ratio summarises how many times the one's metric is the other's, of rounds in
// which both were measured.
func (r *results) ratio(work, metric, one, other string) (summary, bool) {
	var list []float64
	others := r.values(work, other, metric)
	for round, v := range r.values(work, one, metric) {
		if o, ok := others[round]; ok && o != 0 {
			list = append(list, v/o)
		}
	}
	return summarise(list)
}

// measured returns who has results of a work, in the order of contenders.
func (r *results) measured(work string) []*contender {
	var list []*contender
	for _, c := range contenders {
		if slices.ContainsFunc(r.Samples, func(s sample) bool { return s.Work == work && s.Contender == c.name && s.Error == "" }) {
			list = append(list, c)
		}
	}
	return list
}

// failed returns the samples that brought nothing.
func (r *results) failed() []sample {
	var list []sample
	for _, s := range r.Samples {
		if s.Error != "" {
			list = append(list, s)
		}
	}
	return list
}
