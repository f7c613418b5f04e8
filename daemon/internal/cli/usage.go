package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"busd/internal/nearest"
)

// group is for commands that only have others under them: what is left over is
// a command that there is not.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return unknown(cmd, cmd.CommandPath(), args[0])
}

// unknown says that there is no such command under cmd, and which is meant;
// path is what was typed before it.
func unknown(cmd *cobra.Command, path, name string) error {
	f := usage(cmd.CommandPath()+" --help", "%sthere is no command %q", place(cmd), name)
	var known []string
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			known = append(known, c.Name())
		}
	}
	if near := nearest.Word(name, known); near != "" {
		f.try = []string{path + " " + near}
	}
	return f
}

// helpCommand is cobra's, but for an error where there is nothing to explain.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "explain a command",
		Example: "  busd help\n  busd help pki issue\n  busd help exit-codes",
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, rest, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				path := strings.TrimSpace("busd help " + strings.TrimSuffix(place(topic), ": "))
				return unknown(topic, path, rest[0])
			}
			topic.InitDefaultHelpFlag()
			return topic.Help()
		},
	}
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

// wants says what the values of a flag's type look like.
var wants = map[string]string{
	"int":      "a whole number",
	"duration": "a time with its unit, such as 10s or 2m",
	"bool":     "true or false",
}

// flagFault says what is wrong with a flag, and which was meant.
func flagFault(cmd *cobra.Command, err error) error {
	f := usage(cmd.CommandPath()+" --help", "%s%s", place(cmd), err)
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		flag := invalid.GetFlag()
		if want := wants[flag.Value.Type()]; want != "" {
			f.what = fmt.Sprintf("%s--%s %s: want %s", place(cmd), flag.Name, invalid.GetValue(), want)
		}
		return f
	}
	var short *pflag.NotExistError
	if errors.As(err, &short) && strings.Trim(short.GetSpecifiedShortnames(), "0123456789.") == "" && short.GetSpecifiedShortnames() != "" {
		f.try = append(f.try, fmt.Sprintf("%s … -- -%s     -- ends the flags, before a negative number", cmd.CommandPath(), short.GetSpecifiedShortnames()))
		return f
	}
	name, unknown := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !unknown {
		return f
	}
	var known []string
	cmd.Flags().VisitAll(func(flag *pflag.Flag) { known = append(known, flag.Name) })
	if near := nearest.Word(name, known); near != "" {
		f.try = []string{cmd.CommandPath() + " --" + near}
	}
	return f
}
