// Package bench measures Signet's transport beside the transports it replaces.
//
// There is nothing to import: the module holds benchmarks, the test that every
// peer echoes correctly, and cmd/report, which turns raw results into tables and
// charts. It is a module of its own so that grpc and the plotting libraries never
// reach a consumer's go.mod. README.md says what is measured and how to read it.
package bench
