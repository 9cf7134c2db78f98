// Package sealed tests broker/sealed over real brokers: go-micro's own, broker/nats on
// embedded NATS servers, and go-micro's NATS plugin.
package sealed
