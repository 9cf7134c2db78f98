package sealed_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/broker/sealed"
	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/broker"
)

const (
	unsealed     = sealed.ReasonUnsealed
	badSuite     = sealed.ReasonSuite
	badTopic     = sealed.ReasonTopic
	badPublisher = sealed.ReasonPublisher
	notRecipient = sealed.ReasonNotRecipient
	tampered     = sealed.ReasonTampered
	replayed     = sealed.ReasonReplay
	expired      = sealed.ReasonExpired
	overLimit    = sealed.ReasonLimit
)

// TestAttacks: whatever the operator of the broker does, or who may publish there, or
// reads along, the handler is not called, and the next good message is delivered.
func TestAttacks(t *testing.T) {
	for _, attack := range []struct {
		name string
		run  func(t *testing.T, s *scene)
	}{
		{"any bit of any field flipped", flipped},
		{"any bit flipped before the epoch is known", flippedEarly},
		{"truncated", truncated},
		{"extended", extended},
		{"topic A's message on B", crossDelivered},
		{"Micro-Topic changed", microTopic},
		{"Content-Type changed", contentTypes},
		{"a clear header changed, added, removed", clearHeaders},
		{"unsealed message", unsealedMessages},
		{"unknown version or suite", versions},
		{"sender forged by an outsider", outsider},
		{"sender forged by another publisher", otherPublisher},
		{"forged by another recipient", otherRecipient},
		{"forged by another recipient with the same AEAD tag", sameTag},
		{"a removed recipient's old epoch", removedRecipient},
		{"two grants with one epoch id", twoGrants},
		{"reflection", reflection},
		{"low-order key", lowOrder},
		{"publisher without the right", withoutRight},
		{"success then duplicate", duplicate},
		{"an epoch for other topics", scopes},
		{"a counter beyond the epoch's", counters},
		{"times that are not true", times},
		{"plaintext that is not well-formed", plaintexts},
		{"a key named many times", manyGrants},
	} {
		t.Run(attack.name, func(t *testing.T) {
			s := newScene(t)
			s.good(t)
			attack.run(t, s)
			s.good(t)
		})
	}
}

// TestAttackersTools: what the tools make of a publisher's own keys is delivered. So what
// they make in the attacks fails for no other reason than those keys.
func TestAttackersTools(t *testing.T) {
	for name, of := range map[string]struct {
		suite, mode byte
	}{"AES-256-GCM": {1, 1}, "ChaCha20-Poly1305": {2, 1}, "pairwise": {1, 0}} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			shop := s.members["shop"]
			h := headingOf(t, shop, of.mode)
			h.suite = of.suite
			to := []member{memberOf(s.members["shipping"]), memberOf(s.members["billing"])}[1-of.mode:]
			epoch := newSecrets(t, h, shop.BoxKeys()[0], to...)
			n := note{topic: "orders.created", body: "by hand", headers: [][2]string{{"Content-Type", "text/plain"}, {"X", "y"}}, clear: map[string]string{"Trace": "t"}}
			p := epoch.seal(t, n).on(n.topic, n.clear)
			s.delivers(t, p, "by hand")
			want := map[string]string{"Content-Type": "text/plain", "X": "y", "Trace": "t", "Micro-Topic": "orders.created"}
			if got := s.in.last(t).Message().Header; !maps.Equal(got, want) {
				t.Errorf("headers are %v", got)
			}
			// And what the broker makes, the tools can read.
			p = s.sent(t, "orders.created", "to read", "Trace", "x")
			plain := learn(t, p.message.Body, s.members["billing"]).plain(t, dissect(t, p.message.Body), p.topic, p.message.Header)
			if !bytes.HasSuffix(plain, []byte("to read")) {
				t.Errorf("read %q", plain)
			}
		})
	}
}

func (p packet) body(body []byte) packet {
	q := p.clone()
	q.message.Body = body
	return q
}

func (p packet) with(header ...string) packet {
	q := p.clone()
	if q.message.Header == nil {
		q.message.Header = make(map[string]string)
	}
	for i := 0; i < len(header); i += 2 {
		q.message.Header[header[i]] = header[i+1]
	}
	return q
}

func (p packet) without(name string) packet {
	q := p.clone()
	delete(q.message.Header, name)
	return q
}

// part is where a part of an envelope is.
func part(t testing.TB, raw, part []byte) (from, to int) {
	t.Helper()
	at := bytes.Index(raw, part)
	if at < 0 || bytes.LastIndex(raw, part) != at {
		t.Fatal("the part is not there once")
	}
	return at, at + len(part)
}

// others returns which bytes of an envelope are for another recipient alone.
func others(t testing.TB, raw []byte, us *identity.Identity) func(i int) bool {
	t.Helper()
	f := dissect(t, raw)
	ours := slices.IndexFunc(readHeading(f.header).keyIDs, func(id []byte) bool { return bytes.Equal(id, keyIDOf(memberOf(us).key)) })
	theirs := 1 - ours
	grant, grantEnd := part(t, raw, f.grants[theirs])
	tag, tagEnd := part(t, raw, f.proof[16*theirs:][:16])
	return func(i int) bool { return i >= grant && i < grantEnd || i >= tag && i < tagEnd }
}

func flip(raw []byte, bit int) []byte {
	out := bytes.Clone(raw)
	out[bit/8] ^= 1 << (bit % 8)
	return out
}

