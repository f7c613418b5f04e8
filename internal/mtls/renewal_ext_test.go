package mtls_test

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"slices"
	"testing"
	"time"

	"busd/bus"
	"busd/internal/mtls"
)

func TestRenew(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ca, err := mtls.NewAuthorityAt(now, "test CA", 1000*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := ca.Issue(mtls.Request{
		Name: "x", Subject: "/C=ch/O=DIRAC/CN=alice", DNS: []string{"a.example.org", "b.example.org"}, IPs: []net.IP{net.IPv4(192, 0, 2, 7)},
		URIs: []string{"spiffe://example.org/x"}, Emails: []string{"a@b.org"}, Server: true, Client: true,
		Validity: 100 * time.Hour, NotBefore: now.Add(-200 * time.Hour), // it has ended
	})
	if err != nil {
		t.Fatal(err)
	}
	old := issued.Certificate
	same, err := ca.Renew(old, 0)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ca.Rekey(old, 2000*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*x509.Certificate{"renewed": same, "rekeyed": other.Certificate} {
		if string(c.RawSubject) != string(old.RawSubject) || !slices.Equal(c.DNSNames, old.DNSNames) || c.IPAddresses[0].String() != "192.0.2.7" ||
			c.URIs[0].String() != "spiffe://example.org/x" || !slices.Equal(c.EmailAddresses, old.EmailAddresses) ||
			!slices.Equal(c.ExtKeyUsage, old.ExtKeyUsage) || c.KeyUsage != old.KeyUsage || c.IsCA {
			t.Errorf("%s: names or uses changed: %+v", name, c)
		}
		if c.SerialNumber.Cmp(old.SerialNumber) == 0 || !ca.Signed(c) {
			t.Errorf("%s: want another serial number, signed by the same CA", name)
		}
		if !c.NotBefore.Equal(now.Add(-5 * time.Minute)) {
			t.Errorf("%s: begins at %s", name, c.NotBefore)
		}
	}
	public := old.PublicKey.(*ecdsa.PublicKey)
	if !public.Equal(same.PublicKey) || public.Equal(other.Certificate.PublicKey) {
		t.Error("Renew keeps the key, and Rekey makes another")
	}
	if got := same.NotAfter.Sub(now); got < 99*time.Hour || got > 100*time.Hour {
		t.Errorf("renewed for %s, want as long as the old one was", got)
	}
	if !other.Certificate.NotAfter.Equal(ca.Certificate().NotAfter) {
		t.Errorf("it ends %s, after its CA", other.Certificate.NotAfter)
	}
}

func TestRenewRefuses(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ca, err := mtls.NewAuthorityAt(now, "same name", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	twin, err := mtls.NewAuthorityAt(now, "same name", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := ca.Issue(mtls.Request{Name: "x", Client: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := twin.Renew(issued.Certificate, 0); bus.CodeOf(err) != bus.CodeFailedPrecondition {
		t.Errorf("another CA of the same name: got %v, want failed_precondition", err)
	}
	if _, err := ca.Rekey(ca.Certificate(), 0); bus.CodeOf(err) != bus.CodeInvalidArgument {
		t.Errorf("a CA: got %v, want invalid_argument", err)
	}
	if _, err := ca.Renew(issued.Certificate, -time.Hour); bus.CodeOf(err) != bus.CodeInvalidArgument {
		t.Errorf("negative: got %v, want invalid_argument", err)
	}
}

func TestRevocationList(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ca, err := mtls.NewAuthorityAt(now, "test CA", 48*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	entries := []x509.RevocationListEntry{
		{SerialNumber: big.NewInt(7), RevocationTime: now.Add(-time.Hour), ReasonCode: 1},
		{SerialNumber: big.NewInt(8), RevocationTime: now},
	}
	data, list, err := ca.RevocationList(4, 24*time.Hour, entries)
	if err != nil {
		t.Fatal(err)
	}
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "X509 CRL" || len(rest) != 0 {
		t.Fatalf("want one PEM block X509 CRL, got %s", data)
	}
	parsed, err := x509.ParseRevocationList(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if err := parsed.CheckSignatureFrom(ca.Certificate()); err != nil {
		t.Error(err)
	}
	if parsed.Number.Int64() != 4 || !parsed.ThisUpdate.Equal(now.Add(-5*time.Minute)) || !parsed.NextUpdate.Equal(now.Add(24*time.Hour)) || !list.NextUpdate.Equal(parsed.NextUpdate) {
		t.Errorf("got number %d, from %s to %s", parsed.Number, parsed.ThisUpdate, parsed.NextUpdate)
	}
	if got := parsed.RevokedCertificateEntries; len(got) != 2 || got[0].SerialNumber.Int64() != 7 || got[0].ReasonCode != 1 || got[1].SerialNumber.Int64() != 8 {
		t.Errorf("got %+v", got)
	}
	if _, list, err = ca.RevocationList(5, 1000*time.Hour, nil); err != nil || !list.NextUpdate.Equal(ca.Certificate().NotAfter) {
		t.Errorf("an empty list, for longer than the CA lives: got %v, %v", list, err)
	}
	for _, wrong := range []struct {
		number int64
		due    time.Duration
	}{{0, time.Hour}, {1, 0}, {1, -time.Hour}} {
		if _, _, err := ca.RevocationList(wrong.number, wrong.due, nil); bus.CodeOf(err) != bus.CodeInvalidArgument {
			t.Errorf("number %d for %s: got %v, want invalid_argument", wrong.number, wrong.due, err)
		}
	}
}
