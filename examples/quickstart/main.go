// Command quickstart shows Signet at work: real go-micro services that call each
// other over QUIC with identities issued on the spot, and publish events through a
// broker that nobody trusts; the attacks on them, each of which must fail; then what
// an observer of the wire sees, and how fast it is. It needs nothing but Go:
//
//	go run ./examples/quickstart
//
// Everything said is checked as it happens. The exit status is 0 only if every
// promise was kept. Keys live in memory and in a temporary directory that is
// removed; all traffic stays on the loopback interface.
package main

import (
	"context"
	"os"
	"os/signal"
	"time"

	"go-micro.dev/v4/logger"
)

// limit bounds the whole run, in case a promise is broken by hanging.
const limit = time.Minute

func main() {
	os.Exit(mainStatus())
}

func mainStatus() int {
	// go-micro logs to the standard output, which is for the story.
	_ = logger.DefaultLogger.Init(logger.WithLevel(logger.FatalLevel)) // only sets a field

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return run(ctx, os.Stdout, options{colour: isColourTerminal(os.Stdout), chapters: chapters()})
}

// chapters lists the story in the order it is told. Each chapter is a file of its
// own: to add one, write it and name it here.
func chapters() []chapter {
	return []chapter{
		{"The cast, and their identities", castChapter},
		{"Calls", callsChapter},
		{"Attacks from outside", outsidersChapter},
		{"Attacks from inside", insidersChapter},
		{"Attacks through the registry", registryChapter},
		{"Events, through a broker that nobody trusts", eventsChapter},
		{"Calls through a proxy", codecChapter},
		{"What an observer of the wire sees", wireChapter},
		{"How fast", speedChapter},
	}
}

// isColourTerminal follows no-color.org: colour is for terminals, unless
// somebody objects.
func isColourTerminal(f *os.File) bool {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
