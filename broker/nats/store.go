package nats

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-signet/signet/internal/keys"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go-micro.dev/v4/broker"
)

const (
	expectedStreamHeader = "Nats-Expected-Stream"
	// sealedMagic is what a sealed envelope begins with (spec/envelope.md).
	sealedMagic = "SGNE"
)

// store publishes a message and waits until the stream has it. What it does not know to
// be stored it sends again, under the same ID, by which the stream knows it.
func (l *link) store(ctx context.Context, topic string, m *broker.Message, id string) error {
	s := l.settings.stream
	o := outgoings.Get().(*outgoing)
	defer o.recycle()
	if err := o.pack(m.Header); err != nil {
		return err
	}
	if id == "" {
		id = messageID(topic, m.Body)
	}
	o.set(msgIDHeader, id)
	o.set(expectedStreamHeader, s.name)
	o.msg.Subject, o.msg.Header, o.msg.Data = topic, o.header, m.Body

	if ctx == nil {
		ctx = context.Background()
	}
	if _, has := ctx.Deadline(); !has {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.timeout)
		defer cancel()
	}
	ctx, done := l.publishing(ctx, topic)
	defer done()
	var delay backoff
	for {
		err := l.try(ctx, &o.msg)
		if err == nil {
			return nil
		}
		if final := l.judgeStore(ctx, topic, m.Body, err); final != nil {
			return final
		}
		timer := time.NewTimer(delay.next())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return l.gaveUp(ctx, topic, err)
		}
	}
}

// maxAttempt is how long one attempt to store a message takes at most.
const maxAttempt = 2 * time.Second

// attempt is how long one of several attempts within the timeout may take.
func (s *streamSettings) attempt() time.Duration {
	return max(min(s.timeout/3, maxAttempt), 100*time.Millisecond)
}

// try is one attempt, which has a part of the time only: an answer may have been lost.
func (l *link) try(ctx context.Context, m *natsgo.Msg) error {
	attempt, cancel := context.WithTimeout(ctx, l.settings.stream.attempt())
	defer cancel()
	_, err := l.js.PublishMsg(attempt, m)
	return err
}

// judgeStore returns the error of Publish, or nil if it is worth another attempt.
func (l *link) judgeStore(ctx context.Context, topic string, body []byte, err error) error {
	var api *jetstream.APIError
	switch {
	case ctx.Err() != nil:
		return l.gaveUp(ctx, topic, err)
	case errors.Is(err, natsgo.ErrMaxPayload), errors.Is(err, natsgo.ErrConnectionClosed) && l.nc.IsClosed():
		return l.explain(err, body)
	case errors.Is(err, jetstream.ErrStreamMessageExceedsMaximum):
		return fmt.Errorf("nats: %w: the body has %d bytes: stream %q: %w", ErrTooLarge, len(body), l.settings.stream.name, err)
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, natsgo.ErrNoResponders):
		return l.judgeStream(ctx, topic)
	case errors.As(err, &api) && api.Code < 500:
		return fmt.Errorf("nats: %w: publish to %q: stream %q does not take it: %w", ErrStream, topic, l.settings.stream.name, err)
	case errors.Is(err, natsgo.ErrHeadersNotSupported), errors.Is(err, natsgo.ErrBadSubject):
		return err
	}
	return nil
}

// judgeStream finds out why nobody has answered: the stream is not there, does not have
// the topic, or has no leader at the moment, which is no error.
func (l *link) judgeStream(ctx context.Context, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, l.settings.stream.attempt())
	defer cancel()
	if err := l.checkTopic(ctx, topic); errors.Is(err, errNotOfStream) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	return nil
}

var errNotOfStream = errors.New("not among the stream's subjects")

// checkTopic refuses a topic, or one with wildcards, of which the stream has nothing.
func (l *link) checkTopic(ctx context.Context, topic string) error {
	s := l.settings.stream
	stream, err := l.js.Stream(ctx, s.name)
	if err != nil {
		return s.explain(err)
	}
	subjects := stream.CachedInfo().Config.Subjects
	// A stream that copies others has no subjects of its own.
	if len(subjects) > 0 && !slices.ContainsFunc(subjects, func(p string) bool { return overlap(p, topic) }) {
		return fmt.Errorf("nats: %w: topic %s: %w: stream %q has %s", ErrStream, keys.Quote(topic), errNotOfStream, s.name, strings.Join(subjects, ", "))
	}
	return nil
}

// gaveUp is the error when the time is up, or the server has refused.
func (l *link) gaveUp(ctx context.Context, topic string, last error) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, ErrDenied) {
		return cause
	}
	if last == nil || errors.Is(last, cause) {
		return fmt.Errorf("nats: publish to %q: the stream has not confirmed it in time: %w", topic, cause)
	}
	return fmt.Errorf("nats: publish to %q: the stream has not confirmed it in time: %w (at last: %w)", topic, cause, last)
}

// publishing lets asyncError end a publish that the server does not permit, where NATS has
// no other answer.
func (l *link) publishing(ctx context.Context, topic string) (with context.Context, done func()) {
	with, cancel := context.WithCancelCause(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &pending{topic, cancel}
	l.storing[p] = struct{}{}
	return with, func() {
		l.mu.Lock()
		delete(l.storing, p)
		l.mu.Unlock()
		cancel(nil)
	}
}

// pending is a publish that waits for the stream.
type pending struct {
	topic  string
	cancel context.CancelCauseFunc
}

// messageID is the same for the same sealed message, and else for this publish only.
func messageID(topic string, body []byte) string {
	if len(body) < len(sealedMagic) || string(body[:len(sealedMagic)]) != sealedMagic {
		return rand.Text()
	}
	h := sha256.New()
	h.Write([]byte(topic))
	h.Write([]byte{0})
	h.Write(body)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// overlap reports whether a subject exists that both patterns stand for.
func overlap(a, b string) bool {
	for {
		x, moreX, inX := strings.Cut(a, ".")
		y, moreY, inY := strings.Cut(b, ".")
		switch {
		case x == ">" || y == ">":
			return true
		case x != "*" && y != "*" && x != y, inX != inY:
			return false
		case !inX:
			return true
		}
		a, b = moreX, moreY
	}
}