func flipped(t *testing.T, s *scene) {
	p := s.sent(t, "orders.created", "x", "Trace", "abc")
	s.delivers(t, p, "x")
	raw := p.message.Body
	theirs := others(t, raw, s.members["billing"])
	epoch, epochEnd := part(t, raw, dissect(t, raw).epoch)
	for bit := range 8 * len(raw) {
		switch i := bit / 8; {
		case theirs(i): // which we do not look at: the message is the one that was handled
			s.refuses(t, p.body(flip(raw, bit)), false, replayed)
		case i >= epoch && i < epochEnd && bit%8 != i%8: // one of each byte: these cost public-key operations
		default:
			s.refuses(t, p.body(flip(raw, bit)), false, unsealed, badSuite, tampered, overLimit)
		}
		if t.Failed() {
			t.Fatalf("bit %d of byte %d", bit%8, bit/8)
		}
	}
}

func flippedEarly(t *testing.T, s *scene) {
	p := s.sent(t, "orders.created", "x", "Trace", "abc")
	raw := p.message.Body
	theirs := others(t, raw, s.members["billing"])
	card, cardEnd := part(t, raw, readHeading(dissect(t, raw).header).credential)
	for i := range raw {
		if theirs(i) || i >= card && i < cardEnd && i%32 != 0 {
			continue
		}
		fresh := &scene{fleet: s.fleet, wire: newWire(), refused: new(rejections), in: newInbox()}
		fresh.billing = fresh.join("billing", fresh.wire, sceneRules(), fresh.refused.option())
		if _, err := fresh.billing.Subscribe("orders.created", fresh.in.handle); err != nil {
			t.Fatal(err)
		}
		fresh.refuses(t, p.body(flip(raw, 8*i+i%8)), false, unsealed, badSuite, tampered, overLimit, badPublisher, notRecipient, expired)
		fresh.delivers(t, p, "x")
		if t.Failed() {
			t.Fatalf("bit %d of byte %d", i%8, i)
		}
	}
}

func truncated(t *testing.T, s *scene) {
	p := s.sent(t, "orders.created", "x", "Trace", "abc")
	for n := range p.message.Body {
		s.refuses(t, p.body(p.message.Body[:n]), false, unsealed, tampered)
	}
	s.delivers(t, p, "x")
}

func extended(t *testing.T, s *scene) {
	private := *s
	private.in = subscribe(t, s.billing, "private.note")
	for topic, s := range map[string]*scene{"orders.created": s, "private.note": &private} { // tagged, and pairwise
		p := s.sent(t, topic, "x")
		for _, more := range [][]byte{{0}, make([]byte, 16), make([]byte, 32), p.message.Body} {
			s.refuses(t, p.body(slices.Concat(p.message.Body, more)), false, tampered)
		}
		f := dissect(t, p.message.Body)
		f.grants = append(f.grants, f.grants[0])
		s.refuses(t, f.on(topic, nil), false, tampered)
		s.delivers(t, p, "x")
	}
}

func crossDelivered(t *testing.T, s *scene) {
	deleted, invoices := subscribe(t, s.billing, "orders.deleted"), subscribe(t, s.billing, "invoices.sent")
	p := s.sent(t, "orders.created", "x")
	for topic, reason := range map[string]sealed.Reason{
		"orders.deleted": tampered, // the same publishers and readers
		"invoices.sent":  badPublisher,
	} {
		q := p.clone()
		q.topic = topic
		s.refuses(t, q, false, reason)
		s.refuses(t, q.with("Micro-Topic", "orders.created"), false, reason)
	}
	s.delivers(t, p, "x")
	if got := append(deleted.bodies(), invoices.bodies()...); len(got) > 0 {
		t.Errorf("delivered %q", got)
	}
	// What a broker with wildcards might hand over.
	all := subscribe(t, s.billing, ">")
	defer func() {
		s.in = subscribe(t, s.join("billing", s.wire, sceneRules(), s.refused.option()), "orders.created")
	}()
	s.in = all
	for topic, reason := range map[string]sealed.Reason{
		"orders.created.now": badTopic, "orders": badTopic, "": badTopic, "orders.": badTopic, "Orders.created": badTopic,
		"orders.Created": tampered, "orders.>": tampered, "orders.*": tampered, "orders.created ": tampered, "orders.created\x00": tampered,
		"orders." + strings.Repeat("x", 2000): tampered,
	} {
		q := p.clone()
		q.topic = topic
		s.refuses(t, q, false, reason)
	}
}

func microTopic(t *testing.T, s *scene) {
	p := s.sent(t, "orders.created", "sealed", "Micro-Topic", "orders.created")
	s.refuses(t, p.with("Micro-Topic", "orders.deleted"), false, tampered)
	s.refuses(t, p.with("Micro-Topic", "invoices.sent"), false, tampered)
	s.refuses(t, p.with("Micro-Topic", ""), false, tampered)
	s.delivers(t, p.with("Micro-Topic", "orders.created", "micro-topic", "invoices.sent"), "sealed") // as the http broker adds it
	if got := s.in.last(t).Message().Header; !maps.Equal(got, map[string]string{"Micro-Topic": "orders.created"}) {
		t.Errorf("headers are %v", got)
	}
	p = s.sent(t, "orders.created", "none")
	s.refuses(t, p.with("Micro-Topic", "invoices.sent"), false, tampered)
	s.delivers(t, p, "none")
	if got := s.in.last(t).Message().Header["Micro-Topic"]; got != "orders.created" {
		t.Errorf("go-micro's server would call the handler of %q", got)
	}
	// A publisher of one topic cannot reach the handler of another through it.
	p = s.sent(t, "orders.created", "x", "Micro-Topic", "invoices.sent")
	s.refuses(t, p, false, badTopic)
	s.refuses(t, s.sent(t, "orders.created", "x", "Micro-Topic", "nothing"), false, badTopic)
	s.delivers(t, s.sent(t, "orders.created", "exchange", "Micro-Topic", "orders.deleted"), "exchange")
}

