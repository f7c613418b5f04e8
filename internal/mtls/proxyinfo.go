package mtls

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
)

// MaxGroup bounds the name of a group that a credential carries, in bytes.
const MaxGroup = 128

var (
	oidProxyInfo      = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 14}         // RFC 3820
	oidDraftProxyInfo = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3536, 1, 222}     // Globus, before it
	oidInheritAll     = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 21, 1}         // all that its user may
	oidIndependent    = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 21, 2}         // nothing that its user may
	oidLimited        = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3536, 1, 1, 1, 9} // Globus: all but starting jobs
	oidGroup          = asn1.ObjectIdentifier{1, 2, 42, 42}                       // DIRAC
	oidCommonName     = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidKeyUsage       = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidIssuerAltName  = asn1.ObjectIdentifier{2, 5, 29, 18}
)

// noPathLength: as many proxy certificates below this one as anybody likes.
const noPathLength = -1

// proxyInfo is what the extension proxyCertInfo says.
type proxyInfo struct {
	pathLength int // how many proxy certificates may follow, or noPathLength
	limited    bool
}

// parseProxyInfo reads the extension of RFC 3820, section 3.8, strictly. It
// accepts the policies "inherit all" and Globus's "limited": a proxy with any
// other one must not be taken for its user.
func parseProxyInfo(der []byte) (proxyInfo, error) {
	var value struct {
		PathLength *big.Int `asn1:"optional"`
		Policy     struct {
			Language asn1.ObjectIdentifier
			Policy   []byte `asn1:"optional"`
		}
	}
	rest, err := asn1.Unmarshal(der, &value)
	if err != nil || len(rest) > 0 {
		return proxyInfo{}, errors.New("it cannot be read")
	}
	// The decoder overlooks what stands behind the fields that it knows.
	if again, err := asn1.Marshal(value); err != nil || !bytes.Equal(again, der) {
		return proxyInfo{}, errors.New("it is not in DER, or has parts that are not known")
	}
	info := proxyInfo{pathLength: noPathLength}
	if n := value.PathLength; n != nil {
		if n.Sign() < 0 {
			return proxyInfo{}, errors.New("its path length is negative")
		}
		info.pathLength = math.MaxInt
		if n.IsInt64() && n.Int64() < math.MaxInt {
			info.pathLength = int(n.Int64())
		}
	}
	switch language := value.Policy.Language; {
	case language.Equal(oidInheritAll):
	case language.Equal(oidLimited):
		info.limited = true
	case language.Equal(oidIndependent):
		return proxyInfo{}, errors.New("it is independent of its user: such a one may do nothing here")
	default:
		return proxyInfo{}, fmt.Errorf("its rights are restricted in a language that is not known here (%v): want inherit-all or limited", language)
	}
	if value.Policy.Policy != nil {
		return proxyInfo{}, errors.New("its policy has a text, which this kind of policy has not")
	}
	return info, nil
}

// parseGroup reads DIRAC's extension: a string, and nothing else.
func parseGroup(der []byte) (string, error) {
	var value asn1.RawValue
	rest, err := asn1.Unmarshal(der, &value)
	switch {
	case err != nil || len(rest) > 0 || value.Class != asn1.ClassUniversal || value.IsCompound,
		value.Tag != asn1.TagIA5String && value.Tag != asn1.TagUTF8String && value.Tag != asn1.TagPrintableString:
		return "", errors.New("it is not one string")
	case !IsGroup(string(value.Bytes)):
		return "", fmt.Errorf("want 1 to %d printable characters of ASCII, without spaces", MaxGroup)
	}
	return string(value.Bytes), nil
}

// IsGroup tells whether a credential may carry s as its group: 1 to [MaxGroup]
// printable characters of ASCII, without spaces.
func IsGroup(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return 0 < len(s) && len(s) <= MaxGroup
}

// extension returns one of a certificate's extensions; crypto/x509 refuses
// certificates that have one twice.
func extension(cert *x509.Certificate, id asn1.ObjectIdentifier) (pkix.Extension, bool) {
	i := slices.IndexFunc(cert.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(id) })
	if i < 0 {
		return pkix.Extension{}, false
	}
	return cert.Extensions[i], true
}

func hasExtension(cert *x509.Certificate, id asn1.ObjectIdentifier) bool {
	_, has := extension(cert, id)
	return has
}

// oneMoreCN tells whether subject is all of issuer and one more part, a common
// name, and returns that name. Both are names in DER.
func oneMoreCN(issuer, subject []byte) (name string, ok bool) {
	above, below := partsOf(issuer), partsOf(subject)
	n := len(above)
	if n == 0 || len(below) != n+1 || !sameParts(above, below[:n]) {
		return "", false
	}
	last := below[n]
	if len(last) != 1 || !last[0].Type.Equal(oidCommonName) {
		return "", false
	}
	name, ok = last[0].Value.(string)
	return name, ok && name != ""
}

// sameName tells whether two names in DER, which are not empty, are one.
func sameName(a, b []byte) bool {
	parts := partsOf(a)
	return parts != nil && sameParts(parts, partsOf(b))
}

// sameParts compares names part by part, and attribute by attribute, in their
// order: by kind and text, whatever type of string that is in, for tools write
// the names of others anew in the type that they like. Nothing is folded: names
// that are the same here are the same in DIRAC's form ([DN]).
func sameParts(a, b pkix.RDNSequence) bool {
	return slices.EqualFunc(a, b, func(a, b pkix.RelativeDistinguishedNameSET) bool {
		return slices.EqualFunc(a, b, func(a, b pkix.AttributeTypeAndValue) bool {
			one, isText := a.Value.(string)
			other, areText := b.Value.(string)
			return isText && areText && one == other && a.Type.Equal(b.Type)
		})
	})
}

// partsOf reads a name in DER; nothing, if it is none, or empty.
func partsOf(name []byte) pkix.RDNSequence {
	var parts pkix.RDNSequence
	if rest, err := asn1.Unmarshal(name, &parts); err != nil || len(rest) > 0 || len(parts) == 0 {
		return nil
	}
	return parts
}
