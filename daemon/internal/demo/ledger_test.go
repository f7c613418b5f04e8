package demo

import (
	"strings"
	"testing"
	"time"
)

// The count at both ends finds what it is there for.
func TestPageFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name          string
		ids           []int64
		sent          int64
		lost, doubled int64
	}{
		{"nothing", nil, 0, 0, 0},
		{"all, in order", []int64{1, 2, 3}, 3, 0, 0},
		{"none came", nil, 3, 3, 0},
		{"one in the middle is missing", []int64{1, 3}, 3, 1, 0},
		{"the last are missing", []int64{1}, 3, 2, 0},
		{"one came twice", []int64{1, 2, 2, 3}, 3, 0, 1},
		{"a part came twice", []int64{1, 2, 1, 2, 3}, 3, 0, 2},
		{"two changed places", []int64{1, 3, 2}, 3, 1, 1},
	} {
		var p page
		for _, id := range tc.ids {
			p.handled(id)
		}
		if lost, doubled := p.count(tc.sent); lost != tc.lost || doubled != tc.doubled {
			t.Errorf("%s: got %d lost, %d doubled, want %d, %d", tc.name, lost, doubled, tc.lost, tc.doubled)
		}
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		do   func(a *agent, p *page)
		want string
	}{
		{"well", func(*agent, *page) {}, ""},
		{"a ping is lost", func(a *agent, _ *page) { a.sent++ }, "1 messages were lost and 0 doubled"},
		{"a ping is doubled", func(_ *agent, p *page) { p.handled(1) }, "0 messages were lost and 1 doubled"},
		{"an answer is lost", func(a *agent, _ *page) { a.burst.begin(1) }, "2000 messages were lost"},
		{"the session did not go on", func(a *agent, _ *page) { a.wasCut.Store(true) }, "its session did not go on"},
		{"it went on", func(a *agent, _ *page) { a.wasCut.Store(true); a.resumed.Add(1) }, ""},
	} {
		a, p := &agent{name: "x", sent: 1}, new(page)
		a.roundTrips.Add(time.Millisecond)
		p.handled(1)
		tc.do(a, p)
		err := a.verdict(p)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
	}
}
