package encrypted

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/envelope"
)

// How long an epoch of ours is used, and for how many messages. The peer has to keep a
// replay window as long.
const (
	epochLifetime = time.Hour
	epochMessages = 1 << 18
)

// outbox has the epochs that we seal with, one for each scope.
type outbox struct {
	mu                      sync.RWMutex
	calls, events, messages map[string]*outgoing // by what follows in the scope

	cardMu         sync.Mutex
	card           []byte
	cardGeneration uint64
	cardUntil      time.Time
}

// outgoing makes the epochs of one scope, one after the other.
type outgoing struct {
	scopes *map[string]*outgoing // that it is in, under a name
	name   string
	scope  string
	names  []string // of the services that can open them
	mu     sync.Mutex
	now    atomic.Pointer[sending]
}

// sending is an epoch in use, as long as nothing of what it rests on has changed.
type sending struct {
	*made
	version, generation uint64
	until               time.Time
}

// made is an epoch, and what it was made of.
type made struct {
	epoch      *envelope.Epoch
	suite      envelope.Suite
	generation uint64
	recipients []envelope.Recipient
	end        time.Time

	nodes nodes
	salts salts
}

// serves reports whether an epoch will do for these recipients and this moment.
func (m *made) serves(generation uint64, to []envelope.Recipient, now time.Time) bool {
	return m.generation == generation && now.Before(m.end) && m.epoch.Left() > 0 && slices.EqualFunc(m.recipients, to, func(a, b envelope.Recipient) bool {
		return a.ID == b.ID && a.Key.Equal(b.Key) && bytes.Equal(a.PQ, b.PQ)
	})
}

// of returns the epochs of a scope, which names can open.
func (o *outbox) of(scopes *map[string]*outgoing, scope, name string, names func() []string) *outgoing {
	o.mu.RLock()
	found := (*scopes)[name]
	o.mu.RUnlock()
	if found != nil {
		return found
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if found = (*scopes)[name]; found == nil {
		found = &outgoing{scopes: scopes, name: name, scope: scope + name, names: names()}
		if *scopes == nil {
			*scopes = make(map[string]*outgoing)
		}
		(*scopes)[name] = found
	}
	return found
}

// drop forgets a scope that nothing was ever sealed for: who calls may choose names
// without end.
func (o *outbox) drop(of *outgoing) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if of.now.Load() == nil && (*of.scopes)[of.name] == of {
		delete(*of.scopes, of.name)
	}
}

// sendCall returns the epochs of calls to a service.
func (e *engine) sendCall(service string) (*outgoing, error) {
	if service == "" {
		return nil, fmt.Errorf("%w: the request names no service", ErrNoKeys)
	}
	return e.out.of(&e.out.calls, scopeCall, service, func() []string { return []string{service} }), nil
}

// sendEvent returns the epochs of events of a topic.
func (e *engine) sendEvent(topic string) (*outgoing, error) {
	if topic == "" {
		return nil, fmt.Errorf("%w: the event has no topic", ErrNoKeys)
	}
	return e.out.of(&e.out.events, scopeEvent, topic, func() []string {
		if services, ok := e.o.subscribers[topic]; ok {
			return services
		}
		return []string{topic}
	}), nil
}

// sealed is a message and the epoch that it was sealed with.
type sealed struct {
	data []byte
	with *sending
}

// seal appends a sealed message to dst, with the epoch that is in force. The epoch
// comes along unless known says that those who get the message know it.
func (e *engine) seal(dst []byte, o *outgoing, topic string, body []byte, known func(*sending) bool) (sealed, error) {
	m := envelope.Message{Topic: topic, Time: time.Now(), Body: body}
	var random [envelope.RandomSize]byte
	rand.Read(random[:])
	for range 3 { // an epoch may be used up by others
		s, err := e.current(o, m.Time)
		if err != nil {
			return sealed{}, err
		}
		data, err := s.epoch.Seal(dst, &m, random, known == nil || !known(s))
		if err == nil {
			return sealed{data, s}, nil
		}
		if !errors.Is(err, envelope.ErrExhausted) {
			return sealed{}, notSealed(err)
		}
	}
	return sealed{}, notSealed(envelope.ErrExhausted)
}

