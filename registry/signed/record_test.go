package signed

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/go-signet/signet/internal/keys"
	"pgregory.net/rapid"
)

// sampleRecord is a well-formed record; nobody has signed it.
func sampleRecord(modify func(*record)) *record {
	r := &record{
		issued: 946771200, lifetime: 600, sequence: 946771200000000,
		boxKeys:   []recordKey{{x25519: bytes.Repeat([]byte{7}, boxKeySize)}},
		signature: []byte("signature"),
		certs:     [][]byte{[]byte("leaf"), []byte("intermediate")},
	}
	r.endpoints[0], r.metadata[0] = 1, 2
	if modify != nil {
		modify(r)
	}
	r.header = r.encodeHeader()
	return r
}

// TestRecordLayout holds the encoding against bytes that were written down by hand
// from spec/registry.md.
func TestRecordLayout(t *testing.T) {
	r := sampleRecord(func(r *record) {
		r.withdrawn = true
		r.boxKeys = append(r.boxKeys, recordKey{bytes.Repeat([]byte{8}, 32), bytes.Repeat([]byte{9}, 1216)})
	})
	want := "01" + "01" + // version, flags
		"80aabac303" + // 946771200
		"d804" + // 600
		"8080bdc8d5a2d701" + // 946771200000000
		"01" + strings.Repeat("00", 31) +
		"02" + strings.Repeat("00", 31) +
		"02" + strings.Repeat("07", 32) + "00" + // two box keys, the first of form 0
		strings.Repeat("08", 32) + "01" + strings.Repeat("09", 1216) +
		"09" + hex.EncodeToString([]byte("signature")) +
		"02" +
		"04" + hex.EncodeToString([]byte("leaf")) +
		"0c" + hex.EncodeToString([]byte("intermediate"))
	if got := hex.EncodeToString(r.encode()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestRecordRoundTrip: what is encoded is parsed to the same, and the same again.
func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sized := func(most int) *rapid.Generator[[]byte] {
			return rapid.SliceOfN(rapid.Byte(), 1, most)
		}
		drawnKey := rapid.Custom(func(t *rapid.T) recordKey {
			key := recordKey{x25519: rapid.SliceOfN(rapid.Byte(), boxKeySize, boxKeySize).Draw(t, "X25519")}
			if rapid.Bool().Draw(t, "pair") {
				key.pq = bytes.Repeat(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "post-quantum"), pqKeySize/32)
			}
			return key
		})
		r := &record{
			withdrawn: rapid.Bool().Draw(t, "withdrawn"),
			issued:    rapid.Int64Range(0, maxRecordTime).Draw(t, "issued"),
			lifetime:  rapid.Int64Range(1, 86400).Draw(t, "lifetime"),
			sequence:  rapid.Uint64().Draw(t, "sequence"),
			endpoints: [digestSize]byte(rapid.SliceOfN(rapid.Byte(), digestSize, digestSize).Draw(t, "endpoints")),
			metadata:  [digestSize]byte(rapid.SliceOfN(rapid.Byte(), digestSize, digestSize).Draw(t, "metadata")),
			boxKeys:   rapid.SliceOfN(drawnKey, 0, maxRecordKeys).Draw(t, "keys"),
			signature: sized(maxRecordSig).Draw(t, "signature"),
			certs:     rapid.SliceOfN(sized(600), 1, keys.MaxChain).Draw(t, "certificates"),
		}
		r.header = r.encodeHeader()
		data := r.encode()
		got, err := parseRecord(data)
		if err != nil {
			t.Fatal(err)
		}
		same := got.withdrawn == r.withdrawn && got.issued == r.issued && got.lifetime == r.lifetime &&
			got.sequence == r.sequence && got.endpoints == r.endpoints && got.metadata == r.metadata &&
			slices.EqualFunc(got.boxKeys, r.boxKeys, sameKey) && bytes.Equal(got.header, r.header) &&
			bytes.Equal(got.signature, r.signature) && slices.EqualFunc(got.certs, r.certs, bytes.Equal)
		if !same {
			t.Errorf("got %+v, want %+v", got, r)
		}
		if !bytes.Equal(got.encode(), data) || !bytes.Equal(got.encodeHeader(), got.header) {
			t.Error("encodes otherwise")
		}
		if expires := got.issued + got.lifetime; got.issuedAt().Unix() != r.issued || got.expiresAt().Unix() != expires {
			t.Errorf("from %v to %v", got.issuedAt(), got.expiresAt())
		}
		// Each part begins and ends where it says: none shorter is a record.
		cut := rapid.IntRange(0, len(data)-1).Draw(t, "cut")
		if _, err := parseRecord(data[:cut]); !errors.Is(err, errMalformed) {
			t.Errorf("the first %d of %d bytes: %v", cut, len(data), err)
		}
	})
}