func contentTypes(t *testing.T, s *scene) {
	p := s.sent(t, "orders.created", "sealed", "Content-Type", "application/json")
	s.refuses(t, p.with("Content-Type", "application/protobuf"), false, tampered)
	s.refuses(t, p.with("Content-Type", ""), false, tampered)
	s.delivers(t, p.with("content-type", "application/protobuf"), "sealed")
	if got := s.in.last(t).Message().Header; got["Content-Type"] != "application/json" || got["content-type"] != "" {
		t.Errorf("headers are %v", got)
	}
	p = s.sent(t, "orders.created", "none")
	s.refuses(t, p.with("Content-Type", "application/json"), false, tampered)
	s.delivers(t, p, "none")
}

func clearHeaders(t *testing.T, s *scene) {
	p := s.sent(t, "orders.created", "x", "Trace", "abc", "Secret", "s")
	if got := p.message.Header; !maps.Equal(got, map[string]string{"Trace": "abc"}) {
		t.Fatalf("in clear: %v", got)
	}
	s.refuses(t, p.with("Trace", "abd"), false, tampered)
	s.refuses(t, p.with("Trace", ""), false, tampered)
	s.refuses(t, p.with("Trace", strings.Repeat("a", 1<<20)), false, tampered)
	s.refuses(t, p.without("Trace"), false, tampered)
	s.refuses(t, p.without("Trace").with("trace", "abc"), false, tampered)
	s.refuses(t, p.with("Secret", "t"), false, tampered)
	f := dissect(t, p.message.Body)
	f.names = nil
	s.refuses(t, f.on(p.topic, p.message.Header), false, tampered)
	f.names = []string{"Added", "Trace"}
	s.refuses(t, f.on(p.topic, p.message.Header).with("Added", "x"), false, tampered)
	// Headers of the broker's own go nowhere.
	s.delivers(t, p.with("Nats-Sequence", "7"), "x")
	if got := s.in.last(t).Message().Header; !maps.Equal(got, map[string]string{"Trace": "abc", "Secret": "s", "Micro-Topic": "orders.created"}) {
		t.Errorf("headers are %v", got)
	}
	p = s.sent(t, "orders.created", "nothing in it", "Trace", "")
	s.refuses(t, p.without("Trace"), false, tampered)
	s.delivers(t, p, "nothing in it")
	p = s.sent(t, "orders.created", "y") // without Trace, which a hop may add
	s.delivers(t, p.with("Trace", "forged"), "y")
	if got, there := s.in.last(t).Message().Header["Trace"]; there {
		t.Errorf("the handler got a header that the broker has made: %q", got)
	}
}

func unsealedMessages(t *testing.T, s *scene) {
	for _, body := range []string{"", "x", "{}", "SGN", "sgne", "SGNC\x01", `{"id":7}`, strings.Repeat("\x00", 100), " SGNE"} {
		s.refuses(t, packet{"orders.created", &broker.Message{Body: []byte(body)}}, false, unsealed)
		s.refuses(t, packet{"orders.created", &broker.Message{Body: []byte(body), Header: map[string]string{"Micro-Topic": "orders.created"}}}, false, unsealed)
	}
	s.refuses(t, packet{"orders.created", &broker.Message{Body: []byte("SGNE")}}, false, tampered)
}

func versions(t *testing.T, s *scene) {
	p := s.sent(t, "orders.created", "x")
	for _, change := range []func(f *forgery){
		func(f *forgery) { f.version = 0 }, func(f *forgery) { f.version = 2 }, func(f *forgery) { f.version = 255 },
		func(f *forgery) { f.suite = 0 }, func(f *forgery) { f.suite = 5 }, func(f *forgery) { f.suite = 255 },
	} {
		f := dissect(t, p.message.Body)
		change(f)
		s.refuses(t, f.on(p.topic, nil), false, badSuite)
	}
	// The same inside of an epoch that nobody knows yet.
	shop := s.members["shop"]
	for _, change := range []func(h *heading){
		func(h *heading) { h.version = 2 }, func(h *heading) { h.suite = 5 }, func(h *heading) { h.mode = 3 },
	} {
		h := headingOf(t, shop, 1)
		change(&h)
		f := newSecrets(t, h, shop.BoxKeys()[0], memberOf(s.members["shipping"]), memberOf(s.members["billing"])).seal(t, note{topic: "orders.created"})
		f.suite = 1
		s.refuses(t, f.on("orders.created", nil), false, badSuite)
	}
	h := headingOf(t, shop, 0) // tags for one cannot be left away for two
	f := newSecrets(t, h, shop.BoxKeys()[0], memberOf(s.members["shipping"]), memberOf(s.members["billing"])).seal(t, note{topic: "orders.created"})
	s.refuses(t, f.on("orders.created", nil), false, tampered)
	s.delivers(t, p, "x")
}

