package signed_test

import (
	"errors"
	"slices"
	"testing"

	"go-micro.dev/v4/registry"
)

// backends are the two kinds of inner registries: those that keep the first
// registration of a node, and those that overwrite.
func backends(t *testing.T, test func(t *testing.T, inner registry.Registry)) {
	t.Run("memory", func(t *testing.T) { test(t, newMemory()) })
	t.Run("overwriting", func(t *testing.T) { test(t, newBoard()) })
	t.Run("one record each", func(t *testing.T) { test(t, &board{perNode: true}) })
}

func TestSignedRegistrationsAreFound(t *testing.T) {
	backends(t, func(t *testing.T, inner registry.Registry) {
		f := newFleet(t)
		var rejected rejections
		reader := f.registry("reader", inner, rejected.hook())
		mustRegister(t, f.registry("greeter", inner), greeter(node("a", "10.0.0.1:8000"), node("b", "10.0.0.2:8000")))
		wantNodes(t, reader, "greeter", "a@10.0.0.1:8000", "b@10.0.0.2:8000")
		got := mustGet(t, reader, "greeter")
		if len(got) != 1 || got[0].Version != "1.2.3" || got[0].Metadata["team"] != "front" || len(got[0].Endpoints) != 1 || got[0].Endpoints[0].Name != "Greeter.Hello" {
			t.Errorf("got %+v", got)
		}
		rejected.want(t)
	})
}

func TestInnerErrorsPass(t *testing.T) {
	inner, down := newBoard(), errors.New("etcd is down")
	r := newFleet(t).registry("reader", inner)
	if got, err := r.GetService("greeter"); err != nil || got == nil || len(got) != 0 {
		t.Errorf("nothing registered: got %v, %v, want empty, not nil, and no error", got, err)
	}
	inner.fail(down)
	if _, err := r.GetService("greeter"); !errors.Is(err, down) {
		t.Errorf("got %v, want the inner error", err)
	}
	if _, err := r.ListServices(); !errors.Is(err, down) {
		t.Errorf("ListServices: got %v, want the inner error", err)
	}
}

func TestListServices(t *testing.T) {
	inner, f := newBoard(), newFleet(t)
	mustRegister(t, f.registry("greeter", inner), greeter(node("a", "10.0.0.1:8000")))
	mustRegister(t, inner, serviceOf("forged", node("x", "10.6.6.6:1")))
	services, err := f.registry("reader", inner).ListServices()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range services {
		names = append(names, s.Name)
	}
	if !slices.Equal(names, []string{"greeter"}) {
		t.Errorf("got %v, want only what verifies", names)
	}
}
