package cli

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"busd/internal/mtls"
)

// maxDays bounds validities: a hundred years.
const maxDays = 36500

func (p *app) pki() *cobra.Command {
	cmd := &cobra.Command{
		Use: "pki", Short: "make and look at certificates, for development and small fleets",
		Example: "  busd pki init\n" +
			"  busd pki issue server bus.example.org\n" +
			"  busd pki issue client agent-7\n" +
			"  busd pki show .busd/client-agent-7.crt\n" +
			"  busd pki renew .busd/client-agent-7.crt\n" +
			"  busd pki revoke .busd/client-agent-7.crt && busd pki crl",
		Args: group, RunE: help,
	}
	issue := &cobra.Command{
		Use: "issue", Short: "make a certificate and its key",
		Example: "  busd pki issue server bus.example.org --ip 192.0.2.7\n  busd pki issue client agent-7",
		Args:    group, RunE: help,
	}
	issue.AddCommand(p.pkiServer(), p.pkiClient())
	cmd.AddCommand(p.pkiInit(), issue, p.pkiShow(), p.pkiRenew(), p.pkiRevoke(), p.pkiCRL())
	return cmd
}

func (p *app) pkiInit() *cobra.Command {
	var (
		dir, name string
		days      int
		force     bool
	)
	cmd := &cobra.Command{
		Use: "init", Short: "make a certificate authority",
		Long: "init makes a CA: ca.crt, which everybody may know, and ca.key, which makes whoever\n" +
			"has it anybody (mode 0600).",
		Example: "  busd pki init\n  busd pki init --dir /etc/busd/pki --name \"example.org bus CA\" --days 1825",
		Args:    between(0, 0),
		RunE: func(*cobra.Command, []string) error {
			validity, err := validityOf(days)
			if err != nil {
				return err
			}
			ca, err := mtls.NewAuthority(name, validity)
			if err != nil {
				return err
			}
			key, err := ca.KeyPEM()
			if err != nil {
				return err
			}
			files := []mtls.File{
				{Path: filepath.Join(dir, "ca.crt"), Data: ca.CertPEM()},
				{Path: filepath.Join(dir, "ca.key"), Data: key, Secret: true},
			}
			if !exists(dir) { // keys have no business in a repository; a directory that is there is its owner's affair
				files = append(files, mtls.File{Path: filepath.Join(dir, ".gitignore"), Data: []byte("*\n")})
			}
			if err := p.write(force, files, fmt.Sprintf("CA %q, until %s", name, ca.Certificate().NotAfter.Format(time.DateOnly))); err != nil {
				return err
			}
			p.next("busd pki issue server "+hostname()+" --dns localhost --ip 127.0.0.1"+inDir(dir), "busd pki issue client "+devClient+inDir(dir))
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "dir", devDir, "where the files go")
	cmd.Flags().StringVar(&name, "name", "busd CA", "the CA's name (its CN)")
	cmd.Flags().IntVar(&days, "days", 3650, "how long it is valid")
	cmd.Flags().BoolVar(&force, "force", false, "replace a CA that is there; what it signed is worth nothing then")
	return cmd
}

// issuing is what the certificates of servers and clients have in common.
type issuing struct {
	dir, out string
	days     int
	force    bool
	request  mtls.Request
	subject  *pflag.Flag
	kind     string // "server" or "client": the beginning of the files' names
}

func (i *issuing) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&i.dir, "dir", devDir, "where the CA is (ca.crt, ca.key), and the files go")
	cmd.Flags().StringVar(&i.out, "out", "", "the files' path without .crt and .key (default: "+i.kind+"-NAME under --dir)")
	cmd.Flags().IntVar(&i.days, "days", 365, "how long it is valid; never longer than the CA")
	cmd.Flags().BoolVar(&i.force, "force", false, "replace files that are there")
	cmd.Flags().StringSliceVar(&i.request.DNS, "dns", nil, "a DNS name in the certificate")
	cmd.Flags().StringVar(&i.request.Subject, "subject", "", "the whole subject, such as /C=ch/O=DIRAC/CN=alice (default: /CN=NAME)")
	i.subject = cmd.Flags().Lookup("subject")
}

