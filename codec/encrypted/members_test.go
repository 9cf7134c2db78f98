package encrypted_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go-micro.dev/v4/client"
	merrors "go-micro.dev/v4/errors"

	"github.com/go-signet/signet/codec/encrypted"
	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/envelope"
)

// forgery is a request by somebody who keeps to the format and to nothing else.
type forgery struct {
	sender     string
	key        *ecdh.PrivateKey
	credential []byte
	scope      string
	suite      envelope.Suite
	created    time.Time
	sealed     time.Time
	lasts      time.Duration
	topic      string
	change     func([]byte) []byte
}

// topicOf is the topic of a call of Greeter.Hello, spelled out.
func topicOf(service, endpoint, contentType string) string {
	var b strings.Builder
	b.WriteByte(0)
	for _, part := range []string{service, endpoint, endpoint, contentType} {
		b.WriteByte(byte(len(part)))
		b.WriteString(part)
	}
	return b.String()
}

func (f *forgery) request(t *testing.T, to *identity.Identity) *message {
	t.Helper()
	e, err := envelope.NewEpoch(&envelope.Params{
		Suite: f.suite, Sender: f.sender, SenderKey: f.key, Scope: f.scope, Created: f.created, NotAfter: f.created.Add(f.lasts),
		Credential: f.credential, Recipients: []envelope.Recipient{{ID: to.ID(), Key: to.BoxKeys()[0].PublicKey()}},
	}, rand.Reader)
	must(t, err)
	body, err := e.Seal(nil, &envelope.Message{Topic: f.topic, Time: f.sealed, Body: []byte(`{"Name":"Mallory"}`)}, [8]byte{}, true)
	must(t, err)
	if f.change != nil {
		body = f.change(body)
	}
	return &message{http.Header{
		"Content-Type": {encrypted.ContentTypeJSON}, "Micro-Service": {"greeter"}, "Micro-Endpoint": {"Greeter.Hello"}, "Micro-Method": {"Greeter.Hello"},
		"Micro-Id": {"1"},
	}, body}
}

// TestHostileMembers: whoever has an identity of the fleet can call in its own name, and
// in nobody else's.
func TestHostileMembers(t *testing.T) {
	a := authority(t)
	s := serve(t, issue(t, a, "greeter"))
	web, mallory, stranger := issue(t, a, "web"), issue(t, a, "mallory"), issue(t, authority(t), "web")
	card := func(id *identity.Identity) []byte {
		c, err := id.Card()
		must(t, err)
		return c
	}
	now := time.Now
	for name, tc := range map[string]struct {
		change func(*forgery)
		want   encrypted.Reason // "" if it is let in
	}{
		"in its own name":           {func(*forgery) {}, ""},
		"in another's":              {func(f *forgery) { f.sender = web.ID() }, encrypted.Sender},
		"with another's card":       {func(f *forgery) { f.credential = card(web) }, encrypted.Sender},
		"with another's card, name": {func(f *forgery) { f.credential, f.sender = card(web), web.ID() }, encrypted.Sender},
		"with another's key too": {func(f *forgery) {
			// The key's owner alone could make the grant.
			f.credential, f.sender = card(web), web.ID()
			f.change = func(b []byte) []byte {
				return bytes.Replace(b, mallory.BoxKeys()[0].PublicKey().Bytes(), web.BoxKeys()[0].PublicKey().Bytes(), 1)
			}
		}, encrypted.Tampered},
		"without a card":           {func(f *forgery) { f.credential = nil }, encrypted.Sender},
		"with a broken card":       {func(f *forgery) { f.credential = []byte("card") }, encrypted.Sender},
		"of another authority":     {func(f *forgery) { f.credential, f.key = card(stranger), stranger.BoxKeys()[0]; f.sender = web.ID() }, encrypted.Sender},
		"for another service":      {func(f *forgery) { f.scope = "signet/codec/v1 call billing" }, encrypted.Misdirected},
		"for the service's events": {func(f *forgery) { f.scope = "signet/codec/v1 event greeter" }, encrypted.Misdirected},
		"for any service":          {func(f *forgery) { f.scope = "signet/codec/v1 call " }, encrypted.Misdirected},
		"of another use":           {func(f *forgery) { f.scope = "orders.*" }, encrypted.Misdirected},
		"for another endpoint":     {func(f *forgery) { f.topic = topicOf("greeter", "Greeter.Fail", encrypted.ContentTypeJSON) }, encrypted.Tampered},
		"sealed long ago":          {func(f *forgery) { f.sealed = now().Add(-6 * time.Minute); f.created = f.sealed }, encrypted.Stale},
		"sealed before our start":  {func(f *forgery) { f.sealed = now().Add(-time.Minute) }, encrypted.Stale},
		"sealed in the future":     {func(f *forgery) { f.sealed = now().Add(2 * time.Minute) }, encrypted.Stale},
		"of an epoch to come":      {func(f *forgery) { f.created = now().Add(2 * time.Minute) }, encrypted.Stale},
		"of an epoch that is over": {func(f *forgery) { f.created = now().Add(-3 * time.Hour); f.lasts = time.Hour }, encrypted.Stale},
		"of an endless epoch":      {func(f *forgery) { f.lasts = 1000 * time.Hour }, encrypted.Stale},
	} {
		t.Run(name, func(t *testing.T) {
			f := &forgery{
				sender: mallory.ID(), key: mallory.BoxKeys()[0], credential: card(mallory), scope: "signet/codec/v1 call greeter",
				suite: envelope.AES256GCM, created: now(), sealed: now(), lasts: time.Hour, topic: topicOf("greeter", "Greeter.Hello", encrypted.ContentTypeJSON),
			}
			tc.change(f)
			before := s.handler.calls.Load()
			s.rejected.take()
			answer := send(t, s.address, f.request(t, s.id))
			ran := s.handler.calls.Load() - before
			if tc.want == "" {
				if ran != 1 || *s.handler.caller.Load() != mallory.ID() {
					t.Errorf("the handler ran %d times; refused for %v", ran, s.rejected.take())
				}
				return
			}
			if got := s.rejected.take(); !slices.Equal(got, []encrypted.Reason{tc.want}) {
				t.Errorf("the service was told %v, want %s", got, tc.want)
			}
			if said := answer.header.Get("Micro-Error"); ran != 0 || len(answer.body) > 0 || said != "encrypted: refused: the service's log says why" {
				t.Errorf("the handler ran %d times, and the peer was told %q, %q", ran, said, answer.body)
			}
		})
	}
}

