package keys_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-signet/signet/internal/keys"
)

// watch counts the checks of a directory.
func watch(t *testing.T, dir string, interval time.Duration) (w *keys.Watcher, checked <-chan struct{}) {
	t.Helper()
	calls := make(chan struct{}, 100)
	w, degraded := keys.Watch(dir, interval, func() { calls <- struct{}{} })
	if degraded != nil {
		t.Fatal(degraded)
	}
	t.Cleanup(func() { w.Close() })
	return w, calls
}

func await(t *testing.T, checked <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-checked:
	case <-time.After(10 * time.Second):
		t.Fatalf("not checked: %s", what)
	}
}

func TestWatch(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, dir string){
		"rename of a complete file": func(t *testing.T, dir string) {
			writeFile(t, filepath.Join(dir, "tls.crt"), []byte("new"), 0o644)
		},
		"write in place": func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "tls.crt"), []byte("new"), 0o644); err != nil {
				t.Fatal(err)
			}
		},
		"removal": func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "tls.crt")); err != nil {
				t.Fatal(err)
			}
		},
		"federated file": func(t *testing.T, dir string) {
			writeFile(t, filepath.Join(dir, "trust", "partner.org.crt"), []byte("new"), 0o644)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeFile(t, filepath.Join(dir, "tls.crt"), []byte("old"), 0o644)
			if err := os.Mkdir(filepath.Join(dir, "trust"), 0o700); err != nil {
				t.Fatal(err)
			}
			_, checked := watch(t, dir, time.Hour)
			change(t, dir)
			await(t, checked, name)
		})
	}
	t.Run("federated file in a directory made later", func(t *testing.T) {
		dir := t.TempDir()
		_, checked := watch(t, dir, time.Hour)
		if err := os.Mkdir(filepath.Join(dir, "trust"), 0o700); err != nil {
			t.Fatal(err)
		}
		await(t, checked, "the trust directory was made")
		writeFile(t, filepath.Join(dir, "trust", "partner.org.crt"), []byte("new"), 0o644)
		await(t, checked, "a file was put in it")
	})
	t.Run("timer", func(t *testing.T) {
		_, checked := watch(t, t.TempDir(), 5*time.Millisecond)
		await(t, checked, "first")
		await(t, checked, "second")
	})
	t.Run("directory that is not there", func(t *testing.T) {
		calls := make(chan struct{}, 100)
		w, degraded := keys.Watch(filepath.Join(t.TempDir(), "none"), 5*time.Millisecond, func() { calls <- struct{}{} })
		t.Cleanup(func() { _ = w.Close() }) // it works, by its timer
		wantError(t, degraded, os.ErrNotExist, "only every 5ms")
		await(t, calls, "by timer")
	})
}

func TestWatchClose(t *testing.T) {
	w, _ := watch(t, t.TempDir(), time.Millisecond)
	for range 3 {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}
