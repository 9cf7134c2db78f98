package main

import (
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

func printHelp(w io.Writer) {
	fmt.Fprint(w, `signet makes and checks the identities of a fleet of services.

Usage:

  signet COMMAND [FLAGS] [ARGUMENTS]

Commands:

`)
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, c := range commands() {
		fmt.Fprintf(tw, "  %s\t%s\n", c.name, c.summary)
	}
	tw.Flush()
	fmt.Fprint(w, `
Start here:

  signet init --trust-domain shop.internal keys
  signet issue --keys keys greeter
  SIGNET_IDENTITY=keys/greeter ./greeter

Flags may stand before or after the arguments. 'signet help COMMAND' explains
one command. Exit codes: 0 done, 1 a check or an operation failed, 2 wrong usage.
`)
}

func (c command) printHelp(w io.Writer) {
	fmt.Fprintf(w, "Usage:\n\n  signet %s\n\n%s\n\nFlags:\n\n",
		strings.TrimSpace(c.name+" "+c.synopsis), strings.TrimSpace(c.details))
	fs, _ := c.flags(&session{})
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fs.VisitAll(func(f *flag.Flag) {
		value, usage := flag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" {
			usage += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(tw, "  %s\t%s\n", strings.TrimSpace("--"+f.Name+" "+value), usage)
	})
	tw.Flush()
	fmt.Fprint(w, "\nExamples:\n\n")
	for _, e := range c.examples {
		fmt.Fprintf(w, "  %s\n", e)
	}
}
