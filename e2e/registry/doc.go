// Package registry tests which peer a call by name reaches: go-micro services and
// clients over transport/quic and registry/signed, which share one identity in each
// of them, and a registry in common to which attackers write, too.
package registry
