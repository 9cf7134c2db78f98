package etcd

import (
	"fmt"
	"testing"
)

// TestQueueIsBoundInBytes has few changes of large records, and a caller that does
// not come for them.
func TestQueueIsBoundInBytes(t *testing.T) {
	limits := Limits{Total: 10 << 10}.withDefaults()
	f := newFeed(limits, nil)
	put := func(i, size int) {
		value := fmt.Appendf(nil, `{"name":"greeter","version":"%0*d","nodes":[{"id":"1"}]}`, size, i)
		f.put("greeter/1", &record{service: "greeter", id: "1", value: value, rev: int64(i)})
	}
	for i := range 1000 {
		put(i, 1<<10)
		held := 0
		for _, c := range f.queue {
			held += len(c.record.value)
		}
		if held > limits.Total {
			t.Fatalf("%d bytes wait, at most %d should", held, limits.Total)
		}
	}
	result := f.next()
	if result == nil || result.Action != created || result.Service.Version != fmt.Sprintf("%0*d", 1<<10, 999) {
		t.Fatalf("got %v, want the last state", result)
	}
	// What was delivered does not count.
	for i := range 1000 {
		put(1000+i, 1)
		if result := f.next(); result == nil || result.Action != updated {
			t.Fatalf("change %d: got %v", i, result)
		}
	}
	if f.queued != 0 || f.overflow {
		t.Errorf("the empty queue has %d bytes, overflow %v", f.queued, f.overflow)
	}
}
