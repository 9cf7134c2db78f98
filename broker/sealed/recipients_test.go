package sealed_test

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/broker/sealed"
	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/registry"
)

// cardRegistry stands for a signed registry: whoever looks a service up, or watches it,
// has its card in the peer directory afterwards.
type cardRegistry struct {
	registry.Registry
	to *identity.Identity

	mu       sync.Mutex
	cards    map[string][]byte
	watchers map[*cardWatcher]bool
	down     bool
	lookups  atomic.Int64
	watches  atomic.Int64
}

type cardWatcher struct {
	of     *cardRegistry
	name   string
	events chan struct{}
	done   chan struct{}
	once   sync.Once
}

var errRegistry = errors.New("the registry is down")

func newCardRegistry(to *identity.Identity) *cardRegistry {
	return &cardRegistry{to: to, cards: make(map[string][]byte), watchers: make(map[*cardWatcher]bool)}
}

// register makes a member known, and tells watchers of it.
func (r *cardRegistry) register(t testing.TB, id *identity.Identity) {
	t.Helper()
	card, err := id.Card()
	if err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cards[id.Peer().Service] = card
	for w := range r.watchers {
		if w.name == id.Peer().Service {
			w.events <- struct{}{}
		}
	}
}

func (r *cardRegistry) setDown(is bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = is
	if is {
		for w := range r.watchers {
			w.Stop()
		}
	}
}

func (r *cardRegistry) GetService(name string, _ ...registry.GetOption) ([]*registry.Service, error) {
	r.lookups.Add(1)
	r.mu.Lock()
	card, down := r.cards[name], r.down
	r.mu.Unlock()
	if down {
		return nil, errRegistry
	}
	if card != nil {
		return nil, r.to.AddCard(card)
	}
	return nil, nil
}

func (r *cardRegistry) Watch(opts ...registry.WatchOption) (registry.Watcher, error) {
	var o registry.WatchOptions
	for _, opt := range opts {
		opt(&o)
	}
	r.watches.Add(1)
	w := &cardWatcher{of: r, name: o.Service, events: make(chan struct{}, 16), done: make(chan struct{})}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return nil, errRegistry
	}
	r.watchers[w] = true
	return w, nil
}

func (w *cardWatcher) Next() (*registry.Result, error) {
	select {
	case <-w.events:
		_, err := w.of.GetService(w.name)
		return &registry.Result{}, err
	case <-w.done:
		return nil, registry.ErrWatcherStopped
	}
}

func (w *cardWatcher) Stop() { w.once.Do(func() { close(w.done) }) }

// TestRecipientsFromRegistry: recipients are looked up, served as they come, and named
// while they are missing, once for each change.
func TestRecipientsFromRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		shopID, billingID, shippingID := f.issue("shop"), f.issue("billing"), f.issue("shipping")
		reg := newCardRegistry(shopID)
		w := newWire()
		type missing struct {
			pattern string
			ids     []string
		}
		var told []missing
		shop := f.join("shop", w, orders(), broker.Registry(reg), sealed.OnMissing(func(p string, ids []string) { told = append(told, missing{p, ids}) }))
		billing, shipping := subscribe(t, f.join("billing", w, orders()), "orders.created"), subscribe(t, f.join("shipping", w, orders()), "orders.created")

		for range 3 {
			wantError(t, shop.Publish("orders.created", &broker.Message{}), sealed.ErrNoRecipients)
		}
		synctest.Wait()
		if n := reg.lookups.Load(); n < 2 || n > 4 {
			t.Errorf("%d lookups of two services within a moment: want one each, and at most one each when it is watched", n)
		}
		if len(w.sent()) != 0 {
			t.Error("something was sent to nobody")
		}
		reg.register(t, billingID)
		synctest.Wait()
		for range 2 {
			publish(t, shop, "orders.created", "one")
		}
		reg.register(t, shippingID)
		synctest.Wait()
		publish(t, shop, "orders.created", "both")
		synctest.Wait()
		if b, s := billing.bodies(), shipping.bodies(); !slices.Equal(b, []string{"one", "one", "both"}) || !slices.Equal(s, []string{"both"}) {
			t.Errorf("billing got %q, shipping %q", b, s)
		}
		want := []int{2, 1, 0}
		for i, m := range told {
			if i >= len(want) || len(m.ids) != want[i] || m.pattern != "orders.*" {
				t.Errorf("told %d: %+v", i, m)
			}
		}
		if len(told) != len(want) || told[1].ids[0] != shippingID.ID() {
			t.Errorf("told %+v", told)
		}
	})
}

// TestWatchOnlyConnected: who publishes without Connect would leave a watch behind.
func TestWatchOnlyConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		shopID := f.issue("shop")
		reg := newCardRegistry(shopID)
		reg.register(t, f.issue("billing"))
		b := sealed.NewBroker(sealed.Wrap(newWire()), sealed.Identity(shopID), orders(), broker.Registry(reg), broker.Logger(quiet))
		watches := func(when string, want int64) {
			t.Helper()
			publish(t, b, "orders.created", "hello")
			synctest.Wait()
			if n := reg.watches.Load(); n != want {
				t.Errorf("%s: %d watches, want %d", when, n, want)
			}
		}
		watches("before Connect", 0)
		if err := b.Connect(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(sealed.DefaultRotateEvery) // the next epoch asks for its recipients again
		watches("connected", 2)
		if err := b.Disconnect(); err != nil {
			t.Fatal(err)
		}
		watches("disconnected", 2)
	})
}

