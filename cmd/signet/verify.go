package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/keys"
	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

// Environment variables that services have their registry from.
const (
	envRegistry = signed.EnvInner
	envAddress  = "MICRO_REGISTRY_ADDRESS"
)

func verifyCommand() command {
	return command{
		name:     "verify",
		synopsis: "[FLAGS] [IDENTITY-DIRECTORY]",
		summary:  "list what is registered, and why it is or is not trusted",
		details: `
Reads a registry and says of each node whether services with the trust of an
identity directory use it, and if not, why and what to do. The directory is the
argument, or what SIGNET_IDENTITY names. Nothing is written to the registry.

Registries: etcd, over TLS with the identity's certificate, to servers that are
the service "etcd" of a trusted domain unless --ca or --server says otherwise,
and with the account in ETCD_USERNAME and ETCD_PASSWORD; mdns, go-micro's default on one network; file, which reads
registrations in JSON from the file that --address names, "-" for stdin: one
after the other or in arrays, as 'etcdctl get --print-value-only' prints them.

It sees what is registered now. A record that was put back after a newer one is
refused by services that saw the newer one, and looks trusted here until it ends.

The exit code is 0 if all nodes are trusted or withdrawn by their service, also
if there is none at all; 1 if one is not, if a --service has no node, or if the
registry cannot be read.`,
		examples: []string{
			"signet verify keys/greeter --registry etcd --address etcd-1:2379,etcd-2:2379",
			"signet verify keys/greeter --registry etcd --address etcd-1:2379 --service greeter --json",
			"signet verify keys/greeter --registry mdns",
			"signet verify keys/greeter --registry file --address registrations.json",
		},
		maxArgs: 1,
		setup: func(fs *flag.FlagSet) action {
			var v verification
			v.flags(fs)
			group := groupFlag(fs)
			return func(s *session, args []string) error {
				v.dir = s.getenv(identity.EnvDir)
				if len(args) == 1 {
					v.dir = args[0]
				}
				return v.run(s, s.readOptions(*group))
			}
		},
	}
}

// verification is one run of the command.
type verification struct {
	dir      string
	source   source
	services names
	allowed  allowances
}

func (v *verification) flags(fs *flag.FlagSet) {
	v.source.flags(fs)
	fs.Var(&v.services, "service", "only the service of that `name`; repeat it or separate names by commas")
	fs.Var(&v.allowed, "allow", "`SERVICE=MEMBER[,MEMBER…]` that may register it too, as signed.Allow has it; may be repeated")
}

func (v *verification) run(s *session, read keys.ReadOptions) error {
	if v.dir == "" {
		return usagef("name an identity directory, or set %s: it says whom to trust", identity.EnvDir)
	}
	if err := v.source.complete(s); err != nil {
		return err
	}
	id, err := loadIdentity(v.dir, read)
	if err != nil {
		return err
	}
	defer id.Close()
	reader, err := v.source.open(s, id)
	if err != nil {
		return err
	}
	defer reader.close()
	found, err := v.findings(reader, id)
	if err != nil {
		return withHint(fmt.Errorf("the registry %s could not be read: %w", &v.source, err),
			"check --address and the network; --timeout gives it longer than %v", v.source.timeout)
	}
	found.Identity, found.Registry, found.Address = id.ID(), v.source.registry, v.source.address
	if err := s.printVerified(found); err != nil {
		return err
	}
	if found.Refused > 0 || len(found.NotFound) > 0 {
		return errChecksFailed
	}
	return nil
}

// loadIdentity loads a directory as a service does, without a word.
func loadIdentity(dir string, read keys.ReadOptions) (*identity.Identity, error) {
	opts := []identity.LoadOption{identity.Logger(slog.New(slog.DiscardHandler))}
	if read.GroupReadable {
		opts = append(opts, identity.GroupReadable())
	}
	return identity.Load(dir, opts...)
}

