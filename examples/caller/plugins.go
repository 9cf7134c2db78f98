package main

// The import adds "quic" to the transports that MICRO_TRANSPORT and --transport
// may name.
import _ "github.com/go-signet/signet/transport/quic"
