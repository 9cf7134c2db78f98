package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/server"
	"go-micro.dev/v4/transport"
)

// registryChapter: a registry that everybody may write to, and what that gains
// those who do.
func registryChapter(ctx context.Context, s *stage) error {
	p, err := s.newPlot()
	if err != nil {
		return err
	}
	for _, scene := range []func(context.Context) error{p.rogue, p.borrowedName, p.altered, p.replayed, p.impostor} {
		if err := scene(ctx); err != nil {
			return err
		}
	}
	return nil
}

// plot is what the scenes have in common: the registry as it is, and as greeter and
// caller see it through registry/signed.
type plot struct {
	*stage
	open       registry.Registry // whoever writes to it
	greeterReg registry.Registry
	callerReg  registry.Registry
	rejections *rejections
	greeter    *member
	rogues     []*Greeter
}

// rejections collects what the caller's registry refuses.
type rejections struct {
	mu  sync.Mutex
	all []signed.Rejection
}

func (r *rejections) add(j signed.Rejection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, j)
}

// of returns the first refusal for a reason.
func (r *rejections) of(reason signed.Reason) (signed.Rejection, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, j := range r.all {
		if j.Reason == reason && !j.Passed {
			return j, true
		}
	}
	return signed.Rejection{}, false
}

func (s *stage) newPlot() (*plot, error) {
	p := &plot{stage: s, open: registry.NewMemoryRegistry(), rejections: new(rejections)}
	p.greeterReg = s.sign(p.open, signed.Identity(s.greeter.id))
	p.callerReg = s.sign(p.open, signed.Identity(s.caller.id), signed.OnReject(p.rejections.add))
	if err := p.start(); err != nil {
		return nil, err
	}
	services, err := p.open.GetService("greeter")
	if err != nil || len(services) != 1 || len(services[0].Nodes) != 1 {
		return nil, fmt.Errorf("the registry holds %v, error: %w", services, err)
	}
	size := 0
	for key, value := range services[0].Nodes[0].Metadata {
		if strings.HasPrefix(key, "signet-") {
			size += len(key) + len(value)
		}
	}
	s.say("a registry that everybody may write to; greeter signs its registration, in %d bytes of the node's metadata", size)
	return p, nil
}

// sign wraps a registry for the length of the run.
func (s *stage) sign(inner registry.Registry, opts ...registry.Option) registry.Registry {
	r := signed.NewRegistry(append(opts, signed.Wrap(inner))...)
	s.atEnd(r.(io.Closer).Close)
	return r
}

// start starts greeter, under the same node id each time, at an address of the
// system's choice.
func (p *plot) start() error {
	p.greeter = p.secure("greeter", p.stage.greeter.id, p.greeterReg)
	if err := p.greeter.Server().Init(server.Id("1")); err != nil {
		return err
	}
	return p.serve(p.greeter, new(Greeter))
}

// entry returns greeter's registration as whoever reads the registry finds it.
func (p *plot) entry() (*registry.Service, error) {
	services, err := p.open.GetService("greeter")
	if err != nil {
		return nil, err
	}
	for _, s := range services {
		for _, n := range s.Nodes {
			if n.Id == "greeter-1" {
				return &registry.Service{Name: s.Name, Version: s.Version, Endpoints: s.Endpoints, Nodes: []*registry.Node{n}}, nil
			}
		}
	}
	return nil, fmt.Errorf("greeter is not in the registry: %v", services)
}

// trap starts a service that answers in greeter's name to whoever comes.
func (p *plot) trap() (address string, err error) {
	m := p.newMember("greeter", transport.NewHTTPTransport(), registry.NewMemoryRegistry())
	if err := p.serve(m, new(Greeter)); err != nil {
		return "", err
	}
	p.rogues = append(p.rogues, m.handler)
	return m.address(), nil
}

// withstand looks greeter up and calls it, with a client that knows nothing yet, and
// promises that all calls reach greeter, and why what was entered is left out.
func (p *plot) withstand(ctx context.Context, reason signed.Reason) {
	const calls = 8
	before, trapped := p.greeter.handler.calls.Load(), runs(p.rogues)
	client := p.client()
	var failed error
	for range calls {
		if _, err := client.hello(ctx, "greeter", "John"); err != nil {
			failed = err
		}
	}
	got, lost := p.greeter.handler.calls.Load()-before, runs(p.rogues)-trapped
	p.promise(fmt.Sprintf("%d calls of %d reached greeter", calls, calls), failed == nil && got == calls && lost == 0,
		"greeter got %d, others %d, error: %v", got, lost, failed)
	p.promiseRefusal(reason)
}

func (p *plot) promiseRefusal(reason signed.Reason) {
	j, found := p.rejections.of(reason)
	p.promise(fmt.Sprintf("the entry is left out: %s", reason), found, "caller's registry named no such reason")
	if found {
		p.show("%v", j.Err)
	}
}

