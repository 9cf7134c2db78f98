package main

// The imports add "quic" to the transports that MICRO_TRANSPORT and --transport may
// name, "signed" to the registries that MICRO_REGISTRY and --registry may, and
// "etcd" to those that SIGNET_REGISTRY may.
import (
	_ "github.com/go-signet/signet/registry/etcd"
	_ "github.com/go-signet/signet/registry/signed"
	_ "github.com/go-signet/signet/transport/quic"
)
