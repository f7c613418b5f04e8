package cli

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"busd/internal/mtls"
)

// renewing is a renewal that was asked for.
type renewing struct {
	dir, cert, key string
	newKey         bool
	validity       time.Duration // 0: as long as it was
}

func (p *app) pkiRenew() *cobra.Command {
	var (
		r    renewing
		days int
	)
	cmd := &cobra.Command{
		Use: "renew CERTIFICATE", Short: "make a certificate anew, with the same names",
		Long: "renew replaces the certificate in a file by one with the same names and uses, valid from\n" +
			"now on. The key stays the same, so that one file changes, and whoever reads it meanwhile\n" +
			"sees the old certificate or the new one; with --new-key it is replaced, too, just before.\n" +
			"Running servers and clients take what they find by themselves. The old certificate is\n" +
			"good until it ends, unless it is revoked; what is revoked is not renewed.",
		Example: "  busd pki renew .busd/client-agent-7.crt\n" +
			"  busd pki renew /etc/busd/tls/server.crt --dir /etc/busd/pki --days 90 --new-key",
		Args: between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.cert = args[0]
			switch {
			case cmd.Flags().Changed("key") && !r.newKey:
				return usage("", "--key is for --new-key: without it no key is read or written")
			case cmd.Flags().Changed("days"):
				var err error
				if r.validity, err = validityOf(days); err != nil {
					return err
				}
			}
			if r.key == "" {
				r.key = strings.TrimSuffix(r.cert, ".crt") + ".key"
			}
			return p.renew(&r)
		},
	}
	cmd.Flags().StringVar(&r.dir, "dir", devDir, "where the CA is (ca.crt, ca.key), and what it has revoked")
	cmd.Flags().IntVar(&days, "days", 0, "how long it is valid; never longer than the CA (default: as long as it was)")
	cmd.Flags().BoolVar(&r.newKey, "new-key", false, "make a new key, too")
	cmd.Flags().StringVar(&r.key, "key", "", "the key's file (default: the certificate's, with .key for .crt)")
	return cmd
}

// renew makes the certificate and replaces the old one.
func (p *app) renew(r *renewing) error {
	data, err := os.ReadFile(r.cert)
	if err != nil {
		return unreadable(r.cert, err)
	}
	certs, err := parseCertificates(r.cert)
	if err != nil {
		return err
	}
	ca, err := authority(r.dir)
	if err != nil {
		return err
	}
	old := certs[0]
	if err := r.allowed(ca, old); err != nil {
		return err
	}
	files, renewed, err := r.files(ca, old, data)
	if err != nil {
		return err
	}
	c := describe([]*x509.Certificate{renewed})
	if err := p.write(true, files, fmt.Sprintf("%s, until %s, before: %s", c.names(), c.NotAfter.Format(time.DateOnly), old.NotAfter.UTC().Format(time.DateOnly))); err != nil {
		return err
	}
	p.next("busd pki show "+r.cert, "busd pki revoke "+old.SerialNumber.Text(16)+inDir(r.dir)+"    if the old one may not be used any more")
	return nil
}

// allowed refuses what is not to be renewed.
func (r *renewing) allowed(ca *mtls.Authority, old *x509.Certificate) error {
	if old.IsCA {
		return usage("busd pki init --force"+inDir(r.dir)+"    another CA; what this one signed is worth nothing then", "%s is a CA's certificate, which is not renewed", r.cert)
	}
	if !ca.Signed(old) {
		return notSigned(r.cert, r.dir, nameOf(old.RawIssuer, old.Issuer.String()), ca)
	}
	record, err := readRevocations(r.dir)
	if err != nil {
		return err
	}
	if one := record.of(old.SerialNumber.Text(16)); one != nil {
		return &fault{
			what: fmt.Sprintf("%s was revoked on %s: it is not renewed", r.cert, one.At.Format(time.DateOnly)), exit: exitConflict,
			try: []string{"busd pki issue client NAME        a certificate of its own, with a new key"},
		}
	}
	return nil
}

// files are what is to be written: of the certificate's file all but the
// certificate stays, such as a key in it. A file that holds a key is for its
// owner alone.
func (r *renewing) files(ca *mtls.Authority, old *x509.Certificate, data []byte) ([]mtls.File, *x509.Certificate, error) {
	if !r.newKey {
		cert, err := ca.Renew(old, r.validity)
		if err != nil {
			return nil, nil, r.unrenewed(err)
		}
		return []mtls.File{{Path: r.cert, Data: replaced(data, cert), Secret: holdsKey(r.cert)}}, cert, nil
	}
	if holdsKey(r.cert) {
		return nil, nil, &fault{what: "the key is in " + r.cert + ", too: with --new-key they must be in two files", exit: exitUsage}
	}
	if !exists(r.key) {
		return nil, nil, &fault{what: "there is no key " + r.key, exit: exitNotFound, try: []string{"--key FILE                        where it is"}}
	}
	issued, err := ca.Rekey(old, r.validity)
	if err != nil {
		return nil, nil, r.unrenewed(err)
	}
	key, err := issued.KeyPEM()
	if err != nil {
		return nil, nil, err
	}
	return []mtls.File{
		{Path: r.key, Data: key, Secret: true}, {Path: r.cert, Data: replaced(data, issued.Certificate)},
	}, issued.Certificate, nil
}

// unrenewed says that the CA makes no certificate, because it has ended itself,
// for instance.
func (r *renewing) unrenewed(err error) error {
	return &fault{what: r.cert + " cannot be renewed", cause: err, exit: exitFailed}
}

// replaced is a PEM file with another first certificate.
func replaced(data []byte, cert *x509.Certificate) []byte {
	fresh := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	const begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
	from := bytes.Index(data, []byte(begin))
	if from < 0 { // parseCertificates has found one
		return fresh
	}
	length := bytes.Index(data[from:], []byte(end))
	rest := bytes.TrimPrefix(bytes.TrimPrefix(data[from+length+len(end):], []byte("\r")), []byte("\n"))
	return append(append(append([]byte(nil), data[:from]...), fresh...), rest...)
}
