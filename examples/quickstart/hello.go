package main

import (
	"crypto/tls"
	"errors"

	"golang.org/x/crypto/cryptobyte"
)

// opened is what an observer learns from the packets that anybody can open.
type opened struct {
	frames []byte // of all Initials, for searching

	protocols  []string // that the caller offers (ALPN)
	serverName string   // that the caller asks for (SNI); "" for none

	version  uint16      // of TLS, as chosen
	exchange tls.CurveID // key exchange, as chosen
}

// openInitials opens the Initials among recorded datagrams.
func openInitials(packets []packet) (opened, error) {
	var o opened
	var first []byte // the connection ID that makes the keys
	var keys [2]*initialKeys
	var messages [2][]byte
	for _, p := range packets {
		for rest := p.data; len(rest) > 0; {
			var in initialPacket
			var err error
			if in, rest, err = parseInitial(rest); err != nil {
				break // other packets: of these, nothing can be opened
			}
			if first == nil {
				first = in.connectionID
			}
			side := 0
			if !p.fromCaller {
				side = 1
			}
			if keys[side] == nil {
				if keys[side], err = newInitialKeys(first, p.fromCaller); err != nil {
					return o, err
				}
			}
			frames, err := keys[side].open(in)
			if err != nil {
				return o, err
			}
			o.frames = append(o.frames, frames...)
			messages[side] = handshakeBytes(frames, messages[side])
		}
	}
	if !o.clientHello(messages[0]) || !o.serverHello(messages[1]) {
		return o, errors.New("the hellos of the handshake are not as RFC 8446 has them")
	}
	return o, nil
}

// Numbers of TLS extensions (RFC 8446, section 4.2).
const (
	extServerName        = 0
	extALPN              = 16
	extSupportedVersions = 43
	extKeyShare          = 51
)

// clientHello reads RFC 8446, section 4.1.2.
func (o *opened) clientHello(message []byte) bool {
	body, ok := handshakeMessage(message, 1)
	var sessionID, suites, compression, extensions cryptobyte.String
	if !ok || !body.Skip(2+32) || !body.ReadUint8LengthPrefixed(&sessionID) || !body.ReadUint16LengthPrefixed(&suites) ||
		!body.ReadUint8LengthPrefixed(&compression) || !body.ReadUint16LengthPrefixed(&extensions) {
		return false
	}
	return eachExtension(extensions, func(kind uint16, data cryptobyte.String) bool {
		switch kind {
		case extServerName:
			o.serverName = string(data)
		case extALPN:
			var list, name cryptobyte.String
			if !data.ReadUint16LengthPrefixed(&list) {
				return false
			}
			for !list.Empty() {
				if !list.ReadUint8LengthPrefixed(&name) {
					return false
				}
				o.protocols = append(o.protocols, string(name))
			}
		}
		return true
	})
}

// serverHello reads RFC 8446, section 4.1.3.
func (o *opened) serverHello(message []byte) bool {
	body, ok := handshakeMessage(message, 2)
	var sessionID, extensions cryptobyte.String
	if !ok || !body.Skip(2+32) || !body.ReadUint8LengthPrefixed(&sessionID) || !body.Skip(2+1) ||
		!body.ReadUint16LengthPrefixed(&extensions) {
		return false
	}
	return eachExtension(extensions, func(kind uint16, data cryptobyte.String) bool {
		switch kind {
		case extSupportedVersions:
			return data.ReadUint16(&o.version)
		case extKeyShare:
			return data.ReadUint16((*uint16)(&o.exchange))
		}
		return true
	})
}

func handshakeMessage(message []byte, kind uint8) (body cryptobyte.String, ok bool) {
	s := cryptobyte.String(message)
	var got uint8
	return body, s.ReadUint8(&got) && got == kind && s.ReadUint24LengthPrefixed(&body)
}

func eachExtension(list cryptobyte.String, f func(kind uint16, data cryptobyte.String) bool) bool {
	for !list.Empty() {
		var kind uint16
		var data cryptobyte.String
		if !list.ReadUint16(&kind) || !list.ReadUint16LengthPrefixed(&data) || !f(kind, data) {
			return false
		}
	}
	return true
}
