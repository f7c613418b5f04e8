package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"busd/msgclient"
	"busd/schema"
	"busd/schema/apidoc"
	"busd/schema/schemafile"
)

func (p *app) schema() *cobra.Command {
	cmd := &cobra.Command{
		Use: "schema", Short: "look at contracts, check and compare them",
		Example: "  busd schema show Framework/PingPong\n  busd schema check pingpong.yaml\n  busd schema diff old.yaml new.yaml",
		Args:    group, RunE: help,
	}
	cmd.AddCommand(
		p.schemaShow(), p.schemaCheck(), p.schemaDiff(),
		p.schemaDocument("openapi", "the OpenAPI 3.1 document of a service's methods", apidoc.OpenAPI),
		p.schemaDocument("asyncapi", "the AsyncAPI 3.0 document of a service's messages", apidoc.AsyncAPI),
	)
	return cmd
}

func (p *app) schemaShow() *cobra.Command {
	var (
		t      target
		asJSON bool
	)
	cmd := &cobra.Command{
		Use: "show URL|FILE", Short: "show a contract, of a running service or in a file",
		Long: "show prints a contract for people, or with --json as the document that travels\n" +
			"between busd's ends; saved as a .json file it can be checked and compared.",
		Example: "  busd schema show Framework/PingPong\n" +
			"  busd schema show pingpong.yaml\n" +
			"  busd schema show localhost:8443/Framework/PingPong --json > pingpong.json",
		Args: between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := p.contract(cmd.Context(), t, args[0])
			if err != nil {
				return err
			}
			if !asJSON {
				return printSchema(p.out, s)
			}
			var b bytes.Buffer
			if err := json.Indent(&b, s.JSON(), "", "  "); err != nil {
				return err
			}
			b.WriteByte('\n')
			return p.printText(b.String())
		},
	}
	t.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the contract's JSON document")
	return cmd
}

func (p *app) schemaDiff() *cobra.Command {
	var (
		t      target
		asJSON bool
	)
	cmd := &cobra.Command{
		Use: "diff OLD NEW", Short: "compare two contracts; ends with 1 if the change breaks clients",
		Long: "diff says what changed from OLD to NEW, files or URLs of running services, and which\n" +
			"changes break a client that was built against OLD and meets NEW. It ends with 1 if\n" +
			"one does.",
		Example: "  busd schema diff old.yaml new.yaml\n" +
			"  busd schema diff bus.example.org:8443/Framework/PingPong pingpong.yaml",
		Args: between(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			before, err := p.contract(cmd.Context(), t, args[0])
			if err != nil {
				return err
			}
			after, err := p.contract(cmd.Context(), t, args[1])
			if err != nil {
				return err
			}
			changes := schema.Diff(before, after)
			if asJSON {
				err = p.printJSON(changesOf(changes))
			} else {
				err = printChanges(p.out, changes)
			}
			if err == nil && schema.Breaking(changes) {
				err = &fault{what: "the change breaks clients", exit: exitFailed}
			}
			return err
		},
	}
	t.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the changes as a JSON list")
	return cmd
}

// contract reads a contract from a file or from the service at a URL. t is a
// copy: each of two services is asked for itself.
func (p *app) contract(ctx context.Context, t target, where string) (*schema.Schema, error) {
	if isFile(where) {
		return contractIn(where)
	}
	if _, err := address(where, ""); err != nil && !strings.Contains(where, "://") {
		return nil, &fault{
			what: "there is no file " + where + ", and it is no service either", exit: exitNotFound,
			try: []string{"a service is written as " + wantAddress},
		}
	}
	if err := t.complete(where, p.env); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	var s *schema.Schema
	err := p.visit(ctx, &t, func(_ context.Context, c *msgclient.Client) error {
		s = c.Contract()
		return nil
	})
	return s, err
}

// contractIn reads a contract from a file.
func contractIn(path string) (*schema.Schema, error) {
	s, err := schemafile.Load(path)
	switch {
	case cannotRead(path, err):
		return nil, unreadable(path, err)
	case err != nil:
		return nil, &fault{what: path + " is not a contract that can be used:\n" + err.Error(), exit: exitFailed}
	}
	return s, nil
}

// isFile tells whether what is said is a file, and not the address of a service.
func isFile(where string) bool {
	extension := strings.ToLower(filepath.Ext(where))
	if slices.Contains([]string{".yaml", ".yml", ".json"}, extension) || strings.HasPrefix(where, ".") || filepath.IsAbs(where) {
		return true
	}
	return schema.CheckService(where) != nil && !strings.Contains(where, "://") && exists(where)
}

// cannotRead tells whether err is about reading the file, and not about what
// stands in it.
func cannotRead(path string, err error) bool {
	var failed *fs.PathError
	return errors.As(err, &failed) && failed.Path == path
}

// unreadable says that a file cannot be read.
func unreadable(path string, err error) error {
	f := &fault{what: path + " cannot be read", exit: exitFailed}
	var failed *fs.PathError
	if errors.As(err, &failed) {
		f.cause = failed.Err
	}
	switch {
	case errors.Is(err, syscall.EISDIR):
		f.what, f.cause = path+" is a directory, not a file", nil
	case errors.Is(err, fs.ErrNotExist):
		f.what, f.cause, f.exit = "there is no file "+path, nil, exitNotFound
	case errors.Is(err, fs.ErrPermission):
		f.what, f.cause, f.exit = "the file "+path+" may not be read by you", nil, exitNotAllowed
	}
	return f
}