func (p *app) pkiServer() *cobra.Command {
	i := issuing{kind: "server", request: mtls.Request{Server: true}}
	var ips []string
	cmd := &cobra.Command{
		Use: "server NAME", Short: "make a server's certificate",
		Long: "server makes a certificate for a server. NAME is its host name or address, and is in\n" +
			"the certificate beside those of --dns and --ip: clients check that they reached it.",
		Example: "  busd pki issue server bus.example.org\n" +
			"  busd pki issue server bus.example.org --dns localhost --ip 127.0.0.1 --client\n" +
			"  busd pki issue server bus.example.org --out /etc/busd/tls/server",
		Args: between(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			for _, text := range ips {
				ip := net.ParseIP(text)
				if ip == nil {
					return usage("", "--ip %s: want an address such as 192.0.2.7", text)
				}
				i.request.IPs = append(i.request.IPs, ip)
			}
			if ip := net.ParseIP(args[0]); ip != nil {
				i.request.IPs = append(i.request.IPs, ip)
			} else {
				i.request.DNS = append([]string{args[0]}, i.request.DNS...)
			}
			return p.issue(&i, args[0])
		},
	}
	i.flags(cmd)
	cmd.Flags().StringSliceVar(&ips, "ip", nil, "an address in the certificate")
	cmd.Flags().BoolVar(&i.request.Client, "client", false, "it may be used as a client's, too")
	return cmd
}

func (p *app) pkiClient() *cobra.Command {
	i := issuing{kind: "client", request: mtls.Request{Client: true}}
	cmd := &cobra.Command{
		Use: "client NAME", Short: "make a client's certificate",
		Long: "client makes a certificate for a client. Services know the client by the name in it,\n" +
			"of the first kind that it has: SPIFFE ID, URI, DNS name, e-mail address. Without --dns,\n" +
			"--uri and --email NAME itself is that name: a URI if it has ://, an e-mail address if it\n" +
			"has @, else a DNS name, so that \"agent-7\" connects as dns:agent-7. The subject is\n" +
			"/CN=NAME, or what --subject says, in the form in which DIRAC and busd pki show write it.",
		Example: "  busd pki issue client agent-7\n" +
			"  busd pki issue client agent-7 --uri spiffe://example.org/agent/7\n" +
			"  busd pki issue client alice --subject /C=ch/O=DIRAC/CN=alice\n" +
			"  busd pki issue client agent-7 --days 30 --out /etc/busd/tls/agent-7",
		Args: between(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			r, name := &i.request, args[0]
			switch {
			case len(r.DNS)+len(r.URIs)+len(r.Emails) > 0:
			case strings.Contains(name, "://"):
				r.URIs = []string{name}
			case strings.Contains(name, "@"):
				r.Emails = []string{name}
			default:
				r.DNS = []string{name}
			}
			return p.issue(&i, name)
		},
	}
	i.flags(cmd)
	cmd.Flags().StringSliceVar(&i.request.URIs, "uri", nil, "a URI in the certificate, such as spiffe://example.org/agent/7")
	cmd.Flags().StringSliceVar(&i.request.Emails, "email", nil, "an e-mail address in the certificate")
	return cmd
}

