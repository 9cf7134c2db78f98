package main

import (
	"context"
	"time"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/registry"
)

// castChapter makes an authority and the two services.
func castChapter(_ context.Context, s *stage) (err error) {
	if s.authority, err = identity.NewAuthority(trustDomain); err != nil {
		return err
	}
	s.registry = registry.NewMemoryRegistry()
	s.say("an authority for the trust domain %s, made just now", s.authority.TrustDomain())

	greeterID, err := s.issue("greeter")
	if err != nil {
		return err
	}
	callerID, err := s.issue("caller")
	if err != nil {
		return err
	}
	for _, id := range []*identity.Identity{greeterID, callerID} {
		left := time.Until(id.Peer().Certificate.NotAfter).Round(time.Hour)
		s.say("it issued %-33s valid for %.0f hours", id.ID(), left.Hours())
	}

	s.greeter = s.secure("greeter", greeterID, s.registry)
	s.caller = s.secure("caller", callerID, s.registry)
	handler := &Greeter{onCall: func(endpoint, name, caller string) {
		s.hear("greeter", "%s(%q) called by %s", endpoint, name, caller)
	}}
	if err := s.serve(s.greeter, handler); err != nil {
		return err
	}
	s.say("greeter is a go-micro service on the quic transport; it listens on %s (UDP)", s.greeter.address())
	services, err := s.registry.GetService("greeter")
	s.promise("greeter is in the registry", err == nil && len(services) == 1, "the registry holds %v, error: %v", services, err)
	return nil
}
