package main

import (
	"context"
	"fmt"
)

// callsChapter: what works, unary and streaming, and who the handler says it is.
func callsChapter(ctx context.Context, s *stage) error {
	s.say("caller finds greeter in the registry and calls Greeter.Hello")
	answer, err := s.caller.hello(ctx, "greeter", "John")
	s.promiseAnswer("John", answer, err)
	s.promiseCaller(s.caller.id.ID())

	s.say("the same over a stream, three messages each way")
	stream, err := s.caller.chat(ctx, "greeter")
	if err != nil {
		return err
	}
	defer stream.Close()
	for _, name := range []string{"Ann", "Bob", "Cy"} {
		answer, err := ask(stream, name)
		if err != nil || answer != "Hello "+name {
			s.promiseAnswer(name, answer, err)
			return nil
		}
	}
	s.promise("every message of the stream was answered in its turn", true, "")
	s.promiseCaller(s.caller.id.ID())
	return nil
}

func (s *stage) promiseAnswer(name, answer string, err error) {
	want := "Hello " + name
	s.promise(fmt.Sprintf("the answer is %q", want), err == nil && answer == want, "it is %q, error: %v", answer, err)
}

// promiseCaller promises whom greeter's handler saw last.
func (s *stage) promiseCaller(id string) {
	saw := s.greeter.handler.sawCaller()
	s.promise("the handler knows that "+id+" called", saw == id, "it saw %s", saw)
}
