package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/backend"
	grpccreds "google.golang.org/grpc/credentials"
)

// checkTLSConfig refuses what could not be hardened without changing what its owner
// meant.
func checkTLSConfig(c *tls.Config) error {
	if err := backend.CheckTLSConfig(c, "etcd"); err != nil {
		return fmt.Errorf("etcd: %w: %v", ErrInsecure, err)
	}
	return nil
}

// tlsConfig makes the configuration of connections to etcd. conf decides whom to
// trust if it is given, else the identity does, and the server must be one of the
// services. server is the host name to compare with, where conf has one: gRPC would
// compare with the address.
func tlsConfig(conf *tls.Config, id *identity.Identity, services []string) (made *tls.Config, server string) {
	if conf != nil {
		server = conf.ServerName
	}
	verify := func(cs tls.ConnectionState) error {
		return verifyServer(id, services, cs)
	}
	if id == nil {
		return backend.TLSConfig(conf, verify, nil), server
	}
	return backend.TLSConfig(conf, verify, id.TLSCertificate), server
}

// verifyServer decides whether who answered is etcd. TLS has proved that it holds the
// key of its leaf.
func verifyServer(id *identity.Identity, services []string, cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("etcd: the server sent no certificate")
	}
	peer, _, err := id.Verify(cs.PeerCertificates)
	if err != nil {
		return fmt.Errorf("etcd: the server's certificate: %w", err)
	}
	for _, name := range services {
		if peer.Serves(name) {
			return nil
		}
	}
	return fmt.Errorf("etcd: the server is %s, not %s: issue it that name, or name it with etcd.Server", peer.ID, strings.Join(services, " or "))
}

// named are credentials that compare the server's certificate with one name, at
// whatever address it is.
type named struct {
	grpccreds.TransportCredentials
	server string
}

func (n named) ClientHandshake(ctx context.Context, _ string, conn net.Conn) (net.Conn, grpccreds.AuthInfo, error) {
	return n.TransportCredentials.ClientHandshake(ctx, n.server, conn)
}

func (n named) Clone() grpccreds.TransportCredentials {
	return named{n.TransportCredentials.Clone(), n.server}
}
