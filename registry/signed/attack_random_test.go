package signed_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

// mirror is what go-micro's cache makes of events.
type mirror map[string]string

func (m mirror) apply(results []*registry.Result) {
	for _, r := range results {
		for _, n := range r.Service.Nodes {
			key := r.Service.Version + " " + n.Id
			if r.Action == "delete" {
				delete(m, key)
			} else {
				m[key] = n.Address
			}
		}
	}
}

// TestWhateverHappensWatchersAndDirectoryEndUpRight plays lives at random, several
// calls at a time, and compares what watchers were told and what the peer directory
// holds with what a new reader finds, whenever all is quiet.
func TestWhateverHappensWatchersAndDirectoryEndUpRight(t *testing.T) {
	rounds := 12 // or as many as $ROUNDS says, to search for longer
	if n, err := strconv.Atoi(os.Getenv("ROUNDS")); err == nil {
		rounds = n
	}
	for round := range rounds {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { playLives(t, uint64(round)) })
		})
	}
}

func playLives(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 0))
	var inner registry.Registry
	var b *board
	var opts []registry.Option
	if seed%2 == 0 {
		b = newBoard()
		inner = b
	} else {
		k := newKeeper()
		inner, b = k, k.board
		opts = append(opts, signed.Recreate())
	}
	f := newFleet(t)
	id := f.issue("reader")
	reader := wrap(t, inner, id, opts...)
	var ids []*identity.Identity
	var services []registry.Registry
	for range 3 {
		ids = append(ids, f.issue("greeter"))
		services = append(services, wrap(t, inner, ids[len(ids)-1], opts...))
	}
	observers := []*observer{observe(t, reader, registry.WatchService("greeter")), observe(t, reader)}
	synctest.Wait()
	mirrors := []mirror{{}, {}}
	var log []string
	one := func() func() {
		i := random.IntN(len(services))
		n := node(fmt.Sprint("n", i), fmt.Sprintf("10.0.0.%d:%d", i, 8000+random.IntN(3)))
		s := greeter(n)
		s.Version = fmt.Sprint("v", random.IntN(2))
		what := random.IntN(11)
		log = append(log, fmt.Sprintf("%d: n%d %s %s", what, i, s.Version, n.Address))
		switch what {
		case 0, 1, 2:
			return func() { _ = services[i].Register(s) }
		case 3:
			return func() { _ = services[i].Deregister(s) }
		case 4:
			return func() { _ = inner.Deregister(s) }
		case 5, 6, 7:
			return func() { _, _ = reader.GetService("greeter") }
		case 8:
			return func() { b.cut() }
		case 9:
			return func() { b.lose("greeter", n.Id); b.cut() }
		default:
			return func() { _ = f.authority.Revoke(f.issue("stranger")) }
		}
	}
	for step := range 15 {
		if step == 10 {
			f.revoke(ids[0])
		}
		var wg sync.WaitGroup
		for range 1 + random.IntN(4) {
			op := one()
			wg.Go(op)
		}
		wg.Wait()
		if random.IntN(3) > 0 {
			continue
		}
		sleep(40 * time.Second) // watches are back
		want := mirror{}
		wantBound := map[string]bool{}
		for _, s := range mustGet(t, f.registry("other", inner, opts...), "greeter") {
			want.apply([]*registry.Result{event("create", s)})
			for _, n := range s.Nodes {
				wantBound[n.Address] = true
			}
		}
		for i, o := range observers {
			mirrors[i].apply(o.results())
			if !maps.Equal(mirrors[i], want) {
				t.Fatalf("step %d: watcher %d believes in %v, there is %v\n%v", step, i, mirrors[i], want, log)
			}
		}
		for address := range wantBound {
			if _, known := id.Directory().Bound(address); !known {
				t.Fatalf("step %d: %s is not bound\n%v", step, address, log)
			}
		}
		if got := boundOf(id, 0); step >= 10 && len(got) > 0 {
			t.Fatalf("step %d: addresses of a revoked identity are bound: %v\n%v", step, got, log)
		}
	}
	for i := range services {
		closeRegistry(t, services[i])
	}
	sleep(2 * signed.DefaultRecreateValidity)
	for i := range services {
		if got := boundOf(id, i); len(got) > 0 {
			t.Errorf("addresses are bound when all is over: %v\n%v", got, log)
		}
	}
	if got := id.Directory().Keys("greeter"); len(got) > 0 {
		t.Errorf("%d box keys when all is over\n%v", len(got), log)
	}
	for i, o := range observers {
		if mirrors[i].apply(o.results()); len(mirrors[i]) > 0 {
			t.Errorf("watcher %d believes in %v when all is over\n%v", i, mirrors[i], log)
		}
	}
}

// boundOf returns which addresses of a node are bound.
func boundOf(id *identity.Identity, node int) (out []string) {
	for port := range 3 {
		address := fmt.Sprintf("10.0.0.%d:%d", node, 8000+port)
		if _, known := id.Directory().Bound(address); known {
			out = append(out, address)
		}
	}
	return out
}
