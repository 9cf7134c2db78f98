//go:build unix

package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// owned is a file of a user.
type owned struct {
	fs.FileInfo
	uid uint32
}

func (o owned) Sys() any { return &syscall.Stat_t{Uid: o.uid} }

func TestOwnerOfRenewedKey(t *testing.T) {
	for name, test := range map[string]struct {
		directory, key uint32
		warns          bool
	}{
		"same user":       {1000, 1000, false},
		"renewed by root": {1000, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			var errs bytes.Buffer
			s := &session{stderr: &errs}
			stat := func(path string) (fs.FileInfo, error) {
				if filepath.Base(path) == "tls.key" {
					return owned{uid: test.key}, nil
				}
				return owned{uid: test.directory}, nil
			}
			warnOwner(s, "keys/greeter", stat)
			if warned := strings.Contains(errs.String(), "chown"); warned != test.warns {
				t.Errorf("warned: %v, want %v", warned, test.warns)
			}
		})
	}
	t.Run("cannot be told", func(t *testing.T) {
		warnOwner(&session{}, filepath.Join(t.TempDir(), "none"), os.Stat)
	})
}
