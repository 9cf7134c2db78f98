package quic

import (
	"context"
	"errors"
	"fmt"
	"io"

	quicgo "github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
)

// The control stream (spec/transport.md, "Control stream") is unidirectional
// and opened by the server, once it has accepted the client. It carries its
// type, then frames:
//
//	Control Frame {
//	  Type (i),
//	  Length (i),
//	  Payload (..),
//	}
const (
	streamTypeControl = 0x00

	frameReady  = 0x01 // payload: three integers, the limits of messageLimits; first and once
	frameGoAway = 0x02 // payload: empty; no new calls on this connection

	maxControlPayload = 1024
)

// Application error codes of CONNECTION_CLOSE and, for the first, of
// RESET_STREAM and STOP_SENDING.
const (
	codeDone         = 0x00 // nothing went wrong
	codeUnauthorized = 0x01 // Authorize refused the peer
	codeExpired      = 0x02 // a certificate behind the connection expired
	codeRevoked      = 0x03 // the peer is no longer trusted
	codeProtocol     = 0x04 // the peer broke spec/transport.md
)

// writeReady opens the control stream and announces our limits on it.
func writeReady(conn *quicgo.Conn, lim messageLimits) (*quicgo.SendStream, error) {
	s, err := conn.OpenUniStream()
	if err != nil {
		return nil, err
	}
	payload := quicvarint.Append(nil, lim.headerBytes)
	payload = quicvarint.Append(payload, lim.headers)
	payload = quicvarint.Append(payload, lim.bodyBytes)
	b := []byte{streamTypeControl}
	b = quicvarint.Append(b, frameReady)
	b = quicvarint.Append(b, uint64(len(payload)))
	b = append(b, payload...)
	_, err = s.Write(b)
	return s, err
}

func writeGoAway(s *quicgo.SendStream) error {
	b := quicvarint.Append(nil, frameGoAway)
	b = quicvarint.Append(b, 0)
	_, err := s.Write(b)
	return err
}

// controlReader is the client's end of the control stream.
type controlReader struct {
	r quicvarint.Reader
}

// acceptControl waits for the server's control stream and its first frame.
func acceptControl(ctx context.Context, conn *quicgo.Conn) (*controlReader, messageLimits, error) {
	s, err := conn.AcceptUniStream(ctx)
	if err != nil {
		return nil, messageLimits{}, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := s.SetReadDeadline(deadline); err != nil {
			return nil, messageLimits{}, err
		}
	}
	stop := context.AfterFunc(ctx, func() { s.CancelRead(codeDone) })
	defer stop()
	c := &controlReader{r: quicvarint.NewReader(s)}
	t, err := c.r.ReadByte()
	if err != nil {
		return nil, messageLimits{}, err
	}
	if t != streamTypeControl {
		return nil, messageLimits{}, fmt.Errorf("%w: stream type %#x where the control stream was due", errProtocol, t)
	}
	frame, payload, err := c.next()
	if err != nil {
		return nil, messageLimits{}, err
	}
	if frame != frameReady {
		return nil, messageLimits{}, fmt.Errorf("%w: control frame %#x before READY", errProtocol, frame)
	}
	lim, err := parseReady(payload)
	if err != nil {
		return nil, messageLimits{}, err
	}
	return c, lim, clearDeadline(s)
}

func clearDeadline(s *quicgo.ReceiveStream) error { return s.SetReadDeadline(noDeadline) }

var errProtocol = errors.New("protocol violation")

// next reads one frame.
func (c *controlReader) next() (frame uint64, payload []byte, err error) {
	if frame, err = quicvarint.Read(c.r); err != nil {
		return 0, nil, err
	}
	n, err := quicvarint.Read(c.r)
	if err != nil {
		return 0, nil, err
	}
	if n > maxControlPayload {
		return 0, nil, fmt.Errorf("%w: control frame of %d bytes, at most %d are allowed", errProtocol, n, maxControlPayload)
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(c.r, payload)
	return frame, payload, err
}

func parseReady(payload []byte) (messageLimits, error) {
	var v [3]uint64
	for i := range v {
		n, size, err := quicvarint.Parse(payload)
		if err != nil {
			return messageLimits{}, fmt.Errorf("%w: READY", errProtocol)
		}
		v[i], payload = n, payload[size:]
	}
	// What follows is for later versions to define.
	return messageLimits{headerBytes: v[0], headers: v[1], bodyBytes: v[2]}, nil
}
