package mtls

import (
	"bytes"
	"encoding/asn1"
	"math"
	"math/big"
	"strings"
	"testing"
)

// What is accepted says what it seems to: written again it is the same.
func FuzzProxyInfo(f *testing.F) {
	for _, seed := range []string{
		"\x30\x0c\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x15\x01",
		"\x30\x0f\x02\x01\x03\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x15\x01",
		"\x30\x0f\x30\x0d\x06\x0b\x2b\x06\x01\x04\x01\x9b\x50\x01\x01\x01\x09",
		"\x30\x17\x02\x09\x7f\xff\xff\xff\xff\xff\xff\xff\xff\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x15\x01",
		"\x30\x0e\x30\x0c\x06\x08\x2b\x06\x01\x05\x05\x07\x15\x01\x04\x00", "\x30\x80", "",
	} {
		f.Add([]byte(seed))
	}
	type policy struct{ Language asn1.ObjectIdentifier }
	f.Fuzz(func(t *testing.T, der []byte) {
		info, err := parseProxyInfo(der)
		if err != nil {
			if err.Error() == "" || info != (proxyInfo{}) {
				t.Errorf("got %+v beside the error %v", info, err)
			}
			return
		}
		language := oidInheritAll
		if info.limited {
			language = oidLimited
		}
		var again []byte
		switch info.pathLength {
		case noPathLength:
			again, err = asn1.Marshal(struct{ P policy }{policy{language}})
		case math.MaxInt:
			return // more than can be counted
		default:
			again, err = asn1.Marshal(struct {
				N *big.Int
				P policy
			}{big.NewInt(int64(info.pathLength)), policy{language}})
		}
		if err != nil || !bytes.Equal(again, der) {
			t.Errorf("%x reads as %+v, which is %x, %v", der, info, again, err)
		}
	})
}

func FuzzGroup(f *testing.F) {
	for _, seed := range []string{"\x16\x0adirac_user", "\x0c\x05admin", "\x16\x00", "\x16\x02a\n", "\x36\x00", "dirac_user"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		group, err := parseGroup(der)
		if (err == nil) != IsGroup(group) || err == nil && !strings.HasSuffix(string(der), group) {
			t.Errorf("%x: got %q, %v", der, group, err)
		}
	})
}
