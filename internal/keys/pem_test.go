package keys_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/go-signet/signet/internal/keys"
)

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func pkcs8(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return block("PRIVATE KEY", der)
}

func TestParseCertificates(t *testing.T) {
	ca := newCA(t, domain)
	good := keys.EncodeCertificates(ca.Cert)
	two := append(bytes.Clone(good), good...)
	for name, data := range map[string][]byte{
		"as written":                good,
		"CRLF":                      bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")),
		"no last line break":        bytes.TrimSpace(good),
		"blank lines":               append([]byte("\n\n"), append(bytes.Clone(good), '\n', '\n')...),
		"two":                       two,
		"blank line between blocks": bytes.Join([][]byte{good, good}, []byte("\n")),
	} {
		t.Run(name, func(t *testing.T) {
			certs, err := keys.ParseCertificates(data, 2)
			if err != nil || !certs[0].Equal(ca.Cert) {
				t.Errorf("got %v, %v", certs, err)
			}
		})
	}
	damaged := bytes.Replace(bytes.Clone(two), []byte("MII"), []byte("M*I"), 1)
	key := pkcs8(t, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)))
	for name, c := range map[string]struct {
		data []byte
		says string
	}{
		"empty":                       {nil, "empty"},
		"blank":                       {[]byte(" \n\t\n"), "empty"},
		"a key":                       {key, "PRIVATE KEY"},
		"a key behind a certificate":  {append(bytes.Clone(good), key...), "PRIVATE KEY"},
		"truncated":                   {good[:len(good)-30], "truncated"},
		"END line cut":                {good[:len(good)-3], "truncated"},
		"first of two damaged":        {damaged, "block 1 is damaged"},
		"second of two truncated":     {two[:len(two)-30], "block 2 is truncated"},
		"text before":                 {append([]byte("subject=CA\n"), good...), "does not begin"},
		"text between":                {append(append(bytes.Clone(good), "hello\n"...), good...), "block 2"},
		"garbage behind":              {append(bytes.Clone(good), "garbage"...), "block 2"},
		"garbage behind the END line": {append(bytes.TrimSpace(good), "garbage"...), "END line"},
		"three where two may be":      {append(bytes.Clone(two), good...), "more than 2"},
		"DER":                         {ca.Cert.Raw, "does not begin"},
		"no certificate inside":       {block("CERTIFICATE", []byte("hello")), "certificate 1"},
		"DER with a tail":             {block("CERTIFICATE", append(bytes.Clone(ca.Cert.Raw), 0)), "certificate 1"},
		"PEM headers":                 {[]byte(strings.Replace(string(good), "-----\n", "-----\nProc-Type: 4,ENCRYPTED\n\n", 1)), "headers"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := keys.ParseCertificates(c.data, 2)
			wantError(t, err, nil, c.says)
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestParseSigner(t *testing.T) {
	p256 := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	strong := must(rsa.GenerateKey(rand.Reader, 2048))
	weak := must(rsa.GenerateKey(rand.Reader, 1024))
	box := must(keys.NewBoxKey())
	sec1 := block("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(p256)))
	for name, data := range map[string][]byte{
		"P-256 PKCS#8":   pkcs8(t, p256),
		"P-256 SEC 1":    sec1,
		"Ed25519 PKCS#8": pkcs8(t, ed),
		"RSA PKCS#8":     pkcs8(t, strong),
		"RSA PKCS#1":     block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(strong)),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := keys.ParseSigner(data); err != nil {
				t.Error(err)
			}
		})
	}
	for name, c := range map[string]struct {
		data []byte
		says string
	}{
		"two keys":          {append(pkcs8(t, p256), pkcs8(t, p256)...), "two keys in one file"},
		"a certificate":     {keys.EncodeCertificates(newCA(t, domain).Cert), "CERTIFICATE"},
		"parameters first":  {append(block("EC PARAMETERS", []byte{6, 0}), sec1...), "EC PARAMETERS"},
		"P-384":             {pkcs8(t, p384), "P-384"},
		"RSA 1024":          {pkcs8(t, weak), "1024"},
		"X25519":            {pkcs8(t, box), "cannot sign"},
		"not a key":         {block("PRIVATE KEY", []byte("hello")), "does not parse"},
		"type does not fit": {block("RSA PRIVATE KEY", must(x509.MarshalECPrivateKey(p256))), "does not parse"},
		"encrypted":         {block("ENCRYPTED PRIVATE KEY", []byte("x")), "ENCRYPTED PRIVATE KEY"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := keys.ParseSigner(c.data)
			wantError(t, err, nil, c.says)
		})
	}
}

func TestParseBoxKey(t *testing.T) {
	box := must(keys.NewBoxKey())
	got, err := keys.ParseBoxKey(pkcs8(t, box))
	if err != nil || !got.Equal(box) {
		t.Errorf("got %v", err)
	}
	p256 := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	for name, data := range map[string][]byte{
		"P-256":       pkcs8(t, p256),
		"P-256 SEC 1": block("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(p256))),
		"two":         append(pkcs8(t, box), pkcs8(t, box)...),
		"not a key":   block("PRIVATE KEY", []byte("hello")),
		"truncated":   pkcs8(t, box)[:80],
	} {
		t.Run(name, func(t *testing.T) {
			_, err := keys.ParseBoxKey(data)
			wantError(t, err, keys.ErrPEM)
		})
	}
}

// FuzzParsePEM: whatever is accepted holds nothing but the blocks that came out.
func FuzzParsePEM(f *testing.F) {
	ca := must(keys.NewCA(domain, 1<<40))
	good := keys.EncodeCertificates(ca.Cert)
	f.Add(good)
	f.Add(append(bytes.Clone(good), good...))
	f.Add(good[:100])
	f.Add(append([]byte("text\n"), good...))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	crls := must(ca.NewTrust()).EncodeCRLs()
	f.Add(crls)
	f.Fuzz(func(t *testing.T, data []byte) {
		if certs, err := keys.ParseCertificates(data, 4); err == nil {
			squeeze := func(b []byte) string { return strings.Join(strings.Fields(string(b)), "") }
			if squeeze(keys.EncodeCertificates(certs...)) != squeeze(data) {
				t.Error("accepted PEM does not encode to what it was")
			}
		}
		keys.ParseSigner(data)
		keys.ParseBoxKey(data)
		keys.ParsePQKey(data)
		keys.ParseCRLs(data, []*x509.Certificate{ca.Cert}, ca.Cert.NotBefore)
	})
}
