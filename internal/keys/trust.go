package keys

import (
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Limits on trust and on chains.
const (
	// MaxCAs is how many CA certificates one bundle may hold. With more than about
	// 140 in all, their names overflow a TLS certificate request.
	MaxCAs = 100
	// MaxFederated is how many other trust domains may be trusted.
	MaxFederated = 64
	// MaxChain is how many certificates a peer may present, its leaf included.
	MaxChain = 8
)

// DomainTrust is what vouches for the IDs of one trust domain, and of no other.
// It is immutable.
type DomainTrust struct {
	domain string
	cas    []*x509.Certificate
	pool   *x509.CertPool
	crls   []*CRL
}

// NewDomainTrust checks CA certificates and revocation lists for use together.
func NewDomainTrust(domain string, cas []*x509.Certificate, crls []*CRL) (*DomainTrust, error) {
	if err := CheckTrustDomain(domain); err != nil {
		return nil, err
	}
	if len(cas) == 0 || len(cas) > MaxCAs {
		return nil, fmt.Errorf("%w: %d CA certificates: want 1 to %d", ErrUntrusted, len(cas), MaxCAs)
	}
	pool := x509.NewCertPool()
	for i, ca := range cas {
		if err := checkCA(ca); err != nil {
			return nil, fmt.Errorf("certificate %d, %s: %w", i+1, Quote(ca.Subject.CommonName), err)
		}
		pool.AddCert(ca)
	}
	return &DomainTrust{domain: domain, cas: cas, pool: pool, crls: crls}, nil
}

// checkCA refuses what crypto/x509 would take as a root without a question: a
// leaf in a CA file would vouch for itself.
func checkCA(ca *x509.Certificate) error {
	switch {
	case !ca.BasicConstraintsValid || !ca.IsCA:
		return fmt.Errorf("%w: it is not a CA certificate: remove it", ErrUntrusted)
	case ca.KeyUsage != 0 && ca.KeyUsage&x509.KeyUsageCertSign == 0:
		return fmt.Errorf("%w: its key usage lacks certSign: remove it", ErrUntrusted)
	}
	if err := checkPublic(ca.PublicKey, false); err != nil {
		return fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	return nil
}

// Domain returns the trust domain that d vouches for.
func (d *DomainTrust) Domain() string { return d.domain }

// CAs returns the CA certificates.
func (d *DomainTrust) CAs() []*x509.Certificate { return slices.Clone(d.cas) }

// EncodeCRLs returns the revocation lists as PEM, nothing if there are none.
func (d *DomainTrust) EncodeCRLs() []byte { return encodeCRLs(d.crls) }

// Supersedes reports why t may not replace old while a service runs.
func (t *Trust) Supersedes(old *Trust) error {
	for name, was := range old.domains {
		if is, ok := t.domains[name]; ok {
			if err := is.supersedes(was); err != nil {
				return fmt.Errorf("trust domain %s: %w", name, err)
			}
		}
	}
	return nil
}

// supersedes reports why d may not replace old: a revocation list of a CA that
// is still trusted has gone, or is older than the one in force. Whoever could
// write such a file would undo revocations.
func (d *DomainTrust) supersedes(old *DomainTrust) error {
	for _, was := range old.crls {
		if !slices.ContainsFunc(d.cas, was.issuedBy) {
			continue
		}
		i := slices.IndexFunc(d.crls, func(c *CRL) bool { return c.issuedBy(was.issuer) })
		if i < 0 {
			return fmt.Errorf("%w: the revocation list of CA %s has gone: put it back, or restart the service to do without", ErrStaleCRL, Quote(was.issuer.Subject.CommonName))
		}
		if is := d.crls[i]; is.list.Number.Cmp(was.list.Number) < 0 {
			return fmt.Errorf("%w: the revocation list of CA %s went back from number %v to %v: put the newer one back", ErrStaleCRL, Quote(was.issuer.Subject.CommonName), was.list.Number, is.list.Number)
		}
	}
	return nil
}

// verify builds a chain from leaf to the CAs of d whose certificates were valid at a
// time, and returns the time until which the verdict holds.
func (d *DomainTrust) verify(leaf *x509.Certificate, intermediates *x509.CertPool, at, now time.Time) (time.Time, error) {
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots:         d.pool,
		Intermediates: intermediates,
		CurrentTime:   at,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	var until time.Time
	for _, chain := range chains {
		end, why := d.checkChain(chain, now)
		if why != nil {
			err = why
		} else if end.After(until) {
			until = end
		}
	}
	if until.IsZero() {
		return time.Time{}, err
	}
	return until, nil
}

// checkChain applies what crypto/x509 does not: revocation, and extended key
// usages of CAs for both uses of a leaf.
func (d *DomainTrust) checkChain(chain []*x509.Certificate, now time.Time) (until time.Time, err error) {
	until = chain[0].NotAfter
	for i, cert := range chain {
		if cert.NotAfter.Before(until) {
			until = cert.NotAfter
		}
		if i > 0 && !allowsBoth(cert) {
			return until, fmt.Errorf("%w: CA %s may not issue for both client and server use", ErrUntrusted, Quote(cert.Subject.CommonName))
		}
		if i+1 == len(chain) {
			break
		}
		for _, crl := range d.crls {
			if !crl.issuedBy(chain[i+1]) {
				continue
			}
			if err := crl.checkFresh(now); err != nil {
				return until, err
			}
			if crl.revokes(cert) {
				return until, fmt.Errorf("%w: certificate %x", ErrRevoked, cert.SerialNumber)
			}
			if crl.list.NextUpdate.Before(until) {
				until = crl.list.NextUpdate
			}
		}
	}
	return until, nil
}

func allowsBoth(ca *x509.Certificate) bool {
	if len(ca.ExtKeyUsage) == 0 && len(ca.UnknownExtKeyUsage) == 0 || slices.Contains(ca.ExtKeyUsage, x509.ExtKeyUsageAny) {
		return true
	}
	return slices.Contains(ca.ExtKeyUsage, x509.ExtKeyUsageClientAuth) && slices.Contains(ca.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
}

// Trust is whom a service trusts: its own trust domain, and those it is federated
// with, each vouched for by its own CAs only. It is immutable.
type Trust struct {
	home    string
	domains map[string]*DomainTrust
}

// NewTrust joins the trust of the own domain with that of others.
func NewTrust(home *DomainTrust, federated ...*DomainTrust) (*Trust, error) {
	if len(federated) > MaxFederated {
		return nil, fmt.Errorf("%w: %d federated trust domains: at most %d", ErrUntrusted, len(federated), MaxFederated)
	}
	t := &Trust{home: home.domain, domains: map[string]*DomainTrust{home.domain: home}}
	for _, d := range federated {
		if _, twice := t.domains[d.domain]; twice {
			return nil, fmt.Errorf("%w: trust domain %s is given twice", ErrUntrusted, d.domain)
		}
		t.domains[d.domain] = d
	}
	return t, nil
}

// HomeDomain returns the name of the own trust domain.
func (t *Trust) HomeDomain() string { return t.home }

// Home returns the trust of the own domain.
func (t *Trust) Home() *DomainTrust { return t.domains[t.home] }

// Of returns the trust of one domain, nil if there is none.
func (t *Trust) Of(domain string) *DomainTrust { return t.domains[domain] }

// Federated returns the trust of the other domains, sorted by name.
func (t *Trust) Federated() []*DomainTrust {
	var others []*DomainTrust
	for _, name := range slices.Sorted(maps.Keys(t.domains)) {
		if name != t.home {
			others = append(others, t.domains[name])
		}
	}
	return others
}

// Pool returns a new pool of all CAs, for a TLS certificate request. It decides
// nothing: a chain to it may still be of the wrong domain. Verify decides.
func (t *Trust) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, d := range t.domains {
		for _, ca := range d.cas {
			pool.AddCert(ca)
		}
	}
	return pool
}

// Verify decides whether a chain, leaf first, proves the ID in its leaf: the
// leaf's shape, a chain to a CA of the ID's own trust domain, validity at now,
// and that domain's revocation lists. The verdict holds until the earliest end
// of a certificate or revocation list that it rests on.
func (t *Trust) Verify(chain []*x509.Certificate, now time.Time) (ID, time.Time, error) {
	return t.VerifyAsOf(chain, now, now)
}

// VerifyAsOf is Verify for certificates that have to have been valid at a time, and
// revocation lists that are in force now.
func (t *Trust) VerifyAsOf(chain []*x509.Certificate, at, now time.Time) (ID, time.Time, error) {
	none := time.Time{}
	if len(chain) == 0 || len(chain) > MaxChain {
		return ID{}, none, fmt.Errorf("%w: a chain of %d certificates: want 1 to %d", ErrUntrusted, len(chain), MaxChain)
	}
	leaf := chain[0]
	id, err := CheckLeaf(leaf)
	if err != nil {
		return ID{}, none, err
	}
	domain, ok := t.domains[id.TrustDomain]
	if !ok {
		return id, none, fmt.Errorf("%w: %s: nothing vouches for trust domain %s: put its CA in trust/%s.crt to federate", ErrUntrusted, id, id.TrustDomain, id.TrustDomain)
	}
	if err := checkTimes(leaf, at); err != nil {
		return id, none, fmt.Errorf("%s: %w", id, err)
	}
	intermediates := x509.NewCertPool()
	for i, cert := range chain[1:] {
		if cert == nil || len(cert.Raw) == 0 {
			return id, none, fmt.Errorf("%w: %s: certificate %d of the chain is missing", ErrUntrusted, id, i+2)
		}
		if err := checkPublic(cert.PublicKey, false); err != nil {
			return id, none, fmt.Errorf("%w: %s: certificate %d of the chain: %w", ErrUntrusted, id, i+2, err)
		}
		intermediates.AddCert(cert)
	}
	until, err := domain.verify(leaf, intermediates, at, now)
	switch {
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return id, none, fmt.Errorf("%s: %w: no CA in %s signed it: put the one that did there, if it is to be trusted", id, err, t.file(id.TrustDomain))
	case err != nil:
		return id, none, fmt.Errorf("%s: %w", id, err)
	}
	return id, until, nil
}

// file names where the CAs of a domain lie in an identity directory.
func (t *Trust) file(domain string) string {
	if domain == t.home {
		return CAFile
	}
	return TrustDir + "/" + domain + certSuffix
}

func checkTimes(leaf *x509.Certificate, now time.Time) error {
	switch {
	case now.After(leaf.NotAfter):
		return fmt.Errorf("%w: the certificate ended at %s, now is %s: renew it, or check the clock", ErrExpired, stamp(leaf.NotAfter), stamp(now))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("%w: the certificate begins at %s, now is %s: check the clock", ErrNotYetValid, stamp(leaf.NotBefore), stamp(now))
	}
	return nil
}
