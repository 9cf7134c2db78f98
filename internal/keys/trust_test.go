package keys_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"github.com/go-signet/signet/internal/keys"
)

func verify(trust *keys.Trust, chain ...*x509.Certificate) error {
	_, _, err := trust.Verify(chain, time.Now())
	return err
}

// otherCA is a CA from outside, with everything open to choice.
type otherCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func makeCA(t testing.TB, parent *otherCA, modify func(*x509.Certificate)) *otherCA {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "outside CA"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(2 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if modify != nil {
		modify(template)
	}
	ca := &otherCA{key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
	parentCert, parentKey := template, ca.key
	if parent != nil {
		parentCert, parentKey = parent.cert, parent.key
	}
	ca.cert = must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, parentCert, ca.key.Public(), parentKey))))
	return ca
}

func (ca *otherCA) leaf(t testing.TB, id string) *x509.Certificate {
	return sign(t, ca.cert, ca.key, leafTemplate(id))
}

// list makes a revocation list as it would lie in a file.
func (ca *otherCA) list(t testing.TB, modify func(*x509.RevocationList), revoked ...*x509.Certificate) []byte {
	t.Helper()
	template := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
	for _, cert := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: cert.SerialNumber, RevocationTime: time.Now()})
	}
	if modify != nil {
		modify(template)
	}
	return block("X509 CRL", must(x509.CreateRevocationList(rand.Reader, template, ca.cert, ca.key)))
}

func (ca *otherCA) trust(t testing.TB, name string, lists ...[]byte) *keys.DomainTrust {
	t.Helper()
	cas := []*x509.Certificate{ca.cert}
	var crls []*keys.CRL
	for _, list := range lists {
		crls = append(crls, must(keys.ParseCRLs(list, cas, time.Now()))...)
	}
	return must(keys.NewDomainTrust(name, cas, crls))
}

func TestVerifyDomain(t *testing.T) {
	home, partner := newCA(t, domain), newCA(t, "partner.org")
	outside := makeCA(t, nil, nil) // not constrained: it could issue any ID
	trust := join(t, trustOf(t, home), trustOf(t, partner), outside.trust(t, "third.org"))
	ours, _ := issue(t, home, "a", nil)
	theirs, _ := issue(t, partner, "a", nil)
	for name, leaf := range map[string]*x509.Certificate{
		"own": ours, "federated": theirs, "federated from outside": outside.leaf(t, "spiffe://third.org/a"),
	} {
		if err := verify(trust, leaf); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	foreign, _ := issue(t, newCA(t, "stranger.org"), "a", nil)
	sameName, _ := issue(t, newCA(t, domain), "a", nil)
	for name, leaf := range map[string]*x509.Certificate{
		"foreign trust domain":                         foreign,
		"own trust domain, CA of the same name":        sameName,
		"own trust domain, signed by a federated CA":   outside.leaf(t, "spiffe://shop.internal/a"),
		"other trust domain, signed by a federated CA": outside.leaf(t, "spiffe://partner.org/a"),
		"subdomain of a federated trust domain":        outside.leaf(t, "spiffe://sub.third.org/a"),
		"self-signed": sign(t, leafTemplate("spiffe://shop.internal/a"),
			must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), leafTemplate("spiffe://shop.internal/a")),
	} {
		t.Run(name, func(t *testing.T) { wantError(t, verify(trust, leaf), keys.ErrUntrusted) })
	}
	t.Run("name of the remedy", func(t *testing.T) {
		wantError(t, verify(trust, foreign), keys.ErrUntrusted, "trust/stranger.org.crt")
		wantError(t, verify(trust, sameName), keys.ErrUntrusted, "ca.crt")
		wantError(t, verify(trust, outside.leaf(t, "spiffe://partner.org/a")), keys.ErrUntrusted, "trust/partner.org.crt")
	})
}

