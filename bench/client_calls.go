package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// maxCallers is how many calls are under way at a time.
const maxCallers = 32

// calls has callers call one after the other, all at the same time.
func (c *clientSide) calls(s span) (any, error) {
	o, err := c.options(0, nil)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	service, err := c.contender.call(ctx, o)
	if err != nil {
		return nil, err
	}
	var count atomic.Uint64
	var failed atomic.Pointer[error]
	var stop atomic.Bool
	var trips latencies
	var work sync.WaitGroup
	for i := range maxCallers {
		work.Go(func() {
			for n := int64(i); !stop.Load() && failed.Load() == nil; n += maxCallers {
				began := time.Now()
				if err := callOnce(ctx, service, n); err != nil {
					failed.CompareAndSwap(nil, &err)
					return
				}
				trips.add(time.Since(began))
				count.Add(1)
			}
		})
	}
	var m metrics
	if err = s.warm(count.Load); err == nil {
		trips.start()
		m, err = c.measure(s, count.Load)
	}
	stop.Store(true)
	work.Wait()
	if call := failed.Load(); call != nil {
		return nil, *call
	}
	if err != nil {
		return nil, err
	}
	trips.into(m)
	return m, nil
}

func callOnce(ctx context.Context, service caller, n int64) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	in := callMessage{ID: n, Text: "the quick brown fox"}
	out, err := service.Call(ctx, in)
	if err == nil && out != in {
		err = fmt.Errorf("want %+v back, got %+v", in, out)
	}
	return err
}
