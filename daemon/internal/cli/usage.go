package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// group is for commands that only have others under them: what is left over is
// a command that there is not.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	f := usage(cmd.CommandPath()+" --help", "%sthere is no command %q", place(cmd), args[0])
	var known []string
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			known = append(known, c.Name())
		}
	}
	if near := nearest(args[0], known); near != "" {
		f.try = []string{cmd.CommandPath() + " " + near}
	}
	return f
}

// place is the command as the beginning of a sentence: "pki issue: ".
func place(cmd *cobra.Command) string {
	if _, path, found := strings.Cut(cmd.CommandPath(), " "); found {
		return path + ": "
	}
	return ""
}

// between wants so many arguments, named as in the command's usage line.
func between(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usage(cmd.CommandPath()+" --help", "%swant more arguments: %s", place(cmd), cmd.UseLine())
		case most >= 0 && len(args) > most:
			return usage(cmd.CommandPath()+" --help", "%s%q is one argument too many: %s", place(cmd), args[most], cmd.UseLine())
		}
		return nil
	}
}

// flagFault says what is wrong with a flag, and which was meant.
func flagFault(cmd *cobra.Command, err error) error {
	text := err.Error()
	f := &fault{what: place(cmd) + text, exit: exitUsage, try: []string{cmd.CommandPath() + " --help"}}
	name, unknown := strings.CutPrefix(text, "unknown flag: --")
	if !unknown {
		return f
	}
	var known []string
	cmd.Flags().VisitAll(func(flag *pflag.Flag) { known = append(known, flag.Name) })
	if near := nearest(name, known); near != "" {
		f.try = []string{cmd.CommandPath() + " --" + near}
	}
	return f
}

// nearest returns which of known is most like word, at most a third of its
// letters apart, or "".
func nearest(word string, known []string) string {
	best, least := "", len(word)/3+2
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance counts the letters to add, remove or change between a and b.
func distance(a, b string) int {
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := last[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, last[j+1]+1, row[j]+1)
		}
		last = row
	}
	return last[len(b)]
}
