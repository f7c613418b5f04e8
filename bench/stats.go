package main

import "slices"

// A summary is what several measurements of one thing say.
type summary struct {
	Median, Min, Max float64
	// Low and High are the quartiles.
	Low, High float64
	Count     int
}

// summarise summarises a list; false: it is empty.
func summarise(list []float64) (summary, bool) {
	if len(list) == 0 {
		return summary{}, false
	}
	s := slices.Clone(list)
	slices.Sort(s)
	return summary{
		Median: quantile(s, 0.5), Min: s[0], Max: s[len(s)-1],
		Low: quantile(s, 0.25), High: quantile(s, 0.75), Count: len(s),
	}, true
}

// quantile returns the value below which the part q of a sorted list is, between
// two values in proportion.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	below := int(at)
	if below+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	part := at - float64(below)
	return sorted[below]*(1-part) + sorted[below+1]*part
}
