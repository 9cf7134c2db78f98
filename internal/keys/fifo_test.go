//go:build unix

package keys_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestReadWaitsForNobody: whoever can write to the directory must not be able to
// hang the service with a FIFO that nobody fills.
func TestReadWaitsForNobody(t *testing.T) {
	dir, _ := writeSet(t, newCA(t, domain), "a")
	path := filepath.Join(dir, "ca.crl")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := read(dir)
	wantError(t, err, nil, "ca.crl", "not a regular file")
}