func outsider(t *testing.T, s *scene) {
	own := newBoxKey(t)
	rogue, err := identity.NewAuthority("shop.internal")
	if err != nil {
		t.Fatal(err)
	}
	impostor, err := rogue.Issue("shop")
	if err != nil {
		t.Fatal(err)
	}
	defer impostor.Close()
	to := []member{memberOf(s.members["shipping"]), memberOf(s.members["billing"])}
	honest := headingOf(t, s.members["shop"], 1)
	for name, forge := range map[string]struct {
		change func(h *heading)
		want   sealed.Reason
	}{
		"own key, no card":         {func(h *heading) { h.senderKey, h.credential = own.PublicKey().Bytes(), nil }, badPublisher},
		"own key, recorded card":   {func(h *heading) { h.senderKey = own.PublicKey().Bytes() }, badPublisher},
		"sender's key, no card":    {func(h *heading) { h.credential = nil }, tampered},
		"sender's key and card":    {func(*heading) {}, tampered},
		"a card of another CA":     {func(h *heading) { *h = headingOf(t, impostor, 1); h.senderKey = own.PublicKey().Bytes() }, badPublisher},
		"a card that is none":      {func(h *heading) { h.credential = []byte("SGNC\x01") }, badPublisher},
		"a member's card":          {func(h *heading) { h.credential, _ = s.members["crm"].Card() }, badPublisher},
		"a sender that is none":    {func(h *heading) { h.sender = "shop" }, tampered},
		"another domain's shop":    {func(h *heading) { h.sender = "spiffe://other.internal/shop" }, badPublisher},
		"in another spelling":      {func(h *heading) { h.sender = "spiffe://SHOP.internal/shop" }, tampered},
		"a shop below":             {func(h *heading) { h.sender += "/x" }, badPublisher},
		"signed, and the sender's": {func(h *heading) { h.mode = 2 }, tampered},
	} {
		h := honest
		forge.change(&h)
		f := newSecrets(t, h, own, to...).seal(t, note{topic: "orders.created", body: name})
		t.Log(name)
		s.refuses(t, f.on("orders.created", nil), false, forge.want)
	}
	// In an epoch that is known.
	p := s.sent(t, "orders.created", "x")
	f := dissect(t, p.message.Body)
	f.counter += 100
	s.refuses(t, f.on(p.topic, nil), false, tampered)
	f.header, f.grants, f.flags = nil, nil, 0
	s.refuses(t, f.on(p.topic, nil), false, tampered)
	f.epoch = randomBytes(32)
	s.refuses(t, f.on(p.topic, nil), false, notRecipient)
	s.delivers(t, p, "x")
}

func otherPublisher(t *testing.T, s *scene) {
	crm, shop := s.members["crm"], s.members["shop"]
	to := []member{memberOf(s.members["shipping"]), memberOf(s.members["billing"])}
	for name, forge := range map[string]struct {
		change func(h *heading)
		want   sealed.Reason
	}{
		"in its own name":              {func(*heading) {}, badPublisher},
		"in the publisher's":           {func(h *heading) { h.sender = shop.ID() }, badPublisher},
		"in the publisher's, no card":  {func(h *heading) { h.sender, h.credential = shop.ID(), nil }, badPublisher},
		"with the publisher's card":    {func(h *heading) { h.sender = shop.ID(); h.credential, _ = shop.Card() }, badPublisher},
		"own name, publisher's card":   {func(h *heading) { h.credential, _ = shop.Card() }, badPublisher},
		"for a topic that it may have": {func(h *heading) { h.scope = "invoices.*" }, badPublisher},
	} {
		h := headingOf(t, crm, 1)
		forge.change(&h)
		f := newSecrets(t, h, crm.BoxKeys()[0], to...).seal(t, note{topic: "orders.created", body: name})
		t.Log(name)
		s.refuses(t, f.on("orders.created", nil), false, forge.want)
	}
}

func otherRecipient(t *testing.T, s *scene) {
	p := s.sent(t, "orders.created", "pay alice", "Trace", "abc")
	shipping := s.members["shipping"]
	epoch := learn(t, p.message.Body, shipping) // as a recipient it may
	if plain := epoch.plain(t, dissect(t, p.message.Body), p.topic, p.message.Header); !bytes.HasSuffix(plain, []byte("pay alice")) {
		t.Fatalf("shipping reads %q", plain)
	}
	n := note{topic: "orders.created", body: "pay mallory", clear: map[string]string{"Trace": "abc"}, counter: 1000}
	forged := epoch.seal(t, n)
	s.refuses(t, forged.on(n.topic, n.clear), false, tampered) // with nonsense for a tag
	own := slices.IndexFunc(epoch.tags, func(k []byte) bool { return k != nil })
	for name, key := range map[string][]byte{
		"its own tag":                      epoch.tags[own],
		"a tag with the key of its own":    hkdfOf(pre(shipping.BoxKeys()[0], memberOf(s.members["billing"]).key), epoch.id, "signet/envelope/v1 tag", memberOf(s.members["billing"]).key, []byte(s.members["billing"].ID())),
		"a tag with the epoch's key":       hkdfOf(epoch.key, epoch.id, "signet/envelope/v1 tag", memberOf(s.members["billing"]).key, []byte(s.members["billing"].ID())),
		"a tag with a key of zeros":        make([]byte, 32),
		"a tag with the agreement of ours": pre(shipping.BoxKeys()[0], epoch.senderKey),
	} {
		e := *epoch
		e.tags = [][]byte{key, key}
		t.Log(name)
		s.refuses(t, e.seal(t, n).on(n.topic, n.clear), false, tampered)
	}
	// The tags of a message on another.
	f := epoch.seal(t, n)
	f.proof = dissect(t, p.message.Body).proof
	s.refuses(t, f.on(n.topic, n.clear), false, tampered)
	for _, proof := range [][]byte{nil, f.proof[:16], f.proof[16:], slices.Concat(f.proof[16:], f.proof[:16]), slices.Concat(f.proof, f.proof)} {
		f := dissect(t, p.message.Body)
		f.proof = proof
		s.refuses(t, f.on(n.topic, n.clear), false, tampered)
	}
	// An epoch of its own in the sender's name, with all that it knows.
	h := *epoch.heading
	fake := newSecrets(t, h, shipping.BoxKeys()[0], memberOf(shipping), memberOf(s.members["billing"]))
	s.refuses(t, fake.seal(t, n).on(n.topic, n.clear), false, tampered)
	s.delivers(t, p, "pay alice")
}

