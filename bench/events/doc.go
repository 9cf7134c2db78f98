// Package events measures broker/sealed and broker/nats beside nats.go, go-micro's NATS
// plugin and NATS xkeys, over one embedded server.
//
// There is nothing to import. The README one level up says what is measured and how to
// read it.
package events
