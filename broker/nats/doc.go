// Package nats is a go-micro broker on NATS, core and JetStream:
//
//	b := nats.NewBroker(broker.Addrs("nats-1:4222", "nats-2:4222"), nats.Identity(id))
//	service := micro.NewService(micro.Name("greeter"), micro.Broker(b))
//
// What it guarantees. A link is TLS as soon as anything asks for it (an identity, a
// tls.Config, broker.Secure, one tls:// address), with a server that proved who it is; a
// server that offers no TLS is an error then, and never spoken to in clear. Credentials
// do not leave the machine over a link in clear. Whoever was connected once reconnects
// for ever. After Subscribe has returned, everything published comes, or the error says
// why not. What waits for a slow handler is bounded; what is dropped, denied or refused
// is counted, logged and reported. Headers and body arrive byte for byte. Disconnect
// finishes what was received, within a bound. On core NATS a message is delivered at most
// once. With JetStream, Publish has stored it when it returns nil, and it is delivered at
// least once, until its handler has returned nil or has given it up for good.
//
// What it assumes. The NATS server is honest, and so is everybody whom its permissions
// let publish to a topic: a handler cannot tell who did. Wrap this broker in
// broker/sealed, and neither matters. The inbox that JetStream delivers to is a name that
// cannot be guessed; let no account subscribe to other accounts' _INBOX.>.
//
// What it does not protect. Without a wrapper the server reads and can change all that
// passes. A link in clear is allowed, for what is sealed or does not matter: everybody on
// the way reads and changes it, and JetStream's answers too. There is no order over
// redeliveries, and none between the members of a queue. An acknowledgement can get lost
// with a server or a link; the message comes again then.
//
// Keys. They come from package identity, or from a *tls.Config given by broker.TLSConfig,
// which is cloned and hardened. Without either, and with TLS asked for, the directory that
// $SIGNET_IDENTITY names is used.
//
// Compatibility. A message is what plain NATS clients send and expect: the body is the
// payload, the headers are NATS headers. Only headers that would not survive as such go
// into one header Signet-Headers (spec/nats.md). go-micro's own NATS plugin puts JSON into
// the payload, so the two do not understand each other: change a topic's publishers and
// subscribers together. broker.Codec is not used.
//
// # Events
//
// An event has, beside go-micro's methods, Nak() error and Term() error, which a wrapper
// finds by an interface assertion: deliver it again later, and never again. Of Ack, Nak
// and Term the first that a handler calls counts, and what the handler returns does not
// matter any more. Otherwise nil acknowledges, unless broker.DisableAutoAck was given; an
// error with a method Permanent() bool that returns true ends the message; any other
// error, and a panic, has it delivered again after a delay. On core NATS all of this does
// nothing.
//
// # Memory
//
// One subscription of core NATS holds at most what PendingLimits says, 64 MiB by default,
// and nothing while it is idle. One of JetStream asks for at most 256 messages or half of
// the pending bytes at a time, and holds about 30 KiB while it is idle.
package nats
