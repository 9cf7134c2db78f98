package identity

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-signet/signet/internal/keys"
)

// Authority is a small CA for one trust domain: it issues identities and revokes
// them. Its key is P-256, its path length 0, and its certificate is constrained to
// the URIs of its trust domain. It is safe for concurrent use, and prints as its
// trust domain, whatever the verb.
type Authority struct {
	ca    *keys.CA
	trust atomic.Pointer[keys.DomainTrust]

	mu     sync.Mutex           // never held while user code runs
	dirs   []string             // where Save has put us
	issued map[*Identity]func() // what brings an identity up to date
}

// AuthorityOption changes how NewAuthority makes an authority.
type AuthorityOption func(*authorityOptions)

type authorityOptions struct{ lifetime time.Duration }

// AuthorityValidFor sets the lifetime of the authority's certificate. The default
// is ten years. No leaf outlives it.
func AuthorityValidFor(d time.Duration) AuthorityOption {
	return func(o *authorityOptions) { o.lifetime = d }
}

// NewAuthority makes an authority in memory. A trust domain is a lower-case name
// such as "shop.internal", of at most 255 bytes: letters, digits, dots, hyphens
// and underscores (SPIFFE ID, section 2.1), without empty labels, and no IP
// address. The error wraps ErrInvalidName.
func NewAuthority(trustDomain string, opts ...AuthorityOption) (*Authority, error) {
	o := authorityOptions{lifetime: keys.DefaultCALifetime}
	for _, opt := range opts {
		opt(&o)
	}
	ca, err := keys.NewCA(trustDomain, o.lifetime)
	if err != nil {
		return nil, fmt.Errorf("identity: new authority: %w", err)
	}
	trust, err := ca.NewTrust()
	if err != nil {
		return nil, fmt.Errorf("identity: new authority: %w", err)
	}
	return newAuthority(ca, trust), nil
}

// LoadAuthority reads an authority from the directory that Save wrote: ca.key,
// ca.crt and ca.crl. What it revokes it writes back there.
func LoadAuthority(dir string) (*Authority, error) {
	ca, trust, err := keys.ReadCA(dir, keys.ReadOptions{})
	if err != nil {
		return nil, fmt.Errorf("identity: load authority: %w", err)
	}
	a := newAuthority(ca, trust)
	a.dirs = []string{dir}
	return a, nil
}

func newAuthority(ca *keys.CA, trust *keys.DomainTrust) *Authority {
	a := &Authority{ca: ca, issued: make(map[*Identity]func())}
	a.trust.Store(trust)
	return a
}

// TrustDomain returns the name of the authority's trust domain.
func (a *Authority) TrustDomain() string { return a.ca.Domain }

// Certificate returns the authority's certificate. Put it in trust/<trust
// domain>.crt of another domain's services to federate with them.
func (a *Authority) Certificate() *x509.Certificate { return a.ca.Cert }

// String returns the trust domain.
func (a *Authority) String() string {
	if a == nil || a.ca == nil {
		return "no authority"
	}
	return "authority of " + a.ca.Domain
}

// Format prints the trust domain, whatever the verb: nothing inside is for logs.
func (a *Authority) Format(f fmt.State, _ rune) { io.WriteString(f, a.String()) }

// MarshalText returns what String does, for structured logs.
func (a *Authority) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// Save writes the authority to a directory, made with mode 0700 if need be: ca.key
// with mode 0600, ca.crt and ca.crl. A directory that holds an authority already
// is refused. From then on Revoke writes ca.crl there too.
//
// WARNING: whoever reads ca.key can be any service of the trust domain. Keep the
// directory away from the services.
func (a *Authority) Save(dir string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.ca.Write(dir, a.trust.Load()); err != nil {
		return fmt.Errorf("identity: save authority: %w", err)
	}
	a.dirs = append(a.dirs, dir)
	return nil
}

// IssueOption changes what Issue makes.
type IssueOption func(*issueOptions)

type issueOptions struct {
	request keys.Request
	renews  *Identity
	trusts  []*Authority
	err     error
}

// ValidFor sets the lifetime of the leaf: at least a second, and cut to what is
// left of the authority's own. The default is 24 hours.
func ValidFor(d time.Duration) IssueOption {
	return func(o *issueOptions) {
		if d <= 0 {
			o.err = fmt.Errorf("a lifetime of %v: give at least 1s", d)
		}
		o.request.Lifetime = d
	}
}

// DNSNames adds DNS names to the leaf, at most 64. Each is one more name that the
// service may be called by.
func DNSNames(names ...string) IssueOption {
	return func(o *issueOptions) { o.request.DNSNames = append(o.request.DNSNames, names...) }
}

// Ed25519 makes the leaf's key Ed25519. The default is P-256.
func Ed25519() IssueOption {
	return func(o *issueOptions) { o.request.Key = keys.Ed25519 }
}

// Renews gives the new identity the box keys, the post-quantum one included, and the
// DNS names of one that it succeeds, which must have the same ID. The leaf's key is
// new.
func Renews(old *Identity) IssueOption {
	return func(o *issueOptions) { o.renews = old }
}

// Trusting federates the identity with other authorities: it verifies peers of
// their trust domains as well. On disk the same is done by trust/<domain>.crt.
func Trusting(others ...*Authority) IssueOption {
	return func(o *issueOptions) { o.trusts = append(o.trusts, others...) }
}

