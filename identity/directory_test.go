package identity_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/identity"
)

const (
	greeter = "spiffe://shop.internal/greeter"
	billing = "spiffe://shop.internal/billing"
)

func newDirectory(t testing.TB) *identity.Directory {
	t.Helper()
	return issue(t, newAuthority(t, domain), "us").Directory()
}

func boxKey(t testing.TB) []byte {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key.PublicKey().Bytes()
}

func TestBind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t)
		until := time.Now().Add(time.Hour)
		want := func(addr string, peers ...string) {
			t.Helper()
			got, known := d.Bound(addr)
			if !slices.Equal(got, peers) || known != (len(peers) > 0) {
				t.Errorf("%s: got %v, %v; want %v", addr, got, known, peers)
			}
		}
		bind := func(addr, peer string, until time.Time) {
			t.Helper()
			if err := d.Bind(addr, peer, until); err != nil {
				t.Error(err)
			}
		}
		want("10.0.0.1:80")
		bind("10.0.0.1:80", greeter, until)
		want("10.0.0.1:80", greeter)
		want("10.0.0.1:81")
		bind("10.0.0.1:80", billing, until.Add(time.Hour))
		want("10.0.0.1:80", billing, greeter)
		bind("10.0.0.1:80", billing, until.Add(-time.Minute)) // never sooner
		time.Sleep(time.Hour)
		want("10.0.0.1:80", billing)
		bind("10.0.0.1:80", greeter, time.Now().Add(time.Hour))
		want("10.0.0.1:80", billing, greeter)
		d.Unbind("10.0.0.1:80", billing)
		d.Unbind("10.0.0.1:80", billing)
		d.Unbind("10.0.0.1:8", greeter)
		d.Unbind("nonsense", greeter)
		want("10.0.0.1:80", greeter)
		time.Sleep(time.Hour)
		want("10.0.0.1:80")
	})
}

// TestAddressSpellings: an address that is bound is bound however it is written.
func TestAddressSpellings(t *testing.T) {
	until := time.Now().Add(time.Hour)
	for _, same := range [][]string{
		{"10.0.0.1:80", "[::ffff:10.0.0.1]:80", "[::FFFF:a00:1]:80", "10.0.0.1:0080"},
		{"[2001:db8::1]:80", "[2001:DB8:0:0::1]:80", "[2001:db8:0:0:0:0:0:1]:0080"},
		{"greeter.shop.internal:80", "Greeter.Shop.Internal:80", "GREETER.shop.internal.:80"},
	} {
		for _, bound := range same {
			d := newDirectory(t)
			if err := d.Bind(bound, greeter, until); err != nil {
				t.Error(err)
			}
			for _, asked := range same {
				if _, known := d.Bound(asked); !known {
					t.Errorf("%s is not known as %s", bound, asked)
				}
			}
		}
	}
	d := newDirectory(t)
	for _, addr := range []string{"", "greeter", ":80", "greeter:", "greeter:0", "greeter:65536", "greeter:-1", "greeter:+80", "greeter:http",
		"a b:80", "a\n:80", "gr\u00fc\u00df:80", "2001:db8::1:80", ".:80", strings.Repeat("a", 300) + ":80"} {
		wantError(t, d.Bind(addr, greeter, until), identity.ErrInvalidName, "address")
		if _, known := d.Bound(addr); known {
			t.Errorf("%q is known", addr)
		}
	}
	for _, peer := range []string{"", "greeter", "spiffe://shop.internal", "spiffe://shop.internal/../a"} {
		wantError(t, d.Bind("a:1", peer, until), identity.ErrInvalidName)
		wantError(t, d.AddKeys(peer, boxKey(t), until), identity.ErrInvalidName)
	}
	wantError(t, d.Bind("a:1", greeter, time.Now()), identity.ErrExpired)
	wantError(t, d.AddKeys(greeter, boxKey(t), time.Now()), identity.ErrExpired)
}

func TestKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t)
		first, second := boxKey(t), boxKey(t)
		if bytes.Compare(first, second) > 0 {
			first, second = second, first
		}
		until := time.Now().Add(time.Hour)
		want := func(service string, raw ...[]byte) {
			t.Helper()
			got := d.Keys(service)
			if len(got) != len(raw) {
				t.Fatalf("%d keys; want %d", len(got), len(raw))
			}
			for i, key := range got {
				if !bytes.Equal(key.Key.Bytes(), raw[i]) || key.PeerID != "spiffe://shop.internal/"+service || !key.Until.After(time.Now()) {
					t.Errorf("key %d is %+v", i, key)
				}
			}
		}
		add := func(peer string, key []byte, until time.Time) {
			t.Helper()
			if err := d.AddKeys(peer, key, until); err != nil {
				t.Error(err)
			}
		}
		add(greeter, second, until)
		add(greeter, first, until.Add(time.Hour))
		add(greeter, first, until) // never sooner
		add("spiffe://partner.org/greeter", boxKey(t), until)
		want("greeter", first, second)
		want("billing")
		want("../greeter")
		want("")
		time.Sleep(time.Hour)
		want("greeter", first)
		d.RemoveKeys(greeter)
		d.RemoveKeys(greeter)
		want("greeter")
	})
	d := newDirectory(t)
	for name, key := range map[string][]byte{
		"short": make([]byte, 31), "long": make([]byte, 33), "none": nil,
		"zero": make([]byte, 32), "of order 1": append([]byte{1}, make([]byte, 31)...),
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, d.AddKeys(greeter, key, time.Now().Add(time.Hour)), nil, "key")
		})
	}
}

