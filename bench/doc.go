// Package bench measures Signet's transport beside the transports it replaces.
//
// There is nothing to import: the module holds benchmarks, the tests that every peer
// does its work, and commands that turn raw results into tables and charts. It is a
// module of its own so that grpc, nats-server and the plotting libraries never reach a
// consumer's go.mod. README.md says what is measured and how to read it.
package bench
