package websms

import (
	"os"
	"strings"
	"testing"
)

// docs/operations.md has every route of the admin endpoint.
func TestAdminRoutesInDocs(t *testing.T) {
	page, err := os.ReadFile("docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, route := range new(adminAPI).Routes() {
		if !strings.Contains(string(page), route.Pattern+"`") {
			t.Errorf("docs/operations.md does not have %s", route.Pattern)
		}
	}
}
