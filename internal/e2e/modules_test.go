package e2e_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/process"
)

// Configurations of operators hold these IDs. A change here breaks them.
func TestModuleIDs(t *testing.T) {
	want := []string{
		"admin.api.websms", "http.handlers.websms_identity", "http.handlers.websms_otp",
		"http.handlers.websms_simulator", // of this Caddy alone
		"http.handlers.websms_webhook", "http.matchers.websms_doubtful", "websms",
		"websms.directories.file", "websms.stores.memory", "websms.stores.redis",
	}
	program, err := process.SharedCaddy(root)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, "list-modules").Output()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		if id := strings.TrimSpace(line); strings.Contains(id, "websms") {
			got = append(got, id)
		}
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("the modules are %q; want %q", got, want)
	}
}
