package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go-micro.dev/v4/client"
	merrors "go-micro.dev/v4/errors"
)

// Request is what greeter is asked.
type Request struct {
	Name string        `json:"name"`
	Wait time.Duration `json:"wait,omitempty"`
}

// Response is its answer.
type Response struct {
	Greeting string `json:"greeting"`
}

type caller struct {
	client client.Client
	options
}

func (c *caller) run(ctx context.Context) error {
	switch {
	case c.every > 0 && c.stream:
		return c.chat(ctx, func(ask func(string) error) error {
			for {
				if err := ask(c.name); err != nil {
					return err
				}
				<-time.After(c.every)
			}
		})
	case c.every > 0:
		for {
			if err := c.hello(ctx); err != nil {
				fmt.Println("failed:", err)
			}
			<-time.After(c.every)
		}
	}
	if err := c.hello(ctx); err != nil {
		return err
	}
	return c.chat(ctx, func(ask func(string) error) error {
		return errors.Join(ask("Ann"), ask("Bob"), ask("Cy"))
	})
}

// hello makes one call.
func (c *caller) hello(ctx context.Context) error {
	var rsp Response
	req := c.client.NewRequest("greeter", "Greeter.Hello", &Request{Name: c.name, Wait: c.wait})
	if err := c.client.Call(ctx, req, &rsp, c.where()...); err != nil {
		return detail(err)
	}
	fmt.Println("call:", rsp.Greeting)
	return nil
}

// chat opens a stream and gives talk the means to send a message and wait for
// the answer.
func (c *caller) chat(ctx context.Context, talk func(ask func(string) error) error) error {
	req := c.client.NewRequest("greeter", "Greeter.Chat", nil, client.StreamingRequest())
	stream, err := c.client.Stream(ctx, req, c.where()...)
	if err != nil {
		return detail(err)
	}
	defer stream.Close()
	return talk(func(name string) error {
		if err := stream.Send(&Request{Name: name}); err != nil {
			return detail(err)
		}
		var rsp Response
		if err := stream.Recv(&rsp); err != nil {
			return detail(err)
		}
		fmt.Println("stream:", rsp.Greeting)
		return nil
	})
}

// where says where to call, if not where the registry says.
func (c *caller) where() []client.CallOption {
	if c.address == "" {
		return nil
	}
	return []client.CallOption{client.WithAddress(c.address)}
}

// detail takes the text out of go-micro's error, which prints as JSON.
func detail(err error) error {
	if parsed := merrors.Parse(err.Error()); parsed.Detail != "" {
		return errors.New(parsed.Detail)
	}
	return err
}
