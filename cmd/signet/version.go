package main

import (
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
)

func versionCommand() command {
	return command{
		name:     "version",
		summary:  "print the version of this program",
		details:  "Prints the module version that this program was built from, and the Go version.",
		examples: []string{"signet version", "signet version --json"},
		setup: func(*flag.FlagSet) action {
			return func(s *session, _ []string) error {
				v := struct {
					Version string `json:"version"`
					Go      string `json:"go"`
					OS      string `json:"os"`
					Arch    string `json:"arch"`
				}{moduleVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH}
				if s.json {
					return s.printJSON(v)
				}
				_, err := fmt.Fprintf(s.stdout, "signet %s %s %s/%s\n", v.Version, v.Go, v.OS, v.Arch)
				return err
			}
		},
	}
}

// moduleVersion is the tag or pseudo-version, or (devel) for a build from a
// checkout without version control information.
func moduleVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
