// Package codec measures codec/encrypted beside the same calls in clear.
//
// There is nothing to import. The README one level up says what is measured and
// how to read it.
package codec
