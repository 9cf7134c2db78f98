package main

import (
	"flag"
	"fmt"
	"runtime"
	"text/tabwriter"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/keys"
)

// status of one check, worst last.
type status string

const (
	ok   status = "ok"
	note status = "note" // worth knowing, nothing to do
	warn status = "warn" // works, but not for long or not well
	fail status = "fail" // a service would refuse to start or not be trusted
)

// check is one line of doctor's report.
type check struct {
	Name   string `json:"name"`
	Status status `json:"status"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

// report collects checks in the order in which they were made.
type report struct{ checks []check }

func (r *report) add(name string, st status, detail string) {
	r.checks = append(r.checks, check{Name: name, Status: st, Detail: detail})
}

func (r *report) advise(name string, st status, detail, remedy string) {
	r.checks = append(r.checks, check{Name: name, Status: st, Detail: detail, Remedy: remedy})
}

func (r *report) count(st status) (n int) {
	for _, c := range r.checks {
		if c.Status == st {
			n++
		}
	}
	return n
}

func doctorCommand() command {
	return command{
		name:     "doctor",
		synopsis: "[FLAGS] [IDENTITY-DIRECTORY]",
		summary:  "check an identity directory and this machine",
		details: `
Checks this machine (UDP buffer sizes) and, when a directory is given or
SIGNET_IDENTITY names one, the identity in it: modes of the directory and of
every secret, key against certificate, shape and chain of the leaf, clock,
expiry (warns past 2/3 of the life), trust bundle, revocation list, box key;
whether a service could load it; and how large the mDNS packet of a small
service with its certificates would be.

Each line says ok, note, warn or fail, and what to do. The exit code is 1 if a
check failed; warnings leave it 0.`,
		examples: []string{
			"signet doctor",
			"signet doctor keys/greeter",
			"SIGNET_IDENTITY=/etc/signet signet doctor --json",
		},
		maxArgs: 1,
		setup: func(fs *flag.FlagSet) action {
			group := groupFlag(fs)
			return func(s *session, args []string) error {
				dir := s.getenv(identity.EnvDir)
				if len(args) == 1 {
					dir = args[0]
				}
				return runDoctor(s, dir, s.readOptions(*group))
			}
		},
	}
}

func runDoctor(s *session, dir string, read keys.ReadOptions) error {
	var r report
	checkUDPBuffers(&r, runtime.GOOS, grantedBuffers)
	if dir != "" {
		checkIdentity(&r, dir, read, time.Now())
	}
	if err := s.printReport(dir, r); err != nil {
		return err
	}
	if r.count(fail) > 0 {
		return errChecksFailed
	}
	return nil
}

func (s *session) printReport(dir string, r report) error {
	if s.json {
		return s.printJSON(struct {
			Directory string  `json:"directory,omitempty"`
			Failed    int     `json:"failed"`
			Warned    int     `json:"warned"`
			Checks    []check `json:"checks"`
		}{dir, r.count(fail), r.count(warn), r.checks})
	}
	tw := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
	for _, c := range r.checks {
		fmt.Fprintf(tw, "%s\t%s\t%s\n", c.Status, printable(c.Name), printable(c.Detail))
		if c.Remedy != "" {
			fmt.Fprintf(tw, "\t\tdo: %s\n", printable(c.Remedy))
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(s.stdout, "\n%d checks: %d failed, %d to look at\n", len(r.checks), r.count(fail), r.count(warn))
	return err
}
