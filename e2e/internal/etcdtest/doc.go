// Package etcdtest runs real etcd servers inside a test: one, or a cluster whose
// members die and come back, in clear or with mutual TLS, with accounts and roles.
//
// Every client address is that of a Proxy in front of the server. It stays the same
// when a member restarts, and it can refuse or swallow what passes, as a broken
// network does. The harness's own Client goes past the proxy, so that a test can
// change data while those under test are cut off.
//
// Elections are fast (50 ms heartbeats, 500 ms timeouts), so the shortest lease is
// one second. Nothing is synced to disk. All ends with the test: start the servers
// first, so that what uses them is cleaned up before them.
package etcdtest
