package signed_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/util/cmd"
)

// everyMethod calls what reports a refused configuration.
func everyMethod(r registry.Registry) map[string]error {
	out := make(map[string]error)
	s := greeter(node("a", "10.0.0.1:8000"))
	out["Register"] = r.Register(s)
	out["Deregister"] = r.Deregister(s)
	_, out["GetService"] = r.GetService("greeter")
	_, out["ListServices"] = r.ListServices()
	_, out["Watch"] = r.Watch()
	return out
}

func TestRefusedConfigurations(t *testing.T) {
	t.Setenv(identity.EnvDir, "")
	f := newFleet(t)
	id, inner := f.issue("greeter"), newBoard()
	already := f.registry("greeter", inner)
	tests := []struct {
		name string
		opts []registry.Option
		want string
	}{
		{"no inner registry", []registry.Option{signed.Identity(id), signed.Wrap(nil)}, "Wrap(nil)"},
		{"signed over signed", []registry.Option{signed.Identity(id), signed.Wrap(already)}, "signed one already"},
		{"nil identity", []registry.Option{signed.Wrap(inner), signed.Identity(nil)}, "no identity"},
		{"no identity", []registry.Option{signed.Wrap(inner)}, "SIGNET_IDENTITY"},
		{"nil Authorize", []registry.Option{signed.Wrap(inner), signed.Identity(id), signed.Authorize(nil)}, "Authorize(nil)"},
		{"short validity", []registry.Option{signed.Wrap(inner), signed.Identity(id), signed.Validity(time.Second)}, "Validity(1s)"},
		{"long validity", []registry.Option{signed.Wrap(inner), signed.Identity(id), signed.Validity(25 * time.Hour)}, "Validity(25h0m0s)"},
		{"zero validity", []registry.Option{signed.Wrap(inner), signed.Identity(id), signed.Validity(0)}, "Validity(0s)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := signed.NewRegistry(tt.opts...)
			for method, err := range everyMethod(r) {
				if err == nil || !strings.HasPrefix(err.Error(), "signed: ") || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%s: got %v, want an error that says %q", method, err, tt.want)
				}
			}
			if want := strings.Contains(tt.name, "identity"); errors.Is(r.Register(greeter()), signed.ErrNoIdentity) != want {
				t.Errorf("ErrNoIdentity: want %v", want)
			}
			if len(inner.copies("greeter")) != 0 {
				t.Error("something reached the inner registry")
			}
		})
	}
}

func TestClosedRegistry(t *testing.T) {
	for _, used := range []bool{true, false} {
		r := signed.NewRegistry(signed.Wrap(newBoard()), signed.Identity(newFleet(t).issue("greeter")))
		if used {
			mustGet(t, r, "greeter")
		}
		for range 2 {
			if err := r.(io.Closer).Close(); err != nil {
				t.Error(err)
			}
		}
		for method, err := range everyMethod(r) {
			if !errors.Is(err, signed.ErrClosed) {
				t.Errorf("%s: got %v, want ErrClosed", method, err)
			}
		}
	}
}

func TestStringNamesTheInnerRegistry(t *testing.T) {
	if got := signed.NewRegistry(signed.Wrap(newBoard())).String(); got != "board" {
		t.Errorf("got %q", got)
	}
	if got := signed.NewRegistry(signed.Wrap(nil)).String(); got != "signed" {
		t.Errorf("without an inner registry: got %q", got)
	}
}

// recorded is an inner registry that go-micro's plugin table has.
type recorded struct {
	*board
	made  int
	addrs []string
}

func (r *recorded) Init(opts ...registry.Option) error {
	var o registry.Options
	for _, opt := range opts {
		opt(&o)
	}
	r.addrs = o.Addrs
	return nil
}

// plug enters an inner registry in go-micro's table.
func plug(t *testing.T, name string) *recorded {
	t.Helper()
	r := &recorded{board: newBoard()}
	cmd.DefaultRegistries[name] = func(...registry.Option) registry.Registry { r.made++; return r }
	t.Cleanup(func() { delete(cmd.DefaultRegistries, name) })
	t.Setenv(signed.EnvInner, name)
	return r
}

