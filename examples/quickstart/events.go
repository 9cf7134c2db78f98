package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-signet/signet/broker/sealed"
	"github.com/go-signet/signet/internal/envelope"
	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/transport"
)

// The topics of the story.
const (
	created   = "orders.created"
	cancelled = "orders.cancelled"
)

// orderRule is what all of the fleet agree on, with shop as the publisher.
func orderRule(publisher string) broker.Option {
	return sealed.Topic("orders.*", sealed.Publishers(publisher), sealed.Subscribers("billing", "shipping"))
}

// eventsChapter: a broker that reads everything and does what it likes, and what that
// gains its operator, or anybody else.
func eventsChapter(ctx context.Context, s *stage) error {
	m, err := s.newMarket()
	if err != nil {
		return err
	}
	for _, scene := range []func(context.Context) error{m.published, m.meddling, m.fellow, m.unnamed, m.smuggled, m.removed} {
		if err := scene(ctx); err != nil {
			return err
		}
	}
	return nil
}

// market is what the scenes have in common.
type market struct {
	*stage
	open              registry.Registry
	operator          *operator
	shop              *member
	billing, shipping *desk
	latest            *Order
}

func (s *stage) newMarket() (*market, error) {
	m := &market{stage: s, open: registry.NewMemoryRegistry(), operator: newOperator(), latest: new(Order)}
	s.say("by the rule for orders.*, shop publishes, billing and shipping read; their keys are in the signed registry")
	s.say("the broker may be anybody's: this one is in memory, broker/nats is for production")
	var err error
	if m.billing, err = m.newDesk("billing"); err != nil {
		return nil, err
	}
	if m.shipping, err = m.newDesk("shipping"); err != nil {
		return nil, err
	}
	m.shop, _, err = m.join("shop", orderRule("shop"))
	return m, err
}

// join brings a member to the broker.
func (m *market) join(name string, opts ...broker.Option) (*member, broker.Broker, error) {
	id, err := m.issue(name)
	if err != nil {
		return nil, nil, err
	}
	reg := m.sign(m.open, signed.Identity(id))
	events := sealed.NewBroker(append(opts, sealed.Wrap(m.operator), sealed.Identity(id), broker.Registry(reg))...)
	m.atEnd(events.Disconnect)
	return m.secure(name, id, reg, micro.Broker(events), micro.WrapSubscriber(sealed.SubscriberWrapper(events))), events, nil
}

// newDesk starts a service that subscribes to both topics.
func (m *market) newDesk(name string) (*desk, error) {
	d := new(desk)
	var err error
	if d.member, _, err = m.join(name, orderRule("shop"), sealed.OnReject(d.refuse)); err != nil {
		return nil, err
	}
	return d, m.subscribe(d, created, cancelled)
}

func (m *market) subscribe(d *desk, topics ...string) error {
	for _, topic := range topics {
		if err := micro.RegisterSubscriber(topic, d.Server(), d.take); err != nil {
			return err
		}
	}
	return m.serve(d.member, new(Greeter))
}

// order has shop publish the next order.
func (m *market) order(ctx context.Context) error {
	m.latest = &Order{Number: m.latest.Number + 1, Item: "3 books", Customer: "John"}
	return publish(ctx, m.shop, m.latest)
}

func publish(ctx context.Context, from *member, o *Order) error {
	return micro.NewEvent(created, from.Client()).Publish(ctx, o)
}

// promiseRead promises that each has read the latest order, once, and has refused
// nothing.
func (m *market) promiseRead(what string, err error, by ...*desk) {
	m.promiseNews(what, []string{m.latest.from(m.shop.id.ID())}, nil, err, by)
}

// repelEvent carries out an attack and promises that each of those whom it reaches
// refuses it for the reason, and that none of their subscribers runs.
func (m *market) repelEvent(what string, reason sealed.Reason, try func() error, by ...*desk) {
	m.attack("%s", what)
	err := try() // whether who tries is told is all the same
	m.promiseNews(fmt.Sprintf("refused, and no subscriber ran: %s", reason), nil, []sealed.Reason{reason}, nil, by, err)
}

