package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-signet/signet/internal/keys"
	"github.com/go-signet/signet/transport/quic"
	"go-micro.dev/v4/client"
)

// outsidersChapter: those who have no identity of the fleet, or no longer.
// Signet's own client would not even start with what they bring, so all but the
// last come with a tls.Config of their own; each trusts greeter's authority, so
// that it is greeter who refuses.
func outsidersChapter(ctx context.Context, s *stage) error {
	workshop, err := s.newWorkshop()
	if err != nil {
		return err
	}
	call := func(m *member) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := m.hello(ctx, "greeter", "Mallory", client.WithAddress(s.greeter.address()))
			return err
		}
	}
	spared := []*Greeter{s.greeter.handler}

	good, err := workshop.certificate("visitor", nil)
	if err != nil {
		return err
	}
	s.say("first a visitor whose certificate is in order, as a control")
	control := s.withTLS("visitor", workshop.config(good))
	_, err = control.hello(ctx, trustDomainID("greeter"), "Vera", client.WithAddress(s.greeter.address()))
	s.promise("it is let in", err == nil, "%v", err)

	s.repel(ctx, attack{
		what:   "a client that was given no identity",
		reason: "no identity",
		spared: spared,
		try:    call(s.newMember("nobody", s.transport(quic.Identity(nil)), s.registry)),
	})

	none := workshop.config(tls.Certificate{})
	none.Certificates = nil
	none.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tls.Certificate{}, nil }
	s.repel(ctx, attack{
		what:   "a client without a certificate",
		reason: "requires a client certificate",
		spared: spared,
		try:    call(s.withTLS("mallory", none)),
	})

	rogue, err := keys.NewCA(trustDomain, time.Hour)
	if err != nil {
		return err
	}
	forged, err := issueFrom(rogue, "caller", nil)
	if err != nil {
		return err
	}
	s.repel(ctx, attack{
		what:   "a client that says it is " + s.caller.id.ID() + ", with a certificate from another authority",
		reason: "does not trust the CA",
		spared: spared,
		try:    call(s.withTLS("mallory", workshop.config(forged))),
	})

	expired, err := workshop.certificate("caller", func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
	})
	if err != nil {
		return err
	}
	s.repel(ctx, attack{
		what:   "a client whose certificate expired yesterday",
		reason: "certificate has expired",
		spared: spared,
		try:    call(s.withTLS("mallory", workshop.config(expired))),
	})
	return s.revoked(ctx, call)
}

// revoked: a member of the fleet, until it is revoked, which also ends what it
// has open.
func (s *stage) revoked(ctx context.Context, call func(*member) func(context.Context) error) error {
	id, err := s.issue("laptop")
	if err != nil {
		return err
	}
	laptop := s.secure("laptop", id, s.registry)
	stream, err := laptop.chat(ctx, "greeter")
	if err != nil {
		return err
	}
	defer stream.Close()
	s.say("a laptop of the fleet has a stream open to greeter")
	answer, err := ask(stream, "Lara")
	s.promiseAnswer("Lara", answer, err)

	s.say("it is lost: the authority revokes %s", id.ID())
	if err := s.authority.Revoke(id); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- detail(stream.Recv(new(Response))) }()
	select {
	case err = <-ended:
		s.promise("its open stream is cut", err != nil && strings.Contains(err.Error(), "revoked"), "what came was: %v", err)
		s.show("%v", err)
	case <-time.After(patience):
		s.promise("its open stream is cut", false, "it is still open after %v", patience)
	}
	s.repel(ctx, attack{
		what:   "the laptop calls again, with its revoked certificate",
		reason: "revoked",
		spared: []*Greeter{s.greeter.handler},
		try:    call(laptop),
	})
	return nil
}

func trustDomainID(service string) string { return "spiffe://" + trustDomain + "/" + service }

// workshop makes certificates of the fleet's own authority that no authority
// would issue.
type workshop struct {
	ca *keys.CA
}

// newWorkshop takes the authority's key from where an operator would keep it.
func (s *stage) newWorkshop() (*workshop, error) {
	dir := filepath.Join(s.dir, "authority")
	if err := s.authority.Save(dir); err != nil {
		return nil, err
	}
	ca, _, err := keys.ReadCA(dir, keys.ReadOptions{})
	return &workshop{ca}, err
}

func (w *workshop) certificate(service string, modify func(*x509.Certificate)) (tls.Certificate, error) {
	return issueFrom(w.ca, service, modify)
}

func issueFrom(ca *keys.CA, service string, modify func(*x509.Certificate)) (tls.Certificate, error) {
	leaf, key, err := ca.Issue(keys.Request{Service: service, Modify: modify})
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// config trusts the fleet's authority and shows the certificate.
func (w *workshop) config(cert tls.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(w.ca.Cert)
	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, ClientCAs: pool}
}
