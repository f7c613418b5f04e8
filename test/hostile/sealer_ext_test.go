//go:build linux

package hostile_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net"
)

// A sealer makes the records of a client of TLS 1.3 after the handshake: it has the
// keys, and so can say what no library says. It begins with the first record, and
// must make all of them.
type sealer struct {
	hash   func() hash.Hash
	size   int // of the key
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	n      uint64 // records that were made with this key
}

// errNoKeys is for suites that are not spoken here.
var errNoKeys = errors.New("the suite of this connection is not AES-GCM")

// A keyLog takes what crypto/tls tells of its secrets.
type keyLog struct{ bytes.Buffer }

// newSealer takes the keys of a connection whose handshake is done.
func newSealer(log *keyLog, suite uint16) (*sealer, error) {
	s := new(sealer)
	switch suite {
	case tls.TLS_AES_128_GCM_SHA256:
		s.hash, s.size = sha256.New, 16
	case tls.TLS_AES_256_GCM_SHA384:
		s.hash, s.size = sha512.New384, 32
	default:
		return nil, errNoKeys
	}
	for line := range bytes.Lines(log.Bytes()) {
		if words := bytes.Fields(line); len(words) == 3 && string(words[0]) == "CLIENT_TRAFFIC_SECRET_0" {
			secret, err := hex.DecodeString(string(words[2]))
			if err != nil {
				return nil, err
			}
			return s, s.use(secret)
		}
	}
	return nil, errors.New("TLS tells no secret")
}

func (s *sealer) use(secret []byte) error {
	key, err := s.expand(secret, "key", s.size)
	if err != nil {
		return err
	}
	if s.iv, err = s.expand(secret, "iv", 12); err != nil {
		return err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	s.secret, s.n = secret, 0
	s.aead, err = cipher.NewGCM(block)
	return err
}

// expand is HKDF-Expand-Label of RFC 8446, section 7.1.
func (s *sealer) expand(secret []byte, label string, n int) ([]byte, error) {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(append(info, byte(len(label))), label...)
	return hkdf.Expand(s.hash, secret, string(append(info, 0)), n)
}

// record is one record with this content. Behind a KeyUpdate comes the next key.
func (s *sealer) record(kind byte, content []byte) ([]byte, error) {
	inner := append(bytes.Clone(content), kind)
	size := len(inner) + s.aead.Overhead()
	if size > 1<<16-1 {
		return nil, fmt.Errorf("a record of %d bytes", size)
	}
	head := []byte{0x17, 3, 3, byte(size >> 8), byte(size)}
	nonce := bytes.Clone(s.iv)
	for i, b := range binary.BigEndian.AppendUint64(nil, s.n) {
		nonce[4+i] ^= b
	}
	s.n++
	sealed := s.aead.Seal(bytes.Clone(head), nonce, inner, head)
	const keyUpdate = 24
	if kind == 0x16 && len(content) == 5 && content[0] == keyUpdate {
		next, err := s.expand(s.secret, "traffic upd", s.hash().Size())
		if err != nil {
			return nil, err
		}
		if err := s.use(next); err != nil {
			return nil, err
		}
	}
	return sealed, nil
}

// write says application data, in records of 16 KiB.
func (s *sealer) write(c net.Conn, b []byte) error {
	for len(b) > 0 {
		n := min(len(b), 16<<10)
		r, err := s.record(0x17, b[:n])
		if err != nil {
			return err
		}
		if _, err := c.Write(r); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
