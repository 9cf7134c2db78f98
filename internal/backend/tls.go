package backend

import (
	"crypto/tls"
	"errors"
	"fmt"
)

// CheckTLSConfig refuses what could not be hardened without changing what its owner
// meant. server is what the error calls the server.
func CheckTLSConfig(c *tls.Config, server string) error {
	switch {
	case c.MaxVersion != 0 && c.MaxVersion < tls.VersionTLS12:
		return fmt.Errorf("the tls.Config allows no TLS 1.2 (MaxVersion %#x): leave MaxVersion unset", c.MaxVersion)
	case c.InsecureSkipVerify && c.VerifyConnection == nil:
		return errors.New("the tls.Config has InsecureSkipVerify and no VerifyConnection, so that anybody could be " + server + ": remove it, and set RootCAs")
	}
	return nil
}

// TLSConfig makes the configuration of connections to the server. A copy of conf, which
// has passed CheckTLSConfig, decides whom to trust if it is given; else verify does,
// which must check the chain too, and TLS is 1.3. The client shows what certificate
// returns at each handshake; if that is nil, what conf has.
func TLSConfig(conf *tls.Config, verify func(tls.ConnectionState) error, certificate func() (*tls.Certificate, error)) (made *tls.Config) {
	if conf != nil {
		made = conf.Clone()
		made.MinVersion = max(made.MinVersion, tls.VersionTLS12)
	} else {
		made = &tls.Config{
			MinVersion: tls.VersionTLS13,
			// Go's own check would compare host names; verify compares the SPIFFE
			// ID, after the chain.
			InsecureSkipVerify: true,
			// Not verify itself: if that is nil, a handshake must not pass unchecked.
			VerifyConnection: func(cs tls.ConnectionState) error { return verify(cs) },
		}
	}
	if certificate != nil {
		made.Certificates = nil
		made.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return certificate()
		}
	}
	// A resumed session would not show a certificate that was revoked since.
	made.SessionTicketsDisabled = true
	made.ClientSessionCache = nil
	made.Renegotiation = tls.RenegotiateNever
	made.KeyLogWriter = nil
	return made
}
