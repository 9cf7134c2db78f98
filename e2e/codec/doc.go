// Package codec tests encrypted calls of go-micro services that find each other, and each
// other's keys, in a signed registry. There is nothing to import.
package codec
