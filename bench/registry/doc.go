// Package registry measures registry/signed beside the registry that it wraps.
//
// There is nothing to import. The README one level up says what is measured and
// how to read it.
package registry