// TestWatchAgain: a watch that fails is begun anew, and Disconnect ends it.
func TestWatchAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		shopID, billingID := f.issue("shop"), f.issue("billing")
		reg := newCardRegistry(shopID)
		reg.register(t, billingID)
		rule := sealed.Topic("orders.*", sealed.Publishers("shop"), sealed.Subscribers("billing"))
		w := newWire()
		shop := f.join("shop", w, rule, broker.Registry(reg))
		in := subscribe(t, f.join("billing", w, rule), "orders.created")
		publish(t, shop, "orders.created", "a")
		reg.setDown(true)
		time.Sleep(time.Minute)
		if n := reg.watches.Load(); n < 5 || n > 20 {
			t.Errorf("%d watches in a minute", n)
		}
		publish(t, shop, "orders.created", "what is known is good")
		reg.setDown(false)
		time.Sleep(time.Minute)
		before := reg.lookups.Load()
		if err := f.authority.Revoke(billingID); err != nil {
			t.Fatal(err)
		}
		if err := shop.Publish("orders.created", &broker.Message{}); !errors.Is(err, sealed.ErrNoRecipients) {
			t.Errorf("to a recipient that was revoked: %v", err)
		}
		if reg.lookups.Load() == before {
			t.Error("the registry was not asked after a change of trust")
		}
		next := f.issue("billing")
		reg.register(t, next)
		synctest.Wait()
		publish(t, shop, "orders.created", "the next one found by the watch")
		if got := in.bodies(); len(got) != 2 {
			t.Errorf("the revoked one got %q", got)
		}
		if err := shop.Disconnect(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the test ends only when nothing watches any more
	})
}

// TestReplicas: a replica with a key of its own reads from the next message on, and one
// that is gone no longer.
func TestReplicas(t *testing.T) {
	f := newFleet(t, "shop", "billing")
	rule := sealed.Topic("orders.*", sealed.Publishers("shop"), sealed.Subscribers("billing"))
	w := newWire()
	shop := f.join("shop", w, rule)
	var refused rejections
	first := subscribe(t, f.join("billing", w, rule), "orders.created")
	firstKey := f.members["billing"].BoxKeys()[0].PublicKey().Bytes()
	f.issue("billing") // of the same name, with another key
	second := subscribe(t, f.join("billing", w, rule, refused.option()), "orders.created")
	publish(t, shop, "orders.created", "a")
	f.introduce()
	publishUntil(t, shop, "b", func() bool { return len(second.bodies()) > 0 })
	f.members["shop"].Directory().RemoveKey(f.members["billing"].ID(), firstKey)
	before := len(first.bodies())
	publishUntil(t, shop, "c", func() bool { return len(second.bodies()) > before && len(first.bodies()) < len(second.bodies()) })
	for _, j := range refused.take() {
		if j.Reason != sealed.ReasonNotRecipient {
			t.Errorf("refused: %+v", j)
		}
	}
}

// publishUntil publishes until what is changed in the background has taken effect.
func publishUntil(t testing.TB, b broker.Broker, body string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: it takes no effect", body)
		}
		publish(t, b, "orders.created", body)
	}
}

// TestKeysRenewed: a publisher and a subscriber that get new box keys, from their files,
// go on, and what was sealed to the old key within its grace still arrives.
func TestKeysRenewed(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	dirs := map[string]string{"shop": t.TempDir() + "/shop", "billing": t.TempDir() + "/billing"}
	for who, dir := range dirs {
		if err := f.members[who].Save(dir); err != nil {
			t.Fatal(err)
		}
		id, err := identity.Load(dir, identity.RereadEvery(10*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { id.Close() })
		f.members[who] = id
	}
	f.introduce()
	w := newWire()
	shop, billing := f.join("shop", w, orders()), f.join("billing", w, orders())
	in := subscribe(t, billing, "orders.created")
	publish(t, shop, "orders.created", "a")
	w.on = func(packet) []packet { return nil }
	publish(t, shop, "orders.created", "b")
	toOldKey := w.last(t)
	w.on = nil
	for who, dir := range dirs {
		renew(t, f, who, dir)
	}
	w.deliver(toOldKey)
	f.introduce()
	publishUntil(t, shop, "c", func() bool { return len(in.bodies()) > 2 })
	if got := in.bodies()[:3]; !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("got %q", got)
	}
	if n := sealed.StatsOf(shop).EpochsMade; n < 2 {
		t.Errorf("%d epochs, although keys have changed", n)
	}
}

// renew gives a member another leaf and box key, and waits until they are in force.
func renew(t testing.TB, f *fleet, who, dir string) {
	t.Helper()
	was := f.members[who]
	next, err := f.authority.Issue(who)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	generation := was.Generation()
	changed := make(chan struct{}, 16)
	defer was.OnChange(func() { changed <- struct{}{} })()
	if err := next.Save(dir); err != nil {
		t.Fatal(err)
	}
	for was.Generation() == generation || !was.BoxKeys()[0].Equal(next.BoxKeys()[0]) {
		<-changed
	}
}
