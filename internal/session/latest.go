package session

// A slot holds an unsent frame of which only the newest counts. It stands in
// the queue where the first of its key was put, so that a key that changes all
// the time is written all the same.
type slot struct {
	key   string
	frame []byte
}

// slotSize is about what a slot takes beside its frame, in bytes: itself, its
// key, and its place among the keys.
const slotSize = 160

// latestBound is how many times the bound of what is kept frames may reach that
// take the place of smaller ones.
const latestBound = 2

// set takes a copy of a frame. A small one does not keep the memory of a large
// one: only what it has is accounted for.
func (p *slot) set(frame []byte) {
	if cap(p.frame) > 2*len(frame) {
		p.frame = nil
	}
	p.frame = append(p.frame[:0], frame...)
}

// Replace puts a frame in the place of the unsent one of the same key, and tells
// whether it did. It wants no room, but frames that grow as they are replaced
// stop at twice the bound of what is kept: beyond that it returns false, as it
// does where there is none, and the frame must find room like any other.
func (s *Session) Replace(key string, frame []byte) bool {
	old, ok := s.latest[key]
	if !ok {
		return false
	}
	more := len(frame) - len(old.frame)
	if more > 0 && s.kept(Bulk)+more > latestBound*s.buffer {
		return false
	}
	s.replace(old, frame)
	return true
}

// LatestRoom tells whether a frame of size bytes that later ones may replace finds
// room where none is for others: up to twice the bound of what is kept.
func (s *Session) LatestRoom(size int) bool { return s.kept(Bulk)+size <= latestBound*s.buffer }

func (s *Session) replace(old *slot, frame []byte) {
	s.lanes[Bulk].resized(len(frame) - len(old.frame))
	old.set(frame)
}

// PutLatest is [Session.Put] for a bulk frame that a later one of the same key
// may replace while it is unsent.
func (s *Session) PutLatest(key string, frame []byte) {
	if old, ok := s.latest[key]; ok {
		s.replace(old, frame)
		return
	}
	if s.latest == nil {
		s.latest = map[string]*slot{}
	}
	put := &slot{key: key}
	put.set(frame)
	s.latest[key] = put
	s.mostLatest = max(s.mostLatest, len(s.latest))
	s.order++
	s.lanes[Bulk].pushSlot(record{order: s.order}, put)
}

// begun is for the oldest slot, whose frame is written: it is not replaced any
// more.
func (s *Session) begun(p *slot) {
	delete(s.latest, p.key)
	if len(s.latest) == 0 && s.mostLatest > keptEntries {
		s.latest, s.mostLatest = nil, 0
	}
}