//go:noinline
func notSealed(err error) error {
	if errors.Is(err, envelope.ErrLimit) {
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return fmt.Errorf("encrypted: %w", err)
}

// current returns the epoch in force. It takes no public-key operation as long as
// there is one.
func (e *engine) current(o *outgoing, now time.Time) (*sending, error) {
	if err := e.usable(); err != nil {
		return nil, err
	}
	if s := o.now.Load(); e.good(s, now) {
		return s, nil
	}
	return e.renew(o, now)
}

// renew makes another epoch, or takes the one that is there for another while.
//
//go:noinline
func (e *engine) renew(o *outgoing, now time.Time) (*sending, error) {
	defer e.out.drop(o) // unless there is an epoch
	if err := e.lookUp(o.names); err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if s := o.now.Load(); e.good(s, now) {
		return s, nil
	}
	s, err := e.newSending(o, now)
	if err != nil {
		return nil, err
	}
	o.now.Store(s)
	return s, nil
}

func (e *engine) good(s *sending, now time.Time) bool {
	return s != nil && s.epoch.Left() > 0 && s.version == e.id.Directory().Version() && s.generation == e.id.Generation() && now.Before(s.until)
}

// lookUp asks the registry for services whose keys are not known.
func (e *engine) lookUp(names []string) error {
	if e.o.registry == nil {
		return nil
	}
	for _, name := range names {
		if len(e.keysOf(name)) > 0 {
			continue
		}
		if _, err := e.o.registry.GetService(name); err != nil {
			return fmt.Errorf("%w of %s is known, and the registry fails: %w", ErrNoKeys, quote(name), err)
		}
	}
	return nil
}

// newSending looks at the recipients again, and makes an epoch if the last one will not
// do. What changes meanwhile makes it outdated, and it is made anew.
func (e *engine) newSending(o *outgoing, now time.Time) (*sending, error) {
	for range 3 {
		s := &sending{version: e.id.Directory().Version(), generation: e.id.Generation()}
		to, until := e.recipients(o.names, now.Add(epochLifetime))
		if was := o.now.Load(); was != nil && was.serves(s.generation, to, now) {
			s.made = was.made
		} else {
			m, err := e.makeEpoch(o, s.generation, to, now)
			if err != nil {
				return nil, err
			}
			s.made = m
		}
		if s.until = until; s.end.Before(until) {
			s.until = s.end
		}
		if e.good(s, now) {
			return s, nil
		}
	}
	return nil, fmt.Errorf("%w: keys are changing all the time: try again", ErrNoKeys)
}

// recipients gathers the box keys of services, each once, and when the first of them
// ends, at most until.
func (e *engine) recipients(names []string, until time.Time) (to []envelope.Recipient, first time.Time) {
	for _, name := range names {
		for _, k := range e.keysOf(name) {
			if !slices.ContainsFunc(to, k.sameKey) {
				to = append(to, k.Recipient)
			}
			if k.until.Before(until) {
				until = k.until
			}
		}
	}
	return to, until
}

func (e *engine) makeEpoch(o *outgoing, generation uint64, to []envelope.Recipient, now time.Time) (*made, error) {
	if len(to) == 0 {
		kind := ""
		if e.o.postQuantum {
			kind = " for post-quantum suites"
		}
		return nil, fmt.Errorf("%w%s of %s is known, so nothing was sent: use registry/signed with the same identity on both sides, or give Identity.AddCard the card of the service", ErrNoKeys, kind, quote(strings.Join(o.names, ", ")))
	}
	own := e.id.BoxKeys()
	if len(own) == 0 {
		return nil, e.usable() // closed meanwhile
	}
	card, err := e.card(generation, now) // in any case: an identity that has ended has none
	if err != nil {
		return nil, err
	}
	m := &made{suite: envelope.PreferredSuite(e.o.postQuantum), generation: generation, recipients: to, end: now.Add(epochLifetime)}
	p := envelope.Params{
		Suite: m.suite, Sender: e.id.ID(), SenderKey: own[0], Scope: o.scope, Recipients: to,
		Created: now, NotAfter: m.end, Most: epochMessages,
	}
	if !e.o.omitCard {
		p.Credential = card
	}
	if end := e.id.Peer().Certificate.NotAfter; end.Before(m.end) {
		m.end = end
	}
	if m.epoch, err = envelope.NewEpoch(&p, rand.Reader); err != nil {
		return nil, fmt.Errorf("encrypted: an epoch for %s: %w", quote(o.scope), err)
	}
	return m, nil
}

// keyOf is a box key, and until when it is good.
type keyOf struct {
	envelope.Recipient
	until time.Time
}

func (k *keyOf) sameKey(r envelope.Recipient) bool {
	return r.Key.Equal(k.Key) && bytes.Equal(r.PQ, k.PQ)
}

// keysOf gathers the box keys of a service, each once. Our own is in no directory unless
// a registry has told of us.
func (e *engine) keysOf(name string) (found []keyOf) {
	self, directory := e.id.Peer(), e.id.Directory()
	add := func(id string, key *ecdh.PublicKey, pq []byte, until time.Time) {
		switch {
		case !e.o.postQuantum:
			pq = nil
		case pq == nil:
			return
		}
		k := keyOf{envelope.Recipient{ID: id, Key: key, PQ: pq}, until}
		if !slices.ContainsFunc(found, func(have keyOf) bool { return k.sameKey(have.Recipient) }) {
			found = append(found, k)
		}
	}
	addPeer := func(id string, known []identity.PeerKey) {
		if own := e.id.SealKeys(); id == self.ID && len(own) > 0 {
			public := own[0].Public()
			add(id, public.X25519, public.PQ, self.Certificate.NotAfter)
		}
		for _, k := range known {
			add(k.PeerID, k.Key, k.PQ, k.Until)
		}
	}
	ids, named := e.o.services[name]
	switch {
	case named:
		for _, id := range ids {
			addPeer(id, directory.KeysOf(id))
		}
	case strings.HasPrefix(name, "spiffe://"):
		addPeer(name, directory.KeysOf(name))
	default:
		addPeer("spiffe://"+self.TrustDomain+"/"+name, directory.Keys(name))
	}
	return found
}

// ownKeys are those that open what was sealed to us.
func (e *engine) ownKeys() (own []envelope.OwnKey) {
	for _, k := range e.id.SealKeys() {
		own = append(own, envelope.OwnKey{X25519: k.X25519, PQ: k.PQ})
	}
	return own
}

// card introduces us to services that do not know our key. It is made anew for each
// generation of the identity, and well before it ends.
func (e *engine) card(generation uint64, now time.Time) ([]byte, error) {
	o := &e.out
	o.cardMu.Lock()
	defer o.cardMu.Unlock()
	if o.card != nil && o.cardGeneration == generation && now.Before(o.cardUntil) {
		return o.card, nil
	}
	card, err := e.id.CardWithoutPQ()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoIdentity, err)
	}
	o.card, o.cardGeneration, o.cardUntil = card, generation, now.Add(cardAge)
	return card, nil
}

// cardAge is how long a card of ours is used. One is good for 90 days, or for as long as
// the leaf.
const cardAge = 24 * time.Hour
