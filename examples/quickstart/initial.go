package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// The first packets of a QUIC connection, the Initials, are encrypted under keys
// that everybody can compute (RFC 9001, section 5.2). An honest account of what
// an observer sees has to open them.

var errNotInitial = errors.New("not an Initial packet")

// quicV1Salt makes the Initial keys of QUIC version 1.
func quicV1Salt() []byte {
	return []byte{0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a}
}

// initialKeys protect the Initials of one direction.
type initialKeys struct {
	header cipher.Block
	aead   cipher.AEAD
	iv     []byte
}

// newInitialKeys derives them from the connection ID that the caller's first
// packet is addressed to.
func newInitialKeys(connectionID []byte, fromCaller bool) (*initialKeys, error) {
	secret, err := hkdf.Extract(sha256.New, connectionID, quicV1Salt())
	if err != nil {
		return nil, err
	}
	side := "server in"
	if fromCaller {
		side = "client in"
	}
	if secret, err = expandLabel(secret, side, 32); err != nil {
		return nil, err
	}
	var parts [3][]byte
	for i, p := range []struct {
		label string
		size  int
	}{{"quic key", 16}, {"quic iv", 12}, {"quic hp", 16}} {
		if parts[i], err = expandLabel(secret, p.label, p.size); err != nil {
			return nil, err
		}
	}
	block, err := aes.NewCipher(parts[0])
	if err != nil {
		return nil, err
	}
	k := &initialKeys{iv: parts[1]}
	if k.aead, err = cipher.NewGCM(block); err != nil {
		return nil, err
	}
	k.header, err = aes.NewCipher(parts[2])
	return k, err
}

// expandLabel is HKDF-Expand-Label of TLS 1.3 (RFC 8446, section 7.1) without a
// context.
func expandLabel(secret []byte, label string, size int) ([]byte, error) {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(size))
	info = append(info, byte(len(label)))
	info = append(info, label...)
	info = append(info, 0)
	return hkdf.Expand(sha256.New, secret, string(info), size)
}

// initialPacket is a long header packet of type Initial (RFC 9000, section
// 17.2.2), taken apart as far as that needs no keys.
type initialPacket struct {
	raw          []byte // header and payload
	connectionID []byte // destination
	number       int    // where the packet number begins in raw
}

// parseInitial reads the Initial that a datagram begins with; rest is what comes
// after it.
func parseInitial(datagram []byte) (p initialPacket, rest []byte, err error) {
	s := cryptobyte.String(datagram)
	var first uint8
	var version uint32
	var destination, source, token cryptobyte.String
	if !s.ReadUint8(&first) || first&0xf0 != 0xc0 || !s.ReadUint32(&version) || version != 1 ||
		!s.ReadUint8LengthPrefixed(&destination) || !s.ReadUint8LengthPrefixed(&source) {
		return p, nil, errNotInitial
	}
	var size uint64
	if !readVarint(&s, &size) || !s.ReadBytes((*[]byte)(&token), int(size)) || !readVarint(&s, &size) || size > uint64(len(s)) {
		return p, nil, errNotInitial
	}
	number := len(datagram) - len(s)
	end := number + int(size)
	return initialPacket{datagram[:end], destination, number}, datagram[end:], nil
}

// readVarint reads an integer as QUIC writes them (RFC 9000, section 16).
func readVarint(s *cryptobyte.String, v *uint64) bool {
	var first uint8
	if !s.ReadUint8(&first) {
		return false
	}
	*v = uint64(first & 0x3f)
	for range 1<<(first>>6) - 1 {
		var b uint8
		if !s.ReadUint8(&b) {
			return false
		}
		*v = *v<<8 | uint64(b)
	}
	return *v <= 1<<20 // more than any datagram needs
}

// open removes the protection of a packet (RFC 9001, sections 5.3 and 5.4) and
// returns its frames.
func (k *initialKeys) open(p initialPacket) ([]byte, error) {
	raw := append([]byte(nil), p.raw...)
	if len(raw) < p.number+4+16 {
		return nil, errNotInitial
	}
	var mask [aes.BlockSize]byte
	k.header.Encrypt(mask[:], raw[p.number+4:p.number+4+16])
	raw[0] ^= mask[0] & 0x0f
	size := int(raw[0]&0x03) + 1
	nonce := append([]byte(nil), k.iv...)
	for i := range size {
		raw[p.number+i] ^= mask[1+i]
		nonce[len(nonce)-size+i] ^= raw[p.number+i]
	}
	head := p.number + size
	frames, err := k.aead.Open(nil, nonce, raw[head:], raw[:head])
	if err != nil {
		return nil, fmt.Errorf("opening an Initial packet: %w", err)
	}
	return frames, nil
}

// handshakeBytes collects what the CRYPTO frames among frames carry into buf, by
// its offset (RFC 9000, section 19.6).
func handshakeBytes(frames []byte, buf []byte) []byte {
	s := cryptobyte.String(frames)
	for !s.Empty() {
		var kind, offset, size uint64
		if !readVarint(&s, &kind) {
			return buf
		}
		switch kind {
		case 0x00, 0x01: // PADDING, PING
		case 0x02: // ACK
			var largest, delay, count, first uint64
			ok := readVarint(&s, &largest) && readVarint(&s, &delay) && readVarint(&s, &count) && readVarint(&s, &first)
			for ; ok && count > 0; count-- {
				var gap, length uint64
				ok = readVarint(&s, &gap) && readVarint(&s, &length)
			}
			if !ok {
				return buf
			}
		case 0x06: // CRYPTO
			var data []byte
			if !readVarint(&s, &offset) || !readVarint(&s, &size) || !s.ReadBytes(&data, int(size)) {
				return buf
			}
			if need := int(offset) + len(data); need > len(buf) {
				buf = append(buf, make([]byte, need-len(buf))...)
			}
			copy(buf[offset:], data)
		default:
			return buf
		}
	}
	return buf
}
