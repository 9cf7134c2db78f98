// Package signet is the map of a set of drop-in plugins that make a fleet of
// go-micro services secure without a change to any handler.
//
//   - identity: who a service is; every plugin takes one
//   - transport/quic: calls between services over mutually authenticated QUIC
//   - registry/signed: signed registrations, around any registry
//   - registry/etcd: a hardened etcd registry
//   - broker/sealed: events sealed end to end, around any broker
//   - broker/nats: a hardened NATS broker
//   - codec/encrypted: bodies of calls encrypted, whatever carries them
//
// Use a plugin by importing it and passing one option to micro.NewService; each
// package's own comment says what it guarantees and what it does not.
package signet
