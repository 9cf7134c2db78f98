package signed_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/signed"
)

// Lookups, new records and changes of trust at once leave the directory with what
// the last record says.
func TestConcurrentLookups(t *testing.T) {
	s := newStage(t)
	const moves = 50
	moved := func(i int) string { return fmt.Sprintf("10.0.1.%d:8000", i) }
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					if _, err := s.reader.GetService("greeter"); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	var others []*identity.Identity
	for i := range 10 {
		others = append(others, s.issue(fmt.Sprint("somebody-", i)))
	}
	wg.Go(func() {
		for _, id := range others {
			if err := s.authority.Revoke(id); err != nil {
				t.Error(err)
			}
		}
	})
	for i := range moves {
		s.forge(s.greeter, greeter(node("a", moved(i))), signed.Forgery{})
	}
	close(done)
	wg.Wait()
	wantNodes(t, s.reader, "greeter", "a@"+moved(moves-1))
	eventually(t, "only the last address is bound", func() bool {
		for i := range moves {
			if _, bound := s.readerID.Directory().Bound(moved(i)); bound != (i == moves-1) {
				return false
			}
		}
		return true
	})
}
