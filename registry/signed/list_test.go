package signed_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

// lists is a board that lists what it is told to.
type lists struct {
	*board
	all []*registry.Service
	err error
}

func (l *lists) ListServices(...registry.ListOption) ([]*registry.Service, error) {
	return l.all, l.err
}

func mustList(t testing.TB, r registry.Registry) []*registry.Service {
	t.Helper()
	out, err := r.ListServices()
	if err != nil {
		t.Fatalf("ListServices: %v", err)
	}
	return out
}

func namesOf(services []*registry.Service) (names []string) {
	for _, s := range services {
		names = append(names, s.Name)
	}
	return names
}

func TestListOfNamesIsHints(t *testing.T) {
	inner := &lists{board: newBoard()}
	r := newFleet(t).registry("reader", inner)
	long := strings.Repeat("n", signed.MaxName)
	for _, name := range []string{"greeter", "", "billing", "greeter", long, long + "n", "line\nbreak", "nul\x00", "bell\a", "\x1b[31mred", "invalid\xff", "right\u202eleft", "größe"} {
		inner.all = append(inner.all, nil, &registry.Service{
			Name: name, Version: "6.6.6", Metadata: map[string]string{"who": "says"},
			Endpoints: []*registry.Endpoint{{Name: "Forged"}}, Nodes: []*registry.Node{nil},
		})
	}
	got := mustList(t, r)
	if want := []string{"greeter", "billing", long, "größe"}; !slices.Equal(namesOf(got), want) {
		t.Errorf("got %q, want %q", namesOf(got), want)
	}
	for _, s := range got {
		if s.Version != "" || s.Metadata != nil || s.Endpoints != nil || s.Nodes != nil {
			t.Errorf("%+v has more than its name", s)
		}
	}
	inner.all = nil
	for i := range 10000 {
		inner.all = append(inner.all, &registry.Service{Name: fmt.Sprint("s", i)})
	}
	if got := mustList(t, r); len(got) != 4096 {
		t.Errorf("%d hints, want at most 4096", len(got))
	}
}

func TestListOfNodesIsVerified(t *testing.T) {
	f, held := newFleet(t), newBoard()
	greets := f.registry("greeter", held)
	mustRegister(t, greets, greeter(node("a", addressA)))
	other := greeter(node("b", addressB))
	other.Version = "2.0.0"
	mustRegister(t, greets, other)
	inner := &lists{board: newBoard()}
	for i := range 5000 { // junk does not hide what is good
		inner.all = append(inner.all, serviceOf(fmt.Sprint("junk", i), node("x", addressA)))
	}
	inner.all = append(inner.all, &registry.Service{Name: "hint"}, &registry.Service{Name: "greeter", Version: "0.0.1"})
	inner.all = append(inner.all, held.copies("greeter")...)
	r := f.registry("reader", inner)
	var got []string
	for _, s := range mustList(t, r) {
		got = append(got, s.Name+" "+s.Version+" "+strings.Join(nodesOf([]*registry.Service{s}), " "))
	}
	slices.Sort(got)
	if want := []string{"greeter 1.2.3 a@" + addressA, "greeter 2.0.0 b@" + addressB}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEmptyListIsNoError(t *testing.T) {
	r := newFleet(t).registry("reader", &lists{board: newBoard(), err: registry.ErrNotFound})
	if got, err := r.ListServices(); err != nil || got == nil || len(got) != 0 {
		t.Errorf("got %v, %v, want an empty list that is not nil", got, err)
	}
}
