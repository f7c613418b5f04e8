package wire

import (
	"fmt"

	"busd/schema"
)

// A SyntaxError says that bytes are not msgpack by the bus's rules; see
// [Scan].
type SyntaxError struct {
	// Offset is where the fault is, in bytes from the start of what was
	// scanned.
	Offset int
	// Reason says what is wrong; it repeats nothing that the bytes hold.
	Reason string
}

// Error returns "offset 17: reason".
func (e *SyntaxError) Error() string { return fmt.Sprintf("offset %d: %s", e.Offset, e.Reason) }

// What a SyntaxError may say.
const (
	whyShort     = "the bytes end before the value does"
	whyUnused    = "0xc1 is no msgpack"
	whyDepth     = "values nest more than 16 deep"
	whyValues    = "more than 20000 values"
	whyKeys      = "a map with more than 1024 keys"
	whyKeyType   = "a map key that is not a string"
	whyKeyLength = "a map key that is not of 1 to 64 bytes"
	whyKeyTwice  = "a map key that was there before"
	whyUTF8      = "a string that is not UTF-8"
	whyExtension = "an extension, where none is allowed"
	whyBig       = "an integer beyond 64 bits with a sign"
	whyNonFinite = "a float that is NaN or infinite, where none is allowed"
)

// Scan checks the one msgpack value at the start of b and returns its length;
// what follows is not looked at. It must come before any decoder. The rules:
//
//   - every length fits the bytes that are left;
//   - values nest at most [schema.MaxDepth] deep, and are at most
//     [schema.MaxValues], containers and map keys included;
//   - a map has at most [schema.MaxKeys] keys: strings of 1 to
//     [schema.MaxName] bytes, distinct;
//   - strings are UTF-8; floats are finite; there are no extensions, and no
//     0xc1.
//
// An error is a [*SyntaxError]. Scan neither recurses nor allocates, unless it
// fails, and its time is linear in the length of b. It may be called
// concurrently.
func Scan(b []byte) (n int, err error) { return scanOne(b, strict) }

// Skip is [Scan] for finding the end of a message's attributes where their
// contract is not at hand: timestamps and floats that are not finite are
// allowed, as a contract may ask for them, and so are keys that come twice.
// What it accepts is not fit for a decoder.
func Skip(b []byte) (n int, err error) { return scanOne(b, lax) }

// A rigour says which rules a scan holds to.
type rigour uint8

const (
	strict  rigour = iota // those of Scan
	lax                   // those of Skip
	untyped               // those of Scan, and integers must fit an int64, as in a contract's any
)

func scanOne(b []byte, r rigour) (int, error) {
	end, _, why := scan(b, 0, 0, schema.MaxValues, r)
	if why != "" {
		return 0, &SyntaxError{Offset: end, Reason: why}
	}
	return end, nil
}

// scan checks the value at pos, inside depth containers, when left values are
// still allowed. It returns the value's end and how many are allowed then; or
// why not, and where.
func scan(b []byte, pos, depth, left int, r rigour) (end, rest int, why string) {
	if left--; left < 0 {
		return pos, 0, whyValues
	}
	c, n, next := readHead(b, pos)
	if c == classList || c == classMap {
		return scanTree(b, pos, depth, left, r)
	}
	if why := scanScalar(b, pos, c, n, next, r); why != "" {
		return pos, 0, why
	}
	return next + n, left, ""
}

// scanScalar checks the contents of what holds no other values.
func scanScalar(b []byte, pos int, c class, n, next int, r rigour) string {
	switch c {
	case classString:
		if !isText(b[next : next+n]) {
			return whyUTF8
		}
	case classFloat:
		if r != lax && !isFinite(readFloat(b, pos)) {
			return whyNonFinite
		}
	case classExt:
		if r != lax || !isTime(b[pos], b[next:next+n]) {
			return whyExtension
		}
	case classShort:
		return whyShort
	case classNone:
		return whyUnused
	case classInt:
		if r == untyped && b[pos] == 0xcf {
			if _, big := readInt(b, pos); big {
				return whyBig
			}
		}
	case classNil, classBool, classBytes, classList, classMap:
	}
	return ""
}

// A level is an open container.
type level struct {
	left     int32 // values still to come, keys included
	keys     int32 // where its keys begin in the stack of keys
	isMap    bool
	unsorted bool
}

// scanTree is scan for a list or a map. left does not count it any more.
func scanTree(b []byte, pos, depth, left int, r rigour) (end, rest int, why string) {
	var levels [schema.MaxDepth]level
	var few [fewKeys]keyRef
	keys := few[:0]
	var scratch *keyScratch
	defer func() {
		if scratch != nil {
			keyScratches.Put(scratch)
		}
	}()
	open := 0
	var top *level
	for {
		c, n, next := readHead(b, pos)
		switch {
		case c == classMap || c == classList:
			isMap := c == classMap
			if why := checkOpen(isMap, n, depth+open, left, len(b)-next); why != "" {
				return pos, 0, why
			}
			if isMap {
				if r != lax && len(keys)+n > cap(keys) {
					scratch = keyScratches.Get().(*keyScratch)
					keys = append(scratch.keys[:0], keys...)
				}
				n *= 2
			}
			left -= n
			levels[open] = level{left: int32(n), keys: int32(len(keys)), isMap: isMap}
			open++
			pos = next
		default:
			if why := scanScalar(b, pos, c, n, next, r); why != "" {
				return pos, 0, why
			}
			pos = next + n
		}
		for top = &levels[open-1]; top.left == 0; top = &levels[open-1] {
			if top.unsorted {
				if i := findDuplicate(b, keys[top.keys:]); i >= 0 {
					return int(keys[int(top.keys)+i] >> 8), 0, whyKeyTwice
				}
			}
			keys = keys[:top.keys]
			if open--; open == 0 {
				return pos, left, ""
			}
		}
		top.left--
		if top.isMap {
			at, n, why := scanKey(b, pos)
			if why != "" {
				return pos, 0, why
			}
			top.left--
			if r != lax {
				keys = append(keys, newKeyRef(at, n))
				top.unsorted = top.unsorted || !ascend(b, keys[top.keys:])
			}
			pos = at + n
		}
	}
}

// checkOpen checks the head of a list or map of n elements or pairs: inside
// depth containers, when room values may still come and left bytes follow.
func checkOpen(isMap bool, n, depth, room, left int) string {
	values := n
	if isMap {
		values *= 2
	}
	switch {
	case values > left:
		return whyShort
	case depth >= schema.MaxDepth:
		return whyDepth
	case isMap && n > schema.MaxKeys:
		return whyKeys
	case values > room:
		return whyValues
	}
	return ""
}

// scanKey checks the map key at pos and returns where its text is.
func scanKey(b []byte, pos int) (at, n int, why string) {
	c, n, at := readHead(b, pos)
	switch {
	case c == classShort:
		return at, 0, whyShort
	case c == classNone:
		return at, 0, whyUnused
	case c != classString:
		return at, 0, whyKeyType
	case n == 0 || n > schema.MaxName:
		return at, 0, whyKeyLength
	case !isText(b[at : at+n]):
		return at, 0, whyUTF8
	}
	return at, n, ""
}
