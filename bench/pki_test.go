package bench

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"
)

// serverName is the name that every TLS client asks for and verifies.
const serverName = "localhost"

// mutualTLS returns the two ends of the mutual TLS that all peers but ours use:
// P-256 leaves issued by one P-256 CA, TLS 1.3, Go's default key exchange, and no
// session tickets, since Signet issues none either. Each call makes fresh keys.
func mutualTLS(tb testing.TB) (server, client *tls.Config) {
	tb.Helper()
	ca, caKey, _ := issue(tb, nil, nil)
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	_, _, serverCert := issue(tb, ca, caKey)
	_, _, clientCert := issue(tb, ca, caKey)
	server = &tls.Config{
		Certificates:           []tls.Certificate{serverCert},
		ClientAuth:             tls.RequireAndVerifyClientCert,
		ClientCAs:              pool,
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
	}
	client = &tls.Config{
		Certificates: []tls.Certificate{clientCert},
		RootCAs:      pool,
		ServerName:   serverName,
		MinVersion:   tls.VersionTLS13,
	}
	return server, client
}

// issue makes a certificate signed by parent, or a CA that signs itself if parent
// is nil.
func issue(tb testing.TB, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, tls.Certificate) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: service},
		NotBefore:             time.Now().Add(-time.Minute),
		NotAfter:              time.Now().Add(24 * time.Hour),
		BasicConstraintsValid: true,
	}
	if parent == nil {
		template.IsCA = true
		template.KeyUsage = x509.KeyUsageCertSign
		parent, parentKey = template, key
	} else {
		template.DNSNames = []string{serverName}
		template.KeyUsage = x509.KeyUsageDigitalSignature
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		tb.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return leaf, key, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}