// findings reads the registry and judges what it says.
func (v *verification) findings(reader *reader, id *identity.Identity) (*verified, error) {
	asked := len(v.services) > 0
	services := slices.Clone([]string(v.services))
	if !asked {
		var err error
		if services, err = reader.list(); err != nil {
			return nil, err
		}
	}
	slices.Sort(services)
	out := &verified{Nodes: []nodeInfo{}, NotFound: []string{}}
	for _, service := range slices.Compact(services) {
		answer, err := reader.get(service)
		if err != nil && !errors.Is(err, registry.ErrNotFound) {
			return nil, err
		}
		findings, err := signed.Inspect(id, service, answer, v.allowed.options...)
		if err != nil {
			return nil, err
		}
		for _, f := range findings {
			out.add(f)
		}
		if asked && len(findings) == 0 {
			out.NotFound = append(out.NotFound, service)
		}
	}
	return out, nil
}

// allowances is a flag that may be repeated.
type allowances struct {
	text    []string
	options []registry.Option
}

func (a *allowances) String() string { return strings.Join(a.text, " ") }

func (a *allowances) Set(text string) error {
	service, list, _ := strings.Cut(text, "=")
	var members names
	if err := members.Set(list); err != nil || service == "" {
		return fmt.Errorf("want SERVICE=MEMBER or SERVICE=MEMBER,MEMBER")
	}
	a.text, a.options = append(a.text, text), append(a.options, signed.Allow(service, members...))
	return nil
}

// source is the registry that is read.
type source struct {
	registry string
	address  string
	ca       string
	timeout  time.Duration
	etcd     etcdFlags
}

func (o *source) flags(fs *flag.FlagSet) {
	fs.StringVar(&o.registry, "registry", "", "`kind` of registry: etcd, mdns or file (default: what "+envRegistry+" names)")
	fs.StringVar(&o.address, "address", "", "`host:port` of the registry, several separated by commas; of a file its path (default: what "+envAddress+" names)")
	fs.StringVar(&o.ca, "ca", "", "`file` with the CAs of the registry's certificate, if it is none of the identity's trust domain")
	fs.DurationVar(&o.timeout, "timeout", 10*time.Second, "how long the registry may take for one answer")
	o.etcd.flags(fs)
}

// String is for messages.
func (o *source) String() string {
	if o.address == "" {
		return o.registry
	}
	return o.registry + " at " + o.address
}

// complete adds what the environment says, and refuses what makes no sense.
func (o *source) complete(s *session) error {
	if o.registry == "" {
		o.registry = s.getenv(envRegistry)
	}
	if o.address == "" && o.registry != mdnsRegistry && o.registry != fileRegistry {
		o.address = s.getenv(envAddress)
	}
	switch {
	case o.registry == "":
		return usagef("which registry? give --registry, one of: %s", strings.Join(registryNames(), ", "))
	case !slices.Contains(registryNames(), o.registry):
		return usagef("this program does not know the registry %s; it has: %s", o.registry, strings.Join(registryNames(), ", "))
	case o.registry == mdnsRegistry && o.address != "":
		return usagef("mdns has no --address: it asks the network that this machine is on")
	case o.registry == fileRegistry && o.address == "":
		return usagef("name the file with --address, or \"-\" for stdin")
	case o.ca != "" && (o.registry == mdnsRegistry || o.registry == fileRegistry):
		return usagef("--ca is of no use with --registry %s", o.registry)
	case o.timeout < time.Millisecond:
		return usagef("--timeout %v: want at least 1ms", o.timeout)
	case o.etcd.given() && o.registry != etcdRegistry:
		return usagef("--server, --prefix and --insecure are for --registry etcd")
	case o.etcd.insecure && (o.ca != "" || len(o.etcd.servers) > 0):
		return usagef("--insecure asks nobody who he is: leave out --ca and --server, or --insecure")
	}
	return nil
}
