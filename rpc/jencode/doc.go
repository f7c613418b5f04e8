// Package jencode reads and writes DIRAC's JSON, JEncode: JSON with big
// integers, NaN, dates and bytes, in ASCII; and plain JSON for everybody else. It
// knows no methods and no HTTP.
//
// # Values
//
//	Go                      DIRAC                                          JSON
//	nil                     null                                           null
//	bool                    true                                           true
//	integers, *big.Int      1                                              1
//	floats                  1.0  1e+16  1.5e-07  -0.0                      the same
//	NaN, infinities         NaN  Infinity  -Infinity                       "NaN"  "Infinity"  "-Infinity"
//	string                  "\u00e9"                                       "é"
//	[]byte                  {"__dCls": "b64", "obj": "AP8="}               "AP8="
//	time.Time               {"__dCls": "dt", "obj": "2020-01-02 03:04:05"} "2020-01-02T03:04:05.678Z"
//	Date                    {"__dCls": "date", "obj": "2020-01-02"}        "2020-01-02"
//	Serializable            {"__dCls": C, "__dMod": M, "field": …}         the same, and read as a map
//	slices, arrays          [1, [2]]                                       [1,[2]]
//	maps, structs           {"a": 1, "b": 2}                               {"a":1,"b":2}
//	Raw                     as it is                                       as it is
//
// A number without point and exponent is an int, any other a float, and both stay
// what they are; floats are written exactly as Python writes them, in both
// dialects. Times are UTC; DIRAC's have whole seconds, the rest is dropped. Nil
// slices and maps are written as empty ones; the keys of a map are written in
// order.
//
// # Reading
//
// Text is checked as a whole before any of it is used: that it is one value, in
// UTF-8, without a byte order mark, within [MaxDepth], [MaxValues] and
// [MaxNumber]; what a server answered may have more ([UnmarshalAnswer]).
//
// In the DIRAC dialect, as in Python, of duplicate names the last counts, a number
// too large for a float is infinite, half a surrogate pair is text (it is read as
// U+FFFD; a [Raw] keeps it), and an object with a "__dCls" that says something is a
// value of that class; with null or "" there, the name is dropped. A class that is
// not known here is never loaded: it is read as a [Serializable]. In JSON duplicate
// names, such numbers and half pairs are errors, and "__dCls" is a name like any
// other.
//
// All functions may be called concurrently.
package jencode

// A Dialect is one of the two ways to write values.
type Dialect uint8

const (
	// DIRAC is JEncode, as Python writes it: ", " and ": ", ASCII only, NaN as a
	// bare word, times and bytes as objects with __dCls.
	DIRAC Dialect = iota
	// JSON is RFC 8259, compact and in UTF-8: times are RFC 3339 texts, bytes
	// base64, NaN the text "NaN".
	JSON
)

// Bounds on what is read (docs/limits.md).
const (
	// MaxDepth bounds how deep lists and objects nest; it holds for what is
	// written too.
	MaxDepth = 64
	// MaxValues bounds the values, lists and objects included, names not.
	MaxValues = 20_000
	// MaxAnswerValues is the same for [UnmarshalAnswer].
	MaxAnswerValues = 4_000_000
	// MaxNumber bounds the digits of a number, those of its exponent included.
	MaxNumber = 40
	// MaxAnswerNumber is the same for [UnmarshalAnswer]: what a server has made may
	// be larger than what it takes.
	MaxAnswerNumber = 10_000
)