// issue makes the certificate and writes it.
func (p *app) issue(i *issuing, name string) error {
	for _, dns := range i.request.DNS {
		if strings.Trim(fileName(dns), ".") != dns || dns == "" {
			return usage("", "%q is no DNS name: want letters, digits, dots and hyphens", dns)
		}
	}
	if i.subject.Changed && i.request.Subject == "" {
		return usage("", "--subject is empty: want a form such as /C=ch/O=DIRAC/CN=alice")
	}
	validity, err := validityOf(i.days)
	if err != nil {
		return err
	}
	ca, err := authority(i.dir)
	if err != nil {
		return err
	}
	i.request.Name, i.request.Validity = name, validity
	issued, err := ca.Issue(i.request)
	if err != nil {
		return err
	}
	key, err := issued.KeyPEM()
	if err != nil {
		return err
	}
	path := i.out
	if path == "" {
		path = filepath.Join(i.dir, i.kind+"-"+fileName(name))
	}
	files := []mtls.File{{Path: path + ".crt", Data: issued.CertPEM()}, {Path: path + ".key", Data: key, Secret: true}}
	c := describe([]*x509.Certificate{issued.Certificate})
	if i.kind == "client" && c.NoPeer != "" {
		return usage("busd pki issue client --help", "no service would accept this client: %s", c.NoPeer)
	}
	if err := p.write(i.force, files, fmt.Sprintf("%s of %s, until %s", i.kind, c.names(), c.NotAfter.Format(time.DateOnly))); err != nil {
		return err
	}
	p.next(i.next(path)...)
	return nil
}

// next says how the files are used.
func (i *issuing) next(path string) []string {
	show := "busd pki show " + path + ".crt"
	ca := filepath.Join(i.dir, "ca.crt")
	if i.kind == "server" {
		return []string{show, fmt.Sprintf("in busd.yaml: tls: {certificate: %s.crt, key: %s.key, client_ca: [%s]}", path, path, ca)}
	}
	return []string{show, fmt.Sprintf("busd listen URL --cert %s.crt --key %s.key --ca %s", path, path, ca)}
}

// authority reads the CA in a directory.
func authority(dir string) (*mtls.Authority, error) {
	var parts [2][]byte
	for i, name := range []string{"ca.crt", "ca.key"} {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) && i == 1 {
			return nil, &fault{
				what: "the CA in " + dir + " cannot sign here: its key " + path + " is missing", exit: exitNotFound,
				try: []string{"--dir DIR                         where the CA is with its key", "busd pki init --force" + inDir(dir) + "    another CA; what this one signed is worth nothing then"},
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &fault{what: "there is no CA in " + dir + ": " + path + " is missing", exit: exitNotFound, try: []string{"busd pki init" + inDir(dir)}}
		}
		if err != nil {
			return nil, unreadable(path, err)
		}
		parts[i] = data
	}
	ca, err := mtls.LoadAuthority(parts[0], parts[1])
	if err != nil {
		return nil, &fault{what: "the CA in " + dir + " cannot be used", cause: err, exit: exitFailed, try: []string{"busd pki show " + filepath.Join(dir, "ca.crt")}}
	}
	return ca, nil
}

// write writes files and says what was written.
func (p *app) write(force bool, files []mtls.File, what string) error {
	if err := mtls.WriteFiles(force, files...); err != nil {
		return err
	}
	for _, f := range files {
		switch {
		case f.Secret:
			fmt.Fprintf(p.out, "%s  (secret, mode 0600)\n", f.Path)
		case strings.HasSuffix(f.Path, ".crt"):
			fmt.Fprintf(p.out, "%s  (%s)\n", f.Path, what)
		}
	}
	return nil
}

// next says what may be typed next.
func (p *app) next(commands ...string) {
	for i, c := range commands {
		name := "next"
		if i > 0 {
			name = ""
		}
		p.note("%-4s  %s", name, c)
	}
}

func validityOf(days int) (time.Duration, error) {
	if days < 1 || days > maxDays {
		return 0, usage("", "--days %d: want 1 to %d", days, maxDays)
	}
	return time.Duration(days) * 24 * time.Hour, nil
}

// inDir is the flag for a directory that is not the usual one.
func inDir(dir string) string {
	if dir == devDir {
		return ""
	}
	return " --dir " + dir
}

// fileName makes a name of a file of any name.
func fileName(name string) string {
	return strings.Map(func(r rune) rune {
		if r < 128 && (r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || strings.ContainsRune(".-_", r)) {
			return r
		}
		return '-'
	}, name)
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return name
}
