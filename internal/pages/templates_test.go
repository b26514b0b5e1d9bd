package pages

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
)

// New parses each template. A view without one would fail at its first visitor.
func TestEveryTemplateIsParsed(t *testing.T) {
	p, err := New("/.websms", "Acme")
	if err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range names {
		name := strings.TrimSuffix(strings.TrimPrefix(path, "templates/"), ".html")
		if slices.Contains([]string{"layout", "problem"}, name) { // parts of the others
			continue
		}
		if p.templates[name] == nil {
			t.Errorf("the template %s is not parsed", path)
		}
	}
}
