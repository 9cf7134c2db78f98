// Package caller carries a verified caller from the transport that
// authenticated it to the handler that asks for it, through go-micro's request
// metadata, which is a map of strings that anybody may write to.
//
// It guarantees that a value which Open accepts was made by Seal in this very
// process, for the same leaf certificate and the same pair of socket addresses.
//
// It assumes that whoever calls Seal has verified the leaf, and that whoever
// calls Open takes the two addresses from a place the peer cannot write to.
//
// It does not hide the certificate, and it does not expire a value: a value that
// leaks to another process is only as good as the pair of addresses it names.
// Transports therefore drop reserved keys on the way out as well as on the way in.
//
// The key is 32 random bytes, made at process start and never stored; a value
// means nothing to another process or after a restart, so there is no format to
// be compatible with.
package caller

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Header is the metadata key that holds the sealed caller. Every key that begins
// with it, in any spelling, is reserved: see Reserved.
const Header = "Signet-Caller"

const (
	context = "signet/caller/v1\x00"

	tagSize   = sha256.Size
	factsSize = 1
	// maxLeaf bounds what Open decodes. A leaf with a few names is about 1 KiB.
	maxLeaf = 64 << 10

	factHome = 1
)

// processKey is made once, on first use, and never changes: state that outlives
// a call, but that nobody can set.
var processKey = sync.OnceValue(func() (key [32]byte) {
	rand.Read(key[:])
	return key
})

// Reserved reports whether a message header with this key must be dropped when
// it comes from outside. It folds case more widely than ASCII, because go-micro
// title-cases metadata keys on its way to the handler: U+017F 'ſ', for one,
// becomes 'S', and would turn into Header what a byte comparison let through.
// Every key that begins with Header is reserved.
func Reserved(key string) bool {
	rest := key
	for i := range len(Header) {
		want := Header[i]
		if rest == "" {
			return false
		}
		c := rest[0]
		if c < utf8.RuneSelf {
			if lower(c) != lower(want) {
				return false
			}
			rest = rest[1:]
			continue
		}
		r, size := utf8.DecodeRuneInString(rest)
		if unicode.ToLower(unicode.ToUpper(r)) != rune(lower(want)) {
			return false
		}
		rest = rest[size:]
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

// Seal returns the value of Header for a peer whose verified leaf certificate is
// leafDER, on the socket whose Local and Remote strings are given. It says
// nothing about the peer's trust domain; see SealHome. It costs one HMAC over the
// leaf: call it once a connection, not once a message.
func Seal(leafDER []byte, local, remote string) string {
	return seal(leafDER, local, remote, 0)
}

// SealHome is Seal for a peer that was verified to be of the service's own trust
// domain. Only then may the handler know it by its bare service name: a
// federated domain has a "billing" of its own.
func SealHome(leafDER []byte, local, remote string) string {
	return seal(leafDER, local, remote, factHome)
}

func seal(leafDER []byte, local, remote string, facts byte) string {
	value := make([]byte, 0, tagSize+factsSize+len(leafDER))
	value = tag(value, leafDER, local, remote, facts)
	value = append(value, facts)
	value = append(value, leafDER...)
	return base64.RawURLEncoding.EncodeToString(value)
}

// Open returns the leaf that Seal was given, if value was made in this process
// for exactly these addresses. The comparison takes constant time.
func Open(value, local, remote string) (leafDER []byte, ok bool) {
	leafDER, _, ok = OpenHome(value, local, remote)
	return leafDER, ok
}

// OpenHome is Open that also reports whether the value came from SealHome.
func OpenHome(value, local, remote string) (leafDER []byte, home, ok bool) {
	if len(value) > base64.RawURLEncoding.EncodedLen(tagSize+factsSize+maxLeaf) {
		return nil, false, false
	}
	if strings.ContainsAny(value, "\r\n") { // which the decoder would skip
		return nil, false, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(value)
	if err != nil || len(raw) <= tagSize+factsSize {
		return nil, false, false
	}
	facts, leaf := raw[tagSize], raw[tagSize+factsSize:]
	want := tag(make([]byte, 0, tagSize), leaf, local, remote, facts)
	if !hmac.Equal(raw[:tagSize], want) {
		return nil, false, false
	}
	return leaf, facts == factHome, true
}

// tag appends the MAC. The addresses are length-prefixed, so that no part of one
// can be taken for a part of the other.
func tag(to, leafDER []byte, local, remote string, facts byte) []byte {
	key := processKey()
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(context))
	writeString(mac, local)
	writeString(mac, remote)
	mac.Write([]byte{facts})
	mac.Write(leafDER)
	return mac.Sum(to)
}

func writeString(mac hash.Hash, s string) {
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(len(s)))
	mac.Write(size[:])
	mac.Write([]byte(s))
}
