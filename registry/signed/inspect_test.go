package signed

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/registry"
)

// inspectFleet is a trust domain with two services.
type inspectFleet struct {
	authority        *identity.Authority
	greeter, billing *identity.Identity
}

func newInspectFleet(t *testing.T) inspectFleet {
	t.Helper()
	f := inspectFleet{authority: inspectAuthority(t, "shop.internal")}
	f.greeter, f.billing = inspectIssue(t, f.authority, "greeter"), inspectIssue(t, f.authority, "billing")
	return f
}

func inspectAuthority(t *testing.T, domain string) *identity.Authority {
	t.Helper()
	a, err := identity.NewAuthority(domain)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func inspectIssue(t *testing.T, a *identity.Authority, service string) *identity.Identity {
	t.Helper()
	id, err := a.Issue(service)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { id.Close() })
	return id
}

// greeterService is what a service of one node registers.
func greeterService() *registry.Service {
	return &registry.Service{
		Name: "greeter", Version: "1.0.0",
		Metadata:  map[string]string{"team": "sales"},
		Endpoints: []*registry.Endpoint{{Name: "Greeter.Hello", Metadata: map[string]string{}}},
		Nodes:     []*registry.Node{{Id: "greeter-1", Address: "192.0.2.1:8080", Metadata: map[string]string{"zone": "a"}}},
	}
}

// inspectSign puts a record on the one node of s, as r says and for an hour.
func inspectSign(t *testing.T, id *identity.Identity, s *registry.Service, change func(r *record)) *registry.Service {
	t.Helper()
	now := time.Now()
	r := &record{issued: now.Unix(), lifetime: 3600, sequence: uint64(now.UnixMicro())}
	var err error
	if r.endpoints, err = endpointsDigest(s.Endpoints); err != nil {
		t.Fatal(err)
	}
	if r.metadata, err = metadataDigest(s.Metadata); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	r.header = r.encodeHeader()
	said, err := subject(id.ID(), s.Name, s.Version, s.Nodes[0])
	if err != nil {
		t.Fatal(err)
	}
	if r.signature, err = id.Sign(recordPurpose, r.header, said); err != nil {
		t.Fatal(err)
	}
	cert, err := id.TLSCertificate()
	if err != nil {
		t.Fatal(err)
	}
	r.certs = cert.Certificate[:1]
	carried, err := split(r.encode())
	if err != nil {
		t.Fatal(err)
	}
	carry(s.Nodes[0], carried)
	return s
}

