package main

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"go-micro.dev/v4/broker"
)

// letter is a message as a broker has it.
type letter struct {
	topic   string
	message *broker.Message
}

// altered returns a copy whose body was changed.
func (l letter) altered(change func(body []byte)) letter {
	body := slices.Clone(l.message.Body)
	change(body)
	return letter{l.topic, &broker.Message{Header: l.message.Header, Body: body}}
}

func (l letter) String() string {
	body := l.message.Body
	if len(body) < 32 {
		return fmt.Sprintf("%s, %d bytes: % x", l.topic, len(body), body)
	}
	return fmt.Sprintf("%s, %d bytes: % x … % x", l.topic, len(body), body[:8], body[len(body)-8:])
}

// operator is a broker in the hands of somebody who keeps a copy of everything, and who
// holds back and delivers at will. The broker is go-micro's memory
// broker, and so everything is delivered when Publish returns. All of the fleet share
// it, so that it is not theirs to configure, nor to disconnect.
type operator struct {
	broker.Broker

	mu   sync.Mutex
	hold bool
	seen []letter
}

func newOperator() *operator { return &operator{Broker: broker.NewMemoryBroker()} }

// Init changes nothing.
func (o *operator) Init(...broker.Option) error { return nil }

// Disconnect leaves the others connected.
func (o *operator) Disconnect() error { return nil }

// Publish is called by the fleet.
func (o *operator) Publish(topic string, m *broker.Message, _ ...broker.PublishOption) error {
	l := letter{topic, m}
	o.mu.Lock()
	o.seen = append(o.seen, l)
	hold := o.hold
	o.mu.Unlock()
	if hold {
		return nil
	}
	return o.deliver(l)
}

// deliver hands anything to those who subscribe to its topic.
func (o *operator) deliver(l letter) error { return o.Broker.Publish(l.topic, l.message) }

// holdBack makes the operator keep what is published, or deliver it again.
func (o *operator) holdBack(is bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hold = is
}

// letters are all that were published so far.
func (o *operator) letters() []letter {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.seen)
}

// last is what was published last.
func (o *operator) last() (letter, error) {
	all := o.letters()
	if len(all) == 0 {
		return letter{}, errors.New("nothing has passed the broker")
	}
	return all[len(all)-1], nil
}
