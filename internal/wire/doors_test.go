package wire

import "busd/schema"

// The slow ways, which the fast ones are held against.

// QuickForTest is the fast check alone: 0 means that it does not know.
func (m *Message) QuickForTest(b []byte) int { return m.quick(b, 0) }

// CheckForTest is Check without the fast one.
func (m *Message) CheckForTest(b []byte) (int, error) { return m.check(b) }

// QuickForTest is the fast decoder alone; false means that it does not know.
func (d Decoder) QuickForTest(b []byte) (f Frame, ok bool) {
	ok = d.quick(b, &f)
	return f, ok
}

// NextForTest is Next without the fast one.
func (d Decoder) NextForTest(b []byte) (Frame, error) { return d.next(b) }

// AppendForTest is Append without the fast one.
func (p *Packer) AppendForTest(dst []byte, v schema.Message) ([]byte, error) {
	return p.packAndCheck(dst, pointerIn(v))
}

// WriteForTest is the fast one alone; nil means that it does not know.
func (p *Packer) WriteForTest(v schema.Message) []byte {
	return p.plan.writeAll([]byte{}, pointerIn(v))
}

// FindForTest looks a name up in the table alone.
func (c *Contract) FindForTest(name string) *Message { return c.names.find(name) }