// rogue: somebody enters a node of his own.
func (p *plot) rogue(ctx context.Context) error {
	address, err := p.trap()
	if err != nil {
		return err
	}
	p.attack("somebody enters a rogue greeter at %s", address)
	node := &registry.Node{Id: "greeter-2", Address: address, Metadata: map[string]string{"protocol": "mucp"}}
	if err := p.open.Register(&registry.Service{Name: "greeter", Version: "latest", Nodes: []*registry.Node{node}}); err != nil {
		return err
	}
	p.withstand(ctx, signed.Unsigned)

	// A copy of the registry: go-micro's memory registry hands one event to all of
	// its watchers, and go-micro's cache writes into it.
	bare, err := p.copyOpen()
	if err != nil {
		return err
	}
	naive := p.newMember("caller", transport.NewHTTPTransport(), bare)
	trapped := runs(p.rogues)
	for range 64 {
		if _, err := naive.hello(ctx, "greeter", "John"); err == nil && runs(p.rogues) > trapped {
			break
		}
	}
	p.promise("the attack is real: a client of the bare registry calls the rogue", runs(p.rogues) > trapped, "it did not in 64 calls")
	return nil
}

func (p *plot) copyOpen() (registry.Registry, error) {
	services, err := p.open.GetService("greeter")
	if err != nil {
		return nil, err
	}
	bare := registry.NewMemoryRegistry()
	for _, s := range services {
		if err := bare.Register(s); err != nil {
			return nil, err
		}
	}
	return bare, nil
}

// borrowedName: a member signs, but for a name that is not its own.
func (p *plot) borrowedName(ctx context.Context) error {
	address, err := p.trap()
	if err != nil {
		return err
	}
	id, err := p.issue("billing")
	if err != nil {
		return err
	}
	p.attack("billing, a member in good standing, signs an entry of its own as greeter at %s", address)
	refused := p.sign(p.open, signed.Identity(id)).Register(&registry.Service{Name: "greeter", Version: "latest", Nodes: []*registry.Node{{Id: "greeter-3", Address: address}}})
	p.promise("its own registry refuses to", refused != nil, "it registered")
	if refused != nil {
		p.show("%v", refused)
	}
	// It need not ask: signed.Allow lets it try.
	err = p.sign(p.open, signed.Identity(id), signed.Allow("greeter", "billing")).
		Register(&registry.Service{Name: "greeter", Version: "latest", Nodes: []*registry.Node{{Id: "greeter-3", Address: address}}})
	if err != nil {
		return err
	}
	p.withstand(ctx, signed.Unauthorised)
	return nil
}

// altered: somebody sends greeter's callers elsewhere.
func (p *plot) altered(ctx context.Context) error {
	address, err := p.trap()
	if err != nil {
		return err
	}
	entry, err := p.entry()
	if err != nil {
		return err
	}
	p.attack("somebody copies greeter's signed entry, under another node id and with the address %s", address)
	entry.Nodes[0].Id, entry.Nodes[0].Address = "greeter-4", address
	if err := p.open.Register(entry); err != nil {
		return err
	}
	p.withstand(ctx, signed.Altered)
	return nil
}

// replayed: greeter moves, and somebody puts its old entry in place of the new one.
func (p *plot) replayed(ctx context.Context) error {
	old, err := p.entry()
	if err != nil {
		return err
	}
	if err := p.greeter.Server().Stop(); err != nil {
		return err
	}
	if err := p.start(); err != nil {
		return err
	}
	p.say("greeter is restarted, and now listens on %s", p.greeter.address())
	answer, err := p.client().hello(ctx, "greeter", "John")
	p.promise("calls follow it", err == nil && p.greeter.handler.calls.Load() == 1, "greeter got %d; answer %q, error: %v", p.greeter.handler.calls.Load(), answer, err)

	current, err := p.entry()
	if err != nil {
		return err
	}
	if err := p.put(current, old); err != nil {
		return err
	}
	p.repel(ctx, attack{
		what:   "somebody puts the old entry in its place, whose signature is good and has not expired",
		reason: "not found",
		spared: append(p.rogues, p.greeter.handler),
		try:    p.call,
	})
	p.promiseRefusal(signed.Replayed)
	return p.put(old, current)
}

// impostor: greeter has crashed, its entry is still there, and another member
// listens at its address.
func (p *plot) impostor(ctx context.Context) error {
	if err := p.greeter.Options().Transport.(io.Closer).Close(); err != nil {
		return err
	}
	id, err := p.issue("billing")
	if err != nil {
		return err
	}
	billing := p.secure("greeter", id, registry.NewMemoryRegistry())
	if err := billing.Server().Init(server.Address(p.greeter.address())); err != nil {
		return err
	}
	if err := p.serve(billing, new(Greeter)); err != nil {
		return err
	}
	p.say("greeter crashes; its entry is still there, signed and in order")
	p.repel(ctx, attack{
		what:   "billing listens at the very address that greeter has signed",
		reason: "wrong peer",
		spared: []*Greeter{billing.handler},
		try:    p.call,
	})
	return nil
}

// client makes a caller that has looked nothing up yet.
func (p *plot) client() *member { return p.secure("caller", p.caller.id, p.callerReg) }

func (p *plot) call(ctx context.Context) error {
	_, err := p.client().hello(ctx, "greeter", "John")
	return err
}

// put replaces an entry of the open registry by another.
func (p *plot) put(was, next *registry.Service) error {
	if err := p.open.Deregister(was); err != nil {
		return err
	}
	return p.open.Register(next)
}