// timesH multiplies in the field of GHASH (NIST SP 800-38D, section 6.3).
func timesH(x, h [16]byte) (z [16]byte) {
	v := h
	for i := range 128 {
		if x[i/8]>>(7-i%8)&1 == 1 {
			for j := range z {
				z[j] ^= v[j]
			}
		}
		carry := v[15] & 1
		hi, lo := binary.BigEndian.Uint64(v[:8]), binary.BigEndian.Uint64(v[8:])
		lo, hi = lo>>1|hi<<63, hi>>1
		binary.BigEndian.PutUint64(v[:8], hi)
		binary.BigEndian.PutUint64(v[8:], lo)
		if carry == 1 {
			v[0] ^= 0xe1
		}
	}
	return z
}

// sameTag: whoever knows the key of AES-GCM can make another ciphertext with the same
// tag, so that a proof of the tag alone would prove nothing.
func sameTag(t *testing.T, s *scene) {
	p := s.sent(t, "orders.created", strings.Repeat("pay alice 00000 ", 8))
	f := dissect(t, p.message.Body)
	if f.suite != 1 { // a processor without AES: make the epoch by hand, with the sender's keys
		epoch := newSecrets(t, headingOf(t, s.members["shop"], 1), s.members["shop"].BoxKeys()[0], memberOf(s.members["shipping"]), memberOf(s.members["billing"]))
		f = epoch.seal(t, note{topic: p.topic, body: strings.Repeat("pay alice 00000 ", 8)})
		p = f.on(p.topic, nil)
	}
	epoch := learn(t, p.message.Body, s.members["shipping"])
	// H is the encryption of zeros: the key stream of the block cipher is not to be had
	// from cipher.AEAD.
	h := blockOfZeros(t, hkdfOf(epoch.key, epoch.id, "signet/envelope/v1 payload"))
	delta := [16]byte{5: 'x'}
	next := timesH(delta, h)
	at := 48 // two whole blocks of the body
	for i := range 16 {
		f.ciphertext[at+i] ^= delta[i]
		f.ciphertext[at+16+i] ^= next[i]
	}
	if plain := epoch.plain(t, f, p.topic, nil); bytes.HasSuffix(plain, []byte(strings.Repeat("pay alice 00000 ", 8))) {
		t.Fatal("the attack has changed nothing")
	}
	s.refuses(t, f.on(p.topic, nil), false, tampered)
	s.delivers(t, p, strings.Repeat("pay alice 00000 ", 8))
}

func removedRecipient(t *testing.T, s *scene) {
	p := s.sent(t, "orders.created", "before", "Trace", "abc")
	epoch := learn(t, p.message.Body, s.members["shipping"])
	without := sealed.Topic("orders.*", sealed.Publishers("shop"), sealed.Subscribers("billing"), sealed.ClearHeaders("Trace"))
	if err := s.shop.Init(without); err != nil {
		t.Fatal(err)
	}
	after := s.sent(t, "orders.created", "after")
	if h := readHeading(dissect(t, after.message.Body).header); len(h.keyIDs) != 1 || !bytes.Equal(h.keyIDs[0], keyIDOf(memberOf(s.members["billing"]).key)) {
		t.Error("it is still sealed to who was removed")
	}
	if bytes.Equal(dissect(t, after.message.Body).epoch, epoch.id) {
		t.Error("it is of the same epoch")
	}
	n := note{topic: "orders.created", body: "forged", counter: 500}
	s.refuses(t, epoch.seal(t, n).on(n.topic, nil), false, tampered)
	if err := s.billing.Init(without); err != nil {
		t.Fatal(err)
	}
	s.refuses(t, epoch.seal(t, n).on(n.topic, nil), false, tampered)
	s.delivers(t, after, "after")
	s.delivers(t, p, "before") // which was under way
}

