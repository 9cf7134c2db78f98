// Package etcd is a go-micro registry on etcd v3:
//
//	reg := etcd.NewRegistry(registry.Addrs("etcd-1:2379", "etcd-2:2379"), etcd.Identity(id))
//	service := micro.NewService(micro.Name("greeter"), micro.Registry(reg))
//
// What it guarantees. Nothing goes to etcd in clear, and to no server that did not
// prove who it is, unless Insecure is among the options. Every call ends within its
// timeout. A record is written only where there was none or one of our own: what
// another owner registered is never overwritten, and the attempt is ErrTaken. A
// record that has been registered stays so until Deregister or Close: a lease that
// ends, a key that is deleted or spoilt, a partition longer than the TTL are
// repaired. Afterwards nothing brings it back. GetService reads what a majority of
// etcd has agreed on. A watcher delivers every change there is after Watch
// returned, in order; where etcd has forgotten changes, or the caller is slower than
// they come, it delivers the difference instead.
//
// What it assumes. Whoever may write a service's prefix in etcd is honest about it:
// the owner of a record is a field that a liar can fill in. Give each service an
// account that may write its own prefix only (README.md has the commands), and wrap
// this registry in registry/signed, whose records cannot be forged.
//
// What it does not protect. Records are not encrypted; everybody who may read the
// prefix reads them. An etcd server whose certificate is revoked keeps the
// connections it has. Without a TTL a record outlives a process that dies.
//
// Keys. They come from package identity, or from a *tls.Config given by
// registry.TLSConfig, which is cloned and hardened. Without either the directory
// that $SIGNET_IDENTITY names is used.
//
// # Layout
//
// The record of a node is the key <prefix><service>/<node ID>, with the prefix
// "/micro/registry/". In the two names '%', '/', control characters and the names
// "." and ".." as a whole are written as %XX. The value is the JSON of a
// registry.Service with that one node, and beside go-micro's fields "owner", the
// SPIFFE ID of who registered it, and "instance", a random name of the process's
// registry. go-micro's own etcd plugin has the same layout and ignores the two
// fields, so both can share an etcd as long as no name needs escaping.
//
// # Who owns a record
//
// With Identity the owner is its ID, and a record of the same owner is that of an
// earlier life: it is taken over. A record without owner is taken over if its node
// has the same address. Of two living processes with the same owner and the same
// node ID the one that registered last has the record; the other one's Register
// returns ErrTaken until it is gone, and then has it again.
package etcd

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/util/cmd"
)

func init() {
	cmd.DefaultRegistries["etcd"] = NewRegistry
}

// NewRegistry returns the registry. It also has a Close method (io.Closer) that ends
// its connections, its watchers and its care for what is registered.
//
// The constructor cannot fail and does not touch the network: a configuration that
// is missing or refused is reported by every call.
func NewRegistry(opts ...registry.Option) registry.Registry {
	r := &etcdRegistry{
		opts:     registry.Options{Logger: logger.DefaultLogger},
		instance: rand.Text(),
		keepers:  map[string]*keeper{},
		watchers: map[*watcher]struct{}{},
	}
	for _, o := range opts {
		o(&r.opts)
	}
	return r
}

// etcdRegistry is always used by pointer: go-micro compares registries with !=.
type etcdRegistry struct {
	instance string // tells our records from those of an earlier life

	mu       sync.Mutex
	opts     registry.Options
	settings *settings          // made from opts when first needed; nil after Init
	env      *identity.Identity // loaded from the environment: ours to close
	link     *link              // the client; nil until first needed, and after Init
	keepers  map[string]*keeper // by key
	watchers map[*watcher]struct{}
	wg       sync.WaitGroup // of links, keepers and watchers
	closed   bool
}

var _ io.Closer = (*etcdRegistry)(nil)

// Init applies further options. Calls that follow use them, and so do watchers and
// registrations, which connect anew. The error is the one that those calls would
// return, except that a missing identity is not an error yet: a later Init may bring
// it.
func (r *etcdRegistry) Init(opts ...registry.Option) error {
	old, err := r.configure(opts)
	if old != nil {
		old.close()
	}
	return err
}

func (r *etcdRegistry) configure(opts []registry.Option) (old *link, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errClosed()
	}
	next := r.opts
	for _, o := range opts {
		o(&next)
	}
	if len(r.keepers) > 0 {
		before, _ := prefix(&r.opts)
		if after, err := prefix(&next); err == nil && after != before {
			return nil, fmt.Errorf("etcd: %w: etcd.Prefix cannot change while something is registered: deregister first", ErrInvalid)
		}
	}
	r.opts = next
	if len(opts) > 0 {
		old, r.link, r.settings = r.link, nil, nil
	}
	if _, err := check(&r.opts); err != nil && !errors.Is(err, ErrNoIdentity) {
		return old, err
	}
	return old, nil
}

// Options returns the options in force.
func (r *etcdRegistry) Options() registry.Options {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.opts
}

// String returns "etcd".
func (r *etcdRegistry) String() string { return "etcd" }

// Close ends the connections, the watchers and the care for what is registered,
// which is not deregistered: records with a TTL lapse, others stay. It is idempotent
// and does not wait for etcd.
func (r *etcdRegistry) Close() error {
	r.mu.Lock()
	r.closed = true
	for _, k := range r.keepers {
		k.cancel()
	}
	for w := range r.watchers {
		w.cancel()
	}
	l, env := r.link, r.env
	r.link, r.env = nil, nil
	r.mu.Unlock()

	if l != nil {
		l.close()
	}
	r.wg.Wait()
	if env != nil {
		return env.Close()
	}
	return nil
}

// current returns the settings in force.
func (r *etcdRegistry) current() (*settings, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.currentLocked()
}

func (r *etcdRegistry) currentLocked() (*settings, error) {
	if r.closed {
		return nil, errClosed()
	}
	if r.settings != nil {
		return r.settings, nil
	}
	s, env, err := resolve(&r.opts, r.env)
	r.env = env
	if err != nil {
		return nil, err
	}
	r.settings = s
	return s, nil
}

func errClosed() error { return fmt.Errorf("etcd: %w: make a new registry", ErrClosed) }