func sameKey(a, b recordKey) bool {
	return bytes.Equal(a.x25519, b.x25519) && bytes.Equal(a.pq, b.pq) && (a.pq == nil) == (b.pq == nil)
}

// TestRecordAccepts: what is just within the limits is a record.
func TestRecordAccepts(t *testing.T) {
	tests := map[string]func(*record){
		"no keys":   func(r *record) { r.boxKeys = nil },
		"most keys": func(r *record) { r.boxKeys = slices.Repeat(r.boxKeys, maxRecordKeys) },
		"most pairs": func(r *record) {
			r.boxKeys = slices.Repeat([]recordKey{{r.boxKeys[0].x25519, make([]byte, pqKeySize)}}, maxRecordKeys)
		},
		"most certificates":   func(r *record) { r.certs = slices.Repeat(r.certs[:1], keys.MaxChain) },
		"longest signature":   func(r *record) { r.signature = make([]byte, maxRecordSig) },
		"longest life":        func(r *record) { r.lifetime = 86400 },
		"shortest life":       func(r *record) { r.lifetime = 1 },
		"last time":           func(r *record) { r.issued = maxRecordTime },
		"sequence of 0":       func(r *record) { r.sequence = 0 },
		"largest sequence":    func(r *record) { r.sequence = math.MaxUint64 },
		"withdrawn":           func(r *record) { r.withdrawn = true },
		"certificate of 9 KB": func(r *record) { r.certs = [][]byte{make([]byte, 9<<10)} },
	}
	for name, modify := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := parseRecord(sampleRecord(modify).encode()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRecordOfTheGreatestSize(t *testing.T) {
	with := func(size int) []byte {
		r := sampleRecord(func(r *record) { r.certs = [][]byte{nil} })
		rest := len(r.encode()) + 1 // the certificate's length has two bytes then
		return sampleRecord(func(r *record) { r.certs = [][]byte{make([]byte, size-rest)} }).encode()
	}
	if data := with(maxRecordSize); len(data) != maxRecordSize {
		t.Fatalf("%d bytes", len(data))
	} else if _, err := parseRecord(data); err != nil {
		t.Error(err)
	}
	if _, err := parseRecord(with(maxRecordSize + 1)); !errors.Is(err, errMalformed) {
		t.Errorf("a byte more: %v", err)
	}
}

// TestRecordRefuses has a row for each way of not being a record.
func TestRecordRefuses(t *testing.T) {
	good := sampleRecord(nil).encode()
	var (
		issuedAt    = 2
		lifetimeAt  = issuedAt + 5
		sequenceAt  = lifetimeAt + 2
		digestsAt   = sequenceAt + 8
		keyCountAt  = digestsAt + 2*digestSize
		formAt      = keyCountAt + 1 + boxKeySize
		signatureAt = formAt + formSize
		certCountAt = signatureAt + 1 + len("signature")
		leafAt      = certCountAt + 1
	)
	set := func(i int, b byte) []byte {
		data := bytes.Clone(good)
		data[i] = b
		return data
	}
	// instead puts bytes in place of n at i.
	instead := func(i, n int, with ...byte) []byte {
		return slices.Concat(good[:i], with, good[i+n:])
	}
	number := func(v uint64) []byte { return binary.AppendUvarint(nil, v) }
	of := func(modify func(*record)) []byte { return sampleRecord(modify).encode() }
	tests := map[string]struct {
		data []byte
		says string
	}{
		"nothing":                              {nil, "truncated"},
		"version 0":                            {set(0, 0), "version 0: this is version 1: upgrade"},
		"version 2":                            {set(0, 2), "version 2"},
		"no flags":                             {good[:1], "truncated"},
		"unknown flag":                         {set(1, 2), "flags 0x2"},
		"unknown flag beside a known one":      {set(1, 0x81), "flags 0x81"},
		"issued after the year 9999":           {of(func(r *record) { r.issued = maxRecordTime + 1 }), "at most 253402300799"},
		"issued beyond 63 bits":                {instead(issuedAt, 5, number(1<<63)...), "at most 253402300799"},
		"issued in too many bytes":             {instead(issuedAt, 5, 0x80, 0xaa, 0xba, 0xc3, 0x83, 0x00), "shortest form"},
		"issued without an end":                {good[:issuedAt+3], "truncated or overlong"},
		"no lifetime":                          {of(func(r *record) { r.lifetime = 0 }), "lifetime of 0"},
		"lifetime of a day and a second":       {of(func(r *record) { r.lifetime = 86401 }), "at most 86400"},
		"lifetime in too many bytes":           {instead(lifetimeAt, 2, 0xd8, 0x84, 0x00), "shortest form"},
		"zero in two bytes":                    {instead(lifetimeAt, 2, 0x80, 0x00), "shortest form"},
		"sequence of 65 bits":                  {instead(sequenceAt, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02), "truncated or overlong"},
		"sequence of eleven bytes":             {instead(sequenceAt, 8, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01), "truncated or overlong"},
		"sequence in too many bytes":           {instead(sequenceAt, 8, 0x81, 0x00), "shortest form"},
		"part of the digest of endpoints":      {good[:digestsAt+digestSize-1], "truncated"},
		"part of the digest of metadata":       {good[:keyCountAt-1], "truncated"},
		"no key count":                         {good[:keyCountAt], "truncated"},
		"five keys":                            {of(func(r *record) { r.boxKeys = slices.Repeat(r.boxKeys, 5) }), "5 parts: want 0 to 4"},
		"fewer keys than counted":              {set(keyCountAt, maxRecordKeys), "truncated"},
		"a short key":                          {of(func(r *record) { r.boxKeys[0].x25519 = make([]byte, boxKeySize-1) }), ""},
		"no form":                              {good[:formAt], "truncated"},
		"unknown form":                         {set(formAt, 2), "form 2: 0 and 1 are known: upgrade"},
		"no post-quantum key":                  {set(formAt, formPair), "truncated"},
		"a short post-quantum key":             {of(func(r *record) { r.boxKeys[0].pq = make([]byte, pqKeySize-1) }), ""},
		"an empty post-quantum key":            {of(func(r *record) { r.boxKeys[0].pq = []byte{} }), "truncated"},
		"no signature":                         {good[:signatureAt], "truncated"},
		"empty signature":                      {of(func(r *record) { r.signature = nil }), "empty part"},
		"signature of 1025 bytes":              {of(func(r *record) { r.signature = make([]byte, maxRecordSig+1) }), "at most 1024"},
		"signature length in too many bytes":   {instead(signatureAt, 1, 0x89, 0x00), "shortest form"},
		"signature length of 2^32 + 9":         {instead(signatureAt, 1, number(1<<32+9)...), "at most 1024"},
		"signature length of 2^63 + 9":         {instead(signatureAt, 1, number(1<<63+9)...), "at most 1024"},
		"no certificate count":                 {good[:certCountAt], "truncated"},
		"no certificates":                      {of(func(r *record) { r.certs = nil }), "0 parts: want 1 to 8"},
		"nine certificates":                    {of(func(r *record) { r.certs = slices.Repeat(r.certs[:1], 9) }), "9 parts: want 1 to 8"},
		"255 certificates":                     {set(certCountAt, 255), "255 parts: want 1 to 8"},
		"fewer certificates than counted":      {set(certCountAt, keys.MaxChain), "truncated"},
		"more certificates than counted":       {set(certCountAt, 1), "13 bytes too many"},
		"empty certificate":                    {of(func(r *record) { r.certs = [][]byte{nil} }), "empty part"},
		"certificate length in too many bytes": {instead(leafAt, 1, 0x84, 0x00), "shortest form"},
		"certificate longer than a record":     {instead(leafAt, 1, number(maxRecordSize+1)...), "at most 12000"},
		"certificate longer than what is left": {instead(leafAt, 1, number(maxRecordSize)...), "truncated"},
		"truncated":                            {good[:len(good)-1], "truncated"},
		"a byte too many":                      {append(bytes.Clone(good), 0), "1 bytes too many"},
		"two records":                          {slices.Concat(good, good), "bytes too many"},
		"over the limit":                       {make([]byte, maxRecordSize+1), "12001 bytes: at most 12000"},
	}
	if _, err := parseRecord(good); err != nil {
		t.Fatal(err)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := parseRecord(tt.data)
			if !errors.Is(err, errMalformed) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v; want %v that says %q", err, errMalformed, tt.says)
			}
			if r != nil {
				t.Error("a record beside the error")
			}
		})
	}
}

// TestRecordTakesNoMemory: what a record announces costs nothing until it is there.
func TestRecordTakesNoMemory(t *testing.T) {
	head := sampleRecord(func(r *record) { r.boxKeys = nil }).header
	data := slices.Concat(head[:len(head)-1], []byte{maxRecordKeys})
	got := testing.AllocsPerRun(10, func() {
		if _, err := parseRecord(data); err == nil {
			t.Error("no error")
		}
	})
	if got > 8 {
		t.Errorf("%v allocations", got)
	}
}
