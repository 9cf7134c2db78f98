// Package verify tests signet verify, as a process, on etcd servers that run.
package verify
