package demo

import (
	"math/rand/v2"
	"slices"
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
	var h histogram
	r := rand.New(rand.NewPCG(1, 2))
	all := make([]time.Duration, 10_000)
	for i := range all {
		all[i] = time.Duration(r.ExpFloat64() * float64(80*time.Microsecond))
		h.add(all[i])
	}
	slices.Sort(all)
	var c counts
	c.addFrom(&h)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 1} {
		exact := all[int(q*float64(len(all)))-1]
		got := c.quantile(q)
		if got < exact || float64(got) > float64(exact)*(1+1.0/subs)+1 {
			t.Errorf("quantile %v: got %v, want %v to 3 %% more", q, got, exact)
		}
	}
	if got := c.since(&c).quantile(0.5); got != 0 {
		t.Errorf("nothing counted: got %v, want 0", got)
	}
}

func BenchmarkAdd(b *testing.B) {
	var h histogram
	for b.Loop() {
		h.add(61 * time.Microsecond)
	}
}
