package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/keys"
	"github.com/go-signet/signet/internal/pernode"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/util/cmd"
)

// Registries that need no client of their own.
const (
	mdnsRegistry = "mdns"
	fileRegistry = "file"
)

// mdnsWait is how long one question to mDNS waits for answers: all of it, since
// nobody knows which answer is the last.
const mdnsWait = time.Second

// grace is how much longer than its timeout a registry may take to say why.
const grace = time.Second

// registryNames lists the registries of this program. One that lives in its process
// has nothing to verify, and the signed one hides what is to be seen.
func registryNames() []string {
	known := []string{fileRegistry, mdnsRegistry}
	for name := range maps.Keys(cmd.DefaultRegistries) {
		if name != "signed" && name != "memory" && !slices.Contains(known, name) {
			known = append(known, name)
		}
	}
	slices.Sort(known)
	return known
}

// registryReader is as much of a registry as is used.
type registryReader interface {
	GetService(string, ...registry.GetOption) ([]*registry.Service, error)
	ListServices(...registry.ListOption) ([]*registry.Service, error)
}

// reader reads a registry, and gives up in time also where the registry does not.
type reader struct {
	from    registryReader
	timeout time.Duration
}

func (o *source) open(s *session, id *identity.Identity) (*reader, error) {
	r := &reader{timeout: o.timeout + grace}
	var err error
	switch o.registry {
	case fileRegistry:
		r.from, err = readRegistrations(s, o.address)
	case mdnsRegistry:
		r.from = registry.NewRegistry(registry.Timeout(min(o.timeout, mdnsWait)))
	default:
		r.from, err = o.connect(id)
	}
	return r, err
}

// connect makes the client of a registry. It connects when it is first asked.
func (o *source) connect(id *identity.Identity) (registry.Registry, error) {
	opts := []registry.Option{registry.Timeout(o.timeout)}
	if o.address != "" {
		opts = append(opts, registry.Addrs(strings.Split(o.address, ",")...))
	}
	if o.ca != "" {
		pool, err := readPool(o.ca)
		if err != nil {
			return nil, err
		}
		opts = append(opts, registry.Secure(true), registry.TLSConfig(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}))
	}
	return cmd.DefaultRegistries[o.registry](append(opts, o.etcd.options(id)...)...), nil
}

func readPool(path string) (*x509.CertPool, error) {
	data, err := readBounded(path, keys.MaxCertFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s: no certificate in PEM", path)
	}
	return pool, nil
}

func (r *reader) close() {
	if c, ok := r.from.(io.Closer); ok {
		_ = c.Close() // nothing was written
	}
}

// list returns the names of the services.
func (r *reader) list() (services []string, err error) {
	answer, err := r.within(func() ([]*registry.Service, error) { return r.from.ListServices() })
	if errors.Is(err, registry.ErrNotFound) {
		return nil, nil
	}
	for _, s := range answer {
		if s != nil {
			services = append(services, s.Name)
		}
	}
	return services, err
}

// get returns what the registry says of a service, node by node if it can.
func (r *reader) get(service string) ([]*registry.Service, error) {
	return r.within(func() ([]*registry.Service, error) { return r.from.GetService(service, pernode.Option()) })
}

// within leaves a call behind that does not end: this process ends soon.
func (r *reader) within(call func() ([]*registry.Service, error)) ([]*registry.Service, error) {
	type outcome struct {
		answer []*registry.Service
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		answer, err := call()
		done <- outcome{answer, err}
	}()
	timer := time.NewTimer(r.timeout)
	defer timer.Stop()
	select {
	case o := <-done:
		return o.answer, o.err
	case <-timer.C:
		return nil, fmt.Errorf("no answer in %v", r.timeout)
	}
}
