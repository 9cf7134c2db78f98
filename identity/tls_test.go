package identity_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"testing"

	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/keys"
)

// handshake has two identities meet over TLS 1.3, as the transport does.
func handshake(t *testing.T, a, b *identity.Identity) {
	t.Helper()
	config := func(id *identity.Identity) *tls.Config {
		cert, err := id.TLSCertificate()
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{
			MinVersion:         tls.VersionTLS13,
			Certificates:       []tls.Certificate{*cert},
			ClientAuth:         tls.RequireAndVerifyClientCert,
			ClientCAs:          id.TrustPool(),
			InsecureSkipVerify: true, // VerifyConnection decides
			VerifyConnection: func(cs tls.ConnectionState) error {
				_, _, err := id.Verify(cs.PeerCertificates)
				return err
			},
		}
	}
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	server := make(chan error, 1)
	go func() { server <- tls.Server(there, config(b)).HandshakeContext(t.Context()) }()
	if err := tls.Client(here, config(a)).HandshakeContext(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-server; err != nil {
		t.Error(err)
	}
}

// privateBytes returns what of a private key must not be seen.
func privateBytes(t *testing.T, data []byte) []byte {
	t.Helper()
	if key, err := keys.ParsePQKey(data); err == nil {
		return seedOf(t, key)
	}
	block, _ := pem.Decode(data)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		raw, err := key.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	case ed25519.PrivateKey:
		return key.Seed()
	case *ecdh.PrivateKey:
		return key.Bytes()
	default:
		t.Fatalf("key of kind %T", key)
		return nil
	}
}
