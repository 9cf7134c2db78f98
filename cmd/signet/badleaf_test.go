package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base32"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-signet/signet/internal/keys"
	"github.com/rogpeppe/go-internal/testscript"
)

// badLeaves are the failure classes of a leaf that an authority could issue.
func badLeaves() map[string]func(*x509.Certificate) {
	return map[string]func(*x509.Certificate){
		"none": func(*x509.Certificate) {},
		"aged": func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-9*time.Hour), time.Now().Add(time.Hour)
		},
		"expired": func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-3*time.Hour), time.Now().Add(-time.Hour)
		},
		"future": func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
		},
		"ca": func(c *x509.Certificate) {
			c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
		},
		"eku":     func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} },
		"twouris": func(c *x509.Certificate) { c.URIs = append(c.URIs, spiffe("shop.internal", "other")) },
		"nouri":   func(c *x509.Certificate) { c.URIs = nil },
		"foreign": func(c *x509.Certificate) { c.URIs = []*url.URL{spiffe("bank.internal", "greeter")} },
		"large":   func(c *x509.Certificate) { c.DNSNames = manyNames(45, 3) },
		"huge":    func(c *x509.Certificate) { c.DNSNames = manyNames(60, 4) },
		"traversal": func(c *x509.Certificate) {
			c.URIs = []*url.URL{spiffe("shop.internal", "a/../../b")}
		},
	}
}

// manyNames make a certificate as large as a long chain; they hardly compress.
func manyNames(n, labels int) (names []string) {
	for i := range n {
		name := "shop.internal"
		for j := range labels {
			sum := sha256.Sum256([]byte{byte(i), byte(j)})
			name = strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])) + "." + name
		}
		names = append(names, name)
	}
	return names
}

func spiffe(domain, service string) *url.URL {
	return &url.URL{Scheme: "spiffe", Host: domain, Path: "/" + service}
}

func scriptBadLeaf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: badleaf KIND KEYS SERVICE")
	}
	modify, ok := badLeaves()[args[0]]
	if !ok {
		ts.Fatalf("unknown kind %s", args[0])
	}
	root := ts.MkAbs(args[1])
	ca, domain, err := keys.ReadCA(filepath.Join(root, authorityDir), keys.ReadOptions{})
	ts.Check(err)
	leaf, key, err := ca.Issue(keys.Request{Service: args[2], Modify: modify})
	ts.Check(err)
	trust, err := keys.NewTrust(domain)
	ts.Check(err)
	set := keys.Set{Chain: []*x509.Certificate{leaf}, Key: key, Trust: trust}
	ts.Check(set.Write(filepath.Join(root, filepath.FromSlash(args[2]))))
}
