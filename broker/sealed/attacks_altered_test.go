package sealed_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/go-signet/signet/broker/sealed"
	"go-micro.dev/v4/broker"
)

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

// withoutEpoch: where the epoch is known it is the same message still, once, and nothing
// to those who do not know it.
func withoutEpoch(t *testing.T, s *scene) {
	p := s.sent(t, "orders.created", "x", "Trace", "abc")
	f := dissect(t, p.message.Body)
	f.flags = 0 // and the rest left where it is
	s.refuses(t, p.body(f.bytes()), false, tampered)
	f.header, f.grants = nil, nil
	taken := p.body(f.bytes())
	fresh := &scene{fleet: s.fleet, wire: newWire(), refused: new(rejections), in: newInbox()}
	fresh.billing = fresh.join("billing", fresh.wire, sceneRules(), fresh.refused.option())
	if _, err := fresh.billing.Subscribe("orders.created", fresh.in.handle); err != nil {
		t.Fatal(err)
	}
	fresh.refuses(t, taken, false, notRecipient)
	fresh.delivers(t, p, "x")
	fresh.refuses(t, taken, false, replayed)
	s.delivers(t, taken, "x")
	s.refuses(t, p, false, replayed)
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
