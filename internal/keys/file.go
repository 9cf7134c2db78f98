package keys

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Modes of what is written.
const (
	DirMode    fs.FileMode = 0o700
	SecretMode fs.FileMode = 0o600
	PublicMode fs.FileMode = 0o644
)

// Sizes above which a file is not read, in bytes.
const (
	MaxKeyFile  = 64 << 10
	MaxCertFile = 1 << 20
	MaxCRLFile  = 8 << 20
)

// access says who may have been able to read or write a file that is loaded.
type access int

const (
	public        access = iota // not writable by everybody
	secret600                   // neither readable nor writable by group and others
	secretFSGroup               // as above, but the group may read
)

// readFile reads a regular file of bounded size, after checking its mode on the
// open descriptor, so that what was checked is what is read.
func readFile(path string, most int64, who access) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := checkMode(path, info.Mode().Perm(), who); err != nil {
		return nil, err
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%s: %d bytes: at most %d", path, info.Size(), most)
	}
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("%s: more than %d bytes", path, most)
	}
	return data, nil
}

// openRegular opens a file without waiting: opening a FIFO would hang until
// somebody writes to it.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|openNonblock, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func checkMode(path string, mode fs.FileMode, who access) error {
	if !modesMatter {
		return nil
	}
	switch who {
	case secret600:
		if mode&0o077 != 0 {
			return fmt.Errorf("%w: %s has mode %04o: run chmod 600 %s", ErrMode, path, mode, path)
		}
	case secretFSGroup:
		if mode&0o037 != 0 {
			return fmt.Errorf("%w: %s has mode %04o: run chmod 640 %s", ErrMode, path, mode, path)
		}
	default:
		if mode&0o002 != 0 {
			return fmt.Errorf("%s has mode %04o and decides whom the service trusts: run chmod 644 %s", path, mode, path)
		}
	}
	return nil
}

// WriteFile puts a file in place as a whole: a temporary name in the same
// directory, created exclusively with its final mode, then a rename. A reader sees
// the old bytes or the new ones.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	return writeFile(path, data, mode, os.Rename)
}

// CreateFile is WriteFile for a file that must not exist yet; the error is
// fs.ErrExist when it does.
func CreateFile(path string, data []byte, mode fs.FileMode) error {
	return writeFile(path, data, mode, func(temp, path string) error {
		// A link, unlike a rename, never replaces what is there.
		if err := os.Link(temp, path); err != nil {
			return err
		}
		return os.Remove(temp)
	})
}

func writeFile(path string, data []byte, mode fs.FileMode, place func(temp, path string) error) (err error) {
	dir, name := filepath.Split(path)
	var random [8]byte
	rand.Read(random[:])
	temp := filepath.Join(dir, "."+name+"."+hex.EncodeToString(random[:]))
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeIfThere(temp))
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return place(temp, path)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
