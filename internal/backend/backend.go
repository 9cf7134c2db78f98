// Package backend is what the plugins for a server, such as NATS or etcd, have in
// common: how the server's addresses are written, how TLS to it is configured, and a
// log that it cannot fill.
//
// It guarantees that a tls.Config made here speaks TLS 1.2 or later, resumes no
// session, does not renegotiate and logs no keys, and that an address that was parsed
// is a host and a port, which fit in a URL as they are.
//
// It assumes that the plugin decides whom to trust: it hands in the verification of
// the server, and looks at what a scheme or an account in an address mean.
//
// It does not resolve names, and it does not connect.
//
// Errors have no prefix and no sentinel: the plugin puts its own before them.
package backend