// promiseNews promises what is new with each of the desks.
func (m *market) promiseNews(what string, read []string, refused []sealed.Reason, err error, by []*desk, told ...error) {
	kept, found := err == nil, []string{}
	for _, d := range by {
		r, j := d.news()
		kept = kept && slices.Equal(r, read) && slices.Equal(j, refused)
		found = append(found, fmt.Sprintf("%s read %q and refused %q", d.Name(), r, j))
	}
	m.promise(what, kept, "%s; error: %v", strings.Join(found, ", "), errors.Join(append(told, err)...))
}

// published: what it is for, and what the operator sees of it.
func (m *market) published(ctx context.Context) error {
	if err := m.order(ctx); err != nil {
		return err
	}
	l, err := m.operator.last()
	if err != nil {
		return err
	}
	m.hear("operator", "%v", l)
	for _, d := range []*desk{m.billing, m.shipping} {
		m.hear(d.Name(), "%s", d.lastRead())
	}
	m.promiseRead("both could read it, and know that shop published it", nil, m.billing, m.shipping)
	seen := append(slices.Clone(l.message.Body), fmt.Sprint(l.message.Header)...)
	found := slices.DeleteFunc([]string{"John", "books", "customer", "application/json"}, func(word string) bool {
		return !bytes.Contains(seen, []byte(word))
	})
	named := bytes.Contains(seen, []byte(m.shop.id.ID()))
	m.promise("the operator could not: topic, size, time and publisher are in clear, the order is not",
		named && len(found) == 0, "of the order there is %q; the publisher is named: %v", found, named)
	return nil
}

// meddling: all that an operator can do to a message.
func (m *market) meddling(ctx context.Context) error {
	m.operator.holdBack(true)
	err := m.order(ctx)
	m.operator.holdBack(false)
	if err != nil {
		return err
	}
	held, err := m.operator.last()
	if err != nil {
		return err
	}
	deliver := func(l letter) func() error { return func() error { return m.operator.deliver(l) } }
	m.repelEvent("the operator holds the next order back, changes one bit of it, and delivers that", sealed.ReasonTampered,
		deliver(held.altered(func(body []byte) { body[len(body)-64] ^= 1 })), m.billing, m.shipping) // two tags are behind the text
	m.repelEvent("then that order unchanged, but as "+cancelled, sealed.ReasonTampered,
		deliver(letter{cancelled, held.message}), m.billing, m.shipping)
	m.promiseRead("unchanged, and where it belongs, it arrives", m.operator.deliver(held), m.billing, m.shipping)
	m.repelEvent("then the same once more", sealed.ReasonReplay, deliver(held), m.billing, m.shipping)
	header, body, err := m.latest.inClear()
	if err != nil {
		return err
	}
	m.repelEvent("then the same order in clear", sealed.ReasonUnsealed,
		deliver(letter{created, &broker.Message{Header: header, Body: body}}), m.billing, m.shipping)
	return nil
}

// inClear is an order as go-micro would publish it.
func (o *Order) inClear() (header map[string]string, body []byte, err error) {
	body, err = json.Marshal(o)
	return map[string]string{"Micro-Topic": created, "Content-Type": "application/json"}, body, err
}

// fellow: a recipient, who has the key of the epoch, writes to another one.
func (m *market) fellow(context.Context) error {
	l, err := m.operator.last()
	if err != nil {
		return err
	}
	shipping, err := newForger(m.shipping.id)
	if err != nil {
		return err
	}
	body, err := shipping.forge(l.message.Body, created, func(plain []byte) []byte {
		return bytes.Replace(plain, []byte(m.latest.Item), []byte("900 books"), 1)
	})
	if err != nil {
		return err
	}
	m.repelEvent("shipping, who reads orders and so has their key, seals one as if it were shop", sealed.ReasonTampered,
		func() error { return m.operator.deliver(letter{l.topic, &broker.Message{Body: body}}) }, m.billing)
	m.hear("shipping", "%s", m.shipping.lastRead())
	forged := *m.latest
	forged.Item = "900 books"
	m.promiseNews("the attack is real: shipping takes its own forgery for shop's", []string{forged.from(m.shop.id.ID())}, nil, nil, []*desk{m.shipping})
	return nil
}

