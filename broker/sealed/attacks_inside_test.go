package sealed_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/broker/sealed"
)

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
