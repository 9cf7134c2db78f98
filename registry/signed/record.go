package signed

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/keys"
)

// Layout of a record, described in spec/registry.md. Times are Unix time in
// seconds; numbers marked v are unsigned LEB128 in their shortest form, all others
// have one byte.
//
//	header ‖ signature length v ‖ signature ‖ certificate count ‖ { length v ‖ DER }…
//
//	header: version ‖ flags ‖ issued v ‖ lifetime v ‖ sequence v ‖
//	        digest of endpoints (32) ‖ digest of service metadata (32) ‖
//	        box key count ‖ { X25519 key (32) ‖ form ‖ post-quantum key (1216) if the form says so }…
const (
	recordVersion   = 1
	recordPurpose   = "registry-record"
	digestSize      = sha256.Size
	boxKeySize      = 32
	pqKeySize       = identity.PQKeySize
	formSize        = 1
	formClassic     = 0 // X25519 alone
	formPair        = 1 // a post-quantum key follows
	flagWithdrawn   = 1 << 0
	maxRecordSize   = partsMost * partSize * 6 / 8
	maxRecordKeys   = 4
	maxRecordSig    = keys.MaxRSABits / 8
	maxRecordTime   = 253402300799 // the end of the year 9999
	maxVarintSize   = binary.MaxVarintLen64
	clockSkew       = time.Minute // how far ahead a signer's clock may be
	longestValidity = 24 * time.Hour
)

// record is a parsed record: well-formed, not verified. Its slices are parts of
// what was parsed.
type record struct {
	header    []byte // what is signed, byte for byte
	withdrawn bool   // the node has gone: nothing up to this sequence counts any more
	issued    int64
	lifetime  int64
	sequence  uint64 // unix time in microseconds, or one more than the one before
	endpoints [digestSize]byte
	metadata  [digestSize]byte
	boxKeys   []recordKey
	signature []byte
	certs     [][]byte // DER, leaf first, without the CA
}

// recordKey is a box key as a record states it: pq is nil if it is silent about the
// post-quantum key.
type recordKey struct{ x25519, pq []byte }

func (r *record) issuedAt() time.Time  { return time.Unix(r.issued, 0) }
func (r *record) expiresAt() time.Time { return time.Unix(r.issued+r.lifetime, 0) }

// encodeHeader returns the header of r's fields.
func (r *record) encodeHeader() []byte {
	var flags byte
	if r.withdrawn {
		flags |= flagWithdrawn
	}
	const most = 2 + 3*maxVarintSize + 2*digestSize + 1 + maxRecordKeys*(boxKeySize+formSize+pqKeySize)
	out := append(make([]byte, 0, most), recordVersion, flags)
	out = binary.AppendUvarint(out, uint64(r.issued))
	out = binary.AppendUvarint(out, uint64(r.lifetime))
	out = binary.AppendUvarint(out, r.sequence)
	out = append(out, r.endpoints[:]...)
	out = append(out, r.metadata[:]...)
	out = append(out, byte(len(r.boxKeys)))
	for _, key := range r.boxKeys {
		out = append(out, key.x25519...)
		if key.pq == nil {
			out = append(out, formClassic)
			continue
		}
		out = append(append(out, formPair), key.pq...)
	}
	return out
}

// encode returns the record: header, signature, certificates.
func (r *record) encode() []byte {
	size := len(r.header) + maxVarintSize + len(r.signature) + 1
	for _, cert := range r.certs {
		size += maxVarintSize + len(cert)
	}
	out := append(make([]byte, 0, size), r.header...)
	out = appendSized(out, r.signature)
	out = append(out, byte(len(r.certs)))
	for _, cert := range r.certs {
		out = appendSized(out, cert)
	}
	return out
}

func appendSized[T []byte | string](out []byte, part T) []byte {
	return append(binary.AppendUvarint(out, uint64(len(part))), part...)
}

