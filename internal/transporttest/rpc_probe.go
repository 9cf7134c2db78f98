package transporttest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go-micro.dev/v4/codec/bytes"
	"go-micro.dev/v4/metadata"
	"go-micro.dev/v4/server"
)

// Probe is the handler of the service under test. It is exported because
// go-micro finds methods by reflection.
type Probe struct {
	entered  chan string
	released chan struct{}
	release  func()
	meeting  *meeting
}

func newProbe() *Probe {
	p := &Probe{entered: make(chan string, 100), released: make(chan struct{})}
	p.release = sync.OnceFunc(func() { close(p.released) })
	return p
}

// meeting is where a number of calls wait for each other.
type meeting struct {
	missing sync.WaitGroup
	// onTheWay limits the calls that are not there yet.
	onTheWay chan struct{}
}

func newMeeting(n, onTheWay int) *meeting {
	m := &meeting{onTheWay: make(chan struct{}, onTheWay)}
	m.missing.Add(n)
	return m
}

// Echo answers with what it was asked.
func (p *Probe) Echo(_ context.Context, in, out *string) error {
	*out = *in
	return nil
}

// Bytes is Echo without an encoding.
func (p *Probe) Bytes(_ context.Context, in, out *bytes.Frame) error {
	out.Data = in.Data
	return nil
}

// Fail returns the error that it was asked for.
func (p *Probe) Fail(_ context.Context, in, _ *string) error {
	return errors.New(*in)
}

// Panic does.
func (p *Probe) Panic(context.Context, *string, *string) error {
	panic("the handler was told to panic")
}

// Block answers when the check lets it, and says when it has been reached.
func (p *Probe) Block(_ context.Context, in, out *string) error {
	p.entered <- *in
	<-p.released
	*out = *in
	return nil
}

// Meet answers when all the calls of the meeting have come.
func (p *Probe) Meet(_ context.Context, in, out *string) error {
	<-p.meeting.onTheWay
	p.meeting.missing.Done()
	p.meeting.missing.Wait()
	*out = *in
	return nil
}

// Metadata answers with the metadata of the call, as the server has it.
func (p *Probe) Metadata(ctx context.Context, _ *string, out *map[string]string) error {
	md, ok := metadata.FromContext(ctx)
	if !ok {
		return errors.New("no metadata")
	}
	*out = md
	return nil
}

// Count streams as many numbers as it is asked for. It sends frames: what
// go-micro encodes itself, it encodes into one buffer for all messages of a
// stream, while those before are still on their way to the transport.
func (p *Probe) Count(_ context.Context, stream server.Stream) error {
	var n int
	if err := stream.Recv(&n); err != nil {
		return err
	}
	for i := range n {
		if err := stream.Send(number(i)); err != nil {
			return err
		}
	}
	return nil
}

// CountEncoded is Count with go-micro's encoding, whose bodies may be
// overwritten on their way.
func (p *Probe) CountEncoded(_ context.Context, stream server.Stream) error {
	var n int
	if err := stream.Recv(&n); err != nil {
		return err
	}
	for i := range n {
		if err := stream.Send(&i); err != nil {
			return err
		}
	}
	return nil
}

// Chat answers each message of a stream with itself, until the client closes.
func (p *Probe) Chat(_ context.Context, stream server.Stream) error {
	for {
		var in bytes.Frame
		if err := stream.Recv(&in); err != nil {
			p.entered <- err.Error()
			return err
		}
		if err := stream.Send(&bytes.Frame{Data: in.Data}); err != nil {
			return err
		}
	}
}

// FailLate sends one message and fails.
func (p *Probe) FailLate(_ context.Context, stream server.Stream) error {
	if err := stream.Send(number(0)); err != nil {
		return err
	}
	return errors.New("the stream failed late")
}

// number is the JSON of a number, in memory of its own.
func number(i int) *bytes.Frame {
	return &bytes.Frame{Data: fmt.Append(nil, i)}
}
