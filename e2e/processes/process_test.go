package processes

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds what a process is waited for.
const patience = 20 * time.Second

// process is a program that runs, and what it has written so far.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has exited
	err  error         // of Wait; read after done

	mu      sync.Mutex
	output  bytes.Buffer
	changed chan struct{} // closed and renewed when output grows
}

// start runs a program with the environment given and no other of Signet's,
// go-micro's and etcd's. It is killed when the test ends.
func start(t *testing.T, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, done: make(chan struct{}), changed: make(chan struct{})}
	p.cmd = exec.Command(filepath.Join(binaries, name), args...)
	for _, v := range os.Environ() {
		if prefix, _, _ := strings.Cut(v, "_"); !slices.Contains([]string{"MICRO", "SIGNET", "GREETER", "ETCD"}, prefix) {
			p.cmd.Env = append(p.cmd.Env, v)
		}
	}
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have exited
		<-p.done
		if t.Failed() {
			t.Logf("%s wrote:\n%s", name, tail(p.text()))
		}
	})
	return p
}

// Write takes what the process writes.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.changed)
	p.changed = make(chan struct{})
	return p.output.Write(b)
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// mark is the end of what has been written so far.
func (p *process) mark() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.Len()
}

// since returns what was written after a mark.
func (p *process) since(mark int) string { return p.text()[mark:] }

// await waits until n lines after the mark hold text, and returns the last of
// them.
func (p *process) await(mark, n int, text string) string {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		p.mu.Lock()
		changed, written := p.changed, p.output.String()[mark:]
		p.mu.Unlock()
		found := 0
		for line := range strings.Lines(written) {
			if strings.HasSuffix(line, "\n") && strings.Contains(line, text) {
				if found++; found == n {
					return strings.TrimSpace(line)
				}
			}
		}
		select {
		case <-changed:
		case <-p.done:
			if p.mark() == mark+len(written) {
				p.t.Fatalf("%s ended (%v) and wrote %d of %d lines with %q", p.name, p.err, found, n, text)
			}
		case <-deadline:
			p.t.Fatalf("%s wrote %d of %d lines with %q within %v", p.name, found, n, text, patience)
		}
	}
}

// exit waits for the end of the process and returns its status; -1 after a
// signal.
func (p *process) exit() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("%s does not end within %v", p.name, patience)
	}
	var exit *exec.ExitError
	if p.err != nil && !errors.As(p.err, &exit) {
		p.t.Fatalf("%s: %v", p.name, p.err)
	}
	return p.cmd.ProcessState.ExitCode()
}

// kill ends the process without giving it a say.
func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	p.exit()
}

// terminate asks the process to end, as an orchestrator does.
func (p *process) terminate() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
}

// tail is the end of a long output.
func tail(text string) string {
	const most = 4000
	if len(text) > most {
		return "…" + text[len(text)-most:]
	}
	return text
}
