package sealed_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/go-signet/signet/broker/sealed"
	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/broker"
)

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
