package envelope

import (
	"crypto/cipher"
	"crypto/ecdh"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/nacl/box"
)

// Recipient is one box key that messages are sealed to. A service of several
// replicas may have several.
type Recipient struct {
	ID  string // SPIFFE ID
	Key *ecdh.PublicKey
	PQ  []byte // MLKEM768-X25519 public key, for the post-quantum suites
}

// Params say what an epoch is.
type Params struct {
	Suite      Suite
	Sender     string           // SPIFFE ID
	SenderKey  *ecdh.PrivateKey // the box key that recipients know as the sender's
	Scope      string
	Recipients []Recipient // 1 to 1024; each key once
	Created    time.Time
	NotAfter   time.Time
	Most       uint32 // messages; 0 means MaxMessages
	Credential []byte // at most 32 KiB; see Header
	// Sign proves the sender by a signature over 32 bytes, in place of a tag for each
	// recipient. It must be safe for concurrent use.
	Sign func(digest []byte) ([]byte, error)
}

// Epoch seals messages of one sender to the same recipients. All public-key work is
// done when it is made. It is safe for concurrent use.
type Epoch struct {
	header  []byte
	grants  []byte
	id      [EpochIDSize]byte
	suite   Suite
	mode    Mode
	most    uint32
	sign    func([]byte) ([]byte, error)
	aead    cipher.AEAD
	proofs  proofs
	counter atomic.Uint32

	exporter key
}

