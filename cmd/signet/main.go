// Command signet makes, renews, revokes and checks the identities that
// Signet's plugins use.
//
// It guarantees that a private key is never printed, that nothing is
// overwritten without --force, that secrets are created with mode 0600 in
// directories of mode 0700, and that every file appears complete or not at
// all, so that a running service never reads half a set.
//
// It assumes that whoever can read the authority's directory may be any
// service of the trust domain: keep it away from the machines that run
// services. It does not encrypt keys at rest.
//
// Exit codes: 0 done, 1 a check or an operation failed, 2 wrong usage.
package main

import "os"

func main() {
	os.Exit(run(os.Args[1:], &session{
		stdin:    os.Stdin,
		stdout:   os.Stdout,
		stderr:   os.Stderr,
		terminal: isTerminal(os.Stdout),
		getenv:   os.Getenv,
	}))
}

// isTerminal tells a terminal from files, pipes and the null device.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