func TestVerifyTimes(t *testing.T) {
	ca := newCA(t, domain)
	trust := join(t, trustOf(t, ca))
	expired, _ := issue(t, ca, "a", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) })
	wantError(t, verify(trust, expired), keys.ErrExpired, "ended at "+stamp(expired.NotAfter), "now is ")
	early, _ := issue(t, ca, "a", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })
	wantError(t, verify(trust, early), keys.ErrNotYetValid, "begins at "+stamp(early.NotBefore), "now is ")
	leaf, _ := issue(t, ca, "a", nil)
	if _, _, err := trust.Verify([]*x509.Certificate{leaf}, ca.Cert.NotAfter.Add(time.Minute)); err == nil {
		t.Error("accepted after the authority had ended")
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func TestVerifyChain(t *testing.T) {
	root := makeCA(t, nil, nil)
	middle := makeCA(t, root, func(c *x509.Certificate) {
		c.Subject.CommonName, c.NotAfter = "middle", time.Now().Add(30*time.Minute)
	})
	leaf := middle.leaf(t, "spiffe://shop.internal/a")
	trust := join(t, root.trust(t, domain))
	_, until, err := trust.Verify([]*x509.Certificate{leaf, middle.cert}, time.Now())
	if err != nil || !until.Equal(middle.cert.NotAfter) {
		t.Errorf("until %v, %v; the intermediate, which ends first, until %v", until, err, middle.cert.NotAfter)
	}
	notCA := sign(t, root.cert, root.key, leafTemplate("spiffe://shop.internal/b"))
	long := []*x509.Certificate{leaf}
	for range keys.MaxChain {
		long = append(long, middle.cert)
	}
	serverOnly := makeCA(t, root, func(c *x509.Certificate) {
		c.Subject.CommonName, c.ExtKeyUsage = "server only", []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	for name, chain := range map[string][]*x509.Certificate{
		"empty":                     {},
		"too long":                  long,
		"nil leaf":                  {nil},
		"nil intermediate":          {leaf, nil},
		"intermediate missing":      {leaf},
		"intermediate is no CA":     {leaf, notCA},
		"leaf not first":            {middle.cert, leaf},
		"CA for servers only":       {serverOnly.leaf(t, "spiffe://shop.internal/a"), serverOnly.cert},
		"intermediate never parsed": {leaf, {}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := verify(trust, chain...); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestRevocation(t *testing.T) {
	root := makeCA(t, nil, nil)
	middle := makeCA(t, root, func(c *x509.Certificate) { c.Subject.CommonName = "middle" })
	good, bad := root.leaf(t, "spiffe://shop.internal/a"), sign(t, root.cert, root.key, func() *x509.Certificate {
		c := leafTemplate("spiffe://shop.internal/b")
		c.SerialNumber = big.NewInt(8)
		return c
	}())
	below := middle.leaf(t, "spiffe://shop.internal/a") // has the serial number of good
	t.Run("leaf", func(t *testing.T) {
		trust := join(t, root.trust(t, domain, root.list(t, nil, bad)))
		wantError(t, verify(trust, bad), keys.ErrRevoked)
		if err := verify(trust, good); err != nil {
			t.Error(err)
		}
	})
	t.Run("intermediate", func(t *testing.T) {
		trust := join(t, root.trust(t, domain, root.list(t, nil, middle.cert)))
		wantError(t, verify(trust, below, middle.cert), keys.ErrRevoked)
	})
	t.Run("same serial number of another CA", func(t *testing.T) {
		trust := join(t, root.trust(t, domain, root.list(t, nil, good)))
		wantError(t, verify(trust, good), keys.ErrRevoked)
		if err := verify(trust, below, middle.cert); err != nil {
			t.Error(err)
		}
	})
	t.Run("CA of the same name with another key", func(t *testing.T) {
		successor := makeCA(t, nil, nil)
		cas := []*x509.Certificate{root.cert, successor.cert}
		both := append(root.list(t, nil, good), successor.list(t, nil)...)
		trust := join(t, must(keys.NewDomainTrust(domain, cas, must(keys.ParseCRLs(both, cas, time.Now())))))
		wantError(t, verify(trust, good), keys.ErrRevoked)
		if err := verify(trust, successor.leaf(t, "spiffe://shop.internal/a")); err != nil {
			t.Error(err)
		}
	})
	t.Run("renewed CA certificate with the same key", func(t *testing.T) {
		renewed := *root
		template := *root.cert
		template.SerialNumber = big.NewInt(99)
		renewed.cert = must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, &template, &template, root.key.Public(), root.key))))
		cas := []*x509.Certificate{renewed.cert, root.cert}
		crls := must(keys.ParseCRLs(root.list(t, nil, bad), cas, time.Now()))
		trust := join(t, must(keys.NewDomainTrust(domain, cas, crls)))
		wantError(t, verify(trust, bad), keys.ErrRevoked)
	})
	t.Run("past its next update", func(t *testing.T) {
		trust := join(t, root.trust(t, domain, root.list(t, nil)))
		_, until, err := trust.Verify([]*x509.Certificate{good}, time.Now())
		if err != nil || until.After(time.Now().Add(time.Hour)) {
			t.Fatalf("the verdict outlives the list: %v, %v", until, err)
		}
		good := sign(t, root.cert, root.key, func() *x509.Certificate {
			c := leafTemplate("spiffe://shop.internal/a")
			c.NotAfter = time.Now().Add(90 * time.Minute)
			return c
		}())
		_, _, err = trust.Verify([]*x509.Certificate{good}, time.Now().Add(61*time.Minute))
		wantError(t, err, keys.ErrStaleCRL, "fetch a newer one")
	})
}

func TestParseCRLs(t *testing.T) {
	root := makeCA(t, nil, nil)
	impostor := makeCA(t, nil, nil) // the same name, another key
	noSign := makeCA(t, nil, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign })
	cas := []*x509.Certificate{root.cert, noSign.cert}
	good := root.list(t, nil)
	critical := func(id ...int) []pkix.Extension {
		return []pkix.Extension{{Id: asn1.ObjectIdentifier(id), Critical: true, Value: []byte{5, 0}}}
	}
	for name, c := range map[string]struct {
		data  []byte
		wraps error
		says  string
	}{
		"of a CA that is not trusted": {impostor.list(t, nil), keys.ErrUntrusted, "no CA"},
		"of another name":             {makeCA(t, nil, func(c *x509.Certificate) { c.Subject.CommonName = "x" }).list(t, nil), keys.ErrUntrusted, "no CA"},
		"past its next update": {root.list(t, func(l *x509.RevocationList) {
			l.ThisUpdate, l.NextUpdate = l.ThisUpdate.Add(-time.Hour), time.Now().Add(-time.Second)
		}), keys.ErrStaleCRL, "fetch a newer one"},
		"of the future":             {root.list(t, func(l *x509.RevocationList) { l.ThisUpdate = time.Now().Add(10 * time.Minute) }), keys.ErrNotYetValid, "check the clock"},
		"delta":                     {root.list(t, func(l *x509.RevocationList) { l.ExtraExtensions = critical(2, 5, 29, 27) }), nil, "full list"},
		"of some certificates only": {root.list(t, func(l *x509.RevocationList) { l.ExtraExtensions = critical(2, 5, 29, 28) }), nil, "full list"},
		"indirect": {root.list(t, func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: big.NewInt(1), RevocationTime: time.Now(), ExtraExtensions: critical(2, 5, 29, 29)}}
		}), nil, "direct list"},
		"two of one CA":     {append(good, root.list(t, nil)...), nil, "second list"},
		"truncated":         {good[:len(good)-30], keys.ErrPEM, "truncated"},
		"a certificate":     {keys.EncodeCertificates(root.cert), keys.ErrPEM, "CERTIFICATE"},
		"DER":               {must(x509.ParseRevocationList(decode(good))).Raw, keys.ErrPEM, "openssl crl -inform DER"},
		"empty":             {nil, keys.ErrPEM, "empty"},
		"signature changed": {flipLast(good), keys.ErrUntrusted, "no CA"},
		"not a list":        {block("X509 CRL", []byte("hello")), nil, "revocation list 1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := keys.ParseCRLs(c.data, cas, time.Now())
			wantError(t, err, c.wraps, c.says)
		})
	}
	t.Run("CA that may not sign lists", func(t *testing.T) {
		lenient := *noSign.cert
		lenient.KeyUsage |= x509.KeyUsageCRLSign
		data := (&otherCA{cert: &lenient, key: noSign.key}).list(t, nil)
		_, err := keys.ParseCRLs(data, cas, time.Now())
		wantError(t, err, keys.ErrUntrusted)
	})
}

