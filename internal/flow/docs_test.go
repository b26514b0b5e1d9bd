package flow

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"
)

// docs/api.md has each endpoint with its methods, and no other.
func TestEndpointsInDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented, built []string
	for _, row := range regexp.MustCompile("(?m)^\\| `((?:GET|POST) [a-z]+)`").FindAllStringSubmatch(string(page), -1) {
		documented = append(documented, row[1])
	}
	for _, name := range slices.Sorted(maps.Keys(endpoints)) {
		if endpoints[name].get != nil {
			built = append(built, "GET "+name)
		}
		if endpoints[name].post != nil {
			built = append(built, "POST "+name)
		}
	}
	slices.Sort(documented)
	slices.Sort(built)
	if !slices.Equal(documented, built) {
		t.Errorf("docs/api.md has %q; the gate has %q", documented, built)
	}
}
