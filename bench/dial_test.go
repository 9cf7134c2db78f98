package bench

import (
	"fmt"
	"testing"
)

// dialSize is the payload of the one round trip on a new connection, in bytes.
const dialSize = 128

// BenchmarkDial opens a logical connection to a server that the client has talked
// to before, makes one round trip and closes it.
func BenchmarkDial(b *testing.B) {
	for _, p := range peers() {
		b.Run("plugin="+p.name, func(b *testing.B) {
			drive(b, dialSize, []op{dialOp(p.serve(b))})
		})
	}
}

func dialOp(dial func() (conn, error)) op {
	body := payload(dialSize)
	return func(seq uint64) error {
		c, err := dial()
		if err != nil {
			return fmt.Errorf("dial: %w", err)
		}
		body[0], body[dialSize-1] = byte(seq), byte(seq>>8)
		echo, err := c.exchange(body)
		if err != nil {
			return err
		}
		if err := checkEcho(echo, body); err != nil {
			return err
		}
		return c.Close()
	}
}
