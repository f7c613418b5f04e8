package main

import "testing"

func TestSummarise(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		list []float64
		want summary
	}{
		{"one", []float64{7}, summary{Median: 7, Min: 7, Max: 7, Low: 7, High: 7, Count: 1}},
		{"two", []float64{3, 1}, summary{Median: 2, Min: 1, Max: 3, Low: 1.5, High: 2.5, Count: 2}},
		{"five, in no order", []float64{50, 10, 30, 20, 40}, summary{Median: 30, Min: 10, Max: 50, Low: 20, High: 40, Count: 5}},
		{"one that is far off", []float64{1, 1, 1, 1, 1000}, summary{Median: 1, Min: 1, Max: 1000, Low: 1, High: 1, Count: 5}},
	} {
		if got, ok := summarise(tt.list); !ok || got != tt.want {
			t.Errorf("%s: got %+v, %t, want %+v", tt.name, got, ok, tt.want)
		}
	}
	if s, ok := summarise(nil); ok {
		t.Errorf("nothing: got %+v", s)
	}
}

func TestSummariseKeepsTheList(t *testing.T) {
	t.Parallel()
	list := []float64{3, 1, 2}
	summarise(list)
	if list[0] != 3 || list[1] != 1 || list[2] != 2 {
		t.Errorf("it is now %v", list)
	}
}
