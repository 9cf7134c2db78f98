package signed

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"sync"
	"time"

	"github.com/go-signet/signet/identity"
	"golang.org/x/time/rate"
)

// chainCache remembers chains: replicas share one, and a service re-signs with the
// same. It starts over when it is full or when trust changes.
type chainCache struct {
	mu         sync.Mutex
	generation uint64
	chains     map[[sha256.Size]byte]*chainVerdict
	size       int // of the chains, in bytes
	// failures pays for chains with intermediates that do not verify: each may take a
	// hundred signatures to find out, of keys that whoever made them has chosen.
	failures *rate.Limiter
}

type chainVerdict struct {
	chain []*x509.Certificate
	trust trust
	err   error
	again time.Time // when a refusal is looked at again
}

const (
	maxChains   = 4 << 20     // bytes of chains that are remembered: some 7000 leaves
	recheckWait = time.Minute // how long a refusal that time could mend is remembered

	maxFailures     = 256 // at once, of chains with intermediates
	failuresASecond = 4
)

// verify parses and verifies a chain, or remembers what came of it.
func (c *chainCache) verify(id *identity.Identity, certs [][]byte) ([]*x509.Certificate, trust, error) {
	h, size := sha256.New(), 0
	for _, cert := range certs {
		h.Write(appendSized(nil, cert))
		size += len(cert)
	}
	key, generation, now := [sha256.Size]byte(h.Sum(nil)), id.Generation(), time.Now()
	known, failures := c.find(key, generation)
	if known == nil || !now.Before(known.again) {
		if len(certs) > 1 && failures.Tokens() < 1 {
			return nil, trust{}, reject(Limit, "too many chains with intermediates do not verify: this one is looked at later: find out who writes them")
		}
		known = verifyChain(id, certs, generation, now)
		if len(certs) > 1 && known.err != nil {
			failures.Allow()
		}
		c.add(key, known, size)
	}
	return known.chain, known.trust, known.err
}

func (c *chainCache) find(key [sha256.Size]byte, generation uint64) (*chainVerdict, *rate.Limiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failures == nil {
		c.failures = rate.NewLimiter(failuresASecond, maxFailures)
	}
	if c.generation != generation {
		return nil, c.failures
	}
	return c.chains[key], c.failures
}

func (c *chainCache) add(key [sha256.Size]byte, v *chainVerdict, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generation > v.trust.generation {
		return // overtaken by a change of trust
	}
	if c.chains == nil || c.generation != v.trust.generation || c.size+size > maxChains {
		c.chains, c.size, c.generation = make(map[[sha256.Size]byte]*chainVerdict), 0, v.trust.generation
	}
	if c.chains[key] == nil {
		c.size += size
	}
	c.chains[key] = v
}

func verifyChain(id *identity.Identity, certs [][]byte, generation uint64, now time.Time) *chainVerdict {
	v := &chainVerdict{trust: trust{generation: generation}, again: now.Add(recheckWait)}
	for i, der := range certs {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			v.err = fmt.Errorf("%w: certificate %d: %w", errMalformed, i+1, err)
			return v
		}
		v.chain = append(v.chain, cert)
	}
	v.trust.peer, v.trust.until, v.err = id.Verify(v.chain)
	if v.err == nil {
		v.again = v.trust.until
	}
	return v
}
