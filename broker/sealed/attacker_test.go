package sealed_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/broker"
	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/nacl/box"
	"golang.org/x/crypto/nacl/secretbox"
)

// What follows makes and opens envelopes by the letter of spec/envelope.md. It shares no
// code with internal/envelope, and asks nobody whether what it makes is allowed.

// forgery is an envelope in its parts.
type forgery struct {
	version, suite, flags byte
	epoch                 []byte
	counter               uint32
	random                []byte
	names                 []string
	header                []byte   // nil: not inline
	grants                [][]byte // of suites without post-quantum part
	ciphertext            []byte
	proof                 []byte
}

func sized[T string | []byte](out []byte, part T) []byte {
	return append(binary.AppendUvarint(out, uint64(len(part))), part...)
}

func (f *forgery) prefix() []byte {
	out := append([]byte("SGNE"), f.version, f.suite, f.flags)
	out = append(out, f.epoch...)
	out = binary.BigEndian.AppendUint32(out, f.counter)
	out = append(out, f.random...)
	out = append(out, byte(len(f.names)))
	for _, name := range f.names {
		out = sized(out, name)
	}
	return out
}

func (f *forgery) bytes() []byte {
	out := f.prefix()
	if f.header != nil {
		out = sized(out, f.header)
		out = sized(out, bytes.Join(f.grants, nil))
	}
	return append(sized(out, f.ciphertext), f.proof...)
}

// on makes a packet of it.
func (f *forgery) on(topic string, clear map[string]string) packet {
	return packet{topic, &broker.Message{Header: maps.Clone(clear), Body: f.bytes()}}
}

// cursor reads an envelope that is known to be good.
type cursor struct{ rest []byte }

func (c *cursor) take(n int) []byte {
	part := c.rest[:n:n]
	c.rest = c.rest[n:]
	return slices.Clone(part)
}

func (c *cursor) number() int {
	v, n := binary.Uvarint(c.rest)
	c.rest = c.rest[n:]
	return int(v)
}

func (c *cursor) sized() []byte { return c.take(c.number()) }

// dissect takes an envelope apart.
func dissect(t testing.TB, raw []byte) *forgery {
	t.Helper()
	c := cursor{raw}
	if string(c.take(4)) != "SGNE" {
		t.Fatal("it is no envelope")
	}
	f := &forgery{version: c.take(1)[0], suite: c.take(1)[0], flags: c.take(1)[0], epoch: c.take(32)}
	f.counter = binary.BigEndian.Uint32(c.take(4))
	f.random = c.take(8)
	for range int(c.take(1)[0]) {
		f.names = append(f.names, string(c.sized()))
	}
	if f.flags&1 != 0 {
		f.header = c.sized()
		for grants := (cursor{c.sized()}); len(grants.rest) > 0; {
			f.grants = append(f.grants, grants.take(48))
		}
	}
	f.ciphertext, f.proof = c.sized(), c.rest
	if !bytes.Equal(f.bytes(), raw) {
		t.Fatal("put together again it is another one")
	}
	return f
}

// heading is the header of an epoch.
type heading struct {
	version, suite, mode byte
	sender               string
	senderKey            []byte
	scope                string
	created, notAfter    time.Time
	most                 uint32
	ephemeral            []byte
	keyIDs               [][]byte
	credential           []byte
}

func (h *heading) bytes() []byte {
	out := sized([]byte{h.version, h.suite, h.mode}, h.sender)
	out = append(out, h.senderKey...)
	out = sized(out, h.scope)
	out = binary.BigEndian.AppendUint64(out, uint64(h.created.Unix()))
	out = binary.BigEndian.AppendUint64(out, uint64(h.notAfter.Unix()))
	out = binary.BigEndian.AppendUint32(out, h.most)
	out = append(out, h.ephemeral...)
	out = binary.AppendUvarint(out, uint64(len(h.keyIDs)))
	out = append(out, bytes.Join(h.keyIDs, nil)...)
	return sized(out, h.credential)
}

