package encrypted

import (
	"bytes"
	"sync"
)

// Frame is a body that is encoded already, or not to be decoded: what go-micro's
// bytes.Frame is for codecs in clear. As a request, a response or a message of a
// stream it is sealed as it is, whatever the content type. go-micro sends its own
// Frame past every codec, so that one is refused.
type Frame struct{ Data []byte }

// memory is what an inner codec reads from and writes to.
type memory struct {
	in  bytes.Reader
	out bytes.Buffer
}

func (m *memory) Read(p []byte) (int, error)  { return m.in.Read(p) }
func (m *memory) Write(p []byte) (int, error) { return m.out.Write(p) }
func (m *memory) Close() error                { return nil }

// spaces is memory that messages are sealed and opened in, where what comes of it is
// copied or decoded before it is given back.
var spaces = sync.Pool{New: func() any { return new([]byte) }}

// maxSpace is the largest piece that is kept.
const maxSpace = 256 << 10

func takeSpace() *[]byte { return spaces.Get().(*[]byte) }

func giveSpace(space *[]byte) {
	if cap(*space) <= maxSpace {
		*space = (*space)[:0]
		spaces.Put(space)
	}
}

// mostSpare is how much of a piece may be empty while its content waits, in bytes.
const mostSpare = 4 << 10

// keepSpace returns the piece, or a copy that is no larger than what is in it, for content
// that waits for as long as a peer likes.
func keepSpace(space *[]byte) *[]byte {
	if cap(*space)-len(*space) <= len(*space)+mostSpare {
		return space
	}
	kept := bytes.Clone(*space)
	return &kept
}
