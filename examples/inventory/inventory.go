// Package inventory is a service that only answers calls: what is in a store, and
// files that belong to it. service/ is a program that serves it, client/ one that
// calls it.
package inventory

import (
	"bytes"
	"context"
	"io"
	"slices"
	"sync"

	"busd/access"
	"busd/bus"
	"busd/msgbus"
	"busd/rpc"
)

// An Item is something in the store.
type Item struct {
	Name  string   `bus:"name,minlen=1" doc:"tells items apart"`
	Count int64    `bus:"count,min=0"`
	Tags  []string `bus:"tags,optional"`
}

// A Query says which items are wanted.
type Query struct {
	Tag  *string `bus:"tag" doc:"only items that have it"`
	Most *int64  `bus:"most" doc:"how many at most"`
}

// A store is what the methods share: calls run at the same time.
type store struct {
	mu    sync.Mutex
	items map[string]Item
	order []string
	notes map[string][]byte
}

// New makes the service.
func New() *msgbus.Service {
	s := &store{items: map[string]Item{}, notes: map[string][]byte{}}
	methods := rpc.NewService("Framework/Inventory")
	methods.Doc = "what is in the store"
	methods.Allow = access.Authenticated // of methods that have no rule of their own

	rpc.Export(methods, "put", s.put).Describe("adds an item, or more of one that is there")
	rpc.Export(methods, "find", s.find).Describe("finds items, the oldest first")
	rpc.Export(methods, "remove", s.remove).Named("name").Describe("forgets an item").Allow = access.MustRule("StoreKeeper")

	attach := rpc.Export(methods, "attach", s.attach).Named("name", "content").Describe("keeps a file for an item")
	attach.MaxBody = 100 << 20
	rpc.Export(methods, "attached", s.attached).Named("name").Describe("returns that file")
	return &msgbus.Service{Methods: methods}
}

func (s *store) put(item Item) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	had, there := s.items[item.Name]
	if !there {
		s.order = append(s.order, item.Name)
	}
	item.Count += had.Count
	s.items[item.Name] = item
	return item.Count, nil
}

func (s *store) find(_ context.Context, q Query) ([]Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []Item{}
	for _, name := range s.order {
		if q.Most != nil && int64(len(found)) >= *q.Most {
			break
		}
		if item := s.items[name]; q.Tag == nil || slices.Contains(item.Tags, *q.Tag) {
			found = append(found, item)
		}
	}
	return found, nil
}

func (s *store) remove(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.items[name]; !there {
		return bus.Errorf(bus.CodeNotFound, "there is no item %q", name) // written for the caller
	}
	delete(s.items, name)
	s.order = slices.DeleteFunc(s.order, func(other string) bool { return other == name })
	return nil
}

// attach reads its file as it comes: an io.Reader as the last argument is an upload.
func (s *store) attach(ctx context.Context, name string, content io.Reader) (int, error) {
	b, err := io.ReadAll(content)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.items[name]; !there {
		return 0, bus.Errorf(bus.CodeNotFound, "%s: there is no item %q", rpc.RequestOf(ctx).Grant.User, name)
	}
	s.notes[name] = b
	return len(b), nil
}

// attached is a download, as its result is an io.Reader.
func (s *store) attached(name string) (io.Reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, there := s.notes[name]
	if !there {
		return nil, bus.Errorf(bus.CodeNotFound, "nothing is attached to %q", name)
	}
	return bytes.NewReader(b), nil
}
