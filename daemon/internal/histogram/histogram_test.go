package histogram

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestBucketsFollowEachOther(t *testing.T) {
	t.Parallel()
	for i := range buckets - 1 {
		end := bucketEnd(i)
		if got := bucketOf(end); got != i {
			t.Fatalf("bucket %d ends at %d ns, which is in bucket %d", i, end, got)
		}
		if got := bucketOf(end + 1); got != i+1 {
			t.Fatalf("%d ns is in bucket %d, want %d", end+1, got, i+1)
		}
	}
	for _, d := range []time.Duration{1 << maxBits, 1<<63 - 1} {
		if got := bucketOf(d); got != buckets-1 {
			t.Errorf("%d ns: got bucket %d, want the last", d, got)
		}
	}
	if got := bucketOf(-1); got != 0 {
		t.Errorf("-1 ns: got bucket %d, want 0", got)
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	var h Histogram
	r := rand.New(rand.NewPCG(1, 2))
	all := make([]time.Duration, 10_000)
	for i := range all {
		all[i] = time.Duration(r.ExpFloat64() * float64(80*time.Microsecond))
		h.Add(all[i])
	}
	slices.Sort(all)
	var c Counts
	c.AddFrom(&h)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 1} {
		exact := all[int(q*float64(len(all)))-1]
		got := c.Quantile(q)
		if got < exact || float64(got) > float64(exact)*(1+1.0/subs)+1 {
			t.Errorf("quantile %v: got %v, want %v to 3 %% more", q, got, exact)
		}
	}
	if longest := all[len(all)-1]; c.Max() != longest || c.Quantile(1) != longest {
		t.Errorf("the longest: got %v and %v, want %v", c.Max(), c.Quantile(1), longest)
	}
	if got := c.Since(&c).Quantile(0.5); got != 0 {
		t.Errorf("nothing counted: got %v, want 0", got)
	}
}

// What several have counted is what one would have.
func TestTogether(t *testing.T) {
	t.Parallel()
	var a, b, both Histogram
	var adding sync.WaitGroup
	for _, h := range []*Histogram{&a, &b} {
		for n := range 4 {
			adding.Go(func() {
				for i := range 1000 {
					d := time.Duration(i*n) * time.Microsecond
					h.Add(d)
					both.Add(d)
				}
			})
		}
	}
	adding.Wait()
	var before, sum, want Counts
	before.AddFrom(&a)
	sum.AddFrom(&b)
	sum.AddCounts(&before)
	want.AddFrom(&both)
	if sum != want || sum.Total() != 8000 || sum.Max() != 3*999*time.Microsecond {
		t.Errorf("got %d, the longest %v; want %d, %v", sum.Total(), sum.Max(), want.Total(), want.Max())
	}
	after := sum.Since(&before)
	if after.Total() != 4000 || after.Max() < 3*999*time.Microsecond {
		t.Errorf("since then: got %d, the longest %v; want 4000, and its bucket's end", after.Total(), after.Max())
	}
	var n uint64
	last := time.Duration(-1)
	for end, count := range sum.All() {
		if end <= last || count == 0 {
			t.Errorf("bucket until %v with %d after that until %v", end, count, last)
		}
		last, n = end, n+count
	}
	if n != sum.Total() || last != sum.Max() {
		t.Errorf("all buckets: got %d until %v, want %d until %v", n, last, sum.Total(), sum.Max())
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0 µs", 999 * time.Nanosecond: "0 µs", 61 * time.Microsecond: "61 µs",
		1234 * time.Microsecond: "1.23 ms", 12345 * time.Microsecond: "12.3 ms",
		999_400 * time.Microsecond: "999 ms", 999_600 * time.Microsecond: "1 s",
		1500 * time.Millisecond: "1.5 s", 2 * time.Minute: "120 s", time.Hour: "3600 s",
	} {
		if got := Text(d); got != want {
			t.Errorf("%d ns: got %q, want %q", d, got, want)
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	var h Histogram
	for b.Loop() {
		h.Add(61 * time.Microsecond)
	}
}
