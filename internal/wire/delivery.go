package wire

import "busd/schema"

// A Delivery says what may happen to a message that finds no room. The zero value
// is class must: it waits.
type Delivery struct {
	// Volatile: it is dropped.
	Volatile bool
	// Key is set for class latest: a newer message with the same one takes the
	// place of one that is still unsent.
	Key string
}

// DeliveryOf says it of a data frame of m, encoded without its number.
func DeliveryOf(m *Message, frame []byte) Delivery {
	switch m.definition.Class {
	case schema.Volatile:
		return Delivery{Volatile: true}
	case schema.Latest:
		return Delivery{Key: string(m.appendKey(nil, m.BodyOf(frame)))}
	case schema.Must:
	}
	return Delivery{}
}

// appendKey appends what tells messages of class latest apart: the message's
// name and the encoded value of its key, nothing if that is absent. body are its
// attributes as they are encoded here, which have been checked.
func (m *Message) appendKey(dst, body []byte) []byte {
	dst = append(dst, m.name...)
	if m.definition.Key == "" {
		return dst
	}
	_, n, pos := readHead(body, 0)
	for range n {
		_, size, at := readHead(body, pos)
		pos = passValue(body, at+size)
		if string(body[at:at+size]) == m.definition.Key {
			return append(dst, body[at+size:pos]...)
		}
	}
	return dst
}

// BodyOf returns the attributes in a data frame of this message that was encoded
// without its number.
func (m *Message) BodyOf(frame []byte) []byte {
	begin := beforeNumber + len(m.name)
	return frame[begin:passValue(frame, begin)]
}

// Refers tells whether a data frame, encoded without its number, replies to a
// frame of the peer's: it means nothing in another session.
func Refers(frame []byte) bool { return frame[0]&0x0f > 5 }

// NameIn returns the message's name in a data frame that was encoded without its
// number.
func NameIn(frame []byte) []byte {
	_, size, at := readHead(frame, beforeNumber)
	return frame[at : at+size]
}
