package encrypted

import (
	"errors"
	"io"

	"go-micro.dev/v4/codec"
)

// refuser stands where a codec in clear would be: it reads nothing, and answers with an
// error.
type refuser struct {
	codec.Codec // for events that the broker seals; else nil
}

func (e *engine) refuse(inner codec.NewCodec) codec.NewCodec {
	return func(rw io.ReadWriteCloser) codec.Codec {
		if e.o.brokerSeals {
			return &refuser{inner(rw)}
		}
		return &refuser{}
	}
}

var errClearText = errors.New(clearText)

func (r *refuser) ReadHeader(m *codec.Message, kind codec.MessageType) error {
	if kind == codec.Event && r.Codec != nil {
		return r.Codec.ReadHeader(m, kind)
	}
	return errClearText
}

func (r *refuser) ReadBody(b any) error {
	if r.Codec != nil && b != nil {
		return r.Codec.ReadBody(b)
	}
	return nil
}

// Write writes no body: go-micro puts an error into the header.
func (r *refuser) Write(*codec.Message, any) error { return nil }

func (r *refuser) Close() error { return nil }

func (r *refuser) String() string { return "refused" }
