package sealed

import (
	"errors"
	"fmt"
	"slices"

	"github.com/go-signet/signet/internal/keys"
)

// TopicRule is a part of what Topic says.
type TopicRule func(*topicRule)

// topicRule is what an option says.
type topicRule struct {
	pattern      string
	publishers   []string
	subscribers  []string
	anyPublisher bool
	signatures   bool
	postQuantum  bool
	requirePQ    bool
	pad          int
	padGiven     bool
	clear        []string
}

// Publishers names the services that may publish: by their name, for those of our own
// trust domain, or by their SPIFFE ID. Every receiver checks it.
func Publishers(services ...string) TopicRule {
	return func(r *topicRule) { r.publishers = append(r.publishers, services...) }
}

// AnyPublisher lets every member of our own trust domain publish.
func AnyPublisher() TopicRule {
	return func(r *topicRule) { r.anyPublisher = true }
}

// Subscribers names the services that can read, as Publishers has names: what is
// published is sealed to their box keys.
func Subscribers(services ...string) TopicRule {
	return func(r *topicRule) { r.subscribers = append(r.subscribers, services...) }
}

// Signatures signs each message with the key of the publisher's certificate. Who steals a
// subscriber's box key can then read what is sealed to it, but not forge messages to it,
// and a message has one size for all numbers of subscribers. It costs a public-key
// operation a message, on both sides. Without it each subscriber has a tag of its own, of
// 16 bytes. Subscribers whose rule has it refuse what is not signed: give it to
// publishers first.
func Signatures() TopicRule { return func(r *topicRule) { r.signatures = true } }

// PostQuantum seals with a hybrid of X25519 and ML-KEM-768 (see spec/envelope.md), so that
// who records messages today cannot read them with a quantum computer later. Subscribers
// of whom no post-quantum key is known are left out, like those of whom none is: publish
// so once all of them state one, by signed.PostQuantum or on cards. Each message grows by
// 1.1 KiB for each key it is sealed to. The publisher is proved as in the other suites.
func PostQuantum() TopicRule { return func(r *topicRule) { r.postQuantum = true } }

// RequirePostQuantum is PostQuantum, and refuses to receive what is sealed otherwise.
func RequirePostQuantum() TopicRule {
	return func(r *topicRule) { r.postQuantum, r.requirePQ = true, true }
}

// ClearHeaders lets these headers travel outside of the envelope, for brokers and tools
// that route or trace by them. They are authenticated: a message whose clear header was
// changed is not delivered. Names are case-sensitive; at most 32, and 64 KiB of values
// in a message. A value that is not valid UTF-8 stays inside.
func ClearHeaders(names ...string) TopicRule {
	return func(r *topicRule) { r.clear = append(r.clear, names...) }
}

// Pad hides the size of a message: what is sealed is made a multiple of so many bytes,
// at most 1 MiB.
func Pad(multiple int) TopicRule {
	return func(r *topicRule) { r.pad, r.padGiven = multiple, true }
}

// rule is a topicRule in force. It does not change.
type rule struct {
	pattern      string
	publishers   map[string]bool // SPIFFE IDs
	anyPublisher string          // a trust domain, or ""
	subscribers  []string        // SPIFFE IDs, sorted
	signatures   bool
	postQuantum  bool
	requirePQ    bool
	pad          int
	clear        []string // sorted
	mayPublish   bool     // we
	mayRead      bool     // we
}

// allows reports whether a SPIFFE ID, also given in its parts, may publish.
func (r *rule) allows(id keys.ID, sender string) bool {
	return r.publishers[sender] || r.anyPublisher != "" && r.anyPublisher == id.TrustDomain
}

// keyKind names what subscribers have to have.
func (r *rule) keyKind() string {
	if r.postQuantum {
		return "post-quantum box key"
	}
	return "box key"
}

// rules are all rules in force: exact ones by their topic, others narrow ones first.
type rules struct {
	exact    map[string]*rule
	patterns []*rule
}

// of returns the narrowest rule for a topic.
func (rs *rules) of(topic string) *rule {
	if r := rs.exact[topic]; r != nil {
		return r
	}
	for _, r := range rs.patterns {
		if matches(r.pattern, topic) {
			return r
		}
	}
	return nil
}

func (rs *rules) all() []*rule {
	all := slices.Clone(rs.patterns)
	for _, r := range rs.exact {
		all = append(all, r)
	}
	return all
}

// reads reports whether a rule lets us read something that a subscription to a topic,
// perhaps with wildcards, may bring; and whether there is any rule for it.
func (rs *rules) reads(topic string) (may, known bool) {
	if literal(topic) {
		r := rs.of(topic)
		return r != nil && r.mayRead, r != nil
	}
	for _, r := range rs.all() {
		if overlap(r.pattern, topic) {
			may, known = may || r.mayRead, true
		}
	}
	return may, known
}

// newRules makes what the options say, for one identity.
func newRules(given []topicRule, self keys.ID) (*rules, error) {
	rs := &rules{exact: make(map[string]*rule)}
	for _, g := range given {
		r, err := g.inForce(self)
		if err != nil {
			return nil, fmt.Errorf("sealed: Topic(%s): %w", keys.Quote(g.pattern), err)
		}
		if literal(r.pattern) {
			rs.exact[r.pattern] = r // the last one counts
			continue
		}
		rs.patterns = slices.DeleteFunc(rs.patterns, func(was *rule) bool { return was.pattern == r.pattern })
		rs.patterns = append(rs.patterns, r)
	}
	slices.SortFunc(rs.patterns, func(a, b *rule) int { return compare(a.pattern, b.pattern) })
	return rs, nil
}

func (g *topicRule) inForce(self keys.ID) (*rule, error) {
	const maxPad = 1 << 20
	if err := checkPattern(g.pattern); err != nil {
		return nil, err
	}
	switch {
	case len(g.publishers) == 0 && !g.anyPublisher:
		return nil, errors.New("name who may publish with sealed.Publishers")
	case len(g.subscribers) == 0:
		return nil, errors.New("name who can read with sealed.Subscribers")
	case g.padGiven && (g.pad < 1 || g.pad > maxPad):
		return nil, fmt.Errorf("Pad(%d): want 1 to %d", g.pad, maxPad)
	}
	r := &rule{pattern: g.pattern, publishers: make(map[string]bool), signatures: g.signatures, postQuantum: g.postQuantum, requirePQ: g.requirePQ, pad: g.pad}
	for _, name := range g.publishers {
		id, err := memberID(name, self)
		if err != nil {
			return nil, err
		}
		r.publishers[id] = true
	}
	if g.anyPublisher {
		r.anyPublisher = self.TrustDomain
	}
	for _, name := range g.subscribers {
		id, err := memberID(name, self)
		if err != nil {
			return nil, err
		}
		r.subscribers = append(r.subscribers, id)
	}
	slices.Sort(r.subscribers)
	r.subscribers = slices.Compact(r.subscribers)
	var err error
	if r.clear, err = clearHeaders(g.clear); err != nil {
		return nil, err
	}
	r.mayPublish = r.allows(self, self.String())
	r.mayRead = slices.Contains(r.subscribers, self.String())
	return r, nil
}

// memberID returns the SPIFFE ID of a service that a rule names.
func memberID(name string, self keys.ID) (string, error) {
	if id, err := keys.ParseID(name); err == nil {
		return id.String(), nil
	}
	id, err := keys.NewID(self.TrustDomain, name)
	if err != nil {
		return "", fmt.Errorf("%s is neither a service name nor a SPIFFE ID: %w", keys.Quote(name), err)
	}
	return id.String(), nil
}
