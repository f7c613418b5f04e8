package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"busd/bus"
	"busd/daemon/internal/admin"
)

// adminAnswer bounds how long a server may take to answer, and maxDenied what it
// may say.
const (
	adminAnswer = 30 * time.Second
	maxDenied   = 64 << 20
)

func (p *app) deny() *cobra.Command {
	cmd := &cobra.Command{
		Use: "deny", Short: "certificates that a server on this machine treats as revoked",
		Long: "deny looks at, or changes, the deny list of a running server, at its admin listener.\n" +
			"Whose certificate an entry is true of loses his connections and sessions at once, with\n" +
			"certificate_revoked, and is refused from then on; nobody else notices. The server keeps\n" +
			"what is added here in tls.deny_file; where there is none it is forgotten at a restart.\n" +
			"Entries under tls.deny in the configuration are listed too, and changed there.",
		Example: "  busd deny list\n  busd deny add --cert stolen.crt --note 'laptop lost'\n  busd deny remove --name 'dns:agent-7*'",
		Args:    group, RunE: help,
	}
	cmd.AddCommand(p.denyList(), p.denyChange("add", "/deny", "deny certificates from now on",
		"  busd deny add --cert stolen.crt --note 'laptop lost'\n"+
			"  busd deny add --serial 0a:1b:2c --issuer '/C=ch/O=DIRAC/CN=CA'\n"+
			"  busd deny add --key sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n"+
			"  busd deny add --name 'spiffe://example.org/agent/*'"),
		p.denyChange("remove", "/deny/remove", "deny certificates no more, that deny add has denied",
			"  busd deny remove --cert found.crt\n  busd deny remove --name 'spiffe://example.org/agent/*'"))
	return cmd
}

