package nats

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-signet/signet/identity"
)

// checkTLSConfig refuses what could not be hardened without changing what its owner
// meant.
func checkTLSConfig(c *tls.Config) error {
	switch {
	case c.MaxVersion != 0 && c.MaxVersion < tls.VersionTLS12:
		return fmt.Errorf("nats: %w: the tls.Config allows no TLS 1.2 (MaxVersion %#x): leave MaxVersion unset", ErrInsecure, c.MaxVersion)
	case c.InsecureSkipVerify && c.VerifyConnection == nil:
		return fmt.Errorf("nats: %w: the tls.Config has InsecureSkipVerify and no VerifyConnection, so that anybody could be NATS: remove it, and set RootCAs", ErrInsecure)
	}
	return nil
}

// tlsConfig makes the configuration of connections to NATS. conf decides whom to trust
// if it is given, else the identity does, and the server must be one of the services.
func tlsConfig(conf *tls.Config, id *identity.Identity, services []string) (made *tls.Config) {
	if conf != nil {
		made = conf.Clone()
		made.MinVersion = max(made.MinVersion, tls.VersionTLS12)
	} else {
		made = &tls.Config{
			MinVersion: tls.VersionTLS13,
			// Go's own check would compare host names; VerifyConnection compares
			// the SPIFFE ID, after the chain.
			InsecureSkipVerify: true,
			VerifyConnection: func(cs tls.ConnectionState) error {
				_, err := verifyServer(id, services, cs)
				return err
			},
		}
	}
	if id != nil {
		made.Certificates = nil
		made.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return id.TLSCertificate()
		}
	}
	// A resumed session would not show a certificate that was revoked since.
	made.SessionTicketsDisabled = true
	made.ClientSessionCache = nil
	made.Renegotiation = tls.RenegotiateNever
	made.KeyLogWriter = nil
	return made
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