// parseRecord reads a record strictly: there is one encoding of each, and nothing
// may follow it. Errors wrap errMalformed.
func parseRecord(data []byte) (*record, error) {
	if len(data) > maxRecordSize {
		return nil, fmt.Errorf("%w: a record of %d bytes: at most %d", errMalformed, len(data), maxRecordSize)
	}
	r := recordReader{rest: data}
	version := r.byte()
	if r.err == nil && version != recordVersion {
		return nil, fmt.Errorf("%w: a record of version %d: this is version %d: upgrade the older side", errMalformed, version, recordVersion)
	}
	flags := r.byte()
	if r.err == nil && flags&^flagWithdrawn != 0 {
		r.fail("a record with flags %#x: %#x is known: upgrade this side", flags, flagWithdrawn)
	}
	rec := &record{withdrawn: flags&flagWithdrawn != 0}
	rec.issued = r.number(maxRecordTime)
	rec.lifetime = r.number(int64(longestValidity / time.Second))
	rec.sequence = r.uvarint()
	copy(rec.endpoints[:], r.take(digestSize))
	copy(rec.metadata[:], r.take(digestSize))
	rec.boxKeys = make([]recordKey, r.count(0, maxRecordKeys))
	for i := range rec.boxKeys {
		rec.boxKeys[i] = r.key()
	}
	if r.err == nil {
		end := len(data) - len(r.rest)
		rec.header = data[:end:end]
	}
	rec.signature = r.sized(maxRecordSig)
	rec.certs = make([][]byte, r.count(1, keys.MaxChain))
	for i := range rec.certs {
		rec.certs[i] = r.sized(maxRecordSize)
	}
	if r.err == nil && len(r.rest) > 0 {
		r.fail("%d bytes too many", len(r.rest))
	}
	if r.err != nil {
		return nil, r.err
	}
	if rec.lifetime == 0 {
		return nil, fmt.Errorf("%w: a record with a lifetime of 0: at least 1 second", errMalformed)
	}
	return rec, nil
}

// recordReader takes parts off the front, and nothing more after the first error.
type recordReader struct {
	rest []byte
	err  error
}

func (r *recordReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", errMalformed, fmt.Sprintf(format, args...))
	}
	r.rest = nil
}

func (r *recordReader) take(n int) []byte {
	if len(r.rest) < n {
		r.fail("a truncated record")
		return nil
	}
	part := r.rest[:n:n]
	r.rest = r.rest[n:]
	return part
}

func (r *recordReader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// key takes an X25519 key, and the post-quantum key that goes with it if there is one.
func (r *recordReader) key() recordKey {
	key := recordKey{x25519: r.take(boxKeySize)}
	switch form := r.byte(); form {
	case formClassic:
	case formPair:
		key.pq = r.take(pqKeySize)
	default:
		r.fail("a box key of form %d: %d and %d are known: upgrade this side", form, formClassic, formPair)
	}
	return key
}

// uvarint takes a number in its shortest form.
func (r *recordReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest[:min(len(r.rest), maxVarintSize)])
	switch {
	case n <= 0:
		r.fail("a truncated or overlong number")
		return 0
	case n > 1 && r.rest[n-1] == 0:
		r.fail("a number that is not in its shortest form")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *recordReader) number(most int64) int64 {
	v := r.uvarint()
	if v > uint64(most) {
		r.fail("a number of %d: at most %d", v, most)
		return 0
	}
	return int64(v)
}

// sized takes a part that its length precedes: at least one byte.
func (r *recordReader) sized(most int) []byte {
	n := r.number(int64(most))
	if r.err == nil && n == 0 {
		r.fail("an empty part")
	}
	return r.take(int(n))
}

// count takes how many parts follow.
func (r *recordReader) count(least, most int) int {
	n := int(r.byte())
	if r.err == nil && (n < least || n > most) {
		r.fail("%d parts: want %d to %d", n, least, most)
		return 0
	}
	return n
}