// Issue makes the identity spiffe://<trust domain>/<service>. A service name is
// one or more segments of letters, digits, dots, hyphens and underscores, parted
// by slashes, at most 255 bytes in all (SPIFFE ID, section 2.2): "greeter",
// "go.micro.srv.greeter", "shop/greeter". The leaf begins a minute ago, for clocks
// that differ. The error wraps ErrInvalidName, or ErrExpired once the authority
// has ended.
//
// What the authority revokes reaches the identity at once, until it is closed; and
// until then the authority holds on to it, so close what is no longer needed.
func (a *Authority) Issue(service string, opts ...IssueOption) (*Identity, error) {
	id, err := a.issue(service, opts)
	if err != nil {
		return nil, fmt.Errorf("identity: issue %s: %w", keys.Quote(service), err)
	}
	return id, nil
}

func (a *Authority) issue(service string, opts []IssueOption) (*Identity, error) {
	var o issueOptions
	for _, opt := range opts {
		opt(&o)
	}
	if o.err != nil {
		return nil, o.err
	}
	o.request.Service = service
	own, err := o.sealKey(a.ca.Domain)
	if err != nil {
		return nil, err
	}
	leaf, key, err := a.ca.Issue(o.request)
	if err != nil {
		return nil, err
	}
	authorities := append([]*Authority{a}, o.trusts...)
	trust, err := joinTrust(authorities)
	if err != nil {
		return nil, err
	}
	set := &keys.Set{ID: keys.ID{TrustDomain: a.ca.Domain, Service: service}, Chain: []*x509.Certificate{leaf}, Key: key, Box: own.X25519, PQ: own.PQ, Trust: trust}
	id := newIdentity(set, DefaultBoxKeyGrace)
	id.close = func() error {
		for _, authority := range authorities {
			authority.forget(id)
		}
		return nil
	}
	follow := func() { id.follow(authorities) }
	for _, authority := range authorities {
		authority.remember(id, follow)
	}
	follow() // something may have been revoked since the trust was joined
	return id, nil
}

func (o *issueOptions) sealKey(domain string) (own SealKey, err error) {
	if o.renews == nil {
		if own.X25519, err = keys.NewBoxKey(); err != nil {
			return own, err
		}
		own.PQ, err = keys.NewPQKey()
		return own, err
	}
	old, err := o.renews.current()
	if err != nil {
		return own, err
	}
	if want := (keys.ID{TrustDomain: domain, Service: o.request.Service}); old.set.ID != want {
		return own, fmt.Errorf("%w: %s cannot succeed %s: it has another ID", ErrInvalidName, want, old.set.ID)
	}
	if len(o.request.DNSNames) == 0 {
		o.request.DNSNames = old.set.Leaf().DNSNames
	}
	return old.sealKey(), nil
}

func joinTrust(authorities []*Authority) (*keys.Trust, error) {
	var federated []*keys.DomainTrust
	for _, other := range authorities[1:] {
		federated = append(federated, other.trust.Load())
	}
	return keys.NewTrust(authorities[0].trust.Load(), federated...)
}

// follow puts the trust of authorities in force as it is now.
func (id *Identity) follow(authorities []*Authority) {
	id.replace(func(was *state) *state {
		same := was.set.Trust.Home() == authorities[0].trust.Load()
		for _, other := range authorities[1:] {
			same = same && was.set.Trust.Of(other.ca.Domain) == other.trust.Load()
		}
		if same {
			return nil
		}
		trust, err := joinTrust(authorities)
		if err != nil {
			return nil // joined before, and the domains are the same
		}
		next, set := *was, *was.set
		set.Trust = trust
		next.set = &set
		return &next
	})
}

func (a *Authority) remember(id *Identity, follow func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.issued[id] = follow
}

func (a *Authority) forget(id *Identity) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.issued, id)
}

// Revoke enters an identity's current certificate in the revocation list, whose
// number goes up by one. The identities that this Authority has issued, and that
// are not closed, apply it before Revoke returns; where the authority was saved,
// ca.crl is replaced, for the services to be given.
//
// A certificate that the same service had before is not covered: see
// RevokeCertificate. An identity of another authority is refused with ErrUntrusted.
func (a *Authority) Revoke(id *Identity) error {
	if id == nil || id.now.Load() == nil {
		return fmt.Errorf("%w: revoke needs an identity", ErrNoIdentity)
	}
	return a.RevokeCertificate(id.now.Load().set.Leaf())
}

// RevokeCertificate is Revoke for a certificate of which there is no identity at
// hand: one that has been replaced and not yet ended, or whose key is lost.
func (a *Authority) RevokeCertificate(cert *x509.Certificate) error {
	if cert == nil {
		return errors.New("identity: revoke: no certificate")
	}
	follow, err := a.revoke(cert)
	for _, f := range follow {
		f()
	}
	if err != nil {
		return fmt.Errorf("identity: revoke: %w", err)
	}
	return nil
}

// revoke returns what brings the identities up to date. When a directory cannot be
// written, the revocation is in force in this process all the same.
func (a *Authority) revoke(cert *x509.Certificate) ([]func(), error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	next, err := a.ca.Revoke(a.trust.Load(), cert)
	if err != nil {
		return nil, err
	}
	for _, dir := range a.dirs {
		written, dirErr := a.ca.RevokeIn(dir, next)
		if dirErr != nil {
			err = errors.Join(err, dirErr)
			continue
		}
		next = written
	}
	a.trust.Store(next)
	return slices.Collect(maps.Values(a.issued)), err
}
