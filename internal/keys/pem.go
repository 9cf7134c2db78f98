package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
)

// PEM block types that are read. Keys are written as PKCS#8.
const (
	pemCertificate = "CERTIFICATE"
	pemCRL         = "X509 CRL"
	pemPKCS8       = "PRIVATE KEY"
	pemSEC1        = "EC PRIVATE KEY"
	pemPKCS1       = "RSA PRIVATE KEY"
)

// blocks splits data into PEM blocks of the given types and refuses everything
// else. encoding/pem alone will not do: it skips what it cannot read, so that a
// bundle with one damaged block would silently lose it.
func blocks(data []byte, most int, types ...string) ([]*pem.Block, error) {
	var found []*pem.Block
	rest := bytes.TrimSpace(data)
	if len(rest) == 0 {
		return nil, fmt.Errorf("%w: the file is empty: want %s", ErrPEM, types[0])
	}
	for len(rest) > 0 {
		label, ok := beginLine(rest)
		if !ok {
			return nil, fmt.Errorf("%w: block %d does not begin with -----BEGIN …----- on a line of its own: keep only PEM blocks in the file", ErrPEM, len(found)+1)
		}
		if !slices.Contains(types, label) {
			return nil, fmt.Errorf("%w: block %d is of type %s: want %s", ErrPEM, len(found)+1, Quote(label), types[0])
		}
		footer := []byte("-----END " + label + "-----")
		end := bytes.Index(rest, footer)
		if end < 0 {
			return nil, fmt.Errorf("%w: block %d is truncated: it has no END line", ErrPEM, len(found)+1)
		}
		end += len(footer)
		block, after := pem.Decode(rest[:end])
		switch {
		case block == nil || len(bytes.TrimSpace(after)) > 0 || block.Type != label:
			return nil, fmt.Errorf("%w: block %d is damaged", ErrPEM, len(found)+1)
		case len(block.Headers) > 0:
			return nil, fmt.Errorf("%w: block %d has PEM headers: store the key unencrypted, mode 0600", ErrPEM, len(found)+1)
		case !bytes.Equal(squeeze(pem.EncodeToMemory(block)), squeeze(rest[:end])):
			// The decoder passes over damage of some kinds.
			return nil, fmt.Errorf("%w: block %d is damaged", ErrPEM, len(found)+1)
		case len(found) == most:
			return nil, fmt.Errorf("%w: more than %d blocks", ErrPEM, most)
		}
		found = append(found, block)
		if rest = rest[end:]; len(rest) > 0 && rest[0] != '\n' && rest[0] != '\r' {
			return nil, fmt.Errorf("%w: text after the END line of block %d", ErrPEM, len(found))
		}
		rest = bytes.TrimSpace(rest)
	}
	return found, nil
}

// squeeze takes the white space out.
func squeeze(b []byte) []byte { return bytes.Join(bytes.Fields(b), nil) }

// beginLine returns the type of the block that b begins with.
func beginLine(b []byte) (string, bool) {
	line, _, ok := bytes.Cut(b, []byte("\n"))
	if !ok {
		return "", false
	}
	line = bytes.TrimRight(line, " \t\r")
	line, ok = bytes.CutPrefix(line, []byte("-----BEGIN "))
	if !ok {
		return "", false
	}
	line, ok = bytes.CutSuffix(line, []byte("-----"))
	return string(line), ok
}

// ParseCertificates reads at most a number of certificates, and nothing else.
func ParseCertificates(data []byte, most int) ([]*x509.Certificate, error) {
	found, err := blocks(data, most, pemCertificate)
	if err != nil {
		return nil, err
	}
	certs := make([]*x509.Certificate, len(found))
	for i, block := range found {
		if certs[i], err = x509.ParseCertificate(block.Bytes); err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i+1, err)
		}
	}
	return certs, nil
}

// ParseSigner reads one private key: PKCS#8, SEC 1 or PKCS#1.
func ParseSigner(data []byte) (Signer, error) {
	block, err := oneBlock(data, pemPKCS8, pemSEC1, pemPKCS1)
	if err != nil {
		return Signer{}, err
	}
	var key any
	switch block.Type {
	case pemSEC1:
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case pemPKCS1:
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return Signer{}, fmt.Errorf("%w: the key inside does not parse", ErrPEM)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return Signer{}, fmt.Errorf("%w: a key of kind %T cannot sign: use P-256, Ed25519 or RSA", ErrPEM, key)
	}
	return NewSigner(signer)
}

// ParseBoxKey reads one X25519 key in PKCS#8 (RFC 8410).
func ParseBoxKey(data []byte) (*ecdh.PrivateKey, error) {
	block, err := oneBlock(data, pemPKCS8)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(block.Bytes, []byte(pqHeader)) {
		return nil, fmt.Errorf("%w: a post-quantum key: it belongs in %s; a box key is X25519", ErrPEM, PQKeyFile)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: the key inside does not parse", ErrPEM)
	}
	box, ok := key.(*ecdh.PrivateKey)
	if !ok || box.Curve() != ecdh.X25519() {
		return nil, fmt.Errorf("%w: a key of kind %T: a box key is X25519", ErrPEM, key)
	}
	return box, nil
}

func oneBlock(data []byte, types ...string) (*pem.Block, error) {
	found, err := blocks(data, 2, types...)
	if err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%w: two keys in one file: keep only the one that belongs to the certificate", ErrPEM)
	}
	return found[0], nil
}

// EncodeCertificates writes certificates as PEM.
func EncodeCertificates(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, cert := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: cert.Raw})...)
	}
	return out
}

// encodeKey writes a private key as PKCS#8.
func encodeKey(key any) ([]byte, error) {
	if s, ok := key.(Signer); ok {
		key = s.key()
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemPKCS8, Bytes: der}), nil
}
