// Package etcd tests registry/etcd against real etcd servers: what breaks between a
// service and etcd, who may do what, and go-micro's own client and server over it.
package etcd