func TestInnerRegistryFromTheEnvironment(t *testing.T) {
	inner := plug(t, "test-inner")
	r := signed.NewRegistry(signed.Identity(newFleet(t).issue("greeter")))
	t.Cleanup(func() { _ = r.(io.Closer).Close() })
	if err := r.Init(registry.Addrs("10.0.0.9:2379")); err != nil {
		t.Fatal(err)
	}
	if got := r.String(); got != "board" {
		t.Errorf("String: got %q", got)
	}
	mustRegister(t, r, greeter(node("a", "10.0.0.1:8000")))
	wantNodes(t, r, "greeter", "a@10.0.0.1:8000")
	if inner.made != 1 {
		t.Errorf("it was made %d times", inner.made)
	}
	if len(inner.addrs) != 1 || inner.addrs[0] != "10.0.0.9:2379" {
		t.Errorf("Init forwarded the addresses %q", inner.addrs)
	}
}

func TestInnerRegistryFromTheEnvironmentIsRefused(t *testing.T) {
	id := newFleet(t).issue("greeter")
	cmd.DefaultRegistries["test-nil"] = func(...registry.Option) registry.Registry { return nil }
	cmd.DefaultRegistries["test-signed"] = func(...registry.Option) registry.Registry { return signed.NewRegistry() }
	t.Cleanup(func() { delete(cmd.DefaultRegistries, "test-nil"); delete(cmd.DefaultRegistries, "test-signed") })
	for name, want := range map[string]string{
		"unheard-of":  "test-nil, test-signed",
		"signed":      "none of",
		"test-nil":    "made nothing",
		"test-signed": "signed registry itself",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(signed.EnvInner, name)
			r := signed.NewRegistry(signed.Identity(id))
			for method, err := range everyMethod(r) {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: got %v, want an error that says %q", method, err, want)
				}
			}
			if err := r.Init(); err == nil {
				t.Error("Init took it")
			}
			if r.String() != "signed" {
				t.Errorf("String: got %q", r.String())
			}
		})
	}
}

// Programs make us go-micro's default registry; what we wrap is the one before.
func TestDefaultRegistryInItsOwnPlace(t *testing.T) {
	t.Setenv(signed.EnvInner, "")
	was := registry.DefaultRegistry
	t.Cleanup(func() { registry.DefaultRegistry = was })
	inner := newBoard()
	registry.DefaultRegistry = inner
	id := newFleet(t).issue("greeter")
	r := signed.NewRegistry(signed.Identity(id))
	t.Cleanup(func() { _ = r.(io.Closer).Close() })
	registry.DefaultRegistry = r
	if got := r.String(); got != "board" {
		t.Errorf("String: got %q", got)
	}
	if err := r.Init(); err != nil {
		t.Error(err)
	}
	mustRegister(t, r, greeter(node("a", "10.0.0.1:8000")))
	if len(inner.copies("greeter")) != 1 {
		t.Error("the registration did not reach what was the default")
	}
	if _, err := signed.NewRegistry(signed.Identity(id)).GetService("greeter"); err == nil || !strings.Contains(err.Error(), "signed one already") {
		t.Errorf("a second one around the first: got %v", err)
	}
}

// TestClosedIdentity: what is known of before does not count, as nobody learns of
// revocations any more; but what is registered can be taken back.
func TestClosedIdentity(t *testing.T) {
	f, inner := newFleet(t), newBoard()
	id := f.issue("greeter")
	r := wrap(t, inner, id)
	s := greeter(node("a", "10.0.0.1:1"))
	mustRegister(t, r, s)
	wantNodes(t, r, "greeter", "a@10.0.0.1:1")
	if err := id.Close(); err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func() error{
		"GetService":   func() error { _, err := r.GetService("greeter"); return err },
		"ListServices": func() error { _, err := r.ListServices(); return err },
		"Watch":        func() error { _, err := r.Watch(); return err },
		"Register":     func() error { return r.Register(greeter(node("b", "10.0.0.2:1"))) },
	} {
		if err := call(); !errors.Is(err, identity.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := r.Deregister(s); err != nil {
		t.Errorf("Deregister: %v", err)
	}
	if left, _ := inner.GetService("greeter"); len(left) > 0 {
		t.Errorf("it is still registered: %v", left)
	}
}