func twoGrants(t *testing.T, s *scene) {
	shop := s.members["shop"] // which has gone bad
	to := []member{memberOf(s.members["shipping"]), memberOf(s.members["billing"])}
	n := note{topic: "orders.created", body: "x"}
	one := newSecrets(t, headingOf(t, shop, 1), shop.BoxKeys()[0], to...)
	// The same header, and another key for billing: it would read other messages.
	split := *one
	split.key = randomBytes(32)
	e := newBoxKey(t)
	h := *one.heading
	h.ephemeral = e.PublicKey().Bytes()
	split.heading, split.header = &h, h.bytes()
	split.setID()
	split.grants = [][]byte{
		wrapped(split.header, pre(e, to[0].key), pre(shop.BoxKeys()[0], to[0].key), one.key, to[0]),
		wrapped(split.header, pre(e, to[1].key), pre(shop.BoxKeys()[0], to[1].key), split.key, to[1]),
	}
	f := split.seal(t, n)
	f.epoch = one.id
	s.refuses(t, f.on(n.topic, nil), false, tampered)
	// An epoch that is known, with a grant for us that differs.
	s.delivers(t, one.seal(t, n).on(n.topic, nil), "x")
	n.counter++
	for i, want := range []bool{true, false} { // shipping's is shipping's
		again := *one
		again.grants = slices.Clone(one.grants)
		again.grants[i] = randomBytes(48)
		p := again.seal(t, n).on(n.topic, nil)
		if want {
			s.delivers(t, p, "x")
		} else {
			s.refuses(t, p, false, tampered)
		}
	}
	// The id of a known epoch on another one.
	other := newSecrets(t, headingOf(t, shop, 1), shop.BoxKeys()[0], to...)
	f = other.seal(t, n)
	f.epoch = one.id
	s.refuses(t, f.on(n.topic, nil), false, tampered)
}

func reflection(t *testing.T, s *scene) {
	both := sealed.Topic("talk.*", sealed.Publishers("shop", "billing"), sealed.Subscribers("shop", "billing"))
	shop, billing := s.members["shop"], s.members["billing"]
	wire, refused := newWire(), new(rejections)
	talks := &scene{fleet: s.fleet, wire: wire, refused: refused}
	talks.shop = s.join("billing", wire, both)
	talks.in = subscribe(t, s.join("shop", wire, both, refused.option()), "talk.now")
	speaks := s.join("shop", newWire(), both)
	publish(t, talks.shop, "talk.now", "hello")
	if got := talks.in.bodies(); len(got) != 1 {
		t.Fatalf("got %q", got)
	}
	wire.set(func(packet) []packet { return nil })
	m := &broker.Message{Body: []byte("from shop")}
	ours := newWire()
	if err := speaks.Init(sealed.Wrap(ours)); err != nil {
		t.Fatal(err)
	}
	if err := s.join("shop", ours, both).Publish("talk.now", m); err != nil {
		t.Fatal(err)
	}
	p := ours.last(t)
	f := dissect(t, p.message.Body)
	h := readHeading(f.header)
	a, b := memberOf(shop), memberOf(billing)
	for name, change := range map[string]func(h *heading, f *forgery){
		"the sender is billing now":        func(h *heading, _ *forgery) {},
		"the grants are swapped":           func(_ *heading, f *forgery) { slices.Reverse(f.grants) },
		"the key ids are swapped":          func(h *heading, _ *forgery) { slices.Reverse(h.keyIDs) },
		"both are swapped":                 func(h *heading, f *forgery) { slices.Reverse(h.keyIDs); slices.Reverse(f.grants) },
		"billing's key is the ephemeral":   func(h *heading, _ *forgery) { h.ephemeral = b.key },
		"the sender's key is":              func(h *heading, _ *forgery) { h.ephemeral = a.key },
		"to the sender alone":              func(h *heading, f *forgery) { h.keyIDs, f.grants, h.mode = [][]byte{keyIDOf(a.key)}, f.grants[:1], 0 },
		"to the sender alone, other grant": func(h *heading, f *forgery) { h.keyIDs, f.grants, h.mode = [][]byte{keyIDOf(a.key)}, f.grants[1:], 0 },
	} {
		g := dissect(t, p.message.Body)
		hh := *h
		hh.keyIDs = slices.Clone(h.keyIDs)
		hh.sender, hh.senderKey = billing.ID(), b.key
		hh.credential, _ = billing.Card()
		change(&hh, g)
		g.header = hh.bytes()
		t.Log(name)
		talks.refuses(t, g.on("talk.now", nil), false, tampered)
	}
	// What shop sealed to billing alone does not come back to shop.
	private := s.sent(t, "private.note", "x")
	ours2, told := newWire(), new(rejections)
	rules := sealed.Topic("private.*", sealed.Publishers("shop"), sealed.Subscribers("billing", "shop"))
	mirror := &scene{fleet: s.fleet, wire: ours2, refused: told}
	mirror.in = subscribe(t, s.join("shop", ours2, rules, told.option()), "private.note")
	mirror.refuses(t, private, false, notRecipient)
	wire.set(nil)
	publish(t, talks.shop, "talk.now", "hello again")
	if got := talks.in.bodies(); len(got) != 2 {
		t.Errorf("after it, got %q", got)
	}
}

