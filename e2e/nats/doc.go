// Package nats tests broker/nats against real NATS servers: in clear and with TLS, alone
// and in clusters, while the network and the servers fail.
package nats
