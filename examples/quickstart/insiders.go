package main

import (
	"context"
	"errors"

	"go-micro.dev/v4/metadata"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/transport"
)

// insidersChapter: members of the fleet, with identities in order, that pose as
// other members.
func insidersChapter(ctx context.Context, s *stage) error {
	if err := s.impostor(ctx); err != nil {
		return err
	}
	return s.pretender(ctx)
}

// impostor: billing registers itself as greeter.
func (s *stage) impostor(ctx context.Context) error {
	poisoned := registry.NewMemoryRegistry()
	id, err := s.issue("billing")
	if err != nil {
		return err
	}
	billing := s.secure("greeter", id, poisoned)
	if err := s.serve(billing, new(Greeter)); err != nil {
		return err
	}
	victim := s.secure("caller", s.caller.id, poisoned)
	s.say("billing, a member in good standing, enters itself in a registry as greeter at %s", billing.address())
	s.repel(ctx, attack{
		what:   "billing answers in greeter's place",
		reason: "wrong service",
		spared: []*Greeter{billing.handler},
		try: func(ctx context.Context) error {
			_, err := victim.hello(ctx, "greeter", "John")
			return err
		},
	})

	poisonedToo := registry.NewMemoryRegistry()
	impostor := s.newMember("greeter", transport.NewHTTPTransport(), poisonedToo)
	if err := s.serve(impostor, new(Greeter)); err != nil {
		return err
	}
	answer, err := s.newMember("caller", transport.NewHTTPTransport(), poisonedToo).hello(ctx, "greeter", "John")
	fooled := err == nil && impostor.handler.calls.Load() == 1
	s.promise("the attack is real: over go-micro's http transport the impostor gets the call", fooled,
		"it got %d calls; answer %q, error: %v", impostor.handler.calls.Load(), answer, err)
	return nil
}

// pretender: a caller claims in its metadata to be the admin.
func (s *stage) pretender(ctx context.Context) error {
	adminID, err := s.issue("admin")
	if err != nil {
		return err
	}
	admin := s.secure("admin", adminID, s.registry)
	s.say("the admin calls greeter, and a spy in greeter copies the headers that arrived")
	answer, err := admin.hello(ctx, "greeter", "Ada")
	s.promiseAnswer("Ada", answer, err)
	s.promiseCaller(adminID.ID())
	var stolen metadata.Metadata
	if p := s.greeter.handler.lastHeader.Load(); p != nil {
		stolen = *p
	}
	if stolen["Signet-Caller"] == "" {
		return errors.New("no header names the admin, so there is none to steal")
	}

	claim := func(what string, md metadata.Metadata) {
		s.attack("%s", what)
		answer, err := s.caller.hello(metadata.NewContext(ctx, md), "greeter", "Eve")
		saw := s.greeter.handler.sawCaller()
		kept := err == nil && answer == "Hello Eve" && saw == s.caller.id.ID()
		s.promise("the handler still knows that "+s.caller.id.ID()+" called", kept, "it saw %s; answer %q, error: %v", saw, answer, err)
	}
	claim("caller writes the admin's name into its metadata, under every spelling", metadata.Metadata{
		"Signet-Caller": adminID.ID(), "signet-caller": adminID.ID(), "SIGNET-CALLER": adminID.ID(), "\u017fignet-caller": adminID.ID(),
	})
	claim("caller sends the headers that were stolen from the admin's call", metadata.Metadata{
		"Signet-Caller": stolen["Signet-Caller"], "Local": stolen["Local"], "Remote": stolen["Remote"],
	})
	return nil
}
