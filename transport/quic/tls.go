package quic

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/keys"
)

// alpn names the protocol and its version.
const alpn = "signet/1"

// maxCANames bounds the names of certificate authorities that a listener asks
// clients for. The server's first flight must fit quic-go's 16 KiB for
// handshake data, together with its certificate chain.
const maxCANames = 12 << 10

// credentials say who this side is and whom it trusts, from either of two
// sources: an identity, or a tls.Config of the user's.
type credentials struct {
	id        *identity.Identity
	config    *tls.Config // hardened clone; nil if id is set
	authorize func(identity.Peer) error
}

func newCredentials(id *identity.Identity, config *tls.Config, authorize func(identity.Peer) error) *credentials {
	c := &credentials{id: id, authorize: authorize}
	if config != nil {
		c.config = harden(config.Clone())
	}
	return c
}

// generation counts the changes of our key and trust.
func (c *credentials) generation() uint64 {
	if c.id == nil {
		return 1
	}
	return c.id.Generation()
}

// onChange runs f after each change of key or trust.
func (c *credentials) onChange(f func()) (cancel func()) {
	if c.id == nil {
		return func() {}
	}
	stopTrust := c.id.OnChange(f)
	stopDirectory := c.id.Directory().OnChange(f)
	return func() { stopTrust(); stopDirectory() }
}

// bound returns the peers that may answer at addr, if that is known.
func (c *credentials) bound(addr string) (ids []string, known bool) {
	if c.id == nil {
		return nil, false
	}
	return c.id.Directory().Bound(addr)
}

// verified is what a handshake proved.
type verified struct {
	peer       identity.Peer
	chain      []*x509.Certificate   // as presented
	chains     [][]*x509.Certificate // as verified; only where the trust is a tls.Config's
	notAfter   time.Time             // when the first certificate behind it expires
	generation uint64                // of our trust, at the latest, when it was proved
}

// side tells which end of a connection a check is for.
type side int

const (
	asClient side = iota // we dialled: the peer is a server
	asServer
)

// verify checks what a peer presented. TLS has proved that it holds the leaf's
// key. conf is the configuration of the handshake, where there is no identity.
func (c *credentials) verify(s side, conf *tls.Config, chain []*x509.Certificate) (verified, error) {
	if len(chain) == 0 {
		return verified{}, errors.New("quic: the peer sent no certificate")
	}
	v := verified{chain: chain, generation: c.generation()}
	var err error
	if c.id != nil {
		v.peer, v.notAfter, err = c.id.Verify(chain)
	} else {
		v.peer, v.chains, v.notAfter, err = verifyAgainst(conf, s, chain)
	}
	return v, err
}

// recheck judges a live connection's peer anew, after a change of trust.
func (c *credentials) recheck(v verified) (notAfter time.Time, err error) {
	if c.id == nil {
		return v.notAfter, nil
	}
	peer, notAfter, err := c.id.Verify(v.chain)
	if err != nil {
		return time.Time{}, err
	}
	return notAfter, c.authorized(peer)
}

// outlived judges a live connection whose verdict has reached its end: nil if it
// was renewed since, as by a new revocation list, and then when the new one ends.
func (c *credentials) outlived(v verified) (notAfter time.Time, err error) {
	notAfter, err = c.recheck(v)
	if err == nil && !time.Now().Before(notAfter) {
		err = fmt.Errorf("quic: the certificates behind the connection to %s are at their end", v.peer.ID)
	}
	return notAfter, err
}

// authorized asks the user's function. One that panics lets nobody in: a peer that
// it cannot cope with must not end the process.
func (c *credentials) authorized(p identity.Peer) (err error) {
	if c.authorize == nil {
		return nil
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("quic: %w: %s: Authorize panicked: %v", ErrUnauthorized, p.ID, r)
		}
	}()
	if err := c.authorize(p); err != nil {
		return fmt.Errorf("quic: %w: %s: %w", ErrUnauthorized, p.ID, err)
	}
	return nil
}

