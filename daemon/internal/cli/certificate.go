package cli

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"busd/internal/mtls"
)

// A certificate is what busd sees in one.
type certificate struct {
	File    string `json:"file"`
	Subject string `json:"subject"`
	// Proxy is what a proxy certificate says, else nil.
	Proxy *gridProxy `json:"proxy,omitempty"`
	// Peer is what services call its owner, with automatic naming; empty for
	// one that is not for clients, and NoPeer says why where it should be. Of a
	// proxy certificate it is its user's.
	Peer        string    `json:"peer,omitempty"`
	NoPeer      string    `json:"no_peer,omitempty"`
	DNS         []string  `json:"dns,omitempty"`
	IPs         []string  `json:"ips,omitempty"`
	URIs        []string  `json:"uris,omitempty"`
	Emails      []string  `json:"emails,omitempty"`
	Issuer      string    `json:"issuer"`
	Serial      string    `json:"serial"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	DaysLeft    int       `json:"days_left"`
	Uses        []string  `json:"uses"`
	Fingerprint string    `json:"sha256"`
}

// A gridProxy is what a proxy certificate (RFC 3820) and those below it say.
type gridProxy struct {
	User     string    `json:"user"` // whose it is: the DN of his own certificate
	Group    string    `json:"group,omitempty"`
	Limited  bool      `json:"limited"`
	NotAfter time.Time `json:"not_after"` // when the first of the chain ends
}

// describe says what busd sees in the first of some certificates, which may be
// a proxy certificate with those that it needs.
func describe(certs []*x509.Certificate) certificate {
	cert := certs[0]
	sum := sha256.Sum256(cert.Raw)
	c := certificate{
		Subject: nameOf(cert.RawSubject, cert.Subject.String()), Issuer: nameOf(cert.RawIssuer, cert.Issuer.String()),
		DNS: cert.DNSNames, Emails: cert.EmailAddresses, Serial: cert.SerialNumber.Text(16),
		NotBefore: cert.NotBefore.UTC(), NotAfter: cert.NotAfter.UTC(),
		DaysLeft: int(time.Until(cert.NotAfter).Hours() / 24), Uses: usesOf(cert), Fingerprint: hex.EncodeToString(sum[:]),
	}
	for _, ip := range cert.IPAddresses {
		c.IPs = append(c.IPs, ip.String())
	}
	for _, uri := range cert.URIs {
		c.URIs = append(c.URIs, uri.String())
	}
	if !slices.Contains(c.Uses, "client") {
		return c
	}
	proxy, err := mtls.InspectProxy(certs)
	if err != nil {
		c.NoPeer = plain(err)
		return c
	}
	if proxy != nil {
		cert, c.Uses = proxy.User, []string{"client"}
		c.Proxy = &gridProxy{
			User: nameOf(cert.RawSubject, cert.Subject.String()), Group: proxy.Group, Limited: proxy.Limited, NotAfter: proxy.NotAfter.UTC(),
		}
	}
	peer, err := mtls.Naming{}.PeerOf([]*x509.Certificate{cert})
	if err != nil {
		c.NoPeer = plain(err)
	}
	c.Peer = peer.Name
	return c
}

// nameOf is a distinguished name as the rest of busd writes it.
func nameOf(der []byte, otherwise string) string {
	if dn, err := mtls.DN(der); err == nil {
		return dn
	}
	return otherwise
}

func usesOf(cert *x509.Certificate) []string {
	if cert.IsCA {
		return []string{"ca"}
	}
	var uses []string
	for _, use := range []struct {
		name string
		id   x509.ExtKeyUsage
	}{{"server", x509.ExtKeyUsageServerAuth}, {"client", x509.ExtKeyUsageClientAuth}} {
		if slices.Contains(cert.ExtKeyUsage, use.id) || slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageAny) || len(cert.ExtKeyUsage) == 0 {
			uses = append(uses, use.name)
		}
	}
	return uses
}

// names lists who the certificate is for: the peer's name if it has one.
func (c *certificate) names() string {
	if c.Peer != "" {
		return c.Peer
	}
	if all := slices.Concat(c.DNS, c.IPs, c.URIs, c.Emails); len(all) > 0 {
		return strings.Join(all, ", ")
	}
	return c.Subject
}

// readCertificate reads the first certificate of a file.
func readCertificate(path string) (certificate, error) {
	all, err := readCertificates(path)
	if err != nil {
		return certificate{}, err
	}
	return all[0], nil
}

// readCertificates says what busd sees in the certificates of a PEM file; there
// is at least one.
func readCertificates(path string) ([]certificate, error) {
	certs, err := parseCertificates(path)
	if err != nil {
		return nil, err
	}
	all := make([]certificate, len(certs))
	for i := range certs {
		all[i] = describe(certs[i:])
		all[i].File = path
	}
	return all, nil
}

// parseCertificates reads the certificates of a PEM file; there is at least one.
func parseCertificates(path string) ([]*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	var certs []*x509.Certificate
	var others []string
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			others = append(others, strings.ToLower(block.Type))
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, &fault{what: path + ": a certificate in it cannot be read", cause: err, exit: exitFailed}
		}
		certs = append(certs, cert)
	}
	switch {
	case certs != nil:
		return certs, nil
	case others != nil:
		return nil, &fault{what: path + " holds no certificate, but a " + strings.Join(others, ", a "), exit: exitFailed}
	}
	return nil, &fault{what: path + " holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)", exit: exitFailed}
}

func (p *app) pkiShow() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "show FILE...", Short: "show what busd sees in certificates",
		Long: "show prints who a certificate is of, as services name him (tls.peer_name: auto), who\n" +
			"signed it, what it may be used for, and how long it is good. Of a grid proxy it prints\n" +
			"whose it is, its DIRAC group, whether it is limited, and until when all of its chain is\n" +
			"good. Signatures of CAs are not checked. Keys are never shown.",
		Example: "  busd pki show .busd/client-alice.crt\n  busd pki show /tmp/x509up_u1000\n  busd pki show .busd/*.crt --json",
		Args:    between(1, -1),
		RunE: func(_ *cobra.Command, args []string) error {
			var all []certificate
			for _, path := range args {
				some, err := readCertificates(path)
				if err != nil {
					return err
				}
				all = append(all, some...)
			}
			if asJSON {
				return p.printJSON(all)
			}
			for i, c := range all {
				if i > 0 {
					fmt.Fprintln(p.out)
				}
				if err := c.print(p.out, time.Now()); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON list")
	return cmd
}

// print prints a certificate for people.
func (c *certificate) print(out io.Writer, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, value)
		}
	}
	row("file", c.File)
	row("subject", c.Subject)
	if g := c.Proxy; g != nil {
		kind := "full"
		if g.Limited {
			kind = "limited"
		}
		row("proxy of", g.User)
		row("kind", kind+" proxy (RFC 3820); it counts only where auth.proxies is accept")
		row("DIRAC group", cmp.Or(g.Group, "none"))
		row("good until", g.NotAfter.Format(time.DateTime)+" UTC, when the first of its chain ends")
	}
	row("peer name", c.Peer)
	if c.NoPeer != "" {
		row("peer name", "none: "+c.NoPeer)
	}
	row("DNS names", strings.Join(c.DNS, ", "))
	row("addresses", strings.Join(c.IPs, ", "))
	row("URIs", strings.Join(c.URIs, ", "))
	row("e-mail", strings.Join(c.Emails, ", "))
	row("issuer", c.Issuer)
	row("serial", c.Serial)
	row("valid", c.NotBefore.Format(time.DateTime)+" to "+c.NotAfter.Format(time.DateTime)+" UTC, "+c.left(now))
	row("use", strings.Join(c.Uses, ", "))
	row("sha256", c.Fingerprint)
	return w.Flush()
}

// left says how long it is still good.
func (c *certificate) left(now time.Time) string {
	switch {
	case now.After(c.NotAfter):
		return "EXPIRED"
	case now.Before(c.NotBefore):
		return "NOT VALID YET"
	}
	return plural(c.DaysLeft, "day") + " left"
}
