package mtls

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"time"

	"busd/bus"
)

// RevocationList makes a list of certificates that are revoked (a CRL, RFC
// 5280, section 5), in PEM. number must grow from list to list, and the next
// list is due after so long, at the latest when the CA's certificate ends. It
// begins to be valid five minutes ago, for clocks that do not agree.
//
// It is an error of [bus.CodeFailedPrecondition] if the CA's certificate does not
// let it sign such lists, or has ended.
func (a *Authority) RevocationList(number int64, due time.Duration, revoked []x509.RevocationListEntry) ([]byte, *x509.RevocationList, error) {
	now := a.now()
	end := now.Add(due)
	switch {
	case due <= 0:
		return nil, nil, bus.Errorf(bus.CodeInvalidArgument, "the next list: want a positive duration, got %v", due)
	case number <= 0:
		return nil, nil, bus.Errorf(bus.CodeInvalidArgument, "the list's number: want one above zero, got %d", number)
	case a.cert.KeyUsage&x509.KeyUsageCRLSign == 0 || len(a.cert.SubjectKeyId) == 0:
		return nil, nil, bus.Errorf(bus.CodeFailedPrecondition, "the CA's certificate is not made for signing revocation lists: want key usage cRLSign and a key identifier")
	case !now.Before(a.cert.NotAfter):
		return nil, nil, bus.Errorf(bus.CodeFailedPrecondition, "the CA's certificate ended on %s: make a new CA", a.cert.NotAfter.Format(time.DateOnly))
	}
	if end.After(a.cert.NotAfter) {
		end = a.cert.NotAfter
	}
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(number), ThisUpdate: now.Add(-backdate), NextUpdate: end, RevokedCertificateEntries: revoked,
	}, a.cert, a.key)
	if err != nil {
		return nil, nil, bus.Errorf(bus.CodeInvalidArgument, "revocation list: %v", err)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, nil, bus.Errorf(bus.CodeInvalidArgument, "revocation list: %v", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), list, nil
}
