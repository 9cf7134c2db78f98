// Package seal measures the sealing engine beside other ways to encrypt a message to
// several recipients.
//
// There is nothing to import. The README one level up says what is measured and how to
// read it.
package seal
