package keys_test

import (
	"go/build"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestImports holds the dependency rule of the module: internal packages know
// nothing of the public packages nor of go-micro, but for what plugins say to each
// other through it and its logger; package identity knows go-micro by its metadata only; package
// keys needs the standard library and fsnotify; plugins do not know each other.
func TestImports(t *testing.T) {
	const module = "github.com/go-signet/signet/"
	const micro = "go-micro.dev/"
	root := filepath.Join("..", "..")
	check := func(dir string, allowed func(path string) bool) {
		t.Helper()
		pkg, err := build.ImportDir(filepath.Join(root, dir), 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range pkg.Imports {
			if !allowed(path) {
				t.Errorf("%s imports %s", dir, path)
			}
		}
	}
	standard := func(path string) bool { return !strings.Contains(strings.SplitN(path, "/", 2)[0], ".") }

	check("internal/caller", standard)
	check("internal/keys", func(path string) bool {
		return standard(path) || path == "github.com/fsnotify/fsnotify"
	})
	check("identity", func(path string) bool {
		return standard(path) || slices.Contains([]string{"go-micro.dev/v4/metadata", module + "internal/keys", module + "internal/caller"}, path)
	})
	check("internal/pernode", func(path string) bool { return standard(path) || path == micro+"v4/registry" })
	check("internal/backend", func(path string) bool {
		return standard(path) || slices.Contains([]string{micro + "v4/logger", "golang.org/x/time/rate", module + "internal/keys"}, path)
	})
	for _, plugin := range plugins(t, root) {
		check(plugin, func(path string) bool {
			return !strings.HasPrefix(path, module) || path == module+"identity" || strings.HasPrefix(path, module+"internal/")
		})
	}
	err := filepath.WalkDir(filepath.Join(root, "internal"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		dir, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if sources, _ := filepath.Glob(filepath.Join(path, "*.go")); len(sources) == 0 {
			return nil
		}
		dir = filepath.ToSlash(dir)
		// Suites that are shared by the tests of plugins, and what is checked above.
		if strings.HasSuffix(dir, "test") || dir == "internal/pernode" || dir == "internal/backend" {
			return nil
		}
		check(dir, func(path string) bool {
			return !strings.HasPrefix(path, micro) && (!strings.HasPrefix(path, module) || strings.HasPrefix(path, module+"internal/"))
		})
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// plugins returns the folders of the plugins.
func plugins(t *testing.T, root string) (dirs []string) {
	t.Helper()
	for _, kind := range []string{"transport", "registry", "broker", "codec"} {
		found, err := filepath.Glob(filepath.Join(root, kind, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range found {
			if sources, _ := filepath.Glob(filepath.Join(dir, "*.go")); len(sources) > 0 {
				dirs = append(dirs, filepath.ToSlash(filepath.Join(kind, filepath.Base(dir))))
			}
		}
	}
	if len(dirs) == 0 {
		t.Fatal("no plugin was found")
	}
	return dirs
}