// unnamed: a member whom no rule lets publish.
func (m *market) unnamed(ctx context.Context) error {
	marketing, events, err := m.join("marketing", orderRule("shop"))
	if err != nil {
		return err
	}
	o := &Order{Number: m.latest.Number + 1, Item: "3 books", Customer: "John"}
	m.attack("marketing, a member in good standing that the rule does not name, publishes an order")
	err = publish(ctx, marketing, o)
	m.promise("its own library refuses to", errors.Is(err, sealed.ErrNotPublisher), "error: %v", err)
	if err := events.Init(orderRule("marketing")); err != nil {
		return err
	}
	m.repelEvent("it gives itself another rule", sealed.ReasonPublisher,
		func() error { return publish(ctx, marketing, o) }, m.billing, m.shipping)
	return nil
}

// smuggled: go-micro's server takes what has a Micro-Topic header for an event,
// whatever way it came.
func (m *market) smuggled(context.Context) error {
	header, body, err := m.latest.inClear()
	if err != nil {
		return err
	}
	header["Timeout"] = strconv.FormatInt(patience.Nanoseconds(), 10)
	smuggle := func(from *member, to *desk) error {
		c, err := from.Options().Transport.Dial(to.address(), transport.WithTimeout(patience))
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.Send(&transport.Message{Header: header, Body: body}); err != nil {
			return err
		}
		var answer transport.Message
		if err := c.Recv(&answer); err != nil {
			return err
		}
		return errors.New("answer " + answer.Header["Micro-Error"])
	}
	m.repelEvent("caller goes past the broker: it sends an order straight to billing's server", sealed.ReasonUnsealed,
		func() error { return smuggle(m.caller, m.billing) }, m.billing)

	bare := &desk{member: m.newMember("billing", transport.NewHTTPTransport(), registry.NewMemoryRegistry())}
	if err := m.subscribe(bare, created); err != nil {
		return err
	}
	err = smuggle(m.newMember("caller", transport.NewHTTPTransport(), registry.NewMemoryRegistry()), bare)
	m.promiseNews("the attack is real: without Signet the subscriber takes it", []string{m.latest.from("somebody unknown")}, nil, nil, []*desk{bare}, err)
	return nil
}

// removed: who could read, until it is revoked.
func (m *market) removed(ctx context.Context) error {
	err := m.order(ctx)
	m.promiseRead("after all of that the next order arrives", err, m.billing, m.shipping)
	before, err := m.recipients()
	if err != nil {
		return err
	}

	m.say("shipping is broken into: the authority revokes %s", m.shipping.id.ID())
	if err := m.authority.Revoke(m.shipping.id); err != nil {
		return err
	}
	m.forget(ctx, "shipping")
	err = m.order(ctx)
	m.promiseRead("billing reads the next order", err, m.billing)
	after, err := m.recipients()
	if err != nil {
		return err
	}
	read, refused := m.shipping.news()
	m.promise("shipping cannot: it is sealed to 1 key, those before were to 2",
		before == 2 && after == 1 && len(read) == 0 && slices.Equal(refused, []sealed.Reason{sealed.ReasonNotRecipient}),
		"it is to %d, they were to %d; shipping read %q and refused %q", after, before, read, refused)
	return nil
}

// forget waits until shop's registry has dropped the keys of a service that was
// revoked. That it has is promised later.
func (m *market) forget(ctx context.Context, service string) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	changed := make(chan struct{}, 1)
	stop := m.shop.id.Directory().OnChange(func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	defer stop()
	for len(m.shop.id.Directory().Keys(service)) > 0 {
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// recipients counts the keys to which the last message is sealed.
func (m *market) recipients() (int, error) {
	l, err := m.operator.last()
	if err != nil {
		return 0, err
	}
	e, err := envelope.Parse(l.message.Body)
	if err != nil {
		return 0, err
	}
	h, err := envelope.ParseHeader(e.Header)
	if err != nil {
		return 0, err
	}
	return len(h.KeyIDs), nil
}
