package nats_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/broker/nats"
	"github.com/go-signet/signet/e2e/internal/natstest"
	natsgo "github.com/nats-io/nats.go"
	"go-micro.dev/v4/broker"
)

// TestHeadersSurvive sends what NATS itself would change or refuse.
func TestHeadersSurvive(t *testing.T) {
	s := natstest.Start(t)
	a, b := connect(t, s.Addr()), connect(t, s.Addr())
	got := subscribe(t, b, "topic")
	many := map[string]string{}
	for i := range 1000 {
		many[fmt.Sprintf("Name-%d", i)] = fmt.Sprint("value ", i)
	}
	manyOdd := map[string]string{}
	for i := range 500 {
		manyOdd[fmt.Sprintf("Name-%d", i)] = "value"
		manyOdd[fmt.Sprintf("NAME-%d", i)] = "VALUE"
	}
	for name, header := range map[string]map[string]string{
		"none": {}, "nil": nil,
		"go-micro's":       {"Content-Type": "application/json", "Micro-Topic": "topic", "Micro-Id": "1"},
		"empty value":      {"A": ""},
		"empty name":       {"": "value"},
		"empty both":       {"": ""},
		"CR LF in a value": {"A": "a\r\nB: injected\r\n\r\nbody"},
		"CR LF in a name":  {"A\r\nB": "value"},
		"colon in a name":  {"A:B": "value"},
		"space in a name":  {"A B": "value", " A": "1", "A ": "2"},
		"spaces":           {"A": " value", "B": "value ", "C": "  ", "D": "in the middle"},
		"tabs":             {"A": "\tvalue", "B": "a\tb"},
		"UTF-8":            {"A": "Grüße", "Ü": "value", "B": "\u00a0value\ufeff"},
		"not UTF-8":        {"A": "\xff\xfe", "\xff": "value"},
		"control":          {"A": "\x00", "\x00": "B", "C": "\x7f"},
		"variants of case": {"Name": "1", "name": "2", "NAME": "3", "Other": "4"},
		"NATS's own":       {"Nats-Rollup": "all", "Nats-Expected-Stream": "x", "nats-msg-id": "1", "Nats-TTL": "1s", "Status": "503", "Description": "x"},
		"our own":          {"Signet-Headers": "v1.AUEBQg", "signet-headers": "x"},
		"long":             {"A": strings.Repeat("x", 100000)},
		"many":             many,
		"many odd ones":    manyOdd,
	} {
		t.Run(name, func(t *testing.T) {
			for _, body := range []string{"", "body"} {
				before := maps.Clone(header)
				if err := a.Publish("topic", &broker.Message{Header: header, Body: []byte(body)}); err != nil {
					t.Fatal(err)
				}
				if !maps.Equal(before, header) {
					t.Error("the publisher's map was changed")
				}
				d := got.next()
				if d.header == nil || !maps.Equal(d.header, header) || d.body != body {
					t.Errorf("got %q %q, want %q %q", d.header, d.body, header, body)
				}
			}
		})
	}
}

