package encrypted

import (
	"errors"
	"strings"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/envelope"
)

// openedMessage is a message that verified.
type openedMessage struct {
	counter uint32
	binding [envelope.BindingSize]byte
	from    *received
	peer    *identity.Peer
	time    time.Time
	body    []byte
	// space is what body is part of: whoever is done with it may give it back.
	space *[]byte
}

// open opens an envelope for a use: scope is what the epoch must be for. That of events
// is any that begins with scopeEvent.
func (m *openedMessage) open(e *engine, data []byte, scope, topic string, now time.Time) error {
	if err := e.usable(); err != nil {
		return err
	}
	env, err := envelope.Parse(data)
	if err != nil {
		if !envelope.IsEnvelope(data) {
			return reject(Clear, "%w", err)
		}
		return err
	}
	r := e.in.get(env.Epoch)
	if r == nil {
		if r, err = e.admit(env, scope, now); err != nil {
			return err
		}
	}
	return m.openWith(e, r, env, scope, topic, now)
}

// openWith opens an envelope of an epoch that is known.
func (m *openedMessage) openWith(e *engine, r *received, env *envelope.Envelope, scope, topic string, now time.Time) error {
	if !inScope(r.reader.Header.Scope, scope) {
		return otherScope(r, scope)
	}
	v := e.verdictOf(r, now)
	if v.err != nil {
		return v.err
	}
	space := takeSpace()
	if need := env.Size(); cap(*space) < need {
		*space = make([]byte, 0, need)
	}
	opened, err := r.reader.Open(*space, env, topic, nil, nil)
	if err != nil {
		giveSpace(space)
		return notOpened(err, v)
	}
	m.counter, m.binding = env.Counter, env.Binding()
	m.from, m.peer, m.time, m.body, m.space = r, v.peer, opened.Time, opened.Body, space
	return nil
}

//go:noinline
func otherScope(r *received, scope string) error {
	return reject(Misdirected, "sealed for %s, not for %s", quote(r.reader.Header.Scope), quote(scope))
}

//go:noinline
func notOpened(err error, v *verdict) error { return &rejected{reasonOf(err), err, *v.peer} }

func inScope(scope, want string) bool {
	if want == scopeEvent {
		return strings.HasPrefix(scope, want)
	}
	return scope == want
}

// fresh decides whether a message was sealed recently.
func (e *engine) fresh(m *openedMessage, maxAge time.Duration, now time.Time) error {
	h := m.from.reader.Header
	switch {
	case m.time.After(now.Add(ClockSkew)), now.Sub(m.time) > maxAge:
		return m.stale("sealed at %s, now is %s", now)
	case m.time.After(h.NotAfter.Add(time.Second)):
		return m.stale("sealed at %s, with an epoch that ended at %s", h.NotAfter)
	}
	return nil
}

//go:noinline
func (m *openedMessage) stale(format string, than time.Time) error {
	return &rejected{Stale, stamped(format, m.time, than), *m.peer}
}

// openOnce opens a request that is recent, of somebody who is let in, and was not
// accepted before: who is not let in takes none of the replay window. A process that
// starts anew has forgotten what it accepted, and so accepts nothing from before.
func (m *openedMessage) openOnce(e *engine, data []byte, scope, topic string, now time.Time, letIn func() error) error {
	for {
		if err := m.open(e, data, scope, topic, now); err != nil {
			return err
		}
		if err := e.fresh(m, e.o.maxAge, now); err != nil {
			return err
		}
		if m.time.Before(e.begun.Truncate(time.Microsecond)) {
			return m.stale("sealed at %s, and this process began at %s", e.begun)
		}
		if err := letIn(); err != nil {
			return err
		}
		switch state, gone := m.from.begin(m.counter, now); {
		case gone: // forgotten meanwhile: the epoch is new again
		case state == envelope.Unseen:
			return nil
		case state == envelope.NoRoom && e.in.makeRoom(now, e.o.maxAge):
		default:
			return m.notOnce(state)
		}
	}
}

//go:noinline
func (m *openedMessage) notOnce(state envelope.State) error {
	if state == envelope.NoRoom {
		return &rejected{Limit, errors.New("the replay window has no room: see MaxReplayMemory"), *m.peer}
	}
	return &rejected{Replay, errors.New("it was accepted before"), *m.peer}
}

// openOften opens what is recent, of somebody who is let in, and may have been opened
// before: an event, or what a marshaler has made. It returns what follows the use in the
// scope of the epoch: the topic of an event.
func (m *openedMessage) openOften(e *engine, data []byte, scope, topic string, now time.Time) (of string, err error) {
	if err = m.open(e, data, scope, topic, now); err != nil {
		return "", err
	}
	of = m.from.reader.Header.Scope[len(scope):]
	if err := e.fresh(m, e.o.eventAge, now); err != nil {
		return of, err
	}
	if err := e.authorize(m.peer, of); err != nil {
		return of, err
	}
	m.from.letIn(now)
	return of, nil
}
