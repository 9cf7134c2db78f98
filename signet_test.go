package signet_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSecurityPage: every test that SECURITY.md names is there, in the folder that
// it is said to be in.
func TestSecurityPage(t *testing.T) {
	page, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z/0-9]+)` ((?:`(?:Test|Fuzz)[A-Za-z0-9]+`(?:, )?)+)")
	tests := regexp.MustCompile(`(?:Test|Fuzz)[A-Za-z0-9]+`)
	count := 0
	for _, m := range named.FindAllStringSubmatch(string(page), -1) {
		sources := testSources(t, m[1])
		for _, name := range tests.FindAllString(m[2], -1) {
			count++
			if !strings.Contains(sources, "func "+name+"(") {
				t.Errorf("%s has no %s", m[1], name)
			}
		}
	}
	if all := len(tests.FindAllString(string(page), -1)); count != all || count == 0 {
		t.Errorf("%d of the %d tests that the page names come with their folder", count, all)
	}
}

// testSources is the text of all tests of a folder.
func testSources(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	files, err := fs.Glob(os.DirFS(dir), "*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}