func lowOrder(t *testing.T, s *scene) {
	shop := s.members["shop"] // which has gone bad, or whose key was stolen
	billing := memberOf(s.members["billing"])
	one := make([]byte, 32)
	one[0] = 1
	order8 := []byte("\xe0\xeb\x7a\x7c\x3b\x41\xb8\xae\x16\x56\xe3\xfa\xf1\x9f\xc4\x6a\xda\x09\x8d\xeb\x9c\x32\xb1\xfd\x86\x62\x05\x16\x5f\x49\xb8\x00")
	n := note{topic: "orders.created", body: "everybody knows the key"}
	for _, point := range [][]byte{make([]byte, 32), one, order8} {
		// The ephemeral agreement is one that everybody knows: nothing keeps the epoch
		// closed to who steals the sender's key.
		h := headingOf(t, shop, 0)
		h.ephemeral, h.keyIDs = point, [][]byte{keyIDOf(billing.key)}
		weak := &secrets{heading: &h, header: h.bytes(), key: randomBytes(32)}
		weak.setID()
		weak.grants = [][]byte{wrapped(weak.header, pre(newBoxKey(t), make([]byte, 32)), pre(shop.BoxKeys()[0], billing.key), weak.key, billing)}
		s.refuses(t, weak.seal(t, n).on(n.topic, nil), false, tampered)
		// And both: nobody has to be the sender.
		for _, card := range [][]byte{h.credential, nil} {
			h := h
			h.senderKey, h.credential = point, card
			none := &secrets{heading: &h, header: h.bytes(), key: randomBytes(32)}
			none.setID()
			zero := pre(newBoxKey(t), make([]byte, 32))
			none.grants = [][]byte{wrapped(none.header, zero, zero, none.key, billing)}
			s.refuses(t, none.seal(t, n).on(n.topic, nil), false, badPublisher)
		}
	}
}

func withoutRight(t *testing.T, s *scene) {
	before := sealed.StatsOf(s.billing).EpochsOpened
	forAll := sealed.Topic("orders.*", sealed.Publishers("crm", "mallory", "shop"), sealed.Subscribers("billing", "shipping"))
	s.wire.set(func(packet) []packet { return nil })
	for _, who := range []string{"crm", "mallory"} {
		publish(t, s.join(who, s.wire, forAll), "orders.created", "x") // they say they may
		p := s.wire.last(t)
		s.refuses(t, p, false, badPublisher)
	}
	s.wire.set(nil)
	if got := sealed.StatsOf(s.billing).EpochsOpened; got != before {
		t.Errorf("%d epochs of theirs were opened", got-before)
	}
	// Where it may, and an epoch of it is known, it still may not here.
	invoices := subscribe(t, s.billing, "invoices.sent")
	crm := s.members["crm"]
	h := headingOf(t, crm, 0)
	h.scope = ">"
	epoch := newSecrets(t, h, crm.BoxKeys()[0], memberOf(s.members["billing"]))
	s.wire.deliver(epoch.seal(t, note{topic: "invoices.sent", body: "mine"}).on("invoices.sent", nil))
	if got := invoices.bodies(); !slices.Equal(got, []string{"mine"}) {
		t.Fatalf("got %q", got)
	}
	s.refuses(t, epoch.seal(t, note{topic: "orders.created", counter: 1}).on("orders.created", nil), false, badPublisher)
	// Who could publish, until the rules were changed.
	p := s.sent(t, "orders.created", "x")
	if err := s.billing.Init(sealed.Topic("orders.*", sealed.Publishers("crm"), sealed.Subscribers("billing"))); err != nil {
		t.Fatal(err)
	}
	s.refuses(t, p, false, badPublisher)
	// Who could read, likewise.
	if err := s.billing.Init(sealed.Topic("orders.*", sealed.Publishers("shop"), sealed.Subscribers("shipping"))); err != nil {
		t.Fatal(err)
	}
	s.refuses(t, p, false, badTopic)
	if err := s.billing.Init(orders(sealed.ClearHeaders("Trace"))); err != nil {
		t.Fatal(err)
	}
	s.delivers(t, p, "x")
}

func duplicate(t *testing.T, s *scene) {
	var all []packet
	for i := range 5 {
		all = append(all, s.sent(t, "orders.created", fmt.Sprint(i)))
	}
	for i, p := range all {
		s.delivers(t, p, fmt.Sprint(i))
		for range 3 {
			s.refuses(t, p, false, replayed)
		}
	}
	for _, p := range all {
		s.refuses(t, p, false, replayed)
		s.refuses(t, p.with("Nats-Sequence", "8"), false, replayed)
	}
	if err := s.billing.Init(sealed.MaxAge(time.Hour)); err != nil { // forgets no message
		t.Fatal(err)
	}
	s.refuses(t, all[0], false, replayed)
}

func scopes(t *testing.T, s *scene) {
	shop := s.members["shop"]
	to := []member{memberOf(s.members["shipping"]), memberOf(s.members["billing"])}
	n := note{topic: "orders.created", body: "x"}
	for _, scope := range []string{"invoices.*", "orders", "orders.deleted", "*", "orders.*.*", "order*", "orders.create\x00", "..", ">."} {
		h := headingOf(t, shop, 1)
		h.scope = scope
		s.refuses(t, newSecrets(t, h, shop.BoxKeys()[0], to...).seal(t, n).on(n.topic, nil), false, badTopic)
	}
	h := headingOf(t, shop, 1)
	h.scope = ""
	s.refuses(t, newSecrets(t, h, shop.BoxKeys()[0], to...).seal(t, n).on(n.topic, nil), false, tampered)
	h.scope = strings.Repeat("x", 521)
	s.refuses(t, newSecrets(t, h, shop.BoxKeys()[0], to...).seal(t, n).on(n.topic, nil), false, overLimit)
	h.scope = "orders.created"
	s.delivers(t, newSecrets(t, h, shop.BoxKeys()[0], to...).seal(t, n).on(n.topic, nil), "x")
}

