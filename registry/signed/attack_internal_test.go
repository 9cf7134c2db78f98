package signed

import (
	"testing"
	"time"
)

// TestSequenceComesBackWithTheClock: what a clock far ahead has made nobody accepts,
// so what follows need not outdo it, or it would be refused as well.
func TestSequenceComesBackWithTheClock(t *testing.T) {
	s := new(signer)
	ahead := func(d time.Duration) uint64 { return uint64(time.Now().Add(d).UnixMicro()) }
	n := &ownNode{sequence: ahead(time.Hour)}
	if got, _ := s.next(n); got > ahead(clockSkew) {
		t.Errorf("after an hour ahead: got sequence %d, which is refused at %d", got, time.Now().UnixMicro())
	}
	was := ahead(clockSkew / 2)
	n.sequence = was
	if got, _ := s.next(n); got != was+1 {
		t.Errorf("within the tolerance: got sequence %d, want the one after %d", got, was)
	}
}
