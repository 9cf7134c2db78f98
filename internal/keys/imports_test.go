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
// nothing of go-micro nor of the public packages, package identity knows go-micro
// by its metadata only, and package keys needs the standard library and fsnotify.
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
		if strings.HasSuffix(dir, "test") { // suites that are shared by the tests of plugins
			return nil
		}
		check(filepath.ToSlash(dir), func(path string) bool {
			return !strings.HasPrefix(path, micro) && (!strings.HasPrefix(path, module) || strings.HasPrefix(path, module+"internal/"))
		})
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
