package cli

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"busd/schema"
	"busd/schema/apidoc"
)

// schemaDocument is a command that writes a contract for the tools of others.
func (p *app) schemaDocument(name, what string, write func(*schema.Schema, apidoc.Place) []byte) *cobra.Command {
	var (
		t            target
		server, file string
	)
	cmd := &cobra.Command{
		Use: name + " URL|FILE", Short: "write " + what,
		Long: name + " writes " + what + ", in JSON.\n" +
			"Of a running service it says the address; --server says another.",
		Example: "  busd schema " + name + " Framework/PingPong --output pingpong.json\n" +
			"  busd schema " + name + " pingpong.yaml --server bus.example.org:8443",
		Args: between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := p.contract(cmd.Context(), t, args[0])
			if err != nil {
				return err
			}
			at := server
			if at == "" {
				at = serverOf(args[0], p.env)
			} else if at, err = parse(at); err != nil {
				return err
			}
			b := write(s, apidoc.Place{Host: strings.TrimPrefix(at, "wss://"), Version: Version})
			if file != "" {
				return os.WriteFile(file, b, 0o644) //nolint:gosec // it holds nothing secret
			}
			return p.printText(string(b))
		},
	}
	t.flags(cmd)
	cmd.Flags().StringVar(&server, "server", "", "host:port that the document names (default: where the contract was asked for)")
	cmd.Flags().StringVarP(&file, "output", "o", "", "file to write (default: standard output)")
	return cmd
}

// serverOf is the address of a running service; empty for a file.
func serverOf(where string, env func(string) string) string {
	if isFile(where) {
		return ""
	}
	at, err := address(where, env("BUSD_URL"))
	if err != nil {
		return ""
	}
	return at[:strings.LastIndex(at[:strings.LastIndex(at, "/")], "/")]
}
