package main

import (
	"bytes"
	"testing"

	"github.com/go-signet/signet/internal/keys"
)

func newList(t *testing.T) []byte {
	t.Helper()
	ca, err := keys.NewCA("shop.internal", keys.DefaultCALifetime)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := ca.NewTrust()
	if err != nil {
		t.Fatal(err)
	}
	return trust.EncodeCRLs()
}

// A list that were passed over would be lost when the file is written again.
func TestDecodeListsMissesNone(t *testing.T) {
	one, two := newList(t), newList(t)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	damaged := bytes.Replace(one, []byte("\n"), []byte("\n*"), 1)
	for name, test := range map[string]struct {
		data []byte
		want int // lists, -1 for an error
	}{
		"none":                        {nil, 0},
		"blank":                       {[]byte("\n \n"), 0},
		"two":                         {join(one, []byte("\n\n"), two), 2},
		"damaged alone":               {damaged, -1},
		"damaged before a good one":   {join(damaged, two), -1},
		"damaged after a good one":    {join(two, damaged), -1},
		"truncated":                   {one[:len(one)/2], -1},
		"truncated before a good one": {join(one[:len(one)/2], []byte("\n"), two), -1},
		"text between":                {join(one, []byte("note\n"), two), -1},
		"another type":                {[]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), -1},
		"no list inside":              {[]byte("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"), -1},
	} {
		t.Run(name, func(t *testing.T) {
			lists, err := decodeLists(test.data)
			if (err != nil) != (test.want < 0) || err == nil && len(lists) != test.want {
				t.Errorf("%d lists, error %v: want %d", len(lists), err, test.want)
			}
		})
	}
}
