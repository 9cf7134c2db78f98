package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-signet/signet/internal/keys"
)

// leafInfo is what commands tell of a leaf; all of it is public.
type leafInfo struct {
	ID          string    `json:"id"`
	TrustDomain string    `json:"trust_domain"`
	Service     string    `json:"service"`
	Directory   string    `json:"directory"`
	Serves      []string  `json:"serves"` // names it may register and serve under
	Serial      string    `json:"serial"` // hexadecimal
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	KeyType     string    `json:"key_type"`
	SHA256      string    `json:"sha256"`      // of the leaf's DER
	SPKISHA256  string    `json:"spki_sha256"` // of its SubjectPublicKeyInfo
}

func describeLeaf(dir string, id keys.ID, leaf *x509.Certificate) leafInfo {
	serves := []string{id.Service}
	for _, name := range leaf.DNSNames {
		if !slices.Contains(serves, name) {
			serves = append(serves, name)
		}
	}
	return leafInfo{
		ID: id.String(), TrustDomain: id.TrustDomain, Service: id.Service,
		Directory: dir,
		Serves:    serves,
		Serial:    serial(leaf),
		NotBefore: leaf.NotBefore.UTC(), NotAfter: leaf.NotAfter.UTC(),
		KeyType:    keyType(leaf),
		SHA256:     sha256Hex(leaf.Raw),
		SPKISHA256: sha256Hex(leaf.RawSubjectPublicKeyInfo),
	}
}

func (l leafInfo) fields(now time.Time) []field {
	return []field{
		{"valid until", moment(l.NotAfter, now)},
		{"may serve", strings.Join(l.Serves, ", ")},
		{"key", l.KeyType},
		{"serial", l.Serial},
		{"leaf sha256", l.SHA256},
		{"spki sha256", l.SPKISHA256},
	}
}

func serial(cert *x509.Certificate) string { return cert.SerialNumber.Text(16) }

func keyType(cert *x509.Certificate) string {
	switch key := cert.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen())
	default:
		return cert.PublicKeyAlgorithm.String()
	}
}

func sha256Hex(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
