package quic

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/go-signet/signet/identity"
)

// checkTLSConfig refuses what could not be hardened without changing what its
// owner meant.
func checkTLSConfig(c *tls.Config) error {
	switch {
	case c.MaxVersion != 0 && c.MaxVersion < tls.VersionTLS13:
		return fmt.Errorf("quic: %w: the tls.Config allows no TLS 1.3 (MaxVersion %#x): leave MaxVersion unset", ErrInsecure, c.MaxVersion)
	case c.InsecureSkipVerify && !verifiesItself(c):
		return fmt.Errorf("quic: %w: the tls.Config has InsecureSkipVerify and no VerifyPeerCertificate or VerifyConnection: remove it", ErrInsecure)
	}
	return nil
}

// verifiesItself tells the configurations whose owner verifies chains in a
// callback, as go-spiffe's do.
func verifiesItself(c *tls.Config) bool {
	return c.InsecureSkipVerify && (c.VerifyPeerCertificate != nil || c.VerifyConnection != nil)
}

// verifyAgainst checks a chain against the pools of a tls.Config. Where the
// configuration verifies by itself, that has happened already.
func verifyAgainst(c *tls.Config, s side, chain []*x509.Certificate) (identity.Peer, [][]*x509.Certificate, time.Time, error) {
	pool := c.RootCAs
	usage := x509.ExtKeyUsageServerAuth
	if s == asServer {
		pool, usage = c.ClientCAs, x509.ExtKeyUsageClientAuth
	}
	leaf := chain[0]
	own := ownDomain(c, s)
	peer, err := identity.PeerFromCertificate(leaf, own)
	if err != nil {
		return identity.Peer{}, nil, time.Time{}, err
	}
	now := time.Now()
	if c.Time != nil {
		now = c.Time()
	}
	if pool == nil {
		if now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
			return identity.Peer{}, nil, time.Time{}, fmt.Errorf("quic: certificate of %s is valid from %s to %s, not now", peer.ID, leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339))
		}
		return peer, nil, leaf.NotAfter, nil
	}
	intermediates := x509.NewCertPool()
	for _, cert := range chain[1:] {
		intermediates.AddCert(cert)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots:         pool,
		Intermediates: intermediates,
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{usage},
	})
	if err != nil {
		return identity.Peer{}, nil, time.Time{}, fmt.Errorf("quic: certificate of %s: %w", peer.ID, err)
	}
	if own != "" && peer.TrustDomain != own {
		return identity.Peer{}, nil, time.Time{}, fmt.Errorf("quic: %s is not of our trust domain %s", peer.ID, own)
	}
	var until time.Time
	for _, ch := range chains {
		first := ch[0].NotAfter
		for _, cert := range ch[1:] {
			if cert.NotAfter.Before(first) {
				first = cert.NotAfter
			}
		}
		if first.After(until) {
			until = first
		}
	}
	return peer, chains, until, nil
}

// ownDomain is the trust domain of our own certificate in c, or "" if that cannot
// be told: then peers are known by their full ID only.
func ownDomain(c *tls.Config, s side) string {
	var cert *tls.Certificate
	switch {
	case len(c.Certificates) > 0:
		cert = &c.Certificates[0]
	case s == asClient && c.GetClientCertificate != nil:
		cert, _ = c.GetClientCertificate(&tls.CertificateRequestInfo{Version: tls.VersionTLS13, SignatureSchemes: commonSchemes()})
	case s == asServer && c.GetCertificate != nil:
		cert, _ = c.GetCertificate(&tls.ClientHelloInfo{SupportedVersions: []uint16{tls.VersionTLS13}, SignatureSchemes: commonSchemes()})
	}
	if cert == nil || len(cert.Certificate) == 0 {
		return ""
	}
	leaf := cert.Leaf
	if leaf == nil {
		var err error
		if leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return ""
		}
	}
	own, err := identity.PeerFromCertificate(leaf, "")
	if err != nil {
		return ""
	}
	return own.TrustDomain
}

func commonSchemes() []tls.SignatureScheme {
	return []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.Ed25519, tls.PSSWithSHA256}
}