// TestRemoveKey: one key goes, of one peer, and leaves its room to another.
func TestRemoveKey(t *testing.T) {
	until := time.Now().Add(time.Hour)
	add := func(t *testing.T, d *identity.Directory, peer string, raw ...[]byte) {
		t.Helper()
		for _, key := range raw {
			if err := d.AddKeys(peer, key, until); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name   string
		peer   string
		remove func(key []byte) []byte // which key to remove
		stays  bool
	}{
		{"the key", greeter, func(key []byte) []byte { return key }, false},
		{"the key of another peer", "spiffe://shop.internal/shipping", func(key []byte) []byte { return key }, true},
		{"no peer", "", func(key []byte) []byte { return key }, true},
		{"a key that nobody has", greeter, func([]byte) []byte { return boxKey(t) }, true},
		{"short", greeter, func(key []byte) []byte { return key[:31] }, true},
		{"long", greeter, func(key []byte) []byte { return append(bytes.Clone(key), 0) }, true},
		{"none", greeter, func([]byte) []byte { return nil }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDirectory(t)
			key, sibling := boxKey(t), boxKey(t)
			add(t, d, greeter, key, sibling)
			add(t, d, billing, key)
			d.RemoveKey(c.peer, c.remove(key))
			d.RemoveKey(c.peer, c.remove(key))
			has := func(service string, raw []byte) bool {
				return slices.ContainsFunc(d.Keys(service), func(k identity.PeerKey) bool { return bytes.Equal(k.Key.Bytes(), raw) })
			}
			if has("greeter", key) != c.stays {
				t.Errorf("the key is there: %v", !c.stays)
			}
			if !has("greeter", sibling) || !has("billing", key) {
				t.Error("another key has gone too")
			}
		})
	}
	t.Run("room of the peer", func(t *testing.T) {
		d := newDirectory(t)
		key := boxKey(t)
		add(t, d, greeter, key)
		for range identity.MaxKeysPerPeer - 1 {
			add(t, d, greeter, boxKey(t))
		}
		wantError(t, d.AddKeys(greeter, boxKey(t), until), identity.ErrDirectoryFull)
		d.RemoveKey(greeter, key)
		add(t, d, greeter, boxKey(t))
		wantError(t, d.AddKeys(greeter, boxKey(t), until), identity.ErrDirectoryFull)
	})
	t.Run("room in all", func(t *testing.T) {
		d := newDirectory(t)
		random := func() []byte { // a key that nobody opens, but cheap
			raw := make([]byte, 32)
			rand.Read(raw)
			return raw
		}
		var peer string
		var last []byte
		for i := range identity.MaxKeys {
			peer, last = fmt.Sprintf("spiffe://shop.internal/p%d", i/identity.MaxKeysPerPeer), random()
			add(t, d, peer, last)
		}
		d.RemoveKey(peer, boxKey(t)) // nobody's: makes no room
		wantError(t, d.AddKeys(greeter, boxKey(t), until), identity.ErrDirectoryFull, "65536 box keys")
		d.RemoveKey(peer, last)
		add(t, d, greeter, boxKey(t))
		wantError(t, d.AddKeys(greeter, boxKey(t), until), identity.ErrDirectoryFull, "65536 box keys")
	})
}

