package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"busd/schema"
	"busd/schema/schemafile"
)

// A checked is what came of checking a contract, for programs.
type checked struct {
	File        string          `json:"file"`
	Good        bool            `json:"good"`
	Service     string          `json:"service,omitempty"`
	Fingerprint string          `json:"fingerprint,omitempty"`
	Faults      []contractFault `json:"faults,omitempty"`
}

// A contractFault is one thing that is wrong in a contract; line and column
// count from 1, and are left out if it has no place.
type contractFault struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Reason string `json:"reason"`
}

func (p *app) schemaCheck() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "check FILE...", Short: "check contracts in files and report all faults",
		Long: "check reads contracts, YAML or JSON, and those that they extend, and prints every\n" +
			"fault with its place. It ends with 1 if there is one.",
		Example: "  busd schema check pingpong.yaml\n  busd schema check *.yaml --json",
		Args:    between(1, -1),
		RunE: func(_ *cobra.Command, args []string) error {
			return p.checkContracts(args, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON list with an object for each file")
	return cmd
}

func (p *app) checkContracts(paths []string, asJSON bool) error {
	var all []checked
	var failed []string
	for _, path := range paths {
		s, err := schemafile.Load(path)
		if cannotRead(path, err) {
			return unreadable(path, err)
		}
		if err != nil {
			failed = append(failed, path)
		}
		switch {
		case asJSON && err != nil:
			all = append(all, checked{File: path, Faults: contractFaults(path, err)})
		case asJSON:
			all = append(all, checked{File: path, Good: true, Service: s.Service(), Fingerprint: s.Fingerprint()})
		case err != nil:
			fmt.Fprintln(p.err, err)
		default:
			fmt.Fprintf(p.out, "%s: good: %s, %s, %s\n", path, s.Service(), size(s), s.Fingerprint())
		}
	}
	if asJSON {
		if err := p.printJSON(all); err != nil {
			return err
		}
	}
	if failed != nil {
		return &fault{what: "not a contract that can be used: " + strings.Join(failed, ", "), exit: exitFailed}
	}
	return nil
}

// contractFaults takes apart what is wrong with the contract in a file.
func contractFaults(file string, err error) []contractFault {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		var all []contractFault
		for _, one := range joined.Unwrap() {
			all = append(all, contractFaults(file, one)...)
		}
		return all
	}
	var placed *schemafile.Fault
	var bare *schema.Fault
	switch {
	case errors.As(err, &placed):
		return []contractFault{{File: placed.File, Line: placed.Line, Column: placed.Column, Reason: placed.Reason}}
	case errors.As(err, &bare):
		return []contractFault{{File: file, Reason: bare.Error()}}
	}
	return []contractFault{{File: file, Reason: err.Error()}}
}
