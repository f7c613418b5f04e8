package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// A table is a head and rows of cells.
type table struct {
	head []string
	rows [][]string
}

// markdown writes the table as Markdown has it; all columns but the first are
// flush right.
func (t table) markdown() string {
	var out strings.Builder
	line := func(cells []string) {
		out.WriteString("| " + strings.Join(cells, " | ") + " |\n")
	}
	line(escaped(t.head))
	rule := []string{"---"}
	for range t.head[1:] {
		rule = append(rule, "---:")
	}
	line(rule)
	for _, row := range t.rows {
		line(escaped(row))
	}
	return out.String()
}

// escaped keeps text from being taken for the edge of a cell.
func escaped(cells []string) []string {
	list := make([]string, len(cells))
	for i, c := range cells {
		list[i] = strings.ReplaceAll(c, "|", `\|`)
	}
	return list
}

// text writes the table for a terminal.
func (t table) text(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{t.head}, t.rows...) {
		fmt.Fprintln(out, strings.Join(row, "\t"))
	}
	return out.Flush()
}

// tableOf makes the table of a work: a row for each contender; the first metric
// with its spread, the others by their medians, and how many times the first
// busd has.
func tableOf(r *results, w *work) table {
	first, subject, who := w.columns[0], subjectOf(w), r.measured(w.name)
	t := table{head: []string{"", first.head}}
	compares := len(who) > 1
	if compares {
		t.head = append(t.head, subject.title+" ÷ it")
	}
	for _, c := range w.columns[1:] {
		t.head = append(t.head, c.head)
	}
	for _, c := range who {
		row := []string{c.title, ""}
		if s, ok := r.summary(w.name, c.name, first.metric); ok {
			row[1] = spread(s, first.unit)
		}
		if compares {
			cell := ""
			if s, ok := r.ratio(w.name, first.metric, subject.name, c.name); ok && c != subject {
				cell = digits(s.Median)
			}
			row = append(row, cell)
		}
		for _, col := range w.columns[1:] {
			cell := ""
			if s, ok := r.summary(w.name, c.name, col.metric); ok {
				cell = col.unit(s.Median)
			}
			row = append(row, cell)
		}
		t.rows = append(t.rows, row)
	}
	return t
}

// subjectOf is the contender that the others of a work are compared with.
func subjectOf(w *work) *contender {
	if w.takes(busdContender) {
		return busdContender
	}
	return busdPostContender
}

// writeTables writes the tables of all works for a terminal.
func writeTables(r *results, w io.Writer) error {
	for _, k := range works() {
		if len(r.measured(k.name)) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s (%s)\n", k.title, k.name)
		if err := tableOf(r, k).text(w); err != nil {
			return err
		}
	}
	return nil
}
