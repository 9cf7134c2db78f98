package identity

import (
	"sync"
	"testing"
)

// TestSharedComingAndGoing: between FromEnv and its Close an identity is open,
// however many others end theirs. Identities from memory stand for those from
// files, so that many begin and end.
func TestSharedComingAndGoing(t *testing.T) {
	a, err := NewAuthority("shop.internal")
	if err != nil {
		t.Fatal(err)
	}
	model, err := a.Issue("greeter")
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	set := model.now.Load().set
	shared := sharedIdentities{load: func(envSettings) (*Identity, error) { return newIdentity(set, 0), nil }}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200_000 {
				id, err := shared.acquire(envSettings{dir: "keys"})
				if err != nil {
					t.Error(err)
					return
				}
				_, err = id.current()
				if id.Close(); err != nil {
					t.Errorf("closed by others: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := len(shared.open); n != 0 {
		t.Errorf("%d identities are left", n)
	}
}
