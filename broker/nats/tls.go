package nats

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/backend"
)

// checkTLSConfig refuses what could not be hardened without changing what its owner
// meant.
func checkTLSConfig(c *tls.Config) error {
	if err := backend.CheckTLSConfig(c, "NATS"); err != nil {
		return fmt.Errorf("nats: %w: %v", ErrInsecure, err)
	}
	return nil
}

// tlsConfig makes the configuration of connections to NATS. conf decides whom to trust
// if it is given, else the identity does, and the server must be one of the services.
func tlsConfig(conf *tls.Config, id *identity.Identity, services []string) *tls.Config {
	verify := func(cs tls.ConnectionState) error {
		_, err := verifyServer(id, services, cs)
		return err
	}
	if id == nil {
		return backend.TLSConfig(conf, verify, nil)
	}
	return backend.TLSConfig(conf, verify, id.TLSCertificate)
}

// verifyServer decides whether who answered is NATS, and until when that holds. TLS has
// proved that it holds the key of its leaf.
func verifyServer(id *identity.Identity, services []string, cs tls.ConnectionState) (until time.Time, err error) {
	if len(cs.PeerCertificates) == 0 {
		return time.Time{}, errors.New("nats: the server sent no certificate")
	}
	peer, until, err := id.Verify(cs.PeerCertificates)
	if err != nil {
		return time.Time{}, fmt.Errorf("nats: the server's certificate: %w", err)
	}
	for _, name := range services {
		if peer.Serves(name) {
			return until, nil
		}
	}
	return time.Time{}, fmt.Errorf("nats: the server is %s, not %s: issue it that name, or name it with nats.Server", peer.ID, strings.Join(services, " or "))
}
