package main

import (
	"strings"
	"testing"
)

func TestTableAsMarkdown(t *testing.T) {
	t.Parallel()
	got := table{head: []string{"who", "rate"}, rows: [][]string{{"a|b", "1 k"}, {"c", ""}}}.markdown()
	want := "| who | rate |\n| --- | ---: |\n| a\\|b | 1 k |\n| c |  |\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestTableOf(t *testing.T) {
	t.Parallel()
	got := tableOf(sampleResults(), echoWork(1, tinyMessage)).markdown()
	for _, want := range []string{
		"|  | messages/s | busd ÷ it | CPU of both, µs each |",
		"| raw TLS, coalesced | 2.00 M (1.80 M – 8.00 M) | 0.40 | 0.50 |",
		"| grpc-go, bidirectional stream | 95.0 k (90.0 k – 100 k) | 8.00 |",
		"| busd | 800 k (720 k – 3.20 M) |  |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("want %q in\n%s", want, got)
		}
	}
}

func TestTableOfOneComparesNothing(t *testing.T) {
	t.Parallel()
	if got := tableOf(sampleResults(), stormWork()).markdown(); strings.Contains(got, "÷") {
		t.Errorf("got\n%s", got)
	}
}
