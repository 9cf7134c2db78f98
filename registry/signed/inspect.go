package signed

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/registry"
)

// Duplicate is a Reason that only Inspect gives: another signer has registered the
// same node id with a higher sequence, and clients use that one.
const Duplicate Reason = "duplicate"

// Finding is what Inspect says of one node.
//
// WARNING: Service, Version, Node and Address are as the registry gave them, cut to
// 300 bytes. Quote them before they go to a terminal or a log.
type Finding struct {
	Service, Version string
	Node, Address    string
	// Trusted: a signer whom we trust, and who may register the name, has signed name,
	// version, id, address and node metadata as they are, and the record counts now.
	// Clients use the node unless it is Withdrawn.
	Trusted bool
	Reason  Reason // why not; empty if Trusted
	Err     error  // what exactly, fit for a log; nil if Trusted
	// Peer is the signer, once its chain has verified; else zero.
	Peer identity.Peer
	// Claimed is the ID in the record's leaf, whether the leaf verifies or not.
	Claimed string
	// What follows is what the record says. It can be relied on if Trusted only, and
	// it is zero if there is no record or none that can be read.
	Issued, Expires time.Time
	Sequence        uint64
	Withdrawn       bool // its service has taken the node back
	BoxKeys         int  // how many keys to seal to it has
	PQKeys          int  // how many of them have a post-quantum key besides
	RecordSize      int  // in bytes, before encoding
	// Endpoints and Metadata compare the endpoints and the service metadata beside the
	// node with what it was registered with.
	Endpoints, Metadata Part
	// Until is when Trusted ends: Expires, or the end of a certificate or revocation
	// list before it. Zero if not Trusted.
	Until time.Time
}

// Part is what came of endpoints or service metadata. Clients get only what is
// Registered.
type Part string

// The strings are stable. A Part is empty where no record could be read.
const (
	Registered Part = "registered" // as the node was registered
	Missing    Part = "missing"    // there were some, the registry shows none
	Changed    Part = "changed"    // the registry shows others
)

// Inspect says of each node in a registry's answer for a service of that name
// whether it is trusted by id, and why not, by the checks that the registry's
// GetService makes. It knows nothing of earlier answers, so that it takes for
// trusted what a client who has seen a newer record refuses as Replayed; records in
// one answer are compared with each other. It enters nothing in the peer directory.
//
// The options Authorize and Allow apply, others have no effect. The order is that of
// the answer. The error is about id or the options.
func Inspect(id *identity.Identity, name string, answer []*registry.Service, opts ...registry.Option) ([]Finding, error) {
	if id == nil {
		return nil, fmt.Errorf("signed: %w: Inspect has to know whom to trust", ErrNoIdentity)
	}
	var o registry.Options
	for _, opt := range opts {
		opt(&o)
	}
	authorize, asked := lookup[func(identity.Peer, *registry.Service) error](o.Context, authorizeKey{})
	if asked && authorize == nil {
		return nil, errors.New("signed: Authorize(nil) would let everybody in: leave the option out, or give a function")
	}
	v := &verifier{id: id, authorize: authorize, allow: option[map[string][]string](o.Context, allowKey{})}
	now, state := time.Now(), new(serviceState)
	var all []inspected
	for _, s := range answer {
		if s == nil {
			continue
		}
		part := &parts{endpoints: s.Endpoints, metadata: s.Metadata, state: state}
		for _, node := range s.Nodes {
			if node != nil {
				all = append(all, v.inspect(&offer{service: name, version: s.Version, node: node, part: part}, now))
			}
		}
	}
	compare(all)
	findings := make([]Finding, len(all))
	for i := range all {
		findings[i] = all[i].Finding
	}
	return findings, nil
}

// inspected is a finding that is still to be compared with the others.
type inspected struct {
	Finding
	statement [sha256.Size]byte // if Trusted
}

func (v *verifier) inspect(o *offer, now time.Time) inspected {
	out := inspected{Finding: Finding{
		Service: cut(o.service), Version: cut(o.version), Node: cut(o.node.Id), Address: cut(o.node.Address),
	}}
	s, err := v.parse(o, now)
	if s.record != nil {
		out.describe(s)
		if s.chain == nil { // the record has ended or not begun: whose is it?
			s.chain, s.trust, _ = v.chains.verify(v.id, s.record.certs)
		}
		out.Peer = s.trust.peer
		if len(s.chain) > 0 {
			claimed, _ := identity.PeerFromCertificate(s.chain[0], "")
			out.Claimed = claimed.ID
		}
	}
	if err == nil {
		err = s.checkSignature()
	}
	if err != nil {
		out.refuse(reasonOf(err), err)
		return out
	}
	out.Trusted, out.statement = true, s.statement()
	out.Until = earlier(out.Expires, s.trust.until)
	return out
}

// describe enters what the record says.
func (f *Finding) describe(s *signedOffer) {
	r := s.record
	f.Issued, f.Expires, f.Sequence, f.Withdrawn = r.issuedAt(), r.expiresAt(), r.sequence, r.withdrawn
	f.BoxKeys, f.RecordSize = len(r.boxKeys), len(r.encode())
	for _, key := range r.boxKeys {
		if key.pq != nil {
			f.PQKeys++
		}
	}
	f.Endpoints = partOf(s.part.vouchedEndpoints(r), len(s.part.endpoints))
	f.Metadata = partOf(s.part.vouchedMetadata(r), len(s.part.metadata))
}

func partOf(vouched bool, shown int) Part {
	switch {
	case vouched:
		return Registered
	case shown == 0:
		return Missing
	}
	return Changed
}

func (f *Finding) refuse(reason Reason, err error) {
	f.Trusted, f.Reason, f.Err, f.Until = false, reason, err, time.Time{}
}

// compare applies to the nodes of one answer what a client makes of them one after
// the other: of each signer the newest record of a node counts, and of each node the
// signer with the newest.
func compare(all []inspected) {
	type key struct{ node, signer string }
	floors := make(map[key]floor)
	twice := make(map[key]bool)
	for _, f := range all {
		if !f.Trusted {
			continue
		}
		k := key{f.Node, f.Peer.ID}
		was, seen := floors[k]
		switch {
		case !seen || f.Sequence > was.sequence:
			floors[k], twice[k] = floor{sequence: f.Sequence, statement: f.statement, withdrawn: f.Withdrawn}, false
		case f.Sequence == was.sequence && f.statement != was.statement:
			twice[k] = true
		}
	}
	best := make(map[string]int)
	for i := range all {
		f := &all[i]
		if !f.Trusted {
			continue
		}
		k := key{f.Node, f.Peer.ID}
		switch newest := floors[k]; {
		case f.Sequence < newest.sequence:
			f.refuse(Replayed, newest.refuses(&record{sequence: f.Sequence}))
		case twice[k]:
			f.refuse(Equivocation, fmt.Errorf("%s has signed two different statements under sequence %d: is one node id used twice?", f.Peer.ID, f.Sequence))
		case f.Withdrawn:
		default:
			if was, ok := best[f.Node]; !ok || f.Sequence > all[was].Sequence {
				best[f.Node] = i
			}
		}
	}
	for i := range all {
		f := &all[i]
		used, ok := best[f.Node]
		if f.Trusted && !f.Withdrawn && ok && all[used].Peer.ID != f.Peer.ID {
			f.refuse(Duplicate, fmt.Errorf("%s has registered the same node id with a higher sequence, and clients use that: node ids must be unique", all[used].Peer.ID))
		}
	}
}
