package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/transport/quic"
	"go-micro.dev/v4"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/client"
	merrors "go-micro.dev/v4/errors"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/selector"
	"go-micro.dev/v4/server"
	"go-micro.dev/v4/transport"
)

// trustDomain is the fleet that the story is about.
const trustDomain = "shop.internal"

// patience bounds each call.
const patience = 5 * time.Second

// member is one service of the fleet. A real one is a process of its own.
type member struct {
	micro.Service
	id      *identity.Identity // nil without Signet
	handler *Greeter           // nil if it only calls
}

func (m *member) address() string { return m.Server().Options().Address }

// newMember makes a go-micro service on a transport. It has a broker that nobody else
// is connected to, unless the options give another.
func (s *stage) newMember(name string, t transport.Transport, reg registry.Registry, opts ...micro.Option) *member {
	sel := selector.NewSelector(selector.Registry(reg))
	var calls sync.WaitGroup
	service := micro.NewService(append([]micro.Option{
		// go-micro's default server, client and selector are one for the whole
		// process. A service that has the process to itself needs none of these.
		micro.Server(server.NewServer()),
		micro.Client(client.NewClient(client.Selector(sel), client.Retries(0))),
		micro.Broker(broker.NewMemoryBroker()),

		micro.Name(name),
		micro.Address("127.0.0.1:0"),
		micro.Registry(reg),
		micro.Transport(t),
		micro.WrapCall(counting(&calls)),
	}, opts...)...)
	s.atEnd(sel.Close)
	s.atEnd(func() error {
		// The client has no Close. With another pool size it closes the sockets
		// that it keeps, but not beside a call, which may outlive its caller.
		calls.Wait()
		return service.Client().Init(client.PoolSize(1))
	})
	return &member{Service: service}
}

// counting counts the calls under way.
func counting(calls *sync.WaitGroup) client.CallWrapper {
	return func(call client.CallFunc) client.CallFunc {
		return func(ctx context.Context, node *registry.Node, req client.Request, rsp any, opts client.CallOptions) error {
			calls.Add(1)
			defer calls.Done()
			return call(ctx, node, req, rsp, opts)
		}
	}
}

// secure makes a member whose transport is Signet's.
func (s *stage) secure(name string, id *identity.Identity, reg registry.Registry, opts ...micro.Option) *member {
	m := s.newMember(name, s.transport(quic.Identity(id)), reg, opts...)
	m.id = id
	return m
}

// transport makes a QUIC transport that ends with the run.
func (s *stage) transport(opts ...transport.Option) transport.Transport {
	t := quic.NewTransport(opts...)
	s.atEnd(t.(io.Closer).Close)
	return t
}

// withTLS is for those who come with certificates that no identity would hold.
func (s *stage) withTLS(name string, conf *tls.Config) *member {
	return s.newMember(name, s.transport(transport.TLSConfig(conf)), s.registry)
}

// issue makes an identity of the fleet.
func (s *stage) issue(name string) (*identity.Identity, error) {
	id, err := s.authority.Issue(name)
	if err != nil {
		return nil, err
	}
	s.atEnd(id.Close)
	return id, nil
}

// serve starts m with a handler.
func (s *stage) serve(m *member, handler *Greeter) error {
	m.handler = handler
	if err := micro.RegisterHandler(m.Server(), handler); err != nil {
		return err
	}
	// Start rather than Run, which would take the process's signals.
	if err := m.Server().Start(); err != nil {
		return fmt.Errorf("start %s: %w", m.Name(), err)
	}
	s.atEnd(m.Server().Stop)
	return nil
}

// hello calls Greeter.Hello of a service.
func (m *member) hello(ctx context.Context, service, name string, opts ...client.CallOption) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var rsp Response
	req := m.Client().NewRequest(service, "Greeter.Hello", &Request{Name: name})
	if err := m.Client().Call(ctx, req, &rsp, opts...); err != nil {
		return "", detail(err) // rsp may still be written to
	}
	return rsp.Greeting, nil
}

// chat opens a stream to Greeter.Chat of a service.
func (m *member) chat(ctx context.Context, service string) (client.Stream, error) {
	req := m.Client().NewRequest(service, "Greeter.Chat", nil, client.StreamingRequest())
	stream, err := m.Client().Stream(ctx, req)
	return stream, detail(err)
}

// ask sends one message of a stream and returns the answer.
func ask(stream client.Stream, name string) (string, error) {
	if err := stream.Send(&Request{Name: name}); err != nil {
		return "", detail(err)
	}
	var rsp Response
	err := stream.Recv(&rsp)
	return rsp.Greeting, detail(err)
}

// detail takes the text out of go-micro's error, which prints as JSON.
func detail(err error) error {
	if err == nil {
		return nil
	}
	if parsed := merrors.Parse(err.Error()); parsed.Detail != "" {
		return errors.New(parsed.Detail)
	}
	return err
}
