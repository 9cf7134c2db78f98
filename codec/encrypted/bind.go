package encrypted

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/go-signet/signet/internal/envelope"
	"go-micro.dev/v4/codec"
	"go-micro.dev/v4/transport/headers"
)

// What an envelope of ours is for, as its epoch's scope says; spec/codec.md.
const (
	scopeCall    = "signet/codec/v1 call "  // and the service
	scopeEvent   = "signet/codec/v1 event " // and the topic
	scopeMessage = "signet/codec/v1 message"
)

// What an envelope is, as the first byte of its topic says.
const (
	kindCall    = 0
	kindOpen    = 1 // opens a stream
	kindStream  = 2 // a later message of one
	kindEvent   = 3
	kindMessage = 4
)

// topicMessage says no more than that.
var topicMessage = string([]byte{kindMessage})

// topicEvent names the codec that an event is encoded with, since the content type is
// not known where events are sealed.
func topicEvent(inner string) string { return string([]byte{kindEvent}) + inner }

// endOfStream is the error by which go-micro ends a stream.
const endOfStream = "EOS"

// target is what a request is for.
type target struct {
	service, method, endpoint, contentType string
	stream                                 bool
}

// targetOf takes it from where go-micro has it, on both sides.
func targetOf(m *codec.Message) target {
	return target{
		service: m.Target, method: m.Method, endpoint: m.Endpoint, contentType: m.Header[headers.ContentType],
		stream: m.Header[headers.Stream] != "" || m.Header["X-"+headers.Stream] != "",
	}
}

// later says which message of a stream one is: first is the binding of the one that
// opened it.
type later struct {
	first    [envelope.BindingSize]byte
	sequence uint64 // from 1
}

// topic is what a request is bound to.
func (t *target) topic(l *later) (string, error) {
	kind := byte(kindCall)
	switch {
	case l != nil:
		kind = kindStream
	case t.stream:
		kind = kindOpen
	}
	var space [96]byte
	out := append(space[:0], kind)
	for _, part := range [...]string{t.service, t.method, t.endpoint, t.contentType} {
		out = append(binary.AppendUvarint(out, uint64(len(part))), part...)
	}
	if l != nil {
		out = append(out, l.first[:]...)
		out = binary.BigEndian.AppendUint64(out, l.sequence)
	}
	if len(out) > envelope.MaxTopic {
		return "", longNames(len(out))
	}
	return string(out), nil
}

//go:noinline
func longNames(n int) error {
	return fmt.Errorf("%w: the names of service, endpoint and content type take %d bytes together: at most %d", ErrTooLarge, n, envelope.MaxTopic)
}

// The prefix of content types that may carry what we seal.
const contentTypePrefix = "application/vnd.signet+"

// checkContentType refuses names by which go-micro would take a codec of its own, in
// clear, at one of the two ends: its legacy codecs come before those of the options.
func checkContentType(contentType string) error {
	if strings.HasPrefix(contentType, contentTypePrefix) {
		return nil
	}
	return fmt.Errorf("%w: %s: register the codec under a name of its own, such as encrypted.ContentTypeJSON", ErrContentType, quote(contentType))
}
