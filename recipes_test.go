package websms

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/testca"
)

// Every configuration in docs/recipes.md loads, and every other file there parses in its own
// format.
func TestRecipes(t *testing.T) {
	text, err := os.ReadFile("docs/recipes.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte("x"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"WEBSMS_CLIENT_ID": "cid_test", "WEBSMS_CLIENT_SECRET": "csk_test", "WEBSMS_WEBHOOK_SECRET": "hook",
		"REDIS_PASSWORD": "x", "AROHA_PASSWORD_HASH": string(hash),
	} {
		t.Setenv(name, value)
	}
	files := map[string]string{"users.csv": "aroha,+6421234567\n", "websms_id": "cid_test", "websms_secret": "csk_test"}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	here := strings.NewReplacer("users.csv", filepath.Join(dir, "users.csv"), "ca.pem", testca.New(t).File, "/run/secrets", dir)
	section, kinds := "", map[string]int{}
	for _, found := range regexp.MustCompile("(?ms)^## (.*?)$|^```(\\w+)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		kind, block := found[2], found[3]
		if found[1] != "" {
			section = found[1]
			continue
		}
		kinds[kind]++
		switch kind {
		case "caddyfile":
			config, err := harness.Adapt(here.Replace(block))
			if err == nil {
				err = harness.Validate(t, config)
			}
			if err != nil {
				t.Errorf("%s: %v", section, err)
			}
			wantNoWayAround(t, section, here.Replace(block))
		case "yaml":
			for _, document := range strings.Split(block, "\n---\n") {
				var v map[string]any
				if err := yaml.Unmarshal([]byte(document), &v); err != nil || len(v) == 0 {
					t.Errorf("%s: %v", section, err)
				}
			}
		}
	}
	if kinds["caddyfile"] < 7 || kinds["yaml"] != 2 {
		t.Errorf("found %v", kinds)
	}
}

// wantNoWayAround checks that a Caddyfile in the documentation has no risk of a way around its
// gates.
func wantNoWayAround(t *testing.T, name, text string) {
	t.Helper()
	config, err := harness.Adapt(text)
	if err != nil {
		return // the test that loads it reports the error
	}
	read, err := readConfig(config)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	for _, g := range read.Gates {
		for _, r := range g.Risks() {
			if !r.Note {
				t.Errorf("%s: %s", name, r.Text)
			}
		}
	}
}
