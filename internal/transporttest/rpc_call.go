package transporttest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"

	"go-micro.dev/v4/client"
	raw "go-micro.dev/v4/codec/bytes"
	"go-micro.dev/v4/metadata"
)

func callChecks() []check {
	return []check{
		{name: "call/unary", run: unary},
		{name: "call/bytes", run: unaryBytes},
		{name: "call/WithAddress", run: withAddress},
		{name: "call/WithAddress by host name", needs: HostNames, run: withHostName},
		{name: "call/WithConnClose", run: withConnClose},
		{name: "call/one connection for calls in a row", needs: PooledCalls, chance: true, run: oneForAll},
		{name: "call/one connection for calls by host name", needs: PooledByName, run: oneForName},
		{name: "call/metadata", run: metadataPasses},
		{name: "call/metadata keys and request id are exact", needs: ExactHeaders, run: metadataExact},
		{name: "call/unknown service", run: unknownService},
		{name: "call/nobody at the address", run: nobodyThere},
	}
}

func unary(e *env) error {
	f := e.fleet()
	for _, text := range []string{"", "hello", strings.Repeat("long ", 20_000)} {
		if err := f.works(text); err != nil {
			return err
		}
	}
	return nil
}

func unaryBytes(e *env) error {
	f := e.fleet()
	for _, n := range []int{1, 1000, 100_000, 4 << 20} {
		in, out := &raw.Frame{Data: sized(n, n).Body}, new(raw.Frame)
		if err := f.call("Bytes", in, out); err != nil {
			return fmt.Errorf("%d bytes: %w", n, err)
		}
		if !bytes.Equal(in.Data, out.Data) {
			return fmt.Errorf("%d bytes came back as %d others", n, len(out.Data))
		}
	}
	return nil
}

func withAddress(e *env) error {
	f := e.fleet()
	return f.works("hello", client.WithAddress(f.address()))
}

func withHostName(e *env) error {
	f := e.fleet()
	return f.works("hello", client.WithAddress(f.hostName()))
}

func (f *fleet) hostName() string {
	_, port, _ := net.SplitHostPort(f.address())
	return net.JoinHostPort("localhost", port)
}

// withConnClose: each such call has a connection of its own, which both ends
// close, and the calls between share one.
func withConnClose(e *env) error {
	f := e.fleet()
	for i := range 20 {
		if err := f.works(fmt.Sprint("last ", i), client.WithConnClose()); err != nil {
			return fmt.Errorf("call %d, to be the last on its connection: %w", i, err)
		}
		if err := f.works(fmt.Sprint("next ", i)); err != nil {
			return fmt.Errorf("call %d, after one with WithConnClose: %w", i, err)
		}
	}
	return nil
}

func oneForAll(e *env) error {
	f := e.fleet()
	if err := f.Client().Init(client.PoolSize(client.DefaultPoolSize)); err != nil {
		return fmt.Errorf("Init with go-micro's pool size: %w", err)
	}
	return f.oneDial()
}

func oneForName(e *env) error {
	f := e.fleet()
	return f.oneDial(client.WithAddress(f.hostName()))
}

func (f *fleet) oneDial(opts ...client.CallOption) error {
	for i := range 50 {
		if err := f.works(fmt.Sprint(i), opts...); err != nil {
			return err
		}
	}
	if n := f.dials.Load(); n != 1 {
		return fmt.Errorf("50 calls in a row took %d connections, want 1", n)
	}
	return nil
}

func (f *fleet) metadataOf(md metadata.Metadata) (map[string]string, error) {
	var in string
	var got map[string]string
	req := f.Client().NewRequest(Service, "Probe.Metadata", &in)
	err := f.Client().Call(metadata.NewContext(f.Context(), md), req, &got)
	return got, err
}

func metadataPasses(e *env) error {
	f := e.fleet()
	for i := range 3 {
		want := fmt.Sprint("value ", i)
		got, err := f.metadataOf(metadata.Metadata{"X-Tenant": want, "lower-case": want})
		if err != nil {
			return err
		}
		// go-micro capitalises the keys of metadata on both sides.
		for _, k := range []string{"X-Tenant", "Lower-Case"} {
			if got[k] != want {
				return fmt.Errorf("metadata %s arrived as %q, want %q", k, got[k], want)
			}
		}
		for _, k := range []string{"Local", "Remote"} {
			if _, _, err := net.SplitHostPort(got[k]); err != nil {
				return fmt.Errorf("the server's metadata %s is no address: %w", k, err)
			}
		}
	}
	if got, err := f.metadataOf(metadata.Metadata{}); err != nil || got["X-Tenant"] != "" {
		return fmt.Errorf("metadata of an earlier call on the connection: %q, error %v", got["X-Tenant"], err)
	}
	return nil
}

// metadataExact: with another spelling of Micro-ID the server does not find the
// request id, and takes all calls of a connection for one.
func metadataExact(e *env) error {
	f := e.fleet()
	seen := make(map[string]bool)
	for range 3 {
		got, err := f.metadataOf(metadata.Metadata{"X-URL-ID": "exact"})
		if err != nil {
			return err
		}
		if got["X-URL-ID"] != "exact" {
			return fmt.Errorf("metadata X-URL-ID arrived as %q", got["X-URL-ID"])
		}
		id := got["Micro-ID"]
		if id == "" || seen[id] {
			return fmt.Errorf("the request id is %q, want another than before", id)
		}
		seen[id] = true
	}
	return nil
}

func unknownService(e *env) error {
	f := e.fleet()
	var text string
	req := f.Client().NewRequest("nobody", "Probe.Echo", &text)
	if err := f.Client().Call(f.Context(), req, &text); err == nil {
		return errors.New("a service that is not registered answered")
	}
	return f.works("after")
}

func nobodyThere(e *env) error {
	f := e.fleet()
	l, err := e.tr.Listen(anyPort)
	if err != nil {
		return fmt.Errorf("Listen: %w", err)
	}
	if err := e.within("Close of the listener", l.Close); err != nil {
		return fmt.Errorf("Close of the listener: %w", err)
	}
	if err := f.works("hello", client.WithAddress(l.Addr())); err == nil || errors.Is(err, errBlocked) {
		return fmt.Errorf("a call to an address where nobody listens returned %v, want an error", err)
	}
	return f.works("after")
}
