package seal

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
)

// sizes are the bodies measured, in bytes.
var sizes = [...]int{64, 1 << 10, 16 << 10, 1 << 20}

// recipients are how many can open what is sealed.
var recipients = [...]int{1, 10, 100}

// A sealer seals bodies to the same recipients. It is for one goroutine. What it returns
// is valid until the next call.
type sealer interface {
	// seal makes what is sent so that each recipient can open the body: one message for
	// all of them, or one for each.
	seal(body []byte) (messages [][]byte, err error)
	// open opens a message that was sealed, as recipient i.
	open(messages [][]byte, i int) ([]byte, error)
}

// A peer is one way to seal.
type peer struct {
	name string // its part of the benchmark's name
	more string // what follows size and recipients there
	// start makes the keys of a sender and of n recipients. What is done once, for any
	// number of messages, is done there.
	start func(tb testing.TB, n int) sealer
	// each: it makes a message for each recipient.
	each bool
	// sizes and recipients, where not all are measured.
	sizes      []int
	recipients []int
}

// peers lists everybody who takes part, ours first and the limit last.
func peers() []peer {
	at1K := []int{1 << 10}
	return append(signets(at1K),
		peer{name: "nacl-box", start: naclBox, each: true},
		peer{name: "nacl-box-precomputed", start: naclPrecomputed, each: true},
		peer{name: "xkeys", start: xkeys, each: true},
		peer{name: "age", start: ageX25519},
		peer{name: "aes-gcm", start: aesGCM, recipients: []int{1}},
	)
}

// cell is one situation in which a peer is measured.
type cell struct{ size, recipients int }

// mostTogether bounds what is sent by a peer that makes a message for each recipient:
// it would seal 100 MiB at a time, and take 100 times what it takes for one.
const mostTogether = 16 << 20

func (p peer) cells() (all []cell) {
	over := func(own, common []int) []int {
		if own != nil {
			return own
		}
		return common
	}
	for _, size := range over(p.sizes, sizes[:]) {
		for _, n := range over(p.recipients, recipients[:]) {
			if !p.each || size*n <= mostTogether {
				all = append(all, cell{size, n})
			}
		}
	}
	return all
}

func (p peer) at(c cell) string {
	name := fmt.Sprintf("plugin=%s/size=%d/recipients=%d", p.name, c.size, c.recipients)
	if p.more != "" {
		name += "/" + p.more
	}
	return name
}

// payload returns size printable bytes.
func payload(size int) []byte {
	const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
	return []byte(strings.Repeat(alphabet, size/len(alphabet)+1)[:size])
}

func random(b []byte) { rand.Read(b) } // it never fails
