// Package nats is a go-micro broker on NATS.
package nats
