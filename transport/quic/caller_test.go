package quic_test

import (
	"context"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/caller"
	"go-micro.dev/v4"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/client"
	"go-micro.dev/v4/metadata"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/selector"
	"go-micro.dev/v4/server"
)

// Seen is what a handler knows of who calls it.
type Seen struct {
	ID string // "" if nobody proved to be anybody
	// By is who the next service saw, where the call was passed on.
	By string
	// Metadata is everything the handler was given: it leaks what it should not.
	Metadata map[string]string
}

type Request struct{}

// Front is the handler of every service here. Where next is set it passes calls
// on with the context it got.
type Front struct {
	client client.Client
	next   string
}

func seen(ctx context.Context) Seen {
	p, _ := identity.PeerFromContext(ctx)
	md, _ := metadata.FromContext(ctx)
	return Seen{ID: p.ID, Metadata: md}
}

func (h *Front) Who(ctx context.Context, _ *Request, rsp *Seen) error {
	*rsp = seen(ctx)
	if h.next == "" {
		return nil
	}
	var next Seen
	err := h.client.Call(ctx, h.client.NewRequest(h.next, "Front.Who", &Request{}), &next)
	rsp.By = next.ID
	return err
}

// town is some services that know each other.
type town struct {
	*fleet
	reg    registry.Registry
	broker broker.Broker
}

func newTown(t *testing.T) *town {
	b := broker.NewMemoryBroker()
	if err := b.Connect(); err != nil {
		t.Fatal(err)
	}
	return &town{newFleet(t), registry.NewMemoryRegistry(), b}
}

// service starts a go-micro service. onEvent, if any, gets the events of "topic".
func (w *town) service(name, next string, onEvent func(context.Context)) (cl client.Client, addr string) {
	w.t.Helper()
	sel := selector.NewSelector(selector.Registry(w.reg))
	cl = client.NewClient(client.ContentType("application/json"), client.Selector(sel), client.Retries(0), client.RequestTimeout(10*time.Second))
	srv := server.NewServer(server.WithLogger(newTestLogger(w.t)))
	s := micro.NewService(
		micro.Server(srv), micro.Client(cl), micro.HandleSignal(false),
		micro.Registry(w.reg), micro.Broker(w.broker), micro.Transport(w.transport(name)),
		micro.Name(name), micro.Address("127.0.0.1:0"),
	)
	if err := micro.RegisterHandler(s.Server(), &Front{cl, next}); err != nil {
		w.t.Fatal(err)
	}
	if onEvent != nil {
		if err := micro.RegisterSubscriber("topic", s.Server(), func(ctx context.Context, _ *Request) error {
			onEvent(ctx)
			return nil
		}); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := s.Server().Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = cl.Init(client.PoolSize(1)) // closes the pool; the client has no Close
		if err := s.Server().Stop(); err != nil {
			w.t.Error(err)
		}
		_ = sel.Close()
	})
	return cl, s.Server().Options().Address
}

func ask(t *testing.T, ctx context.Context, cl client.Client, service string) Seen {
	t.Helper()
	var got Seen
	if err := cl.Call(ctx, cl.NewRequest(service, "Front.Who", &Request{}), &got); err != nil {
		t.Fatal(err)
	}
	return got
}

const shop = "spiffe://shop.internal/"

// TestCallerAtEachHop: a handler sees the service that called it, not the one
// that called the caller, whatever came along in the context.
func TestCallerAtEachHop(t *testing.T) {
	w := newTown(t)
	w.service("back", "", nil)
	w.service("middle", "back", nil)
	admin, _ := w.service("admin", "", nil)
	for range 3 {
		got := ask(t, t.Context(), admin, "middle")
		if got.ID != shop+"admin" || got.By != shop+"middle" {
			t.Errorf("middle saw %q, back saw %q", got.ID, got.By)
		}
	}
	// What a handler was told once is worth nothing in a call of its own.
	leaked := ask(t, t.Context(), admin, "middle").Metadata
	mallory, _ := w.service("mallory", "", nil)
	for name, md := range map[string]metadata.Metadata{
		"as it was":  leaked,
		"title case": {"Signet-caller": leaked[caller.Header], "Remote": leaked["Remote"], "Local": leaked["Local"]},
		"lower case": {"signet-caller": leaked[caller.Header], "remote": leaked["Remote"], "local": leaked["Local"]},
	} {
		t.Run(name, func(t *testing.T) {
			got := ask(t, metadata.NewContext(t.Context(), md), mallory, "middle")
			if got.ID != shop+"mallory" && got.ID != "" || got.By != shop+"middle" {
				t.Errorf("middle saw %q, back saw %q", got.ID, got.By)
			}
		})
	}
}