// NewEpoch makes an epoch with a key from random, and of an ephemeral key pair that
// is forgotten at once.
func NewEpoch(p *Params, random io.Reader) (*Epoch, error) {
	h, err := p.header()
	if err != nil {
		return nil, err
	}
	ephemeral, secret, err := fresh(random)
	if err != nil {
		return nil, err
	}
	h.Ephemeral = ephemeral.PublicKey().Bytes()
	e := &Epoch{header: h.encode(), suite: h.Suite, mode: h.Mode, most: h.Most, sign: p.Sign}
	if _, err := ParseHeader(e.header); err != nil {
		return nil, err
	}
	if e.id, err = epochID(secret, e.header); err != nil {
		return nil, err
	}
	if e.aead, err = payloads(h.Suite, secret, e.id); err != nil {
		return nil, err
	}
	if e.exporter, err = derive(secret[:], e.id[:], []byte(labelExport)); err != nil {
		return nil, err
	}
	for _, r := range p.Recipients {
		if err := e.grant(p, ephemeral, secret, r); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (p *Params) header() (*Header, error) {
	switch {
	case p.SenderKey == nil || p.SenderKey.Curve() != ecdh.X25519():
		return nil, fmt.Errorf("%w: the sender's: want an X25519 key", ErrKey)
	case len(p.Credential) > MaxCredential:
		return nil, fmt.Errorf("%w: a credential of %d bytes: at most %d", ErrLimit, len(p.Credential), MaxCredential)
	case len(p.Recipients) == 0 || len(p.Recipients) > MaxRecipients:
		return nil, fmt.Errorf("%w: %d recipient keys: want 1 to %d", ErrLimit, len(p.Recipients), MaxRecipients)
	}
	h := &Header{
		Suite: p.Suite, Mode: Tagged, Sender: p.Sender, SenderKey: p.SenderKey.PublicKey().Bytes(),
		Scope: p.Scope, Created: p.Created, NotAfter: p.NotAfter, Most: p.Most, Credential: p.Credential,
	}
	if h.Most == 0 {
		h.Most = MaxMessages
	}
	switch {
	case p.Sign != nil:
		h.Mode = Signed
	case len(p.Recipients) == 1:
		h.Mode = Pairwise
	}
	seen := make(map[string]bool, len(p.Recipients))
	for _, r := range p.Recipients {
		if r.Key == nil || r.Key.Curve() != ecdh.X25519() {
			return nil, fmt.Errorf("%w: of %s: want an X25519 key", ErrKey, r.ID)
		}
		pq := r.PQ
		if !p.Suite.PQ() {
			pq = nil
		}
		if raw := string(r.Key.Bytes()) + string(pq); seen[raw] {
			return nil, fmt.Errorf("%w: of %s: it is there twice", ErrKey, r.ID)
		} else {
			seen[raw] = true
		}
		h.KeyIDs = append(h.KeyIDs, keyID(r.Key, pq))
	}
	return h, nil
}

// fresh returns an ephemeral key pair and an epoch key. (GenerateKey would leave out
// random.)
func fresh(random io.Reader) (ephemeral *ecdh.PrivateKey, secret key, err error) {
	var raw key
	if _, err := io.ReadFull(random, raw[:]); err != nil {
		return nil, secret, fmt.Errorf("envelope: randomness: %w", err)
	}
	if ephemeral, err = ecdh.X25519().NewPrivateKey(raw[:]); err != nil {
		return nil, secret, fmt.Errorf("envelope: %w", err)
	}
	if _, err := io.ReadFull(random, secret[:]); err != nil {
		return nil, secret, fmt.Errorf("envelope: randomness: %w", err)
	}
	return ephemeral, secret, nil
}

// grant wraps the epoch key for one recipient.
func (e *Epoch) grant(p *Params, ephemeral *ecdh.PrivateKey, secret key, r Recipient) error {
	var shared pair
	var err error
	if shared.ephemeral, err = precompute(ephemeral, r.Key); err != nil {
		return fmt.Errorf("of %s: %w", r.ID, err)
	}
	if shared.static, err = precompute(p.SenderKey, r.Key); err != nil {
		return fmt.Errorf("of %s: %w", r.ID, err)
	}
	if e.suite.PQ() {
		var encapsulation []byte
		if encapsulation, shared.pq, err = encapsulate(e.header, r); err != nil {
			return err
		}
		e.grants = append(e.grants, encapsulation...)
	}
	wrap, err := shared.wrapKey(e.header, r.ID, r.Key)
	if err != nil {
		return err
	}
	// A wrapping key is used once, so its nonce may be zero.
	e.grants = box.SealAfterPrecomputation(e.grants, secret[:], new([24]byte), &wrap)
	if e.mode != Tagged {
		return nil
	}
	tag, err := shared.tagKey(e.id, r.ID, r.Key)
	if err != nil {
		return err
	}
	e.proofs.add(tag)
	return nil
}

// ID names the epoch.
func (e *Epoch) ID() [EpochIDSize]byte { return e.id }

// Left is how many messages it may still seal.
func (e *Epoch) Left() uint32 { return e.most - min(e.counter.Load(), e.most) }

// Field is a header of a message.
type Field struct{ Name, Value string }

// Message is what is sealed.
type Message struct {
	Topic string
	Time  time.Time // to the microsecond
	// Clear are headers whose values travel outside the envelope: they can be read
	// and not be changed. Sorted by name, each name once.
	Clear   []Field
	Headers []Field // sealed, each name once
	Body    []byte
	Padding int // bytes that hide the size
}

// Seal appends a sealed message to dst. random must never repeat within an epoch
// unless the counter differs; it is there for copies of a process, whose counters
// are the same. inline puts the epoch's header and grants in front: a receiver needs
// them once.
func (e *Epoch) Seal(dst []byte, m *Message, random [RandomSize]byte, inline bool) ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	plain := m.size()
	size := prefixSize + len(e.header) + len(e.grants) + plain + overhead + e.proofs.size() + 64
	for i := range m.Clear {
		size += len(m.Clear[i].Name) + 2
	}
	if size > MaxSize {
		return nil, tooLarge(size)
	}
	counter := e.counter.Add(1) - 1
	if counter >= e.most {
		e.counter.Store(e.most) // so that it cannot wrap around
		return nil, ErrExhausted
	}
	if !inline {
		size -= len(e.header) + len(e.grants)
	}
	out := slices.Grow(dst, size)
	start := len(out)
	out = e.appendPrefix(out, m, counter, random, inline)
	prefix := out[start:len(out):len(out)]
	if inline {
		out = e.appendEpoch(out)
	}
	out = binary.AppendUvarint(out, uint64(plain+overhead))
	at := len(out)
	out = m.append(out)

	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	s.begin(prefix, m.Topic)
	s.bindClear(m.Clear)
	nonce := prefix[flagsAt+1+EpochIDSize:][:nonceSize]
	out = e.aead.Seal(out[:at], nonce, out[at:], s.bound)
	if e.mode == Pairwise {
		return out, nil
	}
	return e.prove(out, s, out[at:])
}

// What follows is not inlined, as errors of Open are not made there.

//go:noinline
func (s *scratch) bindClear(clear []Field) {
	for i := range clear {
		s.bound = appendSized(s.bound, clear[i].Value)
	}
}

//go:noinline
func (e *Epoch) appendEpoch(out []byte) []byte {
	return appendSized(appendSized(out, e.header), e.grants)
}

//go:noinline
func tooLarge(size int) error {
	return fmt.Errorf("%w: a message of %d bytes: at most %d", ErrLimit, size, MaxSize)
}

// Inline puts the epoch in front of a message that it has sealed without, for a receiver
// that does not know it. It is the same message still, which Replay knows: nothing is
// sealed again, and whether the epoch comes along is not part of what is sealed.
func (e *Epoch) Inline(sealed []byte) ([]byte, error) {
	m, err := Parse(sealed)
	if err != nil {
		return nil, err
	}
	if m.Epoch != e.id || m.Header != nil {
		return nil, fmt.Errorf("%w: of another epoch, or it comes with one", ErrMalformed)
	}
	out := make([]byte, 0, len(sealed)+len(e.header)+len(e.grants)+2*binary.MaxVarintLen32)
	out = append(out, m.prefix...)
	out[flagsAt] |= flagEpoch
	out = e.appendEpoch(out)
	return append(out, sealed[len(m.prefix):]...), nil
}

//go:noinline
func (e *Epoch) appendPrefix(out []byte, m *Message, counter uint32, random [RandomSize]byte, inline bool) []byte {
	var flags byte
	if inline {
		flags |= flagEpoch
	}
	out = append(out, magic...)
	out = append(out, version, byte(e.suite), flags)
	out = append(out, e.id[:]...)
	out = binary.BigEndian.AppendUint32(out, counter)
	out = append(out, random[:]...)
	out = append(out, byte(len(m.Clear)))
	for _, f := range m.Clear {
		out = appendSized(out, f.Name)
	}
	return out
}

// prove appends the proof of the sender.
//
//go:noinline
func (e *Epoch) prove(out []byte, s *scratch, ciphertext []byte) ([]byte, error) {
	switch e.mode {
	case Tagged:
		return e.proofs.append(out, s.digest(ciphertext)), nil
	case Signed:
		signature, err := e.sign(s.digest(ciphertext))
		if err != nil {
			return nil, fmt.Errorf("envelope: sign: %w", err)
		}
		if len(signature) == 0 || len(signature) > MaxSignature {
			return nil, fmt.Errorf("%w: a signature of %d bytes", ErrLimit, len(signature))
		}
		return appendSized(out, signature), nil
	}
	return out, nil
}

func (m *Message) check() error {
	switch {
	case m.Topic == "" || len(m.Topic) > MaxTopic:
		return fmt.Errorf("%w: a topic of %d bytes: want 1 to %d", ErrLimit, len(m.Topic), MaxTopic)
	case len(m.Clear) > MaxClearHeaders:
		return fmt.Errorf("%w: %d clear headers: at most %d", ErrLimit, len(m.Clear), MaxClearHeaders)
	case len(m.Headers) > MaxHeaders:
		return fmt.Errorf("%w: %d headers: at most %d", ErrLimit, len(m.Headers), MaxHeaders)
	case m.Padding < 0 || m.Padding > MaxSize:
		return fmt.Errorf("%w: padding of %d bytes", ErrLimit, m.Padding)
	case m.Time.UnixMicro() < 0:
		return fmt.Errorf("%w: a time before 1970", ErrMalformed)
	}
	outer := 0
	for i, f := range m.Clear {
		outer += len(f.Value)
		if outer > MaxClearValues {
			return fmt.Errorf("%w: clear headers of %d bytes: at most %d", ErrLimit, outer, MaxClearValues)
		}
		if f.Name == "" || len(f.Name) > MaxHeaderName {
			return fmt.Errorf("%w: a header name of %d bytes", ErrLimit, len(f.Name))
		}
		if i > 0 && strings.Compare(m.Clear[i-1].Name, f.Name) >= 0 {
			return fmt.Errorf("%w: clear headers are not sorted", ErrMalformed)
		}
	}
	for _, f := range m.Headers {
		if f.Name == "" || len(f.Name) > MaxHeaderName {
			return fmt.Errorf("%w: a header name of %d bytes", ErrLimit, len(f.Name))
		}
	}
	return nil
}