func TestDirectoryLimits(t *testing.T) {
	peer := func(i int) string { return fmt.Sprintf("spiffe://shop.internal/p%d", i) }
	addr := func(i int) string { return fmt.Sprintf("10.%d.%d.%d:80", i>>16, i>>8&255, i&255) }
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t)
		until := time.Now().Add(time.Hour)
		for i := range identity.MaxPeersPerAddress {
			if err := d.Bind("a:1", peer(i), until); err != nil {
				t.Fatal(err)
			}
		}
		wantError(t, d.Bind("a:1", greeter, until), identity.ErrDirectoryFull, "64 peers at one address")
		for i := range identity.MaxAddressesPerPeer {
			if err := d.Bind(addr(i), billing, until); err != nil {
				t.Fatal(err)
			}
		}
		wantError(t, d.Bind("a:2", billing, until), identity.ErrDirectoryFull, "1024 addresses of one peer")
		if err := d.Bind("a:2", greeter, until); err != nil {
			t.Errorf("one peer at its limit keeps another out: %v", err)
		}
		for i := identity.MaxAddressesPerPeer; i < identity.MaxAddresses-2; i++ {
			if err := d.Bind(addr(i), peer(i/1000), until); err != nil {
				t.Fatal(err)
			}
		}
		wantError(t, d.Bind("a:3", greeter, until), identity.ErrDirectoryFull, "16384 addresses")
		if err := d.Bind("a:2", billing+"2", until); err != nil {
			t.Errorf("another peer at an address that is there: %v", err)
		}
		// What has ended makes room.
		time.Sleep(time.Hour)
		until = time.Now().Add(time.Hour)
		for _, err := range []error{d.Bind("a:1", greeter, until), d.Bind("a:3", greeter, until), d.Bind("a:4", billing, until)} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("keys", func(t *testing.T) {
		d := newDirectory(t)
		until := time.Now().Add(time.Hour)
		for range identity.MaxKeysPerPeer {
			if err := d.AddKeys(greeter, boxKey(t), until); err != nil {
				t.Fatal(err)
			}
		}
		wantError(t, d.AddKeys(greeter, boxKey(t), until), identity.ErrDirectoryFull, "256 box keys of one peer")
		if err := d.AddKeys(billing, boxKey(t), until); err != nil {
			t.Error(err)
		}
	})
}

func TestDirectoryOnChange(t *testing.T) {
	d := newDirectory(t)
	changed := make(chan struct{}, 100)
	cancel := d.OnChange(func() { changed <- struct{}{} })
	until := time.Now().Add(time.Hour)
	key, other := boxKey(t), boxKey(t)
	for _, step := range []struct {
		name string
		do   func() error
		want bool
	}{
		{"bind", func() error { return d.Bind("a:1", greeter, until) }, true},
		{"bind again", func() error { return d.Bind("a:1", greeter, until) }, false},
		{"prolong", func() error { return d.Bind("a:1", greeter, until.Add(1)) }, true},
		{"unbind", func() error { d.Unbind("a:1", greeter); return nil }, true},
		{"unbind again", func() error { d.Unbind("a:1", greeter); return nil }, false},
		{"key", func() error { return d.AddKeys(greeter, key, until) }, true},
		{"key again", func() error { return d.AddKeys(greeter, key, until) }, false},
		{"prolong key", func() error { return d.AddKeys(greeter, key, until.Add(1)) }, true},
		{"remove keys", func() error { d.RemoveKeys(greeter); return nil }, true},
		{"remove keys again", func() error { d.RemoveKeys(greeter); return nil }, false},
		{"key that was removed", func() error { return d.AddKeys(greeter, key, until) }, true},
		{"remove another key", func() error { d.RemoveKey(greeter, other); return nil }, false},
		{"remove key of another peer", func() error { d.RemoveKey(billing, key); return nil }, false},
		{"remove key", func() error { d.RemoveKey(greeter, key); return nil }, true},
		{"remove key again", func() error { d.RemoveKey(greeter, key); return nil }, false},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changed:
			if !step.want {
				t.Errorf("%s was announced", step.name)
			}
		case <-time.After(map[bool]time.Duration{true: 10 * time.Second, false: 20 * time.Millisecond}[step.want]):
			if step.want {
				t.Fatalf("%s was not announced", step.name)
			}
		}
	}
	cancel()
	if err := d.Bind("a:1", greeter, until); err != nil {
		t.Error(err)
	}
	d.OnChange(nil)()
}

func TestDirectoryZeroValue(t *testing.T) {
	var d identity.Directory
	until := time.Now().Add(time.Hour)
	if err := errors.Join(d.Bind("a:1", greeter, until), d.AddKeys(greeter, boxKey(t), until)); err != nil {
		t.Error(err)
	}
	if got := d.Keys("greeter"); got != nil {
		t.Errorf("keys of no trust domain: %v", got)
	}
}

// TestDirectoryVersion: it has gone up when a change returns, and only then.
func TestDirectoryVersion(t *testing.T) {
	a := newAuthority(t, domain)
	d, peer := issue(t, a, "a").Directory(), issue(t, a, "b")
	key := peer.BoxKeys()[0].PublicKey().Bytes()
	until := time.Now().Add(time.Hour)
	add := func() { _ = d.AddKeys(peer.ID(), key, until) }
	for _, step := range []struct {
		what    string
		f       func()
		changes bool
	}{
		{"AddKeys", add, true},
		{"AddKeys again", add, false},
		{"KeysOf", func() { d.KeysOf(peer.ID()) }, false},
		{"Bind", func() { _ = d.Bind("127.0.0.1:1", peer.ID(), until) }, true},
		{"RemoveKey", func() { d.RemoveKey(peer.ID(), key) }, true},
		{"RemoveKey again", func() { d.RemoveKey(peer.ID(), key) }, false},
	} {
		before := d.Version()
		step.f()
		if changed := d.Version() != before; changed != step.changes {
			t.Errorf("%s: the version has changed: %v, want %v", step.what, changed, step.changes)
		}
	}
}
