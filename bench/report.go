package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The report stands between these two lines of a document.
const (
	reportBegin = "<!-- bench: begin -->"
	reportEnd   = "<!-- bench: end -->"
)

// writeReport puts the report of a run into a document: in place of the last one,
// or at the end.
func writeReport(r *results, file string, plots map[string]string) error {
	document, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir := filepath.Dir(file)
	images := map[string]string{}
	for work, path := range plots {
		if images[work], err = relative(dir, path); err != nil {
			return err
		}
	}
	text := placed(string(document), report(r, images))
	return os.WriteFile(file, []byte(text), 0o644) //nolint:gosec // G306: for everybody to read
}

// relative is a path as seen from a directory.
func relative(dir, path string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", err
	}
	seen, err := filepath.Rel(dir, path)
	return filepath.ToSlash(seen), err
}

// placed puts a report into a document.
func placed(document, text string) string {
	text = reportBegin + "\n" + text + reportEnd + "\n"
	before, rest, begins := strings.Cut(document, reportBegin)
	_, after, ends := strings.Cut(rest, reportEnd)
	switch {
	case begins && ends:
		return before + text + strings.TrimPrefix(after, "\n")
	case document == "":
		return text
	}
	return strings.TrimRight(document, "\n") + "\n\n" + text
}

// report is what a run brought, in Markdown. images are the plots, by work.
func report(r *results, images map[string]string) string {
	var out strings.Builder
	out.WriteString("## busd and its peers\n\n" + circumstances(r) + "\n" + howToRead + "\n### Who\n\n" + flushLeft(cast(r)) +
		"\n### Marks\n\n" + flushLeft(marksTable(r)))
	for _, w := range works() {
		if len(r.measured(w.name)) == 0 {
			continue
		}
		fmt.Fprintf(&out, "\n### %s\n\n%s\n\n", w.title, w.about)
		if image := images[w.name]; image != "" {
			fmt.Fprintf(&out, "![%s](%s)\n\n", w.title, image)
		}
		out.WriteString(tableOf(r, w).markdown())
	}
	if failed := r.failed(); len(failed) > 0 {
		out.WriteString("\n### What failed\n\n")
		for _, s := range failed {
			first, _, _ := strings.Cut(s.Error, "\n")
			fmt.Fprintf(&out, "- %s, %s, round %d: %s\n", s.Work, s.Contender, s.Round+1, first)
		}
	}
	return out.String()
}

const howToRead = `Server and clients are two processes on one machine, over loopback, so that both share its cores. All use TLS 1.3 with ECDSA P-256 certificates
on both sides, each client with its own, from many addresses. Everybody who offers to send several messages together does so; messages carry the same
bytes for all, and busd's a number beside them. A figure is the median of the rounds, in brackets the least and the most; each round measures all contenders one
after the other. Ratios are medians of the ratios of a round. CPU is of the whole process, user and system.
`

// circumstances say where and when.
func circumstances(r *results) string {
	m := r.Machine
	var versions []string
	for module, version := range m.Modules {
		versions = append(versions, module+" "+version)
	}
	slices.Sort(versions)
	return fmt.Sprintf("%s; %d cores of %s, %s of memory, %s, %s. Rounds: %d, of %s each. Load of the machine %s before and %s after (%s).\n%s.\n",
		r.Began.UTC().Format(time.DateOnly), m.Cores, m.CPU, gibi(m.Memory), m.Kernel, m.Go, r.Scale.Rounds, r.Scale.Span.Measure, r.LoadThen, r.LoadNow,
		r.Ended.Sub(r.Began).Round(time.Second), strings.Join(versions, ", "))
}

func gibi(bytes uint64) string { return digits(float64(bytes)/(1<<30)) + " GiB" }

// cast says who took part, and what each does and does not do.
func cast(r *results) table {
	t := table{head: []string{"", "how it is used", "what it does not do", "what it sends together"}}
	for _, c := range contenders {
		if slices.ContainsFunc(r.Samples, func(s sample) bool { return s.Contender == c.name }) {
			t.rows = append(t.rows, []string{c.title + " (" + c.name + ")", c.does, c.lacks, c.batches})
		}
	}
	return t
}

// flushLeft is a table of words.
func flushLeft(t table) string { return strings.ReplaceAll(t.markdown(), "---:", "---") }
