// Package sealed is a go-micro broker that wraps another one and seals what is
// published, end to end:
//
//	events := sealed.NewBroker(
//		sealed.Wrap(nats.NewBroker()), // or any other broker
//		sealed.Identity(id),
//		broker.Registry(registry), // registry/signed, in which subscribers' keys are found
//		sealed.Topic("orders.*", sealed.Publishers("shop"), sealed.Subscribers("billing", "shipping")),
//	)
//	service := micro.NewService(
//		micro.Name("shop"),
//		micro.Broker(events),
//		micro.WrapSubscriber(sealed.SubscriberWrapper(events)),
//	)
//
// What it guarantees. Bodies and headers can be read only by the identities that the
// topic's rule names as subscribers. What a handler gets was sealed by an identity that
// the rule names as publisher, for that topic, with those headers: not by the broker or
// its operator, and not by another subscriber. Within its MaxAge a message that was
// handled is not handled again by the same subscription, and one that was not may come
// again, so that brokers which deliver at least once still do. A topic without a rule,
// a rule without recipients, a process without an identity: an error, and nothing is
// sent or delivered. There is no mode that sends in clear, or delivers what was not
// sealed.
//
// What it assumes. All members have the same rules: a publisher seals to the
// subscribers that its own rules name, and a receiver accepts the publishers that its
// own rules name. Clocks are right within a minute. The certificate authorities issue
// an ID only to the service it names.
//
// What it does not protect. The broker sees topics, sizes (see Pad), times, who
// publishes, and which keys a message is for; it can lose messages, delay them within
// MaxAge, and deliver them in another order. Members of a queue group share no replay
// state, so a hostile broker can hand one message to two of them; see ReplayStore. State
// is in memory: a subscription that is made anew accepts once more what is younger than
// MaxAge. A publisher can deny a message towards a third party. Who steals a subscriber's
// box key can forge messages to that subscriber, unless the rule has Signatures. Calls
// that go-micro's server takes for events, because they carry a Micro-Topic header, go
// past every broker: SubscriberWrapper refuses them.
//
// Keys. Messages of a publisher, a rule and a set of recipients are an epoch, with a
// random key that is wrapped to each recipient's box key; see spec/envelope.md. An epoch
// ends after an hour, 2^20 messages, or when a recipient, a rule or our own key has
// changed. Recipients' keys come from the identity's peer directory, which
// Identity.AddCard fills, and the signed registry given with broker.Registry. With
// PostQuantum they are pairs of an X25519 and an ML-KEM-768 key. A
// subscriber whose directory holds no box.key has a new key after each restart, and
// cannot open what was sealed to the old one. Publishers are known by the card that
// each message brings; see OmitCard.
//
// Memory. A subscription holds about 3 KiB for an epoch, and 1 KiB for each 4096
// messages of it that are not handled as a whole: at most 16384 epochs and 64 MiB, of
// one publisher at most 4096 and 16 MiB. Beyond that messages are refused, with reason
// "limit", until MaxAge has made room. The broker holds at most 8192 opened epochs
// besides, 512 of one publisher, of about 3 KiB; one who means ill can make them of 45 KiB.
//
// Errors. go-micro's server only logs that it could not subscribe when it starts: look for
// ErrNoRule and ErrNotSubscriber there. micro.Registry hands the registry to the broker
// only if it comes after micro.Broker.
//
// Compatibility. Handlers see the events they saw before, with their codecs and headers.
// Publishers and subscribers have to be sealed both. The body on the wire is an envelope
// and nothing else, so that it passes through brokers of any kind that carry bytes. A
// broker inside that has CopiesPublished() bool, and events that have OwnsBody() bool, as
// those of broker/nats, let memory be used again.
package sealed
