package link

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"busd/bus"
	"busd/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A parcel is what one end of a pipe sends to the other.
type parcel struct {
	kind  byte // 'm'essage, 'p'ing, 'P'ong, 'c'lose
	bytes []byte
	code  int
}

// A pipe is one end of a Socket in memory. It finds fault with who breaks the
// rules of [Socket].
type pipe struct {
	t       testing.TB
	in, out chan parcel
	peer    *pipe
	broken  chan struct{} // shared by both ends
	breakIt *sync.Once

	// Set before anything is written.
	split bool // each frame is a message of its own
	lossy bool // once the line is broken, what it holds is lost

	budget atomic.Int64 // bytes that it still takes before it breaks; 0: any number

	// Owned by the reader.
	onPing, onPong func(string)
	last           []byte
	silence        time.Duration
	until          time.Time
	farewell       bool // the peer has said goodbye

	reading, writing atomic.Bool
	closed           atomic.Bool
	aborts           atomic.Int32
	writeError       atomic.Pointer[error]
	wall             atomic.Pointer[chan struct{}] // until it is closed nothing is taken
	messages         atomic.Int64                  // written
	tight            atomic.Bool                   // it has no buffer
	more             atomic.Pointer[func() bool]   // what More says; nil: how it is
}

// Pipe makes both ends; each direction holds so many parcels.
func Pipe(t testing.TB, room int) (a, b *pipe) {
	ab, ba := make(chan parcel, room), make(chan parcel, room)
	broken, once := make(chan struct{}), new(sync.Once)
	a = &pipe{t: t, in: ba, out: ab, broken: broken, breakIt: once}
	b = &pipe{t: t, in: ab, out: ba, broken: broken, breakIt: once, peer: a}
	a.peer = b
	return a, b
}

var errPipe = bus.Errorf(bus.CodeUnavailable, "the pipe broke")

func (p *pipe) enter(busy *atomic.Bool, what string) func() {
	if busy.Swap(true) {
		p.t.Errorf("two goroutines %s at once", what)
	}
	return func() { busy.Store(false) }
}

func (p *pipe) Read() ([]byte, error) {
	defer p.enter(&p.reading, "read")()
	for i := range p.last { // whoever held on to it will notice
		p.last[i] = 0xc1
	}
	if p.farewell {
		return nil, errPipe
	}
	for {
		in, err := p.receive()
		if err != nil {
			return nil, err
		}
		switch in.kind {
		case 'm':
			p.last = in.bytes
			return in.bytes, nil
		case 'p':
			p.onPing(string(in.bytes))
		case 'P':
			p.onPong(string(in.bytes))
		case 'c':
			p.farewell = true
			e := bus.Errorf(bus.CodeGoingAway, "%s", in.bytes)
			e.Remote = true
			return nil, e
		}
	}
}

func (p *pipe) Buffers() bool { return !p.tight.Load() }

// More tells whether anything has come, be it a ping.
func (p *pipe) More() bool {
	if more := p.more.Load(); more != nil {
		return (*more)()
	}
	return len(p.in) > 0
}

func (p *pipe) receive() (parcel, error) {
	var late <-chan time.Time
	if p.silence > 0 {
		timer := time.NewTimer(p.silence)
		defer timer.Stop()
		late = timer.C
	}
	if p.lossy {
		select {
		case <-p.broken:
			return parcel{}, errPipe
		default:
		}
	}
	select {
	case in := <-p.in:
		return in, nil
	default:
	}
	select {
	case in := <-p.in:
		return in, nil
	case <-p.broken:
		return parcel{}, errPipe
	case <-late:
		return parcel{}, bus.Errorf(bus.CodeKeepaliveTimeout, "nothing came for %s", p.silence)
	}
}

func (p *pipe) send(out parcel) error {
	defer p.enter(&p.writing, "write")()
	if p.closed.Load() {
		p.t.Errorf("%c %q is written after the goodbye", out.kind, out.bytes)
	}
	if err := p.writeError.Load(); err != nil {
		return *err
	}
	if wall := p.wall.Load(); wall != nil {
		select {
		case <-*wall:
		case <-p.broken:
		}
	}
	select {
	case <-p.broken:
		return errPipe
	default:
	}
	select {
	case p.out <- out:
		return nil
	case <-p.broken:
		return errPipe
	}
}

func (p *pipe) Write(b []byte) error {
	p.messages.Add(1)
	for len(b) > 0 {
		size := len(b)
		if p.split {
			f, err := wire.Decoder{}.Next(b)
			if err != nil {
				p.t.Errorf("what is written is no frame: %v", err)
				return err
			}
			size = f.Size
		}
		if budget := p.budget.Load(); budget > 0 && p.budget.Add(-int64(size)) <= 0 {
			p.breakIt.Do(func() { close(p.broken) })
			return errPipe
		}
		if err := p.send(parcel{kind: 'm', bytes: append([]byte(nil), b[:size]...)}); err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}

func (p *pipe) Ping(payload string) error { return p.send(parcel{kind: 'p', bytes: []byte(payload)}) }

func (p *pipe) Pong(payload string) error { return p.send(parcel{kind: 'P', bytes: []byte(payload)}) }

func (p *pipe) Close(code int, reason string) error {
	defer p.closed.Store(true)
	return p.send(parcel{kind: 'c', bytes: []byte(reason), code: code})
}

func (p *pipe) Handle(onPing, onPong func(string)) { p.onPing, p.onPong = onPing, onPong }

func (p *pipe) Limit(_ int, silence time.Duration, until time.Time) {
	p.silence, p.until = silence, until
}

func (p *pipe) Drain() {
	defer p.enter(&p.reading, "read")()
	p.silence = 2 * time.Second
	for !p.farewell {
		in, err := p.receive()
		if err != nil {
			return
		}
		p.farewell = in.kind == 'c'
	}
}

func (p *pipe) Abort() {
	p.aborts.Add(1)
	p.breakIt.Do(func() { close(p.broken) })
}
