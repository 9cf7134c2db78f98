package main

import (
	"flag"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/etcd"
	"go-micro.dev/v4/registry"
)

const etcdRegistry = "etcd"

// etcdFlags are what only etcd knows. The account is not among them: command lines
// can be read by others.
type etcdFlags struct {
	servers  names
	prefix   directory
	insecure bool
}

func (e *etcdFlags) flags(fs *flag.FlagSet) {
	fs.Var(&e.servers, "server", "`name` of the service that etcd is (default: etcd); repeat it or separate names by commas")
	fs.Var(&e.prefix, "prefix", "what the `keys` in etcd begin with (default: "+etcd.DefaultPrefix+")")
	fs.BoolVar(&e.insecure, "insecure", false, "talk to etcd in clear, for development: whoever is on the network can hide nodes")
}

func (e *etcdFlags) given() bool { return len(e.servers) > 0 || e.prefix != "" || e.insecure }

// options are of no effect on other registries.
func (e *etcdFlags) options(id *identity.Identity) []registry.Option {
	var opts []registry.Option
	if e.insecure {
		opts = append(opts, etcd.Insecure())
	} else {
		opts = append(opts, etcd.Identity(id))
	}
	if len(e.servers) > 0 {
		opts = append(opts, etcd.Server(e.servers...))
	}
	if e.prefix != "" {
		opts = append(opts, etcd.Prefix(string(e.prefix)))
	}
	return opts
}
