package jencode

import (
	"strconv"
	"time"
)

// Raw is one value as it is written, in the DIRAC dialect or in JSON: it is
// checked, and passed on byte for byte. Nil is null.
type Raw []byte

// Date is a day without a time.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// String returns the date as 2006-01-02.
func (d Date) String() string { return string(appendDate(nil, d.Year, d.Month, d.Day)) }

// Serializable is an object of a Python class (JSerializable), which nobody loads
// here.
type Serializable struct {
	Class, Module string
	Fields        map[string]any
}

// appendDate appends the year with at least four digits: without them Python
// cannot read a date that it wrote itself.
func appendDate(b []byte, year int, month time.Month, day int) []byte {
	if year < 0 {
		b, year = append(b, '-'), -year
	}
	for least := 1000; least > year && least > 1; least /= 10 {
		b = append(b, '0')
	}
	b = strconv.AppendInt(b, int64(year), 10)
	b = appendTwo(append(b, '-'), int(month))
	return appendTwo(append(b, '-'), day)
}

// appendTwo appends n, of 0 to 99, in two digits.
func appendTwo(b []byte, n int) []byte { return append(b, byte('0'+n/10%10), byte('0'+n%10)) }
