package seal

import (
	"bytes"
	"io"
	"testing"

	"filippo.io/age"
)

// file is a file of age, for X25519 recipients. It names no sender.
type file struct {
	to         []age.Recipient
	identities []*age.X25519Identity
	out, plain bytes.Buffer
	messages   [1][]byte
}

func ageX25519(tb testing.TB, n int) sealer {
	f := new(file)
	for range n {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			tb.Fatal(err)
		}
		f.to, f.identities = append(f.to, id.Recipient()), append(f.identities, id)
	}
	return f
}

func (f *file) seal(body []byte) ([][]byte, error) {
	f.out.Reset()
	w, err := age.Encrypt(&f.out, f.to...)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(body); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	f.messages[0] = f.out.Bytes()
	return f.messages[:], nil
}

func (f *file) open(messages [][]byte, i int) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(messages[0]), f.identities[i])
	if err != nil {
		return nil, err
	}
	f.plain.Reset()
	if _, err := io.Copy(&f.plain, r); err != nil {
		return nil, err
	}
	return f.plain.Bytes(), nil
}