func readHeading(raw []byte) *heading {
	c := cursor{raw}
	h := &heading{version: c.take(1)[0], suite: c.take(1)[0], mode: c.take(1)[0]}
	h.sender, h.senderKey, h.scope = string(c.sized()), c.take(32), string(c.sized())
	h.created = time.Unix(int64(binary.BigEndian.Uint64(c.take(8))), 0)
	h.notAfter = time.Unix(int64(binary.BigEndian.Uint64(c.take(8))), 0)
	h.most, h.ephemeral = binary.BigEndian.Uint32(c.take(4)), c.take(32)
	for range c.number() {
		h.keyIDs = append(h.keyIDs, c.take(8))
	}
	h.credential = c.sized()
	return h
}

// member is who something is sealed to.
type member struct {
	id  string
	key []byte // X25519, public
}

func memberOf(id *identity.Identity) member {
	return member{id.ID(), id.BoxKeys()[0].PublicKey().Bytes()}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func newBoxKey(t testing.TB) *ecdh.PrivateKey {
	t.Helper()
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// hkdfOf is HKDF with SHA-256, and 32 bytes of output.
func hkdfOf(secret, salt []byte, label string, more ...[]byte) []byte {
	out, err := hkdf.Key(sha256.New, secret, salt, label+"\x00"+string(bytes.Join(more, nil)), 32)
	if err != nil {
		panic(err)
	}
	return out
}

// pre is crypto_box_beforenm.
func pre(private *ecdh.PrivateKey, public []byte) []byte {
	var shared [32]byte
	box.Precompute(&shared, (*[32]byte)(public), (*[32]byte)(private.Bytes()))
	return shared[:]
}

// secrets are an epoch to those who know its key.
type secrets struct {
	*heading
	header []byte
	key    []byte
	id     []byte
	grants [][]byte
	tags   [][]byte // keys, of those that are known; in the order of the key ids
}

func (s *secrets) setID() {
	sum := sha256.Sum256(append(slices.Clone(s.header), hkdfOf(s.key, nil, "signet/envelope/v1 commit", s.header)...))
	s.id = sum[:]
}

func keyIDOf(key []byte) []byte {
	sum := sha256.Sum256(append([]byte("signet/envelope/v1 key id\x00"), key...))
	return sum[:8]
}

func wrapped(header, ephemeral, static, epochKey []byte, to member) []byte {
	digest := sha256.Sum256(header)
	wrap := hkdfOf(slices.Concat(ephemeral, static), nil, "signet/envelope/v1 wrap", digest[:], to.key, []byte(to.id))
	return secretbox.Seal(nil, epochKey, new([24]byte), (*[32]byte)(wrap))
}

// newSecrets makes an epoch as the holder of a box key can.
func newSecrets(t testing.TB, h heading, sender *ecdh.PrivateKey, to ...member) *secrets {
	t.Helper()
	e := newBoxKey(t)
	h.ephemeral = e.PublicKey().Bytes()
	h.keyIDs = nil
	for _, m := range to {
		h.keyIDs = append(h.keyIDs, keyIDOf(m.key))
	}
	s := &secrets{heading: &h, header: h.bytes(), key: randomBytes(32)}
	s.setID()
	for _, m := range to {
		s.grants = append(s.grants, wrapped(s.header, pre(e, m.key), pre(sender, m.key), s.key, m))
		s.tags = append(s.tags, hkdfOf(pre(sender, m.key), s.id, "signet/envelope/v1 tag", m.key, []byte(m.id)))
	}
	return s
}

// learn opens the epoch of an envelope as a recipient can. Of the tag keys it has its
// own; the others are nil.
func learn(t testing.TB, raw []byte, who *identity.Identity) *secrets {
	t.Helper()
	f, own := dissect(t, raw), memberOf(who)
	h := readHeading(f.header)
	i := slices.IndexFunc(h.keyIDs, func(id []byte) bool { return bytes.Equal(id, keyIDOf(own.key)) })
	if i < 0 {
		t.Fatalf("nothing is sealed to %s", own.id)
	}
	private := who.BoxKeys()[0]
	static := pre(private, h.senderKey)
	digest := sha256.Sum256(f.header)
	wrap := hkdfOf(slices.Concat(pre(private, h.ephemeral), static), nil, "signet/envelope/v1 wrap", digest[:], own.key, []byte(own.id))
	key, ok := secretbox.Open(nil, f.grants[i], new([24]byte), (*[32]byte)(wrap))
	if !ok {
		t.Fatal("the grant does not open")
	}
	s := &secrets{heading: h, header: f.header, key: key, grants: f.grants, tags: make([][]byte, len(h.keyIDs))}
	s.setID()
	if !bytes.Equal(s.id, f.epoch) {
		t.Fatal("the epoch has another id")
	}
	s.tags[i] = hkdfOf(static, s.id, "signet/envelope/v1 tag", own.key, []byte(own.id))
	return s
}

func (s *secrets) aead(t testing.TB) cipher.AEAD {
	t.Helper()
	key := hkdfOf(s.key, s.id, "signet/envelope/v1 payload")
	if s.suite == 2 {
		a, err := chacha20poly1305.New(key)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// blockOfZeros is what AES makes of zeros: the key of GHASH.
func blockOfZeros(t testing.TB, key []byte) (h [16]byte) {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	block.Encrypt(h[:], h[:])
	return h
}

// note is what an attacker wants to say.
type note struct {
	topic   string
	time    time.Time
	headers [][2]string
	clear   map[string]string // by name, values outside
	body    string
	counter uint32
}

func (n *note) plaintext() []byte {
	at := n.time
	if at.IsZero() {
		at = time.Now()
	}
	out := binary.BigEndian.AppendUint64(nil, uint64(at.UnixMicro()))
	out = append(out, 0) // no padding
	out = binary.AppendUvarint(out, uint64(len(n.headers)))
	for _, h := range n.headers {
		out = sized(sized(out, h[0]), h[1])
	}
	return append(out, n.body...)
}

// bound is the associated data.
func (f *forgery) bound(topic string, clear map[string]string) []byte {
	out := sized(f.prefix(), topic)
	out[6] = 0 // whether the epoch comes along is not bound
	for _, name := range f.names {
		out = sized(out, clear[name])
	}
	return out
}

func (f *forgery) nonce() []byte {
	return append(binary.BigEndian.AppendUint32(nil, f.counter), f.random...)
}

func (f *forgery) digest(bound []byte) []byte {
	sum := sha256.Sum256(slices.Concat(binary.BigEndian.AppendUint64(nil, uint64(len(bound))), bound, f.ciphertext))
	return sum[:]
}

func tagOf(key, digest []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(digest)
	return mac.Sum(nil)[:16]
}

// seal makes a message of the epoch, with the tags of the keys that are known and
// nonsense for the others. Mode signed is the caller's.
func (s *secrets) seal(t testing.TB, n note) *forgery {
	t.Helper()
	f := &forgery{
		version: 1, suite: s.suite, flags: 1, epoch: s.id, counter: n.counter, random: randomBytes(8),
		names: slices.Sorted(maps.Keys(n.clear)), header: s.header, grants: s.grants,
	}
	bound := f.bound(n.topic, n.clear)
	f.ciphertext = s.aead(t).Seal(nil, f.nonce(), n.plaintext(), bound)
	if s.mode == 1 {
		for _, key := range s.tags {
			if key == nil {
				f.proof = append(f.proof, randomBytes(16)...)
			} else {
				f.proof = append(f.proof, tagOf(key, f.digest(bound))...)
			}
		}
	}
	return f
}

// plain opens a message, as whoever knows the key of its epoch can.
func (s *secrets) plain(t testing.TB, f *forgery, topic string, clear map[string]string) []byte {
	t.Helper()
	plain, err := s.aead(t).Open(nil, f.nonce(), f.ciphertext, f.bound(topic, clear))
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// headingOf is that of an honest epoch of a member's.
func headingOf(t testing.TB, id *identity.Identity, mode byte) heading {
	t.Helper()
	card, err := id.Card()
	if err != nil {
		t.Fatal(err)
	}
	return heading{
		version: 1, suite: 1, mode: mode, sender: id.ID(), senderKey: id.BoxKeys()[0].PublicKey().Bytes(), scope: "orders.*",
		created: time.Now(), notAfter: time.Now().Add(time.Hour), most: 1 << 20, credential: card,
	}
}
