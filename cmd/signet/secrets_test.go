package main

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-signet/signet/internal/keys"
)

// secretsUnder returns, for each private key file under root, the forms in which
// its key could turn up in an output.
func secretsUnder(root string) (map[string][]string, error) {
	secrets := make(map[string][]string)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		block, _ := pem.Decode(data)
		if block == nil || !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return nil
		}
		forms := []string{"PRIVATE KEY-----"}
		// The private part ends in the second line; the public key follows it.
		body := base64.StdEncoding.EncodeToString(block.Bytes)
		for line := range slices.Chunk([]byte(body), 64) {
			if len(forms) < 3 {
				forms = append(forms, string(line))
			}
		}
		forms = append(forms, encodings(block.Bytes)...)
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			forms = append(forms, encodings(rawKey(key))...)
		} else if key, err := keys.ParsePQKey(data); err == nil {
			if seed, err := key.Bytes(); err == nil {
				forms = append(forms, encodings(seed)...)
			}
		}
		secrets[path] = forms
		return nil
	})
	return secrets, err
}

func rawKey(key any) []byte {
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		if raw, err := key.Bytes(); err == nil {
			return raw
		}
	case *ecdh.PrivateKey:
		return key.Bytes()
	}
	return nil
}

func encodings(raw []byte) []string {
	if len(raw) == 0 {
		return nil
	}
	return []string{
		string(raw), hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)),
		base64.StdEncoding.EncodeToString(raw), base64.URLEncoding.EncodeToString(raw),
	}
}

// findSecret names the file whose key an output gives away.
func findSecret(output string, secrets map[string][]string) string {
	for path, forms := range secrets {
		for _, form := range forms {
			if strings.Contains(output, form) {
				return path
			}
		}
	}
	return ""
}

// A search that finds nothing proves nothing unless it can find something.
func TestSecretSearchFinds(t *testing.T) {
	dir := t.TempDir()
	ca, err := keys.NewCA("shop.internal", keys.DefaultCALifetime)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := ca.NewTrust()
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.Write(dir, trust); err != nil {
		t.Fatal(err)
	}
	pq, err := keys.NewPQKey()
	if err != nil {
		t.Fatal(err)
	}
	data, err := keys.EncodePQKey(pq)
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.WriteFile(filepath.Join(dir, keys.PQKeyFile), data, keys.SecretMode); err != nil {
		t.Fatal(err)
	}
	secrets, err := secretsUnder(dir)
	if err != nil || len(secrets) != 2 {
		t.Fatalf("%d secrets, error %v: want 2", len(secrets), err)
	}
	seed, err := pq.Bytes()
	if err != nil || !slices.Contains(secrets[filepath.Join(dir, keys.PQKeyFile)], string(seed)) {
		t.Errorf("the seed of the post-quantum key is not looked for: %v", err)
	}
	for path, forms := range secrets {
		if len(forms) < 10 {
			t.Errorf("%d forms of the key", len(forms))
		}
		for _, form := range forms {
			found := findSecret("before "+form+" after", secrets)
			if found != path && (found == "" || form != "PRIVATE KEY-----") { // which all files have
				t.Errorf("%q is not found", form)
			}
		}
	}
}
