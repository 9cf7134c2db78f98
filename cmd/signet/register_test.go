package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/signed"
	"github.com/rogpeppe/go-internal/testscript"
	"go-micro.dev/v4/registry"
)

// registrationKinds are what can have happened to a registration.
func registrationKinds() map[string]func(*registry.Service) {
	node := func(change func(*registry.Node)) func(*registry.Service) {
		return func(s *registry.Service) { change(s.Nodes[0]) }
	}
	return map[string]func(*registry.Service){
		"trusted":   func(*registry.Service) {},
		"unsigned":  node(func(n *registry.Node) { n.Metadata = nil }),
		"malformed": node(func(n *registry.Node) { n.Metadata["signet-0"] = "junk" }),
		"cut":       node(func(n *registry.Node) { delete(n.Metadata, "signet-1") }),
		"altered":   node(func(n *registry.Node) { n.Address = "192.0.2.66:8080" }),
		"large":     node(func(n *registry.Node) { n.Address = strings.Repeat("a", 5000) }),
		"hostile":   node(func(n *registry.Node) { n.Id = "x\x1b[2J  trusted\u009b\u202e" }),
		"endpoints": func(s *registry.Service) { s.Endpoints[0].Name = "Steal" },
		"metadata":  func(s *registry.Service) { s.Metadata = map[string]string{"team": "x\x1b[2J"} },
		"renamed":   func(s *registry.Service) { s.Name = "billing" },
		"nils": func(s *registry.Service) {
			s.Nodes, s.Endpoints = append(s.Nodes, nil), append(s.Endpoints, nil)
		},
		"withdrawn": nil, // by another call
	}
}

// registrationOf is what a service registers under its own name, signed, or how it
// takes that back.
func registrationOf(id *identity.Identity, withdrawn bool) (*registry.Service, error) {
	name := id.Peer().Service
	s := &registry.Service{
		Name: name, Version: "1.0.0",
		Endpoints: []*registry.Endpoint{{Name: "Handler.Call"}},
		Nodes:     []*registry.Node{{Id: name + "-1", Address: "192.0.2.1:8080", Metadata: map[string]string{"zone": "a"}}},
	}
	if !withdrawn {
		return signRegistration(id, s, signed.PostQuantum())
	}
	var inner withdrawable
	r := signed.NewRegistry(signed.Wrap(&inner), signed.Identity(id), signed.PostQuantum())
	err := errors.Join(r.Register(s), r.Deregister(s), r.(io.Closer).Close())
	return inner.service(), err
}

// withdrawable keeps the withdrawal, which is registered before the node is
// deregistered.
type withdrawable struct{ lastRegistered }

func (*withdrawable) Deregister(*registry.Service, ...registry.DeregisterOption) error { return nil }

func scriptRegister(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: register KIND DIRECTORY FILE")
	}
	change, ok := registrationKinds()[args[0]]
	if !ok {
		ts.Fatalf("unknown kind %s", args[0])
	}
	id, err := identity.Load(ts.MkAbs(args[1]))
	ts.Check(err)
	defer id.Close()
	s, err := registrationOf(id, args[0] == "withdrawn")
	ts.Check(err)
	if change != nil {
		change(s)
	}
	path := ts.MkAbs(args[2])
	before, err := os.ReadFile(path)
	if !errors.Is(err, os.ErrNotExist) {
		ts.Check(err)
	}
	value, err := json.Marshal(s)
	ts.Check(err)
	ts.Check(os.WriteFile(path, bytes.Join([][]byte{before, value, []byte("\n\n")}, nil), 0o600))
}
