package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/go-signet/signet/identity"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"signet": main})
}

// TestScripts runs testdata/script. Besides testscript's own commands they have:
//
//	exit CODE signet ARG…        run, want the exit code, and no secret in the output
//	json PATH REGEXP             want a value in the JSON on stdout, PATH as in trust.0.subject
//	samejson PATH FILE           want the value in the JSON on stdout that is in FILE
//	badleaf KIND KEYS SERVICE    put a leaf that ought to be refused in KEYS/SERVICE
//	addcard DIRECTORY CARD NAME [pq]  want the identity in DIRECTORY to accept a service's card,
//	                             with a post-quantum key or without
//	mode OCTAL FILE…             want permissions
//	register KIND DIRECTORY FILE  append a registration by the identity, and what KIND does to it
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("LONG", strings.Repeat("a", 256))
			env.Setenv("ESC", "a\x1b[31mb")
			env.Setenv("NEWLINE", "a\nb")
			// Under the race detector each process would wait a second before it ends.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exit":     scriptExit,
			"json":     scriptJSON,
			"samejson": scriptSameJSON,
			"badleaf":  scriptBadLeaf,
			"addcard":  scriptAddCard,
			"mode":     scriptMode,
			"register": scriptRegister,
		},
	})
}

func scriptExit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exit CODE signet ARG…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var failed *exec.ExitError
		if !errors.As(err, &failed) {
			ts.Fatalf("%v", err)
		}
		got = failed.ExitCode()
	}
	stdout, stderr := ts.ReadFile("stdout"), ts.ReadFile("stderr")
	if got != want {
		ts.Fatalf("exit code %d, want %d\n%s%s", got, want, stdout, stderr)
	}
	secrets, err := secretsUnder(ts.Getenv("WORK"))
	ts.Check(err)
	if leak := findSecret(stdout+stderr, secrets); leak != "" {
		ts.Fatalf("the output holds key material of %s", leak)
	}
	if strings.ContainsRune(stderr, '\x1b') {
		ts.Fatalf("the output can drive the terminal: %q", stderr)
	}
	if got != 0 && stdout == "" && strings.Count(stderr, "\n") < 1 {
		ts.Fatalf("failed without a word")
	}
}

func scriptJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: json PATH REGEXP")
	}
	text := jsonAt(ts, "stdout", args[0])
	if matched := regexp.MustCompile(args[1]).MatchString(text); matched == neg {
		ts.Fatalf("%s is %q", args[0], text)
	}
}

func scriptSameJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: samejson PATH FILE")
	}
	got, want := jsonAt(ts, "stdout", args[0]), jsonAt(ts, args[1], args[0])
	if (got == want) == neg {
		ts.Fatalf("%s is %q, in %s %q", args[0], got, args[1], want)
	}
}

// jsonAt returns the value at a path in a file.
func jsonAt(ts *testscript.TestScript, file, path string) string {
	var value any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(file)), &value))
	for step := range strings.SplitSeq(path, ".") {
		switch v := value.(type) {
		case map[string]any:
			next, ok := v[step]
			if !ok {
				ts.Fatalf("no %s in %v", step, v)
			}
			value = next
		case []any:
			i, err := strconv.Atoi(step)
			if step == "length" {
				value = float64(len(v))
				continue
			}
			if err != nil || i >= len(v) {
				ts.Fatalf("no element %s in %v", step, v)
			}
			value = v[i]
		default:
			ts.Fatalf("nothing below %v", v)
		}
	}
	return fmt.Sprint(value)
}

func scriptAddCard(ts *testscript.TestScript, neg bool, args []string) {
	pq := len(args) == 4 && args[3] == "pq"
	if neg || len(args) != 3 && !pq {
		ts.Fatalf("usage: addcard DIRECTORY CARD NAME [pq]")
	}
	id, err := identity.Load(ts.MkAbs(args[0]))
	ts.Check(err)
	defer id.Close()
	ts.Check(id.AddCard([]byte(ts.ReadFile(args[1]))))
	got := id.Directory().Keys(args[2])
	if len(got) != 1 || (got[0].PQ != nil) != pq {
		ts.Fatalf("keys of %s: %v, want 1, with a post-quantum key: %v", args[2], got, pq)
	}
}

func scriptMode(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	for _, name := range args[1:] {
		info, err := os.Stat(ts.MkAbs(name))
		ts.Check(err)
		if got := info.Mode().Perm(); (uint64(got) == want) == neg {
			ts.Fatalf("%s has mode %04o", name, got)
		}
	}
}
