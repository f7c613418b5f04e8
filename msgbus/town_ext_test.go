package msgbus_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// A twin is one of two servers of the same service.
type twin struct {
	*bustest.Server

	svc *msgbus.Service
	url string
}

// A town is two servers of a service, and clients that may go to either.
type town struct {
	t       *testing.T
	twins   [2]*twin
	arrived sync.Map // identity → *ledger of the jobs that were handled at either
	takes   func() time.Duration
}

func newTown(t *testing.T, takes func() time.Duration) *town {
	w := &town{t: t, takes: takes}
	for i := range w.twins {
		svc := newRoom(func(ctx context.Context, c *msgbus.Conn, m Job) error {
			time.Sleep(w.takes())
			if m.ID < 0 {
				return c.Reply(ctx, Note{ID: m.ID})
			}
			w.at(c.Identity()).note(m.ID)
			return nil
		})
		w.twins[i] = &twin{
			Server: bustest.NewServer(t, msgbus.Config{Node: fmt.Sprint("node-", i)}, svc), svc: svc,
			url: fmt.Sprintf("wss://%s:%d/%s", bustest.Host, i, svc.Name()),
		}
	}
	return w
}

func (w *town) at(i bus.Identity) *ledger {
	found, _ := w.arrived.LoadOrStore(i, newLedger())
	return found.(*ledger)
}

// dial finds a twin by the port.
func (w *town) dial(ctx context.Context, network, address string) (net.Conn, error) {
	for _, each := range w.twins {
		if _, port, _ := net.SplitHostPort(address); each.url == fmt.Sprintf("wss://%s:%s/%s", bustest.Host, port, each.svc.Name()) {
			return each.DialContext(ctx, network, address)
		}
	}
	return nil, fmt.Errorf("nobody listens at %s", address)
}

// A citizen is a client that is busy: it sends jobs and makes requests, and is
// sent notes.
type citizen struct {
	w     *town
	c     *msgclient.Client
	id    bus.Identity
	notes *ledger // that it has handled

	stop   context.Context // ends what it does
	work   sync.WaitGroup
	jobs   int // that it sent
	told   int // notes that were taken for it
	asked  int
	faults *story
}

// settle makes a client that knows these addresses.
func (w *town) settle(stop context.Context, instance string, urls ...string) *citizen {
	w.t.Helper()
	z := &citizen{
		w: w, id: bus.Identity("dns:" + bustest.DefaultPeer + "/" + instance),
		notes: newLedger(), stop: stop, faults: new(story),
	}
	z.c = w.twins[0].Client(msgclient.Config{
		Instance: instance, DialContext: w.dial, URL: urls[0], URLs: urls[1:],
		OnError: func(_ *msgclient.Client, err error) { z.fault("OnError", err) },
		OnDrop:  func(_ context.Context, _ *msgclient.Client, why error) { z.fault("OnDrop", why) },
	})
	msgclient.On(z.c, func(_ context.Context, _ *msgclient.Client, m Note) error {
		time.Sleep(w.takes())
		z.notes.note(m.ID)
		return nil
	})
	bustest.Run(w.t, z.c)
	z.work.Go(z.sendJobs)
	z.work.Go(z.sendNotes)
	z.work.Go(z.ask)
	return z
}

func (z *citizen) fault(what string, err error) {
	z.faults.tell(fmt.Sprintf("%s: %s: %v", z.id, what, err))
}

// pause returns false once it is to stop.
func (z *citizen) pause() bool {
	time.Sleep(rand.N(20 * time.Millisecond))
	return z.stop.Err() == nil
}

func (z *citizen) sendJobs() {
	for ; z.pause(); z.jobs++ {
		if err := z.c.Send(z.w.t.Context(), Job{ID: int64(z.jobs)}); err != nil {
			z.fault("Send", err)
			return
		}
	}
}

// sendNotes sends from where the client is. A note that one twin does not take, as
// the client leaves it, the other does.
func (z *citizen) sendNotes() {
	for z.pause() {
		for _, each := range z.w.twins {
			if each.svc.SendTo(z.w.t.Context(), z.id, Note{ID: int64(z.told)}) == nil {
				z.told++
				break
			}
		}
	}
}

func (z *citizen) ask() {
	for ; z.pause(); z.asked++ {
		note, err := msgclient.Request[Note](z.w.t.Context(), z.c, Job{ID: -1 - int64(z.asked)})
		if err != nil || note.ID != -1-int64(z.asked) {
			z.fault("Request", fmt.Errorf("got %v, %w", note, err))
			return
		}
	}
}

// isWell checks that a client noticed nothing, and that everything has arrived.
func (z *citizen) isWell() {
	z.w.t.Helper()
	z.work.Wait()
	for _, each := range z.faults.soFar() {
		z.w.t.Error(each)
	}
	if z.jobs == 0 || z.told == 0 || z.asked == 0 {
		z.w.t.Errorf("%s sent %d jobs, was sent %d notes, and asked %d times; want some of each", z.id, z.jobs, z.told, z.asked)
	}
	z.w.at(z.id).wantAll(z.w.t, string(z.id)+", jobs", z.jobs)
	z.notes.wantAll(z.w.t, string(z.id)+", notes", z.told)
}
