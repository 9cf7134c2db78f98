package etcd_test

import (
	"errors"
	"testing"
	"time"

	"github.com/go-signet/signet/e2e/internal/etcdtest"
	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/etcd"
	"go-micro.dev/v4/registry"
)

func authority(t *testing.T, domain string) *identity.Authority {
	t.Helper()
	a, err := identity.NewAuthority(domain)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, a *identity.Authority, service string, opts ...identity.IssueOption) *identity.Identity {
	t.Helper()
	id, err := a.Issue(service, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = id.Close() })
	return id
}

// TestWhoseRecord has two registries after each other, the first of which died without
// deregistering.
func TestWhoseRecord(t *testing.T) {
	s := etcdtest.Start(t)
	c := s.Client()
	a := authority(t, "shop.internal")
	greeter, other := issue(t, a, "greeter"), issue(t, a, "other")
	for _, tt := range []struct {
		name          string
		first, second *identity.Identity
		address       string // of the second; the first's is 10.0.0.1:80
		taken         bool
	}{
		{"same owner, other address", greeter, greeter, "10.0.0.2:80", false},
		{"another owner", other, greeter, "10.0.0.2:80", true},
		{"another owner, same address", other, greeter, "10.0.0.1:80", true},
		{"an owner, then none", greeter, nil, "10.0.0.1:80", true},
		{"no owner, same address", nil, nil, "10.0.0.1:80", false},
		{"no owner, other address", nil, nil, "10.0.0.2:80", true},
		{"no owner, then one, same address", nil, greeter, "10.0.0.1:80", false},
		{"no owner, then one, other address", nil, greeter, "10.0.0.2:80", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			as := func(id *identity.Identity) registry.Registry {
				if id == nil {
					return inClear(t, []string{s.Addr()})
				}
				return inClear(t, []string{s.Addr()}, etcd.Identity(id))
			}
			first, second := as(tt.first), as(tt.second)
			register(t, first, node("greeter", "1", "10.0.0.1:80"), 0)
			before, _, rev := key(t, c, greeterKey)
			closeNow(t, first)

			err := second.Register(node("greeter", "1", tt.address), registry.RegisterTTL(time.Minute))
			if errors.Is(err, etcd.ErrTaken) != tt.taken || (err != nil) != tt.taken {
				t.Errorf("Register: got %v, taken %v", err, tt.taken)
			}
			if after, _, now := key(t, c, greeterKey); tt.taken != (after == before && now == rev) {
				t.Errorf("the record became %s", after)
			}
			closeNow(t, second)
			third := as(tt.second)
			if err := third.Deregister(node("greeter", "1", tt.address)); errors.Is(err, etcd.ErrTaken) != tt.taken {
				t.Errorf("Deregister by one who never registered it: got %v, taken %v", err, tt.taken)
			}
			if after, _, _ := key(t, c, greeterKey); tt.taken != (after != "") {
				t.Errorf("after Deregister there is %q", after)
			}
			if _, err := c.Delete(t.Context(), greeterKey); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestTwoLivingProcesses have one owner and one node ID: the last one wins, and when
// it is gone the other has the record again. They do not fight.
func TestTwoLivingProcesses(t *testing.T) {
	s := etcdtest.Start(t)
	id := issue(t, authority(t, "shop.internal"), "greeter")
	first := inClear(t, []string{s.Addr()}, etcd.Identity(id))
	second := inClear(t, []string{s.Addr()}, etcd.Identity(id))
	one, two := node("greeter", "1", "10.0.0.1:80"), node("greeter", "1", "10.0.0.2:80")
	register(t, first, one, time.Minute)
	register(t, second, two, time.Minute)
	eventually(t, "the first knows", func() bool { return errors.Is(first.Register(one, registry.RegisterTTL(time.Minute)), etcd.ErrTaken) })
	if got := addressOf(first, "greeter"); got != "10.0.0.2:80" {
		t.Errorf("got %q, want the second's", got)
	}
	deregister(t, second, two)
	eventually(t, "the first has it again", func() bool { return addressOf(first, "greeter") == "10.0.0.1:80" })
	register(t, first, one, time.Minute)

	// The other way round the first's Deregister leaves the second's record alone.
	register(t, second, two, time.Minute)
	deregister(t, first, one)
	if got := addressOf(first, "greeter"); got != "10.0.0.2:80" {
		t.Errorf("got %q, want the second's", got)
	}
}

// TestForeignRecordOverOurs is written by somebody whom etcd should not have let.
func TestForeignRecordOverOurs(t *testing.T) {
	s := etcdtest.Start(t)
	c := s.Client()
	r := inClear(t, []string{s.Addr()}, etcd.Identity(issue(t, authority(t, "shop.internal"), "greeter")))
	register(t, r, node("greeter", "1", "10.0.0.1:80"), time.Minute)
	evil := `{"name":"greeter","version":"1","nodes":[{"id":"1","address":"6.6.6.6:6"}],"owner":"spiffe://evil/greeter"}`
	put(t, c, greeterKey, evil)
	eventually(t, "Register says so", func() bool {
		return errors.Is(r.Register(node("greeter", "1", "10.0.0.1:80"), registry.RegisterTTL(time.Minute)), etcd.ErrTaken)
	})
	if got, _, _ := key(t, c, greeterKey); got != evil {
		t.Errorf("it was overwritten with %s", got)
	}
	if _, err := c.Delete(t.Context(), greeterKey); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ours is back", func() bool { return addressOf(r, "greeter") == "10.0.0.1:80" })
}
