package sealed_test

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/broker/sealed"
	"go-micro.dev/v4/broker"
)

// junkOf is an envelope of a new epoch in somebody's name, with all that an outsider can
// have recorded, but the key: another one each time.
func junkOf(t testing.TB, s *scene, sender string, as *secrets) packet {
	t.Helper()
	h := *as.heading
	h.sender = sender
	h.created, h.notAfter = time.Now(), time.Now().Add(time.Hour)
	fake := &secrets{heading: &h, header: h.bytes(), key: as.key, id: randomBytes(32), grants: as.grants}
	return fake.seal(t, note{topic: "orders.created"}).on("orders.created", nil)
}

// count delivers junk, and returns how much of it was looked at closely.
func (s *scene) count(t testing.TB, n int, make func(i int) packet) (looked int) {
	t.Helper()
	s.refused.take()
	for i := range n {
		s.wire.deliver(make(i))
	}
	for _, j := range s.refused.take() {
		switch {
		case j.Reason == overLimit && j.Again:
		case (j.Reason == badPublisher || j.Reason == tampered) && !j.Again:
			looked++
		default:
			t.Fatalf("rejected: %+v", j)
		}
	}
	return looked
}

// TestBounded: what strangers send takes neither our memory nor our time.
func TestBounded(t *testing.T) {
	t.Run("10^5 junk grants leave memory flat", func(t *testing.T) {
		s := newScene(t)
		s.good(t)
		epoch := newSecrets(t, headingOf(t, s.members["shop"], 1), newBoxKey(t), memberOf(s.members["shipping"]), memberOf(s.members["billing"]))
		one := epoch.seal(t, note{topic: "orders.created"})
		junk := func(n int) {
			for i := range n {
				one.epoch = randomBytes(32)
				one.counter = uint32(i)
				s.wire.deliver(one.on("orders.created", nil))
				s.refused.take()
			}
		}
		var before, after runtime.MemStats
		junk(1000)
		runtime.GC()
		runtime.ReadMemStats(&before)
		junk(100000)
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 2<<20 {
			t.Errorf("it has left %d KiB", grown>>10)
		}
		s.good(t)
		runtime.KeepAlive(s)
	})
	t.Run("public-key operations", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newScene(t)
			s.good(t)
			shop := s.members["shop"]
			epoch := newSecrets(t, headingOf(t, shop, 1), newBoxKey(t), memberOf(s.members["shipping"]), memberOf(s.members["billing"]))
			opened := sealed.StatsOf(s.billing).EpochsOpened
			junk := func(int) packet { return junkOf(t, s, shop.ID(), epoch) }
			if got := s.count(t, 700, junk); got != 499 { // one was spent on its open epoch
				t.Errorf("%d of 700 were looked at", got)
			}
			s.good(t) // its epoch is open
			time.Sleep(time.Second)
			if got := s.count(t, 200, junk); got != 100 {
				t.Errorf("%d of 200 were looked at after a second", got)
			}
			// Its next epoch has to wait, and is not lost.
			if err := s.shop.Init(sealed.RotateEvery(time.Hour)); err != nil {
				t.Fatal(err)
			}
			p := s.sent(t, "orders.created", "next")
			s.refuses(t, p, true, overLimit)
			time.Sleep(time.Second)
			s.delivers(t, p, "next")
			if got := sealed.StatsOf(s.billing).EpochsOpened; got != opened+1 {
				t.Errorf("%d epochs were opened", got-opened)
			}
		})
	})
	t.Run("one sender's junk does not close out another", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newScene(t)
			any := sealed.Topic("orders.*", sealed.AnyPublisher(), sealed.Subscribers("billing"))
			if err := s.billing.Init(any); err != nil {
				t.Fatal(err)
			}
			epoch := newSecrets(t, headingOf(t, s.members["mallory"], 1), newBoxKey(t), memberOf(s.members["shipping"]), memberOf(s.members["billing"]))
			s.count(t, 700, func(int) packet { return junkOf(t, s, s.members["mallory"].ID(), epoch) })
			publish(t, s.shop, "orders.created", "x") // of an epoch that is new
			if got := s.in.bodies(); !slices.Equal(got, []string{"x"}) {
				t.Errorf("got %q; rejections: %+v", got, s.refused.take())
			}
			// And in all names together.
			time.Sleep(time.Hour)
			got := s.count(t, 4000, func(i int) packet {
				return junkOf(t, s, fmt.Sprintf("spiffe://shop.internal/s%d", i), epoch)
			})
			if got != 2000 {
				t.Errorf("%d of 4000 were looked at", got)
			}
			time.Sleep(time.Second)
			got = s.count(t, 800, func(i int) packet {
				return junkOf(t, s, fmt.Sprintf("spiffe://shop.internal/t%d", i), epoch)
			})
			if got != 400 {
				t.Errorf("%d of 800 were looked at after a second", got)
			}
			time.Sleep(time.Minute)
			publish(t, s.shop, "orders.created", "y")
			if got := s.in.bodies(); !slices.Equal(got, []string{"x", "y"}) {
				t.Errorf("got %q; rejections: %+v", got, s.refused.take())
			}
		})
	})
	t.Run("old epochs come again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newScene(t)
			shop := s.members["shop"]
			again := func(n int) (looked int) {
				t.Helper()
				for range n {
					epoch := newSecrets(t, headingOf(t, shop, 1), shop.BoxKeys()[0], memberOf(s.members["shipping"]), memberOf(s.members["billing"]))
					s.wire.deliver(epoch.seal(t, note{topic: "orders.created"}).on("orders.created", nil))
				}
				for _, j := range s.refused.take() {
					if j.Reason == overLimit && j.Again {
						n--
					}
				}
				return n
			}
			if got := again(1200); got < 990 || got > 1000 {
				t.Errorf("%d of 1200 epochs were opened at once", got)
			}
			time.Sleep(time.Second)
			if got := again(300); got != 200 {
				t.Errorf("%d of 300 were opened after a second", got)
			}
		})
	})
	t.Run("what is for others is no junk", func(t *testing.T) {
		s := newScene(t)
		shop := s.members["shop"]
		epoch := newSecrets(t, headingOf(t, shop, 0), shop.BoxKeys()[0], memberOf(s.members["shipping"]))
		for i := range 300 {
			h := *epoch.heading
			h.most = uint32(i + 1)
			other := &secrets{heading: &h, header: h.bytes(), key: epoch.key, id: randomBytes(32), grants: epoch.grants}
			s.refuses(t, other.seal(t, note{topic: "orders.created"}).on("orders.created", nil), false, notRecipient)
		}
		s.good(t)
	})
	t.Run("large messages", func(t *testing.T) {
		s := newScene(t)
		s.refuses(t, packet{"orders.created", &broker.Message{Body: append([]byte("SGNE\x01\x01\x00"), make([]byte, 64<<20)...)}}, false, overLimit)
		err := s.shop.Publish("orders.created", &broker.Message{Body: make([]byte, 64<<20)})
		wantError(t, err, sealed.ErrLimit)
		many := make(map[string]string)
		for i := range 257 {
			many[fmt.Sprint(i)] = ""
		}
		wantError(t, s.shop.Publish("orders.created", &broker.Message{Header: many}), sealed.ErrLimit)
		wantError(t, s.shop.Publish("orders.created", &broker.Message{Header: map[string]string{"": "x"}}), sealed.ErrLimit)
		s.good(t)
	})
}