func TestSupersedes(t *testing.T) {
	root, other := makeCA(t, nil, nil), makeCA(t, nil, func(c *x509.Certificate) { c.Subject.CommonName = "other" })
	numbered := func(n int64) []byte {
		return root.list(t, func(l *x509.RevocationList) { l.Number = big.NewInt(n) })
	}
	was := join(t, root.trust(t, domain, numbered(300)))
	for name, c := range map[string]struct {
		next *keys.Trust
		says string
	}{
		"list gone":            {join(t, root.trust(t, domain)), "has gone"},
		"older list":           {join(t, root.trust(t, domain, numbered(299))), "went back from number 300 to 299"},
		"same list":            {join(t, root.trust(t, domain, numbered(300))), ""},
		"newer list":           {join(t, root.trust(t, domain, numbered(301))), ""},
		"CA no longer trusted": {join(t, other.trust(t, domain)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.next.Supersedes(was)
			if c.says != "" {
				wantError(t, err, keys.ErrStaleCRL, c.says)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("federated list gone", func(t *testing.T) {
		home := trustOf(t, newCA(t, "home.org"))
		err := join(t, home, root.trust(t, domain)).Supersedes(join(t, home, root.trust(t, domain, numbered(1))))
		wantError(t, err, keys.ErrStaleCRL, "has gone")
		if err := join(t, home).Supersedes(join(t, home, root.trust(t, domain, numbered(1)))); err != nil {
			t.Errorf("no longer federated: %v", err)
		}
	})
}

func TestDomainTrustRefuses(t *testing.T) {
	ca := newCA(t, domain)
	leaf, _ := issue(t, ca, "a", nil)
	root := makeCA(t, nil, nil)
	for name, c := range map[string]struct {
		cas  []*x509.Certificate
		says string
	}{
		"no CA":                  {nil, "0 CA certificates"},
		"too many CAs":           {make([]*x509.Certificate, keys.MaxCAs+1), "101"},
		"a leaf among them":      {[]*x509.Certificate{ca.Cert, leaf}, "certificate 2"},
		"may not sign":           {[]*x509.Certificate{makeCA(t, nil, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }).cert}, "certSign"},
		"basic constraints gone": {[]*x509.Certificate{makeCA(t, nil, func(c *x509.Certificate) { c.BasicConstraintsValid, c.IsCA = false, false }).cert}, "not a CA"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := keys.NewDomainTrust(domain, c.cas, nil)
			wantError(t, err, keys.ErrUntrusted, c.says)
		})
	}
	if _, err := keys.NewDomainTrust("Shop", []*x509.Certificate{root.cert}, nil); err == nil {
		t.Error("a malformed trust domain was accepted")
	}
	if _, err := keys.NewTrust(root.trust(t, "a"), root.trust(t, "a")); err == nil {
		t.Error("one trust domain was accepted twice")
	}
}

func TestRevoke(t *testing.T) {
	ca := newCA(t, domain)
	trust := trustOf(t, ca)
	first, _ := issue(t, ca, "a", nil)
	second, _ := issue(t, ca, "b", nil)
	stranger, _ := issue(t, newCA(t, domain), "a", nil)
	one := must(ca.Revoke(trust, first))
	again := must(ca.Revoke(one, first))
	two := must(ca.Revoke(again, second))
	for i, list := range []*x509.RevocationList{parseList(t, trust), parseList(t, one), parseList(t, again), parseList(t, two)} {
		if want := big.NewInt(int64(i + 1)); list.Number.Cmp(want) != 0 {
			t.Errorf("list %d has number %v", i, list.Number)
		}
		if want := []int{0, 1, 1, 2}[i]; len(list.RevokedCertificateEntries) != want {
			t.Errorf("list %d has %d entries; want %d", i, len(list.RevokedCertificateEntries), want)
		}
		if list.NextUpdate.Before(ca.Cert.NotAfter) {
			t.Errorf("list %d ends before the authority", i)
		}
	}
	if err := verify(join(t, one), second); err != nil {
		t.Error(err)
	}
	wantError(t, verify(join(t, two), first), keys.ErrRevoked)
	wantError(t, verify(join(t, two), second), keys.ErrRevoked)
	_, err := ca.Revoke(trust, stranger)
	wantError(t, err, keys.ErrUntrusted, "another CA")
}

func parseList(t testing.TB, trust *keys.DomainTrust) *x509.RevocationList {
	t.Helper()
	return must(x509.ParseRevocationList(decode(trust.EncodeCRLs())))
}

func TestSubjectsSize(t *testing.T) {
	trust := join(t, trustOf(t, newCA(t, domain)), trustOf(t, newCA(t, "partner.org")))
	cas := trust.CAs()
	if len(cas) != 2 {
		t.Fatalf("%d CAs", len(cas))
	}
	if got, want := keys.SubjectsSize(cas), 4+len(cas[0].RawSubject)+len(cas[1].RawSubject); got != want {
		t.Errorf("got %d; want %d", got, want)
	}
}