func counters(t *testing.T, s *scene) {
	shop := s.members["shop"]
	to := []member{memberOf(s.members["shipping"]), memberOf(s.members["billing"])}
	n := note{topic: "orders.created", body: "x"}
	h := headingOf(t, shop, 1)
	h.most = 3
	epoch := newSecrets(t, h, shop.BoxKeys()[0], to...)
	for _, n.counter = range []uint32{3, 4, 1 << 20, 1<<32 - 1} {
		s.refuses(t, epoch.seal(t, n).on(n.topic, nil), false, overLimit)
	}
	n.counter = 2
	s.delivers(t, epoch.seal(t, n).on(n.topic, nil), "x")
	s.refuses(t, epoch.seal(t, n).on(n.topic, nil), false, replayed) // another text in its place
	for _, most := range []uint32{0, 1<<20 + 1, 1<<32 - 1} {
		h.most = most
		s.refuses(t, newSecrets(t, h, shop.BoxKeys()[0], to...).seal(t, n).on(n.topic, nil), false, overLimit)
	}
}

func times(t *testing.T, s *scene) {
	shop, now := s.members["shop"], time.Now()
	to := []member{memberOf(s.members["shipping"]), memberOf(s.members["billing"])}
	for name, c := range map[string]struct {
		created, notAfter, at time.Duration
		want                  sealed.Reason
	}{
		"a message of tomorrow":              {0, time.Hour, 10 * time.Minute, expired},
		"an epoch of tomorrow":               {2 * time.Hour, 3 * time.Hour, 2 * time.Hour, expired},
		"an epoch of yesterday":              {-49 * time.Hour, -48 * time.Hour, -48 * time.Hour, expired},
		"a message before its epoch":         {-time.Minute, time.Hour, -5 * time.Hour, expired},
		"a message after its epoch":          {-3 * time.Hour, -2 * time.Hour, 0, expired},
		"an old message, an epoch that goes": {-24*time.Hour + time.Minute, time.Minute, -25 * time.Hour, expired},
		"an epoch that takes too long":       {0, 25 * time.Hour, 0, overLimit},
		"an epoch that ends as it begins":    {0, 0, 0, tampered},
	} {
		h := headingOf(t, shop, 1)
		h.created, h.notAfter = now.Add(c.created), now.Add(c.notAfter)
		n := note{topic: "orders.created", body: "x", time: now.Add(c.at)}
		t.Log(name)
		before := sealed.StatsOf(s.billing).EpochsOpened
		s.refuses(t, newSecrets(t, h, shop.BoxKeys()[0], to...).seal(t, n).on(n.topic, nil), false, c.want)
		if opened := sealed.StatsOf(s.billing).EpochsOpened > before; opened == strings.HasPrefix(name, "an epoch") {
			t.Errorf("the epoch was opened: %v", opened)
		}
	}
	h := headingOf(t, shop, 1)
	h.notAfter = time.Unix(253402300800, 0)
	s.refuses(t, newSecrets(t, h, shop.BoxKeys()[0], to...).seal(t, note{topic: "orders.created"}).on("orders.created", nil), false, tampered)
}

func plaintexts(t *testing.T, s *scene) {
	shop := s.members["shop"]
	epoch := newSecrets(t, headingOf(t, shop, 1), shop.BoxKeys()[0], memberOf(s.members["shipping"]), memberOf(s.members["billing"]))
	now := binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixMicro()))
	many := append(bytes.Clone(now), 0, 0x81, 0x02)
	for range 257 {
		many = append(many, 1, 'x', 0)
	}
	counter := uint32(0)
	for name, plain := range map[string][]byte{
		"none":                    {},
		"half a time":             now[:4],
		"a time alone":            now,
		"a time beyond":           bytes.Repeat([]byte{0xff}, 20),
		"padding beyond":          append(bytes.Clone(now), 200, 1),
		"padding of a number":     append(bytes.Clone(now), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0),
		"padding, not zeros":      append(bytes.Clone(now), 1, 1, 0),
		"headers that are not":    append(bytes.Clone(now), 0, 5),
		"a header without a name": append(bytes.Clone(now), 0, 1, 0, 0),
		"a name beyond":           append(bytes.Clone(now), 0, 1, 99, 'x'),
		"a value beyond":          append(bytes.Clone(now), 0, 1, 1, 'x', 99),
		"a value of 4 GiB":        append(bytes.Clone(now), 0, 1, 1, 'x', 0xff, 0xff, 0xff, 0xff, 0x0f),
		"257 headers":             many,
		"a number in long form":   append(bytes.Clone(now), 0x80, 0, 0),
	} {
		f := epoch.seal(t, note{topic: "orders.created"})
		counter++
		f.counter = counter
		bound := f.bound("orders.created", nil)
		f.ciphertext = epoch.aead(t).Seal(nil, f.nonce(), plain, bound)
		f.proof = slices.Concat(tagOf(epoch.tags[0], f.digest(bound)), tagOf(epoch.tags[1], f.digest(bound)))
		t.Log(name)
		s.refuses(t, f.on("orders.created", nil), false, tampered, overLimit)
	}
}

// manyGrants: who names our key many times does not make us open many grants.
func manyGrants(t *testing.T, s *scene) {
	shop, billing := s.members["shop"], memberOf(s.members["billing"])
	const n = 20
	to := slices.Repeat([]member{billing}, n)
	epoch := newSecrets(t, headingOf(t, shop, 1), shop.BoxKeys()[0], to...)
	for i := range n - 1 {
		epoch.grants[i] = randomBytes(48)
	}
	// The last one is good: whoever opens it has tried all others.
	s.refuses(t, epoch.seal(t, note{topic: "orders.created"}).on("orders.created", nil), false, tampered, notRecipient)
}