// clientConfig is for one dial. What the server proved is put into out during
// the handshake.
func (c *credentials) clientConfig(out *verified) (*tls.Config, error) {
	var conf *tls.Config
	if c.id != nil {
		if _, err := c.id.TLSCertificate(); err != nil {
			return nil, err
		}
		conf = harden(&tls.Config{
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return c.id.TLSCertificate()
			},
		})
	} else {
		if c.config.RootCAs == nil && !verifiesItself(c.config) {
			return nil, fmt.Errorf("quic: %w: the tls.Config has no RootCAs: set the CAs that issue the fleet's certificates (the system's are never used)", ErrInsecure)
		}
		if len(c.config.Certificates) == 0 && c.config.GetClientCertificate == nil {
			return nil, fmt.Errorf("quic: %w: the tls.Config has no client certificate: set Certificates or GetClientCertificate", ErrNoIdentity)
		}
		conf = c.config.Clone()
	}
	// Go's own check would compare host names, and go-micro registers IP
	// addresses. VerifyConnection below verifies the chain, and Send compares
	// the peer's identity with the service that is called.
	verifyPeer, verifyMore := conf.VerifyPeerCertificate, conf.VerifyConnection
	if !conf.InsecureSkipVerify {
		conf.InsecureSkipVerify = true
		conf.VerifyPeerCertificate = nil // called below, with the chains that crypto/tls would pass
	} else {
		verifyPeer = nil
	}
	conf.VerifyConnection = func(cs tls.ConnectionState) error {
		v, err := c.verify(asClient, conf, cs.PeerCertificates)
		if err != nil {
			return err
		}
		if verifyPeer != nil {
			if err := verifyPeer(raw(cs.PeerCertificates), v.chains); err != nil {
				return err
			}
		}
		if verifyMore != nil {
			cs.VerifiedChains = v.chains
			if err := verifyMore(cs); err != nil {
				return err
			}
		}
		*out = v
		return nil
	}
	return conf, nil
}

func raw(chain []*x509.Certificate) [][]byte {
	var der [][]byte
	for _, cert := range chain {
		der = append(der, cert.Raw)
	}
	return der
}

// serverConfig is for a listener. found gives, for the context of a handshake,
// where to put what the client proved.
func (c *credentials) serverConfig(found func(context.Context) *verified) (*tls.Config, error) {
	if c.id != nil {
		if _, err := c.id.TLSCertificate(); err != nil {
			return nil, err
		}
		if size := keys.SubjectsSize(c.id.TrustAnchors()); size > maxCANames {
			return nil, fmt.Errorf("quic: the names of the trusted CAs take %d bytes, more than the %d that fit a handshake: trust fewer CAs, or one that signs the others", size, maxCANames)
		}
	} else {
		if c.config.ClientCAs == nil && c.config.VerifyPeerCertificate == nil && c.config.VerifyConnection == nil {
			return nil, fmt.Errorf("quic: %w: the tls.Config has no ClientCAs: set the CAs that issue the fleet's certificates", ErrInsecure)
		}
		if len(c.config.Certificates) == 0 && c.config.GetCertificate == nil && c.config.GetConfigForClient == nil {
			return nil, fmt.Errorf("quic: %w: the tls.Config has no server certificate: set Certificates or GetCertificate", ErrNoIdentity)
		}
	}
	outer := harden(&tls.Config{ClientAuth: tls.RequireAndVerifyClientCert})
	outer.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		conf, err := c.forClient(hello)
		if err != nil {
			return nil, err
		}
		out := found(hello.Context())
		verifyMore := conf.VerifyConnection
		conf.VerifyConnection = func(cs tls.ConnectionState) error {
			if verifyMore != nil {
				if err := verifyMore(cs); err != nil {
					return err
				}
			}
			v, err := c.verify(asServer, conf, cs.PeerCertificates)
			if out != nil {
				*out = v
			}
			return err
		}
		return conf, nil
	}
	return outer, nil
}

// forClient makes the configuration of one incoming handshake.
func (c *credentials) forClient(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if c.id != nil {
		cert, err := c.id.TLSCertificate()
		if err != nil {
			return nil, err
		}
		return harden(&tls.Config{
			Certificates: []tls.Certificate{*cert},
			ClientAuth:   tls.RequireAndVerifyClientCert,
			ClientCAs:    c.id.TrustPool(),
		}), nil
	}
	conf := c.config
	if get := conf.GetConfigForClient; get != nil {
		picked, err := get(hello)
		if err != nil {
			return nil, err
		}
		if picked != nil {
			if err := checkTLSConfig(picked); err != nil {
				return nil, err
			}
			conf = picked
		}
	}
	conf = harden(conf.Clone())
	conf.GetConfigForClient = nil
	conf.ClientAuth = tls.RequireAndVerifyClientCert
	if conf.ClientCAs == nil {
		if conf.VerifyPeerCertificate == nil && conf.VerifyConnection == nil {
			return nil, fmt.Errorf("quic: %w: the tls.Config for this client has no ClientCAs", ErrInsecure)
		}
		// The configuration verifies by itself, as go-spiffe's do.
		conf.ClientAuth = tls.RequireAnyClientCert
	}
	return conf, nil
}

// harden sets on c, which must be ours to change, what this transport never
// leaves open.
func harden(c *tls.Config) *tls.Config {
	c.MinVersion = tls.VersionTLS13
	c.MaxVersion = 0
	c.NextProtos = []string{alpn}
	// A ticket would let its holder back in after a revocation.
	c.SessionTicketsDisabled = true
	c.ClientSessionCache = nil
	c.Renegotiation = tls.RenegotiateNever
	c.KeyLogWriter = nil
	// Names of services stay off the wire, and nothing rides on them.
	c.ServerName = ""
	c.EncryptedClientHelloConfigList = nil
	return c
}
