package nats

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	natsgo "github.com/nats-io/nats.go"
)

// violation names what the server's permissions do not allow.
type violation struct {
	publish        bool
	subject, queue string
}

var (
	violationText = regexp.MustCompile(`(Subscription|Publish) to ("(?:[^"\\]|\\.)*")`)
	queueText     = regexp.MustCompile(`using queue ("(?:[^"\\]|\\.)*")`)
)

// parseViolation reads the text of a server's error.
func parseViolation(err error) (v violation, ok bool) {
	if !errors.Is(err, natsgo.ErrPermissionViolation) {
		return v, false
	}
	found := violationText.FindStringSubmatch(err.Error())
	if found == nil {
		return v, false
	}
	v.publish = found[1] == "Publish"
	v.subject = unquote(found[2])
	if found := queueText.FindStringSubmatch(err.Error()); found != nil {
		v.queue = unquote(found[1])
	}
	return v, true
}

func unquote(s string) string {
	if plain, err := strconv.Unquote(s); err == nil {
		return plain
	}
	return s[1 : len(s)-1]
}

func (l *link) add(c *listener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listeners[c.nats] = c
}

func (l *link) remove(c *listener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.listeners, c.nats)
}

// asyncError is told by nats.go of errors that belong to no call, one after the other.
func (l *link) asyncError(sub *natsgo.Subscription, err error) {
	v, isViolation := parseViolation(err)
	l.mu.Lock()
	l.latest = err
	close(l.changed)
	l.changed = make(chan struct{})
	c := l.listeners[sub]
	expected := false
	if isViolation && !v.publish {
		if expected = l.confirming[v] > 0; expected {
			l.denied[v] = err
		}
	}
	var publishing []*pending
	for p := range l.storing {
		if isViolation && v.publish && p.topic == v.subject {
			publishing = append(publishing, p)
		}
	}
	l.mu.Unlock()

	r := &l.b.report
	switch {
	case isViolation && v.publish:
		r.denied.Add(1)
		denied := fmt.Errorf("nats: %w: publish to %q: let the account publish there: %w", ErrDenied, v.subject, err)
		for _, p := range publishing { // Publish returns it
			p.cancel(denied)
		}
		if len(publishing) == 0 {
			r.incident(Incident{Kind: PublishDenied, Topic: v.subject, Err: denied})
		}
	case expected: // Subscribe returns it
		r.denied.Add(1)
	case isViolation:
		r.denied.Add(1)
		r.incident(Incident{Kind: SubscribeDenied, Topic: v.subject, Queue: v.queue, Err: deniedError(v, err)})
	case errors.Is(err, natsgo.ErrSlowConsumer) && c != nil:
		c.slow()
	case errors.Is(err, natsgo.ErrBadHeaderMsg):
		// The message comes without headers, and is refused where it is delivered.
	case deniesAccount(err):
		r.incident(Incident{Kind: AccountDenied, Err: accountError(err)})
	default:
		r.incident(Incident{Kind: Trouble, Err: err})
	}
}

// slow reports what was dropped, and once a second what more is.
func (c *listener) slow() {
	n := c.lost(true)
	if n == 0 {
		return
	}
	r := &c.link.b.report
	r.dropped.Add(n)
	r.incident(Incident{Kind: Slow, Topic: c.sub.topic, Queue: c.sub.opts.Queue, Dropped: n, Err: fmt.Errorf("nats: %w: %d of topic %q: make the handler faster, or set nats.PendingLimits", ErrSlow, n, c.sub.topic)})
	time.AfterFunc(time.Second, c.slow)
}

// expect makes a refusal of a subscription the answer of confirm, until done is called.
func (l *link) expect(v violation) (done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.confirming[v]++
	delete(l.denied, v)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.confirming[v]--; l.confirming[v] <= 0 {
			delete(l.confirming, v)
			delete(l.denied, v)
		}
	}
}

// confirm waits until the server has taken a subscription, and returns its refusal. before
// is the last error before the subscription was sent.
//
// nats.go hands errors over one after the other, in a goroutine of its own, and keeps the
// last. All that the server sent before the answer to our ping is among them.
func (l *link) confirm(v violation, before error) error {
	if err := l.roundTrip(confirmTimeout); err != nil {
		return fmt.Errorf("nats: subscribe to %q: %w", v.subject, err)
	}
	last := l.nc.LastError()
	if last == nil {
		return nil
	}
	if errors.Is(last, natsgo.ErrMaxSubscriptionsExceeded) && last != before {
		return fmt.Errorf("nats: %w: subscribe to %q: %w", ErrDenied, v.subject, last)
	}
	// Wait until what was handed over includes the last. It may be one of nats.go's
	// variables, which tell nothing of their age.
	_, unique := parseViolation(last)
	wait := time.NewTimer(50 * time.Millisecond)
	if unique {
		wait.Reset(confirmTimeout)
	}
	defer wait.Stop()
	for {
		l.mu.Lock()
		denied, latest, changed := l.denied[v], l.latest, l.changed
		l.mu.Unlock()
		switch {
		case denied != nil:
			return deniedError(v, denied)
		case unique && (latest == last || last == before):
			return nil
		}
		select {
		case <-changed:
		case <-wait.C:
			if unique {
				return fmt.Errorf("nats: subscribe to %q: too many errors to tell whether it is permitted: %w", v.subject, last)
			}
			return nil
		}
	}
}

// roundTrip waits for the server to answer, over reconnections.
func (l *link) roundTrip(timeout time.Duration) error {
	until := time.Now().Add(timeout)
	for {
		err := l.nc.FlushTimeout(max(time.Until(until), time.Millisecond))
		switch {
		case err == nil:
			return nil
		case l.nc.IsClosed():
			return fmt.Errorf("%w: %w", ErrNotConnected, err)
		case time.Now().After(until):
			return fmt.Errorf("the server has not confirmed it within %v: %w: try again", timeout, err)
		}
		select {
		case <-time.After(firstDelay):
		case <-l.closed:
		}
	}
}

func deniedError(v violation, err error) error {
	return fmt.Errorf("nats: %w: subscribe to %q: let the account subscribe there: %w", ErrDenied, v.subject, err)
}
