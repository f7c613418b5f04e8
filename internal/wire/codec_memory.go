package wire

import (
	"reflect"
	"time"
	"unsafe"
)

// Only this file reads and writes Go values by address. Reflection would do,
// but each field read or written through it costs several times what the rest
// of its encoding does (BenchmarkAppend, BenchmarkUnpack), and it allocates
// for every slice. What makes it safe: a place is only ever made from a
// pointer to a value of the type that the plan was compiled for, is moved only
// by offsets that reflect gave for that type, and is read only as the Go type
// that the plan found there.

// textOf views bytes as a string, which is good as long as nobody writes to them.
func textOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// bytesOf views a string as bytes, which must not be written to.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// A place is the address of a Go value. It keeps what it points into alive.
type place struct{ p unsafe.Pointer }

// as views the value as a T.
func as[T any](m place) *T { return (*T)(m.p) }

// field returns the place of a part of the value.
func (m place) field(offset uintptr) place { return place{unsafe.Add(m.p, offset)} }

// isNil tells whether a pointer, slice, map or interface is nil: each of them
// begins with a word that is nil only then.
func (m place) isNil() bool { return *(*unsafe.Pointer)(m.p) == nil }

// target returns what the pointer at m points to.
func (m place) target() place { return place{*(*unsafe.Pointer)(m.p)} }

// setTarget makes the pointer at m point to t.
func (m place) setTarget(t place) { *(*unsafe.Pointer)(m.p) = t.p }

// A sliceHeader is what a slice is made of, whatever its elements.
type sliceHeader struct {
	first    unsafe.Pointer
	len, cap int
}

// list returns the first element of the slice at m, and how many there are.
func (m place) list() (place, int) {
	h := (*sliceHeader)(m.p)
	return place{h.first}, h.len
}

// newList puts a new slice of type t and n zero elements at m, and returns the
// first. A slice of none is empty, not nil.
func (m place) newList(t reflect.Type, n int) place {
	first := reflect.MakeSlice(t, n, n).UnsafePointer()
	*(*sliceHeader)(m.p) = sliceHeader{first, n, n}
	return place{first}
}

// newValue returns the place of a new zero value of the slot's type. What has no parts
// is made as the type that it is in memory: reflection costs as much again.
func (s *slot) newValue() place {
	switch s.op {
	case opBool, opInt8, opUint8:
		return newOf[uint8]()
	case opInt16, opUint16:
		return newOf[uint16]()
	case opInt32, opUint32, opFloat32:
		return newOf[uint32]()
	case opInt64, opFloat64:
		return newOf[uint64]()
	case opString:
		return newOf[string]()
	case opTime:
		return newOf[time.Time]()
	case opBytes, opAny, opList, opMap, opStruct:
	}
	return place{reflect.New(s.typ).UnsafePointer()}
}

func newOf[T any]() place { return place{unsafe.Pointer(new(T))} }

// reflected returns the value, of type t, for what only reflection can do.
func (m place) reflected(t reflect.Type) reflect.Value { return reflect.NewAt(t, m.p).Elem() }

// placeOf returns where v is, and hides from the compiler that it is of v: what is
// unpacked would otherwise always be on the heap, one more allocation for each
// message. An unpacker keeps no place beyond its run. strings.Builder does the same.
//
//go:nosplit
//go:nocheckptr
func placeOf[T any](v *T) place {
	hidden := uintptr(unsafe.Pointer(v))
	return *(*place)(unsafe.Pointer(&hidden))
}

// An anyHeader is what an interface without methods is made of.
type anyHeader struct{ typ, data unsafe.Pointer }

// A typeWord is a Go type, as an interface holds it: comparing two is comparing words.
type typeWord struct{ p unsafe.Pointer }

// typeIn returns the type of what is in v.
func typeIn(v any) typeWord { return typeWord{(*anyHeader)(unsafe.Pointer(&v)).typ} }

// wordFor returns the word for t.
func wordFor(t reflect.Type) typeWord { return typeIn(reflect.Zero(t).Interface()) }

// pointerIn returns the place that the pointer in v points to; of a struct in
// v that is not direct, where the struct is, which must not be written to.
func pointerIn(v any) place { return place{(*anyHeader)(unsafe.Pointer(&v)).data} }

// boxed returns the place of a copy of the struct in v, for a type of which
// isDirect says yes.
func boxed(v any) place {
	word := new(unsafe.Pointer)
	*word = pointerIn(v).p
	return place{unsafe.Pointer(word)}
}

// isDirect tells whether an interface holds values of type t themselves, as it
// does for what consists of one pointer, and not their address. Asking it of a
// zero value needs no knowledge of the compiler's rule: its one word is nil
// exactly then.
func isDirect(t reflect.Type) bool { return pointerIn(reflect.Zero(t).Interface()).p == nil }