func mustInspect(t *testing.T, id *identity.Identity, answer []*registry.Service, opts ...registry.Option) []Finding {
	t.Helper()
	findings, err := Inspect(id, "greeter", answer, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return findings
}

func TestInspectTrusts(t *testing.T) {
	fleet := newInspectFleet(t)
	sequence := uint64(time.Now().UnixMicro())
	key := ownKey(fleet.greeter)
	s := inspectSign(t, fleet.greeter, greeterService(), func(r *record) { r.sequence, r.boxKeys = sequence, []recordKey{key, {x25519: key.x25519}} })
	findings := mustInspect(t, fleet.billing, []*registry.Service{nil, {Nodes: []*registry.Node{nil}}, s})
	if len(findings) != 1 {
		t.Fatalf("%d findings: want 1", len(findings))
	}
	f := findings[0]
	if !f.Trusted || f.Reason != "" || f.Err != nil || f.Withdrawn {
		t.Fatalf("not trusted: %s: %v", f.Reason, f.Err)
	}
	if f.Service != "greeter" || f.Version != "1.0.0" || f.Node != "greeter-1" || f.Address != "192.0.2.1:8080" {
		t.Errorf("of another node: %+v", f)
	}
	if f.Peer.ID != fleet.greeter.ID() || f.Claimed != f.Peer.ID {
		t.Errorf("signer %q, claimed %q", f.Peer.ID, f.Claimed)
	}
	if f.Expires.Sub(f.Issued) != time.Hour || !f.Until.Equal(f.Expires) {
		t.Errorf("issued %v, expires %v, trusted until %v: want an hour", f.Issued, f.Expires, f.Until)
	}
	if f.Sequence != sequence || f.BoxKeys != 2 || f.PQKeys != 1 || f.RecordSize < 300+pqKeySize {
		t.Errorf("sequence %d, %d box keys, %d of them pairs, %d bytes", f.Sequence, f.BoxKeys, f.PQKeys, f.RecordSize)
	}
	if f.Endpoints != Registered || f.Metadata != Registered {
		t.Errorf("endpoints %q, metadata %q", f.Endpoints, f.Metadata)
	}
}

// The end of the leaf is the end of trust, also where the record would last longer.
func TestInspectUntil(t *testing.T) {
	fleet := newInspectFleet(t)
	short, err := fleet.authority.Issue("greeter", identity.ValidFor(10*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	defer short.Close()
	f := mustInspect(t, fleet.billing, []*registry.Service{inspectSign(t, short, greeterService(), nil)})[0]
	if !f.Trusted || !f.Until.Before(f.Expires) {
		t.Errorf("trusted %v until %v, the record ends at %v", f.Trusted, f.Until, f.Expires)
	}
}

func TestInspectDistrusts(t *testing.T) {
	fleet := newInspectFleet(t)
	revoked := inspectIssue(t, fleet.authority, "greeter")
	if err := fleet.authority.Revoke(revoked); err != nil {
		t.Fatal(err)
	}
	foreign := inspectIssue(t, inspectAuthority(t, "shop.internal"), "greeter")
	signed := func(change func(s *registry.Service)) *registry.Service {
		s := inspectSign(t, fleet.greeter, greeterService(), nil)
		change(s)
		return s
	}
	at := func(issued, lifetime time.Duration) func(*record) {
		return func(r *record) {
			r.issued, r.lifetime = time.Now().Add(issued).Unix(), int64(lifetime/time.Second)
			r.sequence = uint64(r.issued) * 1e6
		}
	}
	for _, test := range []struct {
		name    string
		service *registry.Service
		reason  Reason
		claimed string // what else is known of it
		peer    bool
	}{
		{"unsigned", greeterService(), Unsigned, "", false},
		{"too large", signed(func(s *registry.Service) { s.Nodes[0].Id = strings.Repeat("n", MaxNodeID+1) }), Limit, "", false},
		{"not a record", signed(func(s *registry.Service) { s.Nodes[0].Metadata["signet-0"] = "!" }), Malformed, "", false},
		{"issued ahead", inspectSign(t, fleet.greeter, greeterService(), at(time.Hour, time.Hour)), NotYetValid, fleet.greeter.ID(), true},
		{"ended", inspectSign(t, fleet.greeter, greeterService(), at(-2*time.Hour, time.Hour)), Expired, fleet.greeter.ID(), true},
		{"another authority", inspectSign(t, foreign, greeterService(), nil), Untrusted, foreign.ID(), false},
		{"revoked", inspectSign(t, revoked, greeterService(), nil), Revoked, revoked.ID(), false},
		{"another service", inspectSign(t, fleet.billing, greeterService(), nil), Unauthorised, fleet.billing.ID(), true},
		{"address changed", signed(func(s *registry.Service) { s.Nodes[0].Address = "192.0.2.66:8080" }), Altered, fleet.greeter.ID(), true},
		{"version changed", signed(func(s *registry.Service) { s.Version = "0.0.1" }), Altered, fleet.greeter.ID(), true},
		{"node metadata changed", signed(func(s *registry.Service) { s.Nodes[0].Metadata["zone"] = "b" }), Altered, fleet.greeter.ID(), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := mustInspect(t, fleet.billing, []*registry.Service{test.service})[0]
			if f.Trusted || f.Reason != test.reason || f.Err == nil || !f.Until.IsZero() {
				t.Errorf("trusted %v until %v, reason %q: %v: want %q", f.Trusted, f.Until, f.Reason, f.Err, test.reason)
			}
			if f.Claimed != test.claimed || (f.Peer.ID != "") != test.peer {
				t.Errorf("claimed %q, signer %q: want %q, verified %v", f.Claimed, f.Peer.ID, test.claimed, test.peer)
			}
			if (f.Sequence != 0) != (test.claimed != "") || f.Expires.IsZero() != (test.claimed == "") {
				t.Errorf("sequence %d, expires %v", f.Sequence, f.Expires)
			}
			if len(f.Node) > 300 {
				t.Errorf("the node's id is not cut: %d bytes", len(f.Node))
			}
		})
	}
}

func TestInspectParts(t *testing.T) {
	fleet := newInspectFleet(t)
	for _, test := range []struct {
		name                string
		change              func(s *registry.Service)
		endpoints, metadata Part
	}{
		{"endpoints changed", func(s *registry.Service) { s.Endpoints[0].Name = "Greeter.Steal" }, Changed, Registered},
		{"endpoints gone", func(s *registry.Service) { s.Endpoints = nil }, Missing, Registered},
		{"metadata changed", func(s *registry.Service) { s.Metadata["team"] = "fraud" }, Registered, Changed},
		{"metadata gone", func(s *registry.Service) { s.Metadata = nil }, Registered, Missing},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := inspectSign(t, fleet.greeter, greeterService(), nil)
			test.change(s)
			f := mustInspect(t, fleet.billing, []*registry.Service{s})[0]
			if !f.Trusted || f.Endpoints != test.endpoints || f.Metadata != test.metadata {
				t.Errorf("trusted %v, endpoints %q, metadata %q", f.Trusted, f.Endpoints, f.Metadata)
			}
		})
	}
}

