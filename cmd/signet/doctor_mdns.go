package main

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/keys"
	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

// Sizes of mDNS packets in bytes, as signed.MDNSPacketSize has them: what one
// Ethernet frame holds, and what registry/signed still registers.
const (
	mdnsFrame  = 1472
	mdnsPacket = 9000
)

// checkMDNS tells how large an mDNS packet the identity makes: its certificates
// travel with each registration, and long chains do not fit. It does not know which
// registry the service has, so the worst is a warning.
func checkMDNS(r *report, dir string, read keys.ReadOptions) {
	id, err := loadIdentity(dir, read)
	if err != nil {
		return // the check before says so
	}
	defer id.Close()
	if _, err := signRegistration(id, typicalRegistration(id)); err != nil {
		r.advise("registration", fail, "no registration can be signed: "+err.Error(), "leave intermediates and DNS names out of tls.crt that nobody needs")
		return
	}
	s, err := signRegistration(id, typicalRegistration(id))
	if err != nil {
		r.add("mdns packet", fail, err.Error())
		return
	}
	judgeMDNS(r, signed.MDNSPacketSize(s, s.Nodes[0]))
}

func judgeMDNS(r *report, size int) {
	const name = "mdns packet"
	detail := fmt.Sprintf("about %d bytes for a small service", size)
	switch {
	case size > mdnsPacket:
		r.advise(name, warn, fmt.Sprintf("%s, mDNS takes %d: the service cannot register there", detail, mdnsPacket),
			"use another registry, or a shorter chain in tls.crt")
	case size > mdnsFrame:
		r.add(name, note, fmt.Sprintf("%s: above %d some networks lose it, use another registry in production", detail, mdnsFrame))
	default:
		r.add(name, ok, detail)
	}
}

// typicalRegistration is what go-micro registers for a service with two endpoints.
func typicalRegistration(id *identity.Identity) *registry.Service {
	name := id.Peer().Service
	value := func(name string) *registry.Value {
		return &registry.Value{Name: name, Type: name, Values: []*registry.Value{{Name: "name", Type: "string"}}}
	}
	endpoint := func(name string) *registry.Endpoint {
		return &registry.Endpoint{Name: name, Request: value("Request"), Response: value("Response"), Metadata: map[string]string{}}
	}
	return &registry.Service{
		Name: name, Version: "latest",
		Endpoints: []*registry.Endpoint{endpoint("Handler.Call"), endpoint("Handler.Stream")},
		Nodes: []*registry.Node{{
			Id:      name + "-00000000-0000-4000-8000-000000000000",
			Address: "192.0.2.100:38080",
			Metadata: map[string]string{
				"broker": "http", "protocol": "mucp", "registry": "mdns", "server": "mucp", "transport": "quic",
			},
		}},
	}
}

// signRegistration returns s, with one node, as registry/signed would register it.
func signRegistration(id *identity.Identity, s *registry.Service, opts ...registry.Option) (*registry.Service, error) {
	var inner lastRegistered
	r := signed.NewRegistry(append(opts, signed.Wrap(&inner), signed.Identity(id))...)
	err := r.Register(s)
	if c, ok := r.(io.Closer); ok {
		err = errors.Join(err, c.Close())
	}
	return inner.service(), err
}

// lastRegistered is as much of a registry as is needed to see what registry/signed
// makes of a registration.
type lastRegistered struct {
	registry.Registry
	mu   sync.Mutex
	last *registry.Service
}

func (l *lastRegistered) String() string { return "none" }

func (l *lastRegistered) Register(s *registry.Service, _ ...registry.RegisterOption) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = s
	return nil
}

func (l *lastRegistered) service() *registry.Service {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}
