package wire

// Texts copies the short strings of one message out of its bytes, into memory that
// they share: one allocation instead of a dozen. The price is that who keeps one of
// them keeps its neighbours, so that no more than sharedText bytes are shared.
type texts struct {
	chunk int // how much memory is taken at a time; 0: each string has its own
	free  []byte
}

const (
	// sharedText bounds what strings share, in bytes, and shortText those that do.
	sharedText = 256
	shortText  = 64
	// likelyText is how long a string is thought to be, in bytes, and likelyTexts how
	// many a list or a map holds.
	likelyText  = 24
	likelyTexts = 4
)

// newTexts expects so many strings in so many bytes.
func newTexts(count, size int) texts {
	if count < 2 {
		return texts{}
	}
	return texts{chunk: min(count*likelyText, size, sharedText)}
}

// copy returns a copy of s.
func (t *texts) copy(s []byte) string {
	n := len(s)
	if n > shortText || t.chunk == 0 {
		return string(s)
	}
	if n > len(t.free) {
		t.free = make([]byte, max(n, t.chunk))
	}
	c := t.free[:n]
	t.free = t.free[n:]
	copy(c, s)
	return textOf(c) // nobody writes there again
}

// countTexts tells how many strings a plan's values are likely to have.
func (p *plan) countTexts() (count int) {
	for i := range p.slots {
		count += p.slots[i].countTexts()
	}
	return count
}

func (s *slot) countTexts() int {
	switch s.op { //nolint:exhaustive // the others have none
	case opString:
		if s.node.few == nil {
			return 1
		}
	case opList:
		return likelyTexts * s.elem.countTexts()
	case opMap:
		return likelyTexts * (1 + s.elem.countTexts())
	case opStruct:
		return s.plan.countTexts()
	}
	return 0
}
