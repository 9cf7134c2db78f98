package transporttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go-micro.dev/v4/client"
	raw "go-micro.dev/v4/codec/bytes"
	"golang.org/x/sync/errgroup"
)

func streamChecks() []check {
	return []check{
		{name: "stream/from the server, 200 messages", run: serverStream},
		{name: "stream/from the server, bodies overwritten on their way", run: overwrittenStream},
		{name: "stream/both ways in turns", run: chatInTurns},
		{name: "stream/both ways at once", run: chatAtOnce},
		{name: "stream/many at once", run: manyStreams},
		{name: "stream/client closes first", run: clientEndsStream},
		{name: "stream/handler fails", run: streamFails},
	}
}

// stream opens a stream. The message that go-micro opens it with is empty, and
// thrown away by the server.
func (f *fleet) stream(method string) (client.Stream, error) {
	req := f.Client().NewRequest(Service, "Probe."+method, nil, client.StreamingRequest())
	s, err := f.Client().Stream(f.Context(), req)
	if err != nil {
		return nil, fmt.Errorf("opening the stream: %w", err)
	}
	return s, nil
}

// counts reads n numbers and the end of a stream.
func (f *fleet) counts(n int) error {
	s, err := f.stream("Count")
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Send(&n); err != nil {
		return fmt.Errorf("Send: %w", err)
	}
	for want := range n {
		var got int
		if err := s.Recv(&got); err != nil {
			return fmt.Errorf("message %d of the stream: %w", want, err)
		}
		if got != want {
			return fmt.Errorf("message %d of the stream arrived as %d", want, got)
		}
	}
	var extra int
	if err := s.Recv(&extra); err != io.EOF {
		return fmt.Errorf("after the last message: %v, want io.EOF", err)
	}
	return nil
}

func serverStream(e *env) error {
	f := e.fleet()
	return f.within("the stream", func() error {
		for range 3 {
			if err := f.counts(200); err != nil {
				return err
			}
		}
		return nil
	})
}

// overwrittenStream: go-micro's server encodes all messages of a stream into
// one buffer, and queues slices of it. A transport sends bodies that change
// under its hands, and must not lose its place for that: as many messages
// arrive as were sent, whatever is in them, and the stream ends as it should.
func overwrittenStream(e *env) error {
	if raceDetector {
		e.Log("not run under the race detector, which reports go-micro's own race; see server/rpc_codec.go")
		return nil
	}
	f := e.fleet()
	return f.within("the stream", func() error {
		s, err := f.stream("CountEncoded")
		if err != nil {
			return err
		}
		defer s.Close()
		n := 200
		if err := s.Send(&n); err != nil {
			return fmt.Errorf("Send: %w", err)
		}
		for i := range n {
			if err := s.Recv(new(raw.Frame)); err != nil {
				return fmt.Errorf("message %d of the stream: %w", i, err)
			}
		}
		if err := s.Recv(new(raw.Frame)); err != io.EOF {
			return fmt.Errorf("after the last message: %v, want io.EOF", err)
		}
		return f.works("after the stream")
	})
}

// says sends a frame.
func says(s client.Stream, seed int) error {
	if err := s.Send(&raw.Frame{Data: sized(1+100*(seed%50), seed).Body}); err != nil {
		return fmt.Errorf("Send %d: %w", seed, err)
	}
	return nil
}

// hears expects the frame that says sent.
func hears(s client.Stream, seed int) error {
	var got raw.Frame
	if err := s.Recv(&got); err != nil {
		return fmt.Errorf("Recv %d: %w", seed, err)
	}
	if want := sized(1+100*(seed%50), seed).Body; !bytes.Equal(got.Data, want) {
		return fmt.Errorf("message %d of the stream came back as another", seed)
	}
	return nil
}

func chatInTurns(e *env) error {
	f := e.fleet()
	return f.within("the stream", func() error {
		s, err := f.stream("Chat")
		if err != nil {
			return err
		}
		defer s.Close()
		for i := range 200 {
			if err := errors.Join(says(s, i), hears(s, i)); err != nil {
				return err
			}
		}
		return nil
	})
}

func chatAtOnce(e *env) error {
	f := e.fleet()
	return f.within("the stream", func() error { return f.chats(200) })
}

// chats sends all messages while another goroutine receives.
func (f *fleet) chats(n int) error {
	s, err := f.stream("Chat")
	if err != nil {
		return err
	}
	defer s.Close()
	var group errgroup.Group
	group.Go(func() error {
		for i := range n {
			if err := says(s, i); err != nil {
				return err
			}
		}
		return nil
	})
	group.Go(func() error {
		for i := range n {
			if err := hears(s, i); err != nil {
				return err
			}
		}
		return nil
	})
	return group.Wait()
}

func manyStreams(e *env) error {
	f := e.fleet()
	return f.within("the streams", func() error {
		var group errgroup.Group
		for range 20 {
			group.Go(func() error { return f.chats(50) })
			group.Go(func() error { return f.counts(50) })
		}
		return group.Wait()
	})
}

// clientEndsStream: the client's last message says that the stream ends, and
// its connection closes at once. The handler hears of the end.
func clientEndsStream(e *env) error {
	f := e.fleet()
	for i := range 20 {
		s, err := f.stream("Chat")
		if err != nil {
			return err
		}
		if err := f.within("a turn", func() error { return errors.Join(says(s, i), hears(s, i)) }); err != nil {
			return err
		}
		if err := f.within("Close", s.Close); err != nil {
			return fmt.Errorf("Close of the stream: %w", err)
		}
		told, err := signal(e, "the handler", f.probe.entered)
		if err != nil {
			return err
		}
		if told != io.EOF.Error() {
			return fmt.Errorf("the handler was told %q at the end of its stream", told)
		}
	}
	return f.works("after the streams")
}

// streamFails: what was sent before the error arrives, and so does the error.
func streamFails(e *env) error {
	f := e.fleet()
	return f.within("the stream", func() error {
		for range 20 {
			s, err := f.stream("FailLate")
			if err != nil {
				return err
			}
			defer s.Close()
			var got int
			if err := s.Recv(&got); err != nil {
				return fmt.Errorf("the message before the error: %w", err)
			}
			if err := s.Recv(&got); err == nil || err.Error() != "the stream failed late" {
				return fmt.Errorf("the handler's error arrived as %q", fmt.Sprint(err))
			}
		}
		return nil
	})
}
