package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A unit writes a figure for people.
type unit func(v float64) string

// perSecond writes rates: 899 k, 1.77 M.
func perSecond(v float64) string {
	switch {
	case v >= 1e6:
		return digits(v/1e6) + " M"
	case v >= 10e3:
		return digits(v/1e3) + " k"
	}
	return thousands(v)
}

// micros writes microseconds without their name, for columns that say it.
func micros(v float64) string { return digits(v) }

// nanos writes nanoseconds.
func nanos(v float64) string { return digits(v) + " ns" }

// latency writes a time that is given in microseconds.
func latency(v float64) string {
	switch {
	case v >= 1e6:
		return digits(v/1e6) + " s"
	case v >= 1e3:
		return digits(v/1e3) + " ms"
	}
	return digits(v) + " µs"
}

func seconds(v float64) string { return digits(v) + " s" }

// kibi writes bytes in KiB.
func kibi(v float64) string { return digits(v/1024) + " KiB" }

func percent(v float64) string { return digits(v) + " %" }

func plainNumber(v float64) string { return digits(v) }

// times writes a ratio.
func times(v float64) string { return digits(v) + " ×" }

// digits writes three digits, or all before the point.
func digits(v float64) string {
	switch size := math.Abs(v); {
	case size >= 1000:
		return thousands(v)
	case size >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case size >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case size >= 0.1 || size == 0:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}

// thousands writes a whole number with commas.
func thousands(v float64) string {
	text := strconv.FormatFloat(math.Abs(v), 'f', 0, 64)
	var out strings.Builder
	for i, r := range text {
		if i > 0 && (len(text)-i)%3 == 0 {
			out.WriteByte(',')
		}
		out.WriteRune(r)
	}
	if v < 0 {
		return "-" + out.String()
	}
	return out.String()
}

// spread writes a median and the least and the most of several.
func spread(s summary, u unit) string {
	if s.Count == 1 {
		return u(s.Median)
	}
	return fmt.Sprintf("%s (%s – %s)", u(s.Median), u(s.Min), u(s.Max))
}
