package cli

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"busd/internal/mtls"
)

func (p *app) pkiRevoke() *cobra.Command {
	var dir, reason string
	cmd := &cobra.Command{
		Use: "revoke CERTIFICATE|SERIAL...", Short: "note that certificates are not to be believed any more",
		Long: "revoke notes, in " + revocationFile + " beside the CA, that certificates are revoked: those in files,\n" +
			"or those with a serial number, in hexadecimal digits as busd pki show prints it. To\n" +
			"revoke again what is revoked changes nothing, and nothing can be taken back. Servers\n" +
			"learn of it from the list that busd pki crl makes.",
		Example: "  busd pki revoke .busd/client-agent-7.crt && busd pki crl\n" +
			"  busd pki revoke --reason key-compromise 4b1f0c9a77e2d3516f8890ab12cd34ef",
		Args: between(1, -1),
		RunE: func(_ *cobra.Command, args []string) error {
			if _, known := reasonCodes[reason]; !known {
				return usage("", "--reason %s: want one of %s", reason, strings.Join(reasonWords(), ", "))
			}
			return p.revoke(dir, reason, args)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", devDir, "where the CA is (ca.crt, ca.key)")
	cmd.Flags().StringVar(&reason, "reason", "", "why: "+strings.Join(reasonWords(), ", ")+" (default: none is said)")
	return cmd
}

// reasonWords are the reasons that there are, in order.
func reasonWords() []string {
	words := slices.Sorted(maps.Keys(reasonCodes))
	return words[1:] // the first is no word
}

// revoke notes that some certificates are revoked: all of them, or, where one of
// them cannot be, none.
func (p *app) revoke(dir, reason string, which []string) error {
	ca, err := authority(dir)
	if err != nil {
		return err
	}
	unlock, err := lockRevocations(dir)
	if err != nil {
		return err
	}
	defer unlock()
	record, err := readRevocations(dir)
	if err != nil {
		return err
	}
	all := make([]revocation, len(which))
	for i, one := range which {
		if all[i], err = revocationOf(ca, dir, one); err != nil {
			return err
		}
	}
	added := 0
	for _, one := range all {
		name := "certificate " + one.Serial
		if one.Subject != "" {
			name += " of " + one.Subject
		} else {
			p.note("no certificate of this serial number is in %s: look twice that %s is the one", dir, one.Serial)
		}
		if old := record.of(one.Serial); old != nil {
			fmt.Fprintln(p.out, visible(fmt.Sprintf("%s has been revoked since %s", name, old.At.Format(time.DateTime))))
			continue
		}
		one.Reason, one.At = reason, time.Now().UTC().Truncate(time.Second)
		if err := record.add(one); err != nil {
			return err
		}
		added++
		fmt.Fprintln(p.out, visible(name+" is revoked"))
	}
	if added > 0 {
		p.next("busd pki crl" + inDir(dir) + "    the list from which servers learn of it")
	}
	return nil
}

// revocationOf says which certificate is meant by a file's name or a serial
// number.
func revocationOf(ca *mtls.Authority, dir, which string) (revocation, error) {
	serial, isSerial := serialOf(which)
	if exists(which) || !isSerial {
		certs, err := parseCertificates(which)
		if errors.Is(err, fs.ErrNotExist) || exitOf(err) == exitNotFound {
			return revocation{}, &fault{
				what: "there is no file " + which + ", and it is no serial number in hexadecimal digits either", exit: exitNotFound,
				try: []string{"busd pki show FILE                its serial number, among other things"},
			}
		}
		if err != nil {
			return revocation{}, err
		}
		c := certs[0]
		switch {
		case c.Equal(ca.Certificate()):
			return revocation{}, usage("busd pki init --force"+inDir(dir)+"    another CA; what this one signed is worth nothing then", "%s is the CA itself: who believes it believes its list, too", which)
		case !ca.Signed(c):
			return revocation{}, notSigned(which, dir, nameOf(c.RawIssuer, c.Issuer.String()), ca)
		}
		return revocation{Serial: c.SerialNumber.Text(16), Subject: nameOf(c.RawSubject, c.Subject.String())}, nil
	}
	if ca.Certificate().SerialNumber.Text(16) == serial {
		return revocation{}, usage("", "%s is the CA itself: who believes it believes its list, too", which)
	}
	return revocation{Serial: serial, Subject: subjectIn(ca, dir, serial)}, nil
}

// serialOf reads a serial number as busd or openssl writes it.
func serialOf(text string) (serial string, ok bool) {
	const longest = 20 // bytes, by RFC 5280
	text = strings.TrimPrefix(strings.ReplaceAll(strings.ToLower(text), ":", ""), "0x")
	if strings.Trim(text, "0123456789abcdef") != "" || len(text) > 2*longest+2 {
		return "", false
	}
	number, ok := new(big.Int).SetString(text, 16)
	if !ok || number.Sign() <= 0 {
		return "", false
	}
	return number.Text(16), true
}

// subjectIn looks among the certificates beside the CA for whose a serial number
// is; empty: it is not there.
func subjectIn(ca *mtls.Authority, dir, serial string) string {
	files, _ := filepath.Glob(filepath.Join(dir, "*.crt")) // it fails on patterns alone
	for _, path := range files {
		certs, err := parseCertificates(path)
		if err == nil && certs[0].SerialNumber.Text(16) == serial && ca.Signed(certs[0]) {
			return nameOf(certs[0].RawSubject, certs[0].Subject.String())
		}
	}
	return ""
}

// notSigned says that the CA in dir has nothing to say of a certificate.
func notSigned(path, dir, issuer string, ca *mtls.Authority) error {
	what := fmt.Sprintf("%s is not of the CA in %s: its issuer is %s", path, dir, visible(issuer))
	if cert := ca.Certificate(); issuer == nameOf(cert.RawSubject, cert.Subject.String()) {
		what = fmt.Sprintf("%s is not of the CA in %s, but of another one of the same name, %s", path, dir, visible(issuer))
	}
	return &fault{what: what, exit: exitFailed, try: []string{"--dir DIR                         where the CA is that signed it"}}
}

func (p *app) pkiCRL() *cobra.Command {
	var (
		dir, out string
		days     int
	)
	cmd := &cobra.Command{
		Use: "crl", Short: "make the list of what the CA has revoked",
		Long: "crl makes a certificate revocation list (CRL, RFC 5280), signed by the CA, of all that\n" +
			"busd pki revoke has noted, also if that is nothing. Each list has a greater number than\n" +
			"the last. Servers take a list as out of date once its time is over: make one in time,\n" +
			"such as every night. The file is replaced whole.",
		Example: "  busd pki crl\n" +
			"  busd pki crl --dir /etc/busd/pki --out /etc/busd/tls/ca.crl --days 7",
		Args: between(0, 0),
		RunE: func(*cobra.Command, []string) error {
			due, err := validityOf(days)
			if err != nil {
				return err
			}
			if out == "" {
				out = filepath.Join(dir, "ca.crl")
			}
			return p.revocationList(dir, out, due)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", devDir, "where the CA is (ca.crt, ca.key), and what it has revoked")
	cmd.Flags().StringVar(&out, "out", "", "the list's file (default: ca.crl under --dir)")
	cmd.Flags().IntVar(&days, "days", 30, "in how many days the next list is due (its nextUpdate)")
	return cmd
}

// revocationList makes a list and writes it.
func (p *app) revocationList(dir, out string, due time.Duration) error {
	ca, err := authority(dir)
	if err != nil {
		return err
	}
	if err := isList(out); err != nil {
		return err
	}
	unlock, err := lockRevocations(dir)
	if err != nil {
		return err
	}
	defer unlock()
	record, err := readRevocations(dir)
	if err != nil {
		return err
	}
	number := record.list + 1
	data, list, err := ca.RevocationList(number, due, record.entries())
	if err != nil {
		return &fault{what: "the CA in " + dir + " cannot sign a list", cause: err, exit: exitFailed}
	}
	// First the number: a list that nobody has seen may go missing, a number may
	// not come twice.
	if err := record.add(revocation{At: time.Now().UTC().Truncate(time.Second), List: number}); err != nil {
		return err
	}
	if err := mtls.WriteFiles(true, mtls.File{Path: out, Data: data}); err != nil {
		return err
	}
	cert := ca.Certificate()
	fmt.Fprintf(p.out, "%s  (list %d of %s: %s revoked, the next is due by %s)\n",
		visible(out), number, visible(nameOf(cert.RawSubject, cert.Subject.String())), plural(len(record.revoked), "certificate"), list.NextUpdate.Format(time.DateOnly))
	if number == 1 { // those after it are found by themselves
		p.next("in busd.yaml: tls: {crl: [" + out + "]}")
	}
	return nil
}

// isList refuses to replace a file that is there and is no list: a certificate,
// for instance, whose name was typed by mistake.
func isList(path string) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return unreadable(path, err)
	}
	if block, _ := pem.Decode(data); block == nil || block.Type != "X509 CRL" {
		return &fault{what: path + " exists, and is no revocation list: it is not replaced", exit: exitConflict}
	}
	return nil
}