// TestPlainClients talks to clients that know nothing of this package.
func TestPlainClients(t *testing.T) {
	s := natstest.Start(t)
	b, c := connect(t, s.Addr()), s.Client()

	t.Run("publish", func(t *testing.T) {
		sub, err := c.SubscribeSync("out")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		publish(t, b, "out", "plain")
		m, err := sub.NextMsg(long)
		if err != nil || string(m.Data) != "plain" || m.Header != nil || m.Size() != len("out")+len("plain") {
			t.Errorf("got %+v, %v, want a message without headers", m, err)
		}
		if err := b.Publish("out", &broker.Message{Header: map[string]string{"Content-Type": "text/plain", "Odd ": "1"}, Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		m, err = sub.NextMsg(long)
		if err != nil || string(m.Data) != "x" || m.Header.Get("Content-Type") != "text/plain" || len(m.Header) != 2 || m.Header.Get("Signet-Headers") == "" {
			t.Errorf("got %+v, %v", m, err)
		}
	})
	t.Run("subscribe", func(t *testing.T) {
		got := subscribe(t, b, "in.*")
		if err := c.Publish("in.a", []byte("plain")); err != nil {
			t.Fatal(err)
		}
		if d := got.next(); d.body != "plain" || d.topic != "in.a" || d.header == nil || len(d.header) != 0 {
			t.Errorf("got %+v", d)
		}
		m := natsgo.NewMsg("in.b")
		m.Header = natsgo.Header{"A": {"1", "2"}, "b": {"3"}, "Nats-Msg-Id": {"4"}}
		m.Data = []byte("x")
		if err := c.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
		if d := got.next(); d.topic != "in.b" || !maps.Equal(d.header, map[string]string{"A": "1", "b": "3"}) {
			t.Errorf("got %+v", d)
		}
	})
}

// TestMalformedHeaders comes from a hostile publisher. The next message is delivered.
func TestMalformedHeaders(t *testing.T) {
	s := natstest.Start(t)
	errs := make(chan broker.Event, 1<<16)
	b := connect(t, s.Addr(), broker.ErrorHandler(func(e broker.Event) error { errs <- e; return nil }))
	got := subscribe(t, b, "topic")
	bad := func(values ...string) natsgo.Header { return natsgo.Header{"Signet-Headers": values} }
	tooMany := natsgo.Header{}
	for i := range 1025 {
		tooMany[fmt.Sprint("A", i)] = []string{""}
	}
	c := s.Client()
	for name, h := range map[string]natsgo.Header{
		"empty": bad(""), "version": bad("v2.AUEBQg"), "no entries": bad("v1."), "not base64": bad("v1.!!!!"), "padding": bad("v1.AUEBQg=="),
		"stray bits": bad("v1.AUEBQh"), "cut": bad("v1.AUEB"), "length beyond the end": bad("v1.-gEA"), "huge length": bad("v1._________wE"),
		"twice": bad("v1.AUEBQg", "v1.AUEBQg"), "also native": {"Signet-Headers": {"v1.AUEBQg"}, "A": {"x"}}, "too many": tooMany,
		"too long": bad("v1." + strings.Repeat("A", 100000)),
	} {
		t.Run(name, func(t *testing.T) {
			m := natsgo.NewMsg("topic")
			m.Header, m.Data = h, []byte("bad")
			if err := c.PublishMsg(m); err != nil {
				t.Fatal(err)
			}
			if err := c.Publish("topic", []byte("good")); err != nil {
				t.Fatal(err)
			}
			got.want("good")
			select {
			case e := <-errs:
				if e.Error() == nil || !strings.Contains(e.Error().Error(), "malformed headers") || e.Topic() != "topic" || string(e.Message().Body) != "bad" {
					t.Errorf("got %v %v", e.Error(), e.Message())
				}
			case <-time.After(long):
				t.Error("the ErrorHandler was not called")
			}
		})
	}
	t.Run("no header block", func(t *testing.T) {
		raw, err := net.Dial("tcp", s.Running().Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		if _, err := raw.Write([]byte("CONNECT {\"headers\":true}\r\nHPUB topic 6 9\r\nBADHDRbad\r\nPUB topic 4\r\ngood\r\n")); err != nil {
			t.Fatal(err)
		}
		got.want("good")
		if e := <-errs; !errors.Is(e.Error(), nats.ErrMalformed) || string(e.Message().Body) != "bad" {
			t.Errorf("got %v %q", e.Error(), e.Message().Body)
		}
	})
	if n := stats(b).Malformed; n != 14 {
		t.Errorf("%d malformed messages counted", n)
	}
}

func TestQueue(t *testing.T) {
	s := natstest.Start(t)
	a, b := connect(t, s.Addr()), connect(t, s.Addr())
	one, two := subscribe(t, a, "topic", broker.Queue("q")), subscribe(t, b, "topic", broker.Queue("q"))
	all := subscribe(t, b, "topic")
	const n = 200
	for i := range n {
		publish(t, a, "topic", fmt.Sprint(i))
	}
	for range n {
		all.next()
	}
	eventually(t, "each message came to one of the queue", func() bool { return len(one.ch)+len(two.ch) >= n })
	if len(one.ch)+len(two.ch) != n || len(one.ch) == 0 || len(two.ch) == 0 {
		t.Errorf("got %d and %d of %d", len(one.ch), len(two.ch), n)
	}
}

// TestBodyIsTheHandlersOwn changes what it gets.
func TestBodyIsTheHandlersOwn(t *testing.T) {
	s := natstest.Start(t)
	b := connect(t, s.Addr())
	one := newInbox(t)
	var kept [][]byte
	subscribeWith(t, b, "topic", func(e broker.Event) error {
		m := e.Message()
		if len(kept) > 0 && &kept[0][0] == &m.Body[0] {
			t.Error("a body is used twice")
		}
		kept = append(kept, m.Body)
		clear(m.Body)
		m.Header["A"] = "changed"
		return one.handle(e)
	})
	two := subscribe(t, b, "topic")
	sent := &broker.Message{Header: map[string]string{"A": "1"}, Body: bytes.Repeat([]byte("x"), 40000)}
	for range 2 {
		if err := b.Publish("topic", sent); err != nil {
			t.Fatal(err)
		}
		one.next()
		if d := two.next(); d.header["A"] != "1" || d.body != string(sent.Body) || d.body[0] != 'x' {
			t.Errorf("got %q", d.header)
		}
	}
}