func (p *app) denyList() *cobra.Command {
	var (
		at     string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use: "list", Short: "list what is denied",
		Long:    "list prints the entries of the deny list, those of the configuration first.",
		Example: "  busd deny list\n  busd deny list --json | jq -r '.entries[].name'",
		Args:    between(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list admin.Denied
			if err := p.askAdmin(cmd.Context(), at, http.MethodGet, "/deny", nil, &list); err != nil {
				return err
			}
			if asJSON {
				return p.printJSON(list)
			}
			return p.printDenied(list)
		},
	}
	adminFlag(cmd, &at)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

func adminFlag(cmd *cobra.Command, at *string) {
	cmd.Flags().StringVar(at, "admin", "", "the server's admin listener, host:port (default: BUSD_ADMIN__ADDRESS, or "+defaultAdmin+")")
}

func (p *app) printDenied(list admin.Denied) error {
	if len(list.Entries) == 0 {
		p.note("nothing is denied")
		return nil
	}
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ENTRY\tSINCE\tNOTE")
	for _, d := range list.Entries {
		since := "configuration"
		if !d.Configured {
			since = d.Added.Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", visible(entryText(d)), since, visible(d.Note))
	}
	return w.Flush()
}

// entryText is an entry in one line.
func entryText(d admin.Denial) string {
	var parts []string
	for _, part := range []detail{{"serial", d.Serial}, {"issuer", d.Issuer}, {"key", d.Key}, {"name", d.Name}} {
		if part.value != "" {
			parts = append(parts, part.name+" "+part.value)
		}
	}
	return strings.Join(parts, ", ")
}

func (p *app) denyChange(use, path, short, example string) *cobra.Command {
	var (
		at, file string
		d        admin.Denial
		asJSON   bool
	)
	cmd := &cobra.Command{
		Use: use, Short: short, Example: example,
		Long: "An entry is true of a certificate, or of one above it, if all that it says is: a serial\n" +
			"number with its issuer, an issuer alone, the hash of a public key, the client's name or\n" +
			"subject, in which * stands for anything. --cert takes serial number and issuer from a file.",
		Args: between(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file != "" {
				if d.Serial != "" || d.Issuer != "" {
					return usage("", "--cert says serial number and issuer: leave out --serial and --issuer")
				}
				c, err := readCertificate(file)
				if err != nil {
					return err
				}
				d.Serial, d.Issuer = c.Serial, c.Issuer
			}
			if entryText(d) == "" {
				return usage("busd deny "+use+" --cert FILE", "say what: --cert, --serial and --issuer, --issuer, --key or --name")
			}
			body, err := json.Marshal(d)
			if err != nil {
				return err
			}
			var came admin.DenyOutcome
			if err := p.askAdmin(cmd.Context(), at, http.MethodPost, path, body, &came); err != nil {
				return err
			}
			if asJSON {
				return p.printJSON(came)
			}
			p.sayDenied(use == "add", came)
			if use == "add" && came.Connections == 0 && d.Name != "" && !strings.ContainsAny(d.Name, ":/*") {
				p.note("names have their kind before them, as dns:%s, unless tls.peer_name pins one kind", d.Name)
			}
			return nil
		},
	}
	adminFlag(cmd, &at)
	cmd.Flags().StringVar(&file, "cert", "", "a certificate file: its serial number and issuer")
	cmd.Flags().StringVar(&d.Serial, "serial", "", "a serial number, in hexadecimal, with --issuer")
	cmd.Flags().StringVar(&d.Issuer, "issuer", "", "an issuer, as busd pki show prints it")
	cmd.Flags().StringVar(&d.Key, "key", "", "the SHA-256 of a public key, sha256:…")
	cmd.Flags().StringVar(&d.Name, "name", "", "a client's name or subject; * stands for anything")
	if use == "add" {
		cmd.Flags().StringVar(&d.Note, "note", "", "why, for people")
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what came of it as a JSON object")
	return cmd
}

// sayDenied says what came of a change.
func (p *app) sayDenied(added bool, came admin.DenyOutcome) {
	switch {
	case added && !came.Changed:
		p.note("that is denied already")
	case added:
		p.note("denied: %s and %s ended", plural(came.Connections, "connection"), plural(came.Sessions, "session"))
	case !came.Changed:
		p.note("there is no such entry")
	default:
		p.note("denied no more")
	}
	if came.Changed && !came.Persistent {
		p.note("the server has no tls.deny_file: it forgets what busd deny adds when it restarts")
	}
}

// askAdmin asks a server's admin listener, and reads its answer into a value.
func (p *app) askAdmin(ctx context.Context, said, method, path string, body []byte, into any) error {
	at, err := adminAddress(said, p.env)
	if err != nil {
		return err
	}
	d := &draining{app: p, at: at}
	ctx, cancel := context.WithTimeout(ctx, adminAnswer)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://"+at+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	// No proxy is between a machine and itself.
	transport := &http.Transport{DialContext: (&net.Dialer{Timeout: adminDial}).DialContext, DisableKeepAlives: true}
	resp, err := transport.RoundTrip(request)
	if err != nil {
		f := d.unreached(ctx, err)
		var known *fault
		if errors.As(f, &known) && len(known.try) > 1 {
			known.try = known.try[:1] // no signal does this
		}
		return f
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return adminRefused(at, resp)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxDenied)).Decode(into); err != nil {
		return &fault{what: "the server at " + at + " gives an answer that cannot be read", cause: bus.Wrap(bus.CodeUnavailable, err, "it is not what busd says"), exit: exitFailed}
	}
	return nil
}

// adminRefused says why a server does not do what it was asked.
func adminRefused(at string, resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // what there is
	f := &fault{what: "the server at " + at + " refuses: " + visible(strings.TrimSpace(string(text))), exit: exitFailed}
	switch resp.StatusCode {
	case http.StatusBadRequest:
		f.exit = exitUsage
	case http.StatusForbidden, http.StatusMisdirectedRequest:
		f.exit, f.try = exitNotAllowed, []string{"busd deny on the server's own machine"}
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		f.what = "what listens at " + at + " is not the admin listener of a busd that has a deny list"
		f.try = []string{"--admin HOST:PORT                 as admin.address in the server's configuration"}
	}
	return f
}
