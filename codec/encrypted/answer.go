package encrypted

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/go-signet/signet/internal/envelope"
)

// Layout of an answer, described in spec/codec.md. Integers are big-endian.
//
//	magic (4) ‖ version (1) ‖ salt (16) ‖ counter (4) ‖ random (8) ‖ ciphertext
//
//	plaintext: kind (1) ‖ body, or text of an error
const (
	answerMagic   = "SGNA"
	answerVersion = 1
	saltSize      = 16
	counterSize   = 4
	nonceSize     = counterSize + envelope.RandomSize
	answerHeader  = len(answerMagic) + 1 + saltSize + nonceSize
	tagSize       = 16
	sequenceSize  = 8

	labelAnswer = "signet/codec/v1 answer\x00" // before the salt, in the context of the export
)

// Kinds of answers.
const (
	answerBody  = 0
	answerError = 1
)

// MaxAnswer is the largest answer, in bytes.
const MaxAnswer = envelope.MaxSize

// answerAEAD is the cipher of the answers of one process to the requests of one epoch:
// the salt is the process's.
func answerAEAD(export func([]byte) ([32]byte, error), suite envelope.Suite, salt [saltSize]byte) (cipher.AEAD, error) {
	key, err := export(append([]byte(labelAnswer), salt[:]...))
	if err != nil {
		return nil, err
	}
	return suite.AEAD(key)
}

// answerKey seals answers.
type answerKey struct {
	salt    [saltSize]byte
	aead    cipher.AEAD
	counter atomic.Uint64
}

func newAnswerKey(r *envelope.Reader) (*answerKey, error) {
	k := new(answerKey)
	rand.Read(k.salt[:])
	var err error
	k.aead, err = answerAEAD(r.Export, r.Header.Suite, k.salt)
	return k, err
}

// question is the request that an answer is to, and which answer of a stream it is.
type question struct {
	binding  [envelope.BindingSize]byte
	sequence uint64      // from 0
	space    *boundSpace // where to put what binds the answer to it
}

// bound is the associated data of an answer.
func (q *question) bound(header []byte) []byte {
	out := append(q.space[:0], header...)
	out = append(out, q.binding[:]...)
	return binary.BigEndian.AppendUint64(out, q.sequence)
}

type boundSpace [answerHeader + envelope.BindingSize + sequenceSize]byte

// seal appends an answer to dst. It returns nil once the key has sealed all that it
// may.
func (k *answerKey) seal(dst []byte, q *question, kind byte, text string, data []byte) ([]byte, error) {
	size := answerHeader + 1 + len(text) + len(data) + tagSize
	if size > MaxAnswer {
		return nil, fmt.Errorf("%w: an answer of %d bytes: at most %d", ErrTooLarge, size, MaxAnswer)
	}
	counter := k.counter.Add(1) - 1
	if counter > math.MaxUint32 {
		return nil, nil
	}
	out := slices.Grow(dst, size)
	start := len(out)
	out = append(out, answerMagic...)
	out = append(out, answerVersion)
	out = append(out, k.salt[:]...)
	out = binary.BigEndian.AppendUint32(out, uint32(counter))
	at := start + answerHeader
	out = out[:at]
	rand.Read(out[at-envelope.RandomSize:]) // for copies of the process, whose counters are the same
	out = append(out, kind)
	out = append(out, text...)
	out = append(out, data...)
	return k.aead.Seal(out[:at], out[at-nonceSize:at], out[at:], q.bound(out[start:at])), nil
}

// openAnswer opens one in its place, with the cipher that keyOf has for its salt.
func openAnswer(data []byte, q *question, keyOf func([saltSize]byte) (cipher.AEAD, error)) (kind byte, body []byte, err error) {
	if len(data) < answerHeader+1+tagSize || string(data[:len(answerMagic)]) != answerMagic {
		return 0, nil, reject(Clear, "it does not begin as an answer")
	}
	if v := data[len(answerMagic)]; v != answerVersion {
		return 0, nil, reject(Suite, "an answer of version %d: this is version %d", v, answerVersion)
	}
	if len(data) > MaxAnswer {
		return 0, nil, reject(Limit, "an answer of %d bytes: at most %d", len(data), MaxAnswer)
	}
	aead, err := keyOf(saltOf(data))
	if err != nil {
		return 0, nil, err
	}
	plain, err := aead.Open(data[answerHeader:answerHeader], data[answerHeader-nonceSize:answerHeader], data[answerHeader:], q.bound(data[:answerHeader]))
	if err != nil {
		return 0, nil, reject(Tampered, "it does not verify: it was changed, or is not the answer to this request")
	}
	if plain[0] > answerError {
		return 0, nil, reject(Malformed, "an answer of kind %d", plain[0])
	}
	return plain[0], plain[1:], nil
}

func saltOf(answer []byte) [saltSize]byte { return [saltSize]byte(answer[len(answerMagic)+1:]) }

// openAnswer opens an answer to a request of the epoch, in its place.
func (s *sending) openAnswer(data []byte, q *question) (kind byte, body []byte, err error) {
	var aead cipher.AEAD
	known := false
	kind, body, err = openAnswer(data, q, func(salt [saltSize]byte) (cipher.AEAD, error) {
		if k := s.salts.of(salt); k != nil {
			known = true
			return k, nil
		}
		k, err := answerAEAD(s.epoch.Export, s.suite, salt)
		aead = k
		return k, err
	})
	if err == nil && !known {
		s.salts.add(saltOf(data), aead)
	}
	return kind, body, err
}

// salts has the ciphers of answers that have verified: one for each process that answers.
type salts struct {
	mu    sync.RWMutex
	known map[[saltSize]byte]cipher.AEAD
}

// maxSalts is how many an epoch remembers.
const maxSalts = 1024

func (s *salts) of(salt [saltSize]byte) cipher.AEAD {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.known[salt]
}

func (s *salts) add(salt [saltSize]byte, aead cipher.AEAD) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= maxSalts {
		return
	}
	if s.known == nil {
		s.known = make(map[[saltSize]byte]cipher.AEAD)
	}
	s.known[salt] = aead
}