// TestAuthorize: who is not let in is told so, sealed, and no handler runs.
func TestAuthorize(t *testing.T) {
	a := authority(t)
	s := serve(t, issue(t, a, "greeter"), encrypted.Authorize(func(p identity.Peer, target string) error {
		switch {
		case target == "Greeter.Fail":
			panic("not thought of")
		case p.Serves("web") && target == "Greeter.Hello":
			return nil
		}
		return errors.New("not on the list")
	}))
	web, guest := newCaller(t, issue(t, a, "web")), newCaller(t, issue(t, a, "guest"))
	meet(t, web.id, s.id)
	meet(t, guest.id, s.id)
	p := newProxy(t, s.address)
	web.works(t, p.address)
	_, err := guest.hello(t.Context(), p.address, "John")
	if e := merrors.Parse(err.Error()); e.Code != 403 || errors.Is(err, encrypted.ErrUnauthenticated) {
		t.Errorf("error: %v", err)
	}
	err = web.Call(t.Context(), web.NewRequest("greeter", "Greeter.Fail", &Request{}), new(Response), client.WithAddress(p.address))
	if err == nil || merrors.Parse(err.Error()).Code != 403 {
		t.Errorf("a panic: %v", err)
	}
	if got := s.rejected.take(); !slices.Equal(got, []encrypted.Reason{encrypted.Unauthorised, encrypted.Unauthorised}) {
		t.Errorf("the service was told %v", got)
	}
	if n := s.handler.calls.Load(); n != 1 {
		t.Errorf("the handler ran %d times", n)
	}
	if bytes.Contains(p.wire(), []byte("may not")) {
		t.Error("the refusal can be read on the wire")
	}
	web.works(t, p.address)
}

// TestRevoked: a caller that is revoked is refused at once, in the middle of an epoch,
// and so is a service by its callers.
func TestRevoked(t *testing.T) {
	a := authority(t)
	s := serve(t, issue(t, a, "greeter"))
	c, other := newCaller(t, issue(t, a, "web")), newCaller(t, issue(t, a, "other"))
	meet(t, c.id, s.id)
	meet(t, other.id, s.id)
	c.works(t, s.address)
	must(t, a.Revoke(c.id))
	if _, err := c.hello(t.Context(), s.address, "John"); !errors.Is(err, encrypted.ErrUnauthenticated) {
		t.Errorf("the revoked caller: %v", err)
	}
	if got := s.rejected.take(); !slices.Equal(got, []encrypted.Reason{encrypted.Sender}) {
		t.Errorf("the service was told %v", got)
	}
	if n := s.handler.calls.Load(); n != 1 {
		t.Errorf("the handler ran %d times", n)
	}
	other.works(t, s.address)

	must(t, a.Revoke(s.id))
	p := newProxy(t, s.address)
	if _, err := other.hello(t.Context(), p.address, "John"); !errors.Is(err, encrypted.ErrNoKeys) {
		t.Errorf("a caller of the revoked service: %v", err)
	}
	if wire := p.wire(); len(wire) > 0 {
		t.Errorf("%d bytes were sent", len(wire))
	}
}