func TestInspectCompares(t *testing.T) {
	fleet := newInspectFleet(t)
	now := uint64(time.Now().UnixMicro())
	by := func(id *identity.Identity, sequence uint64, withdrawn bool, address string) *registry.Service {
		s := greeterService()
		s.Nodes[0].Address = address
		return inspectSign(t, id, s, func(r *record) { r.sequence, r.withdrawn = sequence, withdrawn })
	}
	const a, b = "192.0.2.1:8080", "192.0.2.2:8080"
	same := by(fleet.greeter, now, false, a)
	altered := by(fleet.greeter, now+1, false, a)
	altered.Nodes[0].Address = b
	for _, test := range []struct {
		name   string
		answer []*registry.Service
		want   []Reason // "" is trusted
	}{
		{"an older record", []*registry.Service{by(fleet.greeter, now-1, false, b), by(fleet.greeter, now, false, a)}, []Reason{Replayed, ""}},
		{"an older record after it", []*registry.Service{by(fleet.greeter, now, false, a), by(fleet.greeter, now-1, false, b)}, []Reason{"", Replayed}},
		{"withdrawn", []*registry.Service{by(fleet.greeter, now-1, false, a), by(fleet.greeter, now, true, a)}, []Reason{Replayed, ""}},
		{"registered after it was withdrawn", []*registry.Service{by(fleet.greeter, now-1, true, a), by(fleet.greeter, now, false, a)}, []Reason{Replayed, ""}},
		{"two statements", []*registry.Service{by(fleet.greeter, now, false, a), by(fleet.greeter, now, false, b)}, []Reason{Equivocation, Equivocation}},
		{"twice the same", []*registry.Service{same, same}, []Reason{"", ""}},
		{"two signers", []*registry.Service{by(fleet.billing, now-1, false, b), by(fleet.greeter, now, false, a)}, []Reason{Duplicate, ""}},
		{"two signers, one withdrawn", []*registry.Service{by(fleet.billing, now-1, false, b), by(fleet.greeter, now, true, a)}, []Reason{"", ""}},
		{"what is not trusted is no rival", []*registry.Service{altered, same}, []Reason{Altered, ""}},
	} {
		t.Run(test.name, func(t *testing.T) {
			findings := mustInspect(t, fleet.billing, test.answer, Allow("greeter", "billing"))
			if len(findings) != len(test.want) {
				t.Fatalf("%d findings: want %d", len(findings), len(test.want))
			}
			for i, f := range findings {
				if f.Reason != test.want[i] || f.Trusted != (test.want[i] == "") || (f.Err == nil) != f.Trusted {
					t.Errorf("record %d: trusted %v, reason %q: %v: want %q", i, f.Trusted, f.Reason, f.Err, test.want[i])
				}
			}
		})
	}
}

func TestInspectOptions(t *testing.T) {
	fleet := newInspectFleet(t)
	byBilling := []*registry.Service{inspectSign(t, fleet.billing, greeterService(), nil)}
	if f := mustInspect(t, fleet.greeter, byBilling, Allow("greeter", "billing"))[0]; !f.Trusted {
		t.Errorf("allowed, and refused: %v", f.Err)
	}
	refusal := errors.New("not on a Tuesday")
	deny := func(identity.Peer, *registry.Service) error { return refusal }
	if f := mustInspect(t, fleet.greeter, byBilling, Allow("greeter", "billing"), Authorize(deny))[0]; f.Reason != Unauthorised || !errors.Is(f.Err, refusal) {
		t.Errorf("Authorize has no effect: %q: %v", f.Reason, f.Err)
	}
	if _, err := Inspect(fleet.greeter, "greeter", byBilling, Authorize(nil)); err == nil {
		t.Error("Authorize(nil) is taken for no option")
	}
	if _, err := Inspect(nil, "greeter", byBilling); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("without an identity: %v", err)
	}
}

// What a registry says of a service is held against the name that was asked for.
func TestInspectUsesTheNameThatWasAsked(t *testing.T) {
	fleet := newInspectFleet(t)
	s := inspectSign(t, fleet.greeter, greeterService(), nil)
	findings, err := Inspect(fleet.billing, "billing", []*registry.Service{s})
	if err != nil {
		t.Fatal(err)
	}
	if f := findings[0]; f.Trusted || f.Reason != Unauthorised {
		t.Errorf("a greeter in an answer for billing: trusted %v, %q", f.Trusted, f.Reason)
	}
}

func TestInspectLeavesTheDirectoryAlone(t *testing.T) {
	fleet := newInspectFleet(t)
	s := inspectSign(t, fleet.greeter, greeterService(), nil)
	if f := mustInspect(t, fleet.billing, []*registry.Service{s})[0]; !f.Trusted {
		t.Fatal(f.Err)
	}
	if _, known := fleet.billing.Directory().Bound("192.0.2.1:8080"); known {
		t.Error("Inspect entered an address in the peer directory")
	}
}
