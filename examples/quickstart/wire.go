package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	"go-micro.dev/v4/client"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/transport"
)

// secretWords are what the call is about. Nobody else should read them.
func secretWords() []string {
	return []string{"John", "Hello", "Greeter.Hello", "greeter", "caller", "spiffe", trustDomain}
}

// wireChapter puts a relay that writes everything down between caller and
// greeter, and tells what is in it.
func wireChapter(ctx context.Context, s *stage) error {
	packets, err := s.recordQUIC(ctx)
	if err != nil {
		return err
	}
	if err := s.describe(packets); err != nil {
		return err
	}
	return s.recordHTTP(ctx)
}

func (s *stage) recordQUIC(ctx context.Context) ([]packet, error) {
	relay, err := newUDPRelay(s.greeter.address())
	if err != nil {
		return nil, err
	}
	s.atEnd(relay.Close)
	s.say("the call of before, on a new connection, through a relay that writes down every datagram")
	again := s.secure("caller", s.caller.id, s.registry)
	answer, err := again.hello(ctx, "greeter", "John", client.WithAddress(relay.address()))
	s.promiseAnswer("John", answer, err)
	packets := relay.recorded()
	if err == nil && len(packets) == 0 {
		err = errors.New("nothing was recorded: the call did not pass the relay")
	}
	return packets, err
}

// describe tells what is in recorded datagrams.
func (s *stage) describe(packets []packet) error {
	t := tallyOf(packets)
	s.show("%d datagrams, %d bytes: %d from caller, %d from greeter; %d to %d bytes each",
		len(packets), t.bytes, t.fromCaller, len(packets)-t.fromCaller, t.smallest, t.largest)
	s.show("%d begin with a long header (handshake, QUIC version %d), %d with a short one (all else)", t.long, t.version, t.short)

	o, err := openInitials(packets)
	if err != nil {
		return err
	}
	name := "no server name"
	if o.serverName != "" {
		name = fmt.Sprintf("server name %q", o.serverName)
	}
	s.show("the first ones anybody can open (RFC 9001, section 5.2): %s, key exchange %s, protocol %s, %s",
		tls.VersionName(o.version), o.exchange, strings.Join(o.protocols, ", "), name)
	s.promise("TLS 1.3 and a post-quantum key exchange were chosen, and no service is named",
		o.version == tls.VersionTLS13 && o.exchange == tls.X25519MLKEM768 && o.serverName == "", "that is not what was seen")

	if sample := lastShort(packets); len(sample) >= 32 {
		s.show("the last datagram from caller that could hold the call begins")
		s.show("  % x", sample[:16])
		s.show("  % x", sample[16:32])
	}
	seen := append(joined(packets), o.frames...)
	var found []string
	for _, word := range secretWords() {
		if bytes.Contains(seen, []byte(word)) {
			found = append(found, word)
		}
	}
	s.promise(fmt.Sprintf("none of these is in them: %q", secretWords()), len(found) == 0, "found %q", found)

	var visible []string
	for _, m := range []*member{s.greeter, s.caller} {
		leaf := m.id.Peer().Certificate
		for _, part := range [][]byte{leaf.SerialNumber.Bytes(), leaf.RawSubjectPublicKeyInfo, leaf.Signature} {
			if bytes.Contains(seen, part) {
				visible = append(visible, m.id.ID())
			}
		}
	}
	s.promise("nor any part of either certificate", len(visible) == 0, "found those of %q", visible)
	return nil
}

// recordHTTP is the contrast.
func (s *stage) recordHTTP(ctx context.Context) error {
	reg := registry.NewMemoryRegistry()
	greeter := s.newMember("greeter", transport.NewHTTPTransport(), reg)
	if err := s.serve(greeter, new(Greeter)); err != nil {
		return err
	}
	relay, err := newTCPRelay(greeter.address())
	if err != nil {
		return err
	}
	s.atEnd(relay.Close)
	s.say("for contrast the same call over go-micro's http transport, through such a relay")
	answer, err := s.newMember("caller", transport.NewHTTPTransport(), reg).hello(ctx, "greeter", "John", client.WithAddress(relay.address()))
	s.promiseAnswer("John", answer, err)
	lines := linesWith(relay.recorded(), "Micro-Service:", `"John"`, `"Hello John"`)
	for _, line := range lines {
		s.show("%s", line)
	}
	s.promise("there the observer reads along", len(lines) == 3, "it found only %q", lines)
	return nil
}

// tally counts datagrams.
type tally struct {
	bytes, fromCaller, smallest, largest, long, short int
	version                                           uint32
}

func tallyOf(packets []packet) tally {
	var t tally
	for i, p := range packets {
		size := len(p.data)
		t.bytes += size
		t.largest = max(t.largest, size)
		if i == 0 || size < t.smallest {
			t.smallest = size
		}
		if p.fromCaller {
			t.fromCaller++
		}
		// RFC 9000, section 17: the first bit tells long headers from short ones.
		if size >= 5 && p.data[0]&0x80 != 0 {
			t.long++
			t.version = uint32(p.data[1])<<24 | uint32(p.data[2])<<16 | uint32(p.data[3])<<8 | uint32(p.data[4])
		} else {
			t.short++
		}
	}
	return t
}

// lastShort returns the last datagram of the caller that is all short header and
// large enough to have carried a call.
func lastShort(packets []packet) []byte {
	var last []byte
	for _, p := range packets {
		if p.fromCaller && len(p.data) > 100 && p.data[0]&0x80 == 0 {
			last = p.data
		}
	}
	return last
}

func joined(packets []packet) []byte {
	var all []byte
	for _, p := range packets {
		all = append(all, p.data...)
	}
	return all
}

// linesWith returns, for each word, the first line of text that has it.
func linesWith(text []byte, words ...string) []string {
	var found []string
	for _, word := range words {
		for line := range bytes.Lines(text) {
			if bytes.Contains(line, []byte(word)) {
				found = append(found, strings.TrimSpace(string(line)))
				break
			}
		}
	}
	return found
}
