// Package natstest runs real NATS servers inside a test: one, or a cluster whose members
// die and come back, in clear or with mutual TLS, with users and permissions, with
// JetStream or without.
//
// Every client address is that of a Proxy in front of the server. It stays the same
// when a server restarts, and it can refuse, swallow, cut or show what passes. The
// harness's own Client goes past the proxy, so that a test can publish, listen and look
// while those under test are cut off.
//
// All ends with the test: start the servers first, so that what uses them is cleaned up
// before them.
package natstest
