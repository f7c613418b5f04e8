package proxy

import (
	"fmt"
	"time"
)

// A Kind is what happened to a connection.
type Kind string

// The kinds.
const (
	WasCut         Kind = "cut"
	WasHalfClosed  Kind = "half-closed"
	WasStalled     Kind = "stalled"     // a byte or an end was withheld, once for each stall
	WasCorrupted   Kind = "corrupted"   // a byte
	WasUnreachable Kind = "unreachable" // the target could not be dialed; the client was reset
)

// An Event is a fault that happened.
type Event struct {
	At   time.Time
	Conn int // the connection's number
	Kind Kind
	// Direction is the one that the fault struck; of a cut, the one whose bytes
	// were counted, or Both if none were.
	Direction Direction
	// Offset is how many bytes the direction had delivered; of a corrupted byte,
	// how many went before it; 0 for Both.
	Offset int64
	// Undelivered is how many of them the receiver's kernel had not taken when a
	// cut by RST came: 0, unless it took none for 5 s.
	Undelivered int
	// End is that of a cut.
	End End
	// Err is why a target could not be dialed.
	Err error
}

func (e Event) String() string {
	s := fmt.Sprintf("%s connection %d %s %s at byte %d", e.At.Format("15:04:05.000000"), e.Conn, e.Direction, e.Kind, e.Offset)
	if e.End != 0 {
		s += " by " + e.End.String()
	}
	if e.Undelivered > 0 {
		s += fmt.Sprintf(", %d bytes undelivered", e.Undelivered)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// A Count is what a direction carried, in bytes unless it says otherwise.
type Count struct {
	Read      int64 // taken from the sender
	Delivered int64 // given to the receiver's kernel
	Discarded int64 // thrown away, because of a cut or of a receiver that is gone
	Pieces    int64 // number of writes that delivered
	Delayed   int64 // number of pieces that waited for latency, pause or bandwidth
}

func (c *Count) add(d Count) {
	c.Read += d.Read
	c.Delivered += d.Delivered
	c.Discarded += d.Discarded
	c.Pieces += d.Pieces
	c.Delayed += d.Delayed
}

// Stats is what a proxy has done since its start.
type Stats struct {
	Accepted int // connections
	Open     int // those that have not ended

	// Faults that happened.
	Cuts, HalfCloses, Stalls, Corruptions, Unreachable int

	Up, Down Count // of all connections
}

// count adds an event.
func (s *Stats) count(k Kind) {
	switch k {
	case WasCut:
		s.Cuts++
	case WasHalfClosed:
		s.HalfCloses++
	case WasStalled:
		s.Stalls++
	case WasCorrupted:
		s.Corruptions++
	case WasUnreachable:
		s.Unreachable++
	}
}
