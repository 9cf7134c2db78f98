package quic

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"os"

	quicgo "github.com/quic-go/quic-go"
)

// resetLabel separates the key from all others that come of a box key.
const resetLabel = "signet/stateless-reset/v1"

// resetKey is what a listener on addr proves with that it once was the peer of a
// connection that it has forgotten: the user's key or, with an identity, one that
// comes of its box key. A service that is restarted at the same place then has it
// again, if its box.key is a file, and clients of the one that crashed need not
// wait for a timeout. Host name and address are part of it because replicas may
// share their keys: with one reset key, one replica could be made to reset the
// connections of another (RFC 9000 section 21.11).
func resetKey(set *settings, addr string) (*quicgo.StatelessResetKey, error) {
	var key quicgo.StatelessResetKey
	if set.resetKey != nil {
		key = *set.resetKey
		return &key, nil
	}
	host, err := os.Hostname()
	if id := set.creds.id; id != nil && err == nil {
		if box := id.BoxKeys(); len(box) > 0 {
			info := string(lengthPrefixed(lengthPrefixed([]byte(resetLabel), host), addr))
			b, err := hkdf.Key(sha256.New, box[0].Bytes(), nil, info, len(key))
			if err != nil {
				return nil, err
			}
			return (*quicgo.StatelessResetKey)(b), nil
		}
	}
	_, err = rand.Read(key[:])
	return &key, err
}

func lengthPrefixed(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}
