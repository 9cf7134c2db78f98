// Package encrypted holds go-micro codecs that encrypt the bodies of calls, streams and
// events between the two services, whatever carries them:
//
//	client := client.NewClient(encrypted.ClientOptions(id)...)
//	server := server.NewServer(encrypted.ServerOptions(id)...)
//
// What it guarantees. A handler runs only for a request that a verified member sealed
// for this service, endpoint and content type, within the last five minutes, and at
// most once in this process; see MaxAge. Caller says who it was. A client accepts only an
// answer that a process of the service it called has sealed for this very request, and
// of a stream only the next one. Errors are answers like others. Nothing in between can
// read a body, or change, swap, repeat or leave out a message of a stream before its
// end. There is no fallback to clear text, at either end.
//
// What it assumes. Clocks are right within a minute, and a service's box keys are in the
// peer directory of its callers: registry/signed enters them, and Identity.AddCard.
// Callers introduce themselves with a card in their first request to a node.
//
// What it does not protect. Names of services and endpoints, metadata of the context and
// other headers, sizes and times can be read, and metadata can be changed: keep secrets
// out of it. A stream can be cut off: go-micro's end of stream passes no codec. What
// carries a request can hand it to several replicas of the service, each of which
// accepts it once, and can make a call fail: go-micro's client then may send it anew (see
// client.Retries), although it was carried out. All replicas of a service can read its
// requests and answer them. Events that are not under BrokerSeals can be replayed within
// EventAge; use broker/sealed. Who steals a service's box key can read what is sealed to
// it until it is replaced and, with what was recorded, what was sealed before; and can
// call that service in the name of anybody whose card it has seen, since keys agree in
// both directions. So can a replica, towards others that have the same box key.
// A caller that is revoked still gets what handlers answer to the calls and streams that
// it has open; nothing more is taken from it.
//
// Keys. X25519 box keys of the identities agree on a key for each client, service and
// hour; see spec/codec.md. There is no public-key operation for a call but the first.
// The first request to a node, and each that opens a stream, brings card and keys along,
// which takes about 950 bytes; a later call takes 80 more than in clear. One that is refused
// since the node has forgotten them is sent once more, with them: it is the same message, so
// that a process that has carried it out already refuses it. A service whose replicas have
// one box key (the file box.key of the identity) has smaller requests than one with a key
// for each replica: 72 bytes a key in the first, 16 in a later one.
//
// Compatibility. Both sides need this package. The content types below are not those of
// go-micro's own codecs, which would take over, so that old and new ends refuse each
// other. Handlers and generated code need no change, unless they use go-micro's
// bytes.Frame: see Frame.
package encrypted

import (
	"fmt"
	"io"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/client"
	"go-micro.dev/v4/codec"
	raw "go-micro.dev/v4/codec/bytes"
	"go-micro.dev/v4/codec/json"
	"go-micro.dev/v4/codec/proto"
	"go-micro.dev/v4/server"
)

// Content types: of bodies that are JSON, protocol buffers or bytes inside.
const (
	ContentTypeJSON  = contentTypePrefix + "json"
	ContentTypeProto = contentTypePrefix + "proto"
	ContentTypeBytes = contentTypePrefix + "octet-stream"
)

// NewCodec seals what the inner codec makes. Register it under a content type that
// begins with "application/vnd.signet+", and once for client and once for server;
// ClientOptions and ServerOptions do that, and close what go-micro leaves open beside a
// codec: by itself, a codec cannot refuse other content types, nor a bytes.Frame.
//
// The constructor cannot fail: without an identity, or around go-micro's grpc codec,
// which has no bodies of its own, every call fails.
func NewCodec(id *identity.Identity, inner codec.NewCodec, opts ...Option) codec.NewCodec {
	return newEngine(id, opts).newCodec(inner)
}

func (e *engine) newCodec(inner codec.NewCodec) codec.NewCodec {
	if err := checkInner(inner); err != nil {
		return func(io.ReadWriteCloser) codec.Codec { return &broken{err} }
	}
	return func(rw io.ReadWriteCloser) codec.Codec { return &instance{e: e, inner: inner, rw: rw} }
}

func checkInner(inner codec.NewCodec) (err error) {
	if inner == nil {
		return fmt.Errorf("%w: there is none: give NewCodec json.NewCodec, for instance", ErrInner)
	}
	if name := inner(new(memory)).String(); name == "grpc" {
		return fmt.Errorf("%w: go-micro's grpc codec frames its messages itself: use its proto codec", ErrInner)
	}
	return nil
}

// broken is a codec that cannot work.
type broken struct{ err error }

func (b *broken) ReadHeader(*codec.Message, codec.MessageType) error { return b.err }
func (b *broken) ReadBody(any) error                                 { return b.err }
func (b *broken) Write(*codec.Message, any) error                    { return b.err }
func (b *broken) Close() error                                       { return nil }
func (b *broken) String() string                                     { return "encrypted" }

func (e *engine) codecs() map[string]codec.NewCodec {
	return map[string]codec.NewCodec{
		ContentTypeJSON:  e.newCodec(json.NewCodec),
		ContentTypeProto: e.newCodec(proto.NewCodec),
		ContentTypeBytes: e.newCodec(raw.NewCodec),
	}
}

// ClientOptions are for a client all of whose requests are encrypted: it sends JSON
// unless a request or message says otherwise, and refuses to send in clear. Give them to
// client.NewClient: in a client that exists already, Init leaves out the part that keeps
// go-micro's bytes.Frame out of streams and events. A CallWrapper that looks into the bodies
// of requests has to come before them: those after them see one of ours.
func ClientOptions(id *identity.Identity, opts ...Option) []client.Option {
	e := newEngine(id, opts)
	out := []client.Option{
		client.ContentType(ContentTypeJSON),
		client.WrapCall(e.wrapCall),
		client.Wrap(func(c client.Client) client.Client { return &wrapper{c, e} }),
	}
	for contentType, c := range e.codecs() {
		out = append(out, client.Codec(contentType, c))
	}
	return out
}

// ServerOptions are for a server that takes nothing in clear: neither requests nor,
// without BrokerSeals, events.
func ServerOptions(id *identity.Identity, opts ...Option) []server.Option {
	e := newEngine(id, opts)
	e.wrapped = true
	out := []server.Option{func(o *server.Options) {
		// Before all others that are there: they see only what we let through.
		o.HdlrWrappers = append([]server.HandlerWrapper{e.wrapHandler}, o.HdlrWrappers...)
		o.SubWrappers = append([]server.SubscriberWrapper{e.wrapSubscriber}, o.SubWrappers...)
	}}
	for contentType, inner := range server.DefaultCodecs {
		out = append(out, server.Codec(contentType, e.refuse(inner)))
	}
	for contentType, c := range e.codecs() {
		out = append(out, server.Codec(contentType, c))
	}
	return out
}