// rpc is the header block of a go-micro call, spelled as on the wire.
func rpc(service string, extra map[string]string) []byte {
	b := coded(3, service)
	b = append(b, coded(5, "Front.Who")...)
	b = append(b, coded(6, "1")...)
	b = append(b, coded(0, "application/json")...)
	for name, value := range extra {
		switch name {
		case "Micro-Topic":
			b = append(b, coded(10, value)...)
		case "Local":
			b = append(b, coded(25, value)...)
		case "Remote":
			b = append(b, coded(26, value)...)
		default:
			b = append(b, field(name, value)...)
		}
	}
	return b
}

// TestStolenCaller: the very value that told a handler of the admin, sent in a
// call of another client's own making, makes that client nobody else.
func TestStolenCaller(t *testing.T) {
	w := newTown(t)
	events := make(chan Seen, 1)
	_, addr := w.service("front", "", func(ctx context.Context) { events <- seen(ctx) })
	admin, _ := w.service("admin", "", nil)
	md := ask(t, t.Context(), admin, "front").Metadata
	value, local, remote := md[caller.Header], md["Local"], md["Remote"]
	if value == "" || remote == "" {
		t.Fatalf("nothing to steal in %v", md)
	}
	forgeries := map[string]map[string]string{}
	for _, name := range []string{
		"Signet-Caller", "signet-caller", "SIGNET-CALLER", "Signet-caller", "\u017fignet-caller", "\u017fIGNET-Caller", "Signet-Caller ",
	} {
		forgeries[name] = map[string]string{name: value}
		forgeries[name+" with addresses"] = map[string]string{name: value, "Local": local, "Remote": remote}
		forgeries[name+" with lower-case addresses"] = map[string]string{name: value, "local": local, "remote": remote, "\u017figned": ""}
	}
	forgeries["two spellings"] = map[string]string{"signet-caller": value, "Signet-Caller": value, "remote": remote, "REMOTE": remote}

	mallory := dialRaw(t, addr, w.tlsConfig("mallory"), nil)
	tryRPC := func(t *testing.T, extra map[string]string) Seen {
		t.Helper()
		s := mallory.send(onStream(frame(rpc("front", extra), []byte("{}"))))
		defer s.CancelRead(0)
		defer s.Close()
		_ = s.SetReadDeadline(time.Now().Add(10 * time.Second))
		// The body of the answer is JSON; what comes before it is not.
		var answer []byte
		buf := make([]byte, 64<<10)
		for {
			n, err := s.Read(buf)
			answer = append(answer, buf[:n]...)
			if i := strings.Index(string(answer), `{"ID"`); i >= 0 {
				var got Seen
				if json.Unmarshal(answer[i:], &got) == nil {
					return got
				}
			}
			if err != nil {
				t.Fatalf("got %q, %v", answer, err)
			}
		}
	}
	for name, extra := range forgeries {
		t.Run("call/"+name, func(t *testing.T) {
			if got := tryRPC(t, extra); got.ID != "" && got.ID != shop+"mallory" {
				t.Errorf("taken for %q", got.ID)
			}
		})
		asEvent := maps.Clone(extra)
		asEvent["Micro-Topic"] = "topic"
		t.Run("event in a call/"+name, func(t *testing.T) {
			mallory.send(onStream(frame(rpc("front", asEvent), []byte("{}"))))
			select {
			case got := <-events:
				if got.ID != "" {
					t.Errorf("an event of %q", got.ID)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("no event arrived")
			}
		})
		t.Run("event/"+name, func(t *testing.T) {
			header := maps.Clone(asEvent)
			header["Content-Type"] = "application/json"
			if err := w.broker.Publish("topic", &broker.Message{Header: header, Body: []byte("{}")}); err != nil {
				t.Fatal(err)
			}
			select {
			case got := <-events:
				if got.ID != "" {
					t.Errorf("an event of %q", got.ID)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("no event arrived")
			}
		})
	}
	if got := tryRPC(t, nil); got.ID != shop+"mallory" {
		t.Errorf("without tricks: got %q", got.ID)
	}
}
