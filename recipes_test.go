package websms

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/testca"
)

// recipe is one block of code of a recipe.
type recipe struct {
	name string // the page and the heading
	kind string // such as caddyfile
	text string
}

// recipes returns the blocks of docs/recipes.md and of all pages in docs/recipes/. Their files are
// replaced by files of the test.
func recipes(t *testing.T) []recipe {
	t.Helper()
	pages, err := filepath.Glob("docs/recipes/*.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key := testca.New(t).Files(t, x509.Certificate{DNSNames: []string{"app.example.com"}})
	files := map[string]string{"users.csv": "aroha,+6421234567\n", "websms_id": "cid_test", "websms_secret": "csk_test"}
	for _, name := range []string{cert, key} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files["both.pem"] += string(text)
	}
	for name, content := range files {
		harness.WriteFile(t, filepath.Join(dir, name), content)
	}
	here := strings.NewReplacer("users.csv", filepath.Join(dir, "users.csv"), "ca.pem", testca.New(t).File, "/run/secrets", dir,
		"/etc/ssl/app.crt", cert, "/etc/ssl/app.key", key, "/etc/haproxy/app.pem", filepath.Join(dir, "both.pem"),
		"/etc/caddy/cloudflare-origin.crt", cert, "/etc/caddy/cloudflare-origin.key", key)
	var list []recipe
	for _, page := range append(pages, "docs/recipes.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(page)
		section := ""
		for _, found := range regexp.MustCompile("(?ms)^##? (.*?)$|^```(\\w+)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
			if found[1] != "" {
				section = found[1]
				continue
			}
			list = append(list, recipe{name + ": " + section, found[2], here.Replace(found[3])})
		}
	}
	return list
}

// Every configuration in docs/recipes.md and docs/recipes/ loads: in Caddy, in nginx or in HAProxy.
// Every other file there parses in its own format.
func TestRecipes(t *testing.T) {
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
	kinds := map[string]int{}
	for _, r := range recipes(t) {
		kinds[r.kind]++
		t.Run(r.name, func(t *testing.T) {
			switch r.kind {
			case "caddyfile":
				text := wholeCaddyfile(r.text)
				config, err := harness.Adapt(text)
				if err == nil {
					err = harness.Validate(t, config)
				}
				if err != nil {
					t.Errorf("%v in\n%s", err, text)
				}
				wantNoWayAround(t, r.name, text)
			case "nginx":
				wantLoads(t, harness.NginxProgram(t), "-t", "-p", t.TempDir(), "-c", nginxFile(t, r.text))
			case "haproxy":
				wantLoads(t, harness.HAProxyProgram(t), "-c", "-f", haproxyFile(t, r.text))
			case "json":
				if !json.Valid([]byte(r.text)) {
					t.Errorf("no JSON: %s", r.text)
				}
			case "yaml":
				for _, document := range strings.Split(r.text, "\n---\n") {
					var v map[string]any
					if err := yaml.Unmarshal([]byte(document), &v); err != nil || len(v) == 0 {
						t.Errorf("%v in\n%s", err, document)
					}
				}
			}
		})
	}
	if kinds["caddyfile"] < 14 || kinds["yaml"] != 2 || kinds["nginx"] < 3 || kinds["haproxy"] < 1 || kinds["json"] < 1 {
		t.Errorf("found %v", kinds)
	}
}

// wholeCaddyfile completes a part of a Caddyfile. It adds a site around the options of a gate and
// around directives, and the account to a Caddyfile without global options.
func wholeCaddyfile(text string) string {
	const account = "{\nwebsms {\nclient_id {env.WEBSMS_CLIENT_ID}\nclient_secret {env.WEBSMS_CLIENT_SECRET}\n}\n}\n"
	first, _, _ := strings.Cut(strings.Fields(text)[0], "{")
	if slices.Contains([]string{"code", "numbers", "second_factor", "session", "limits", "bypass", "headers", "prefix", "realm"}, first) {
		text = "websms_otp {\ncompany Acme\n" + text + "\n}\n"
		first = "websms_otp"
	}
	switch {
	case first == "": // global options
		return text
	case !strings.ContainsAny(first, ".:(@/") || strings.HasPrefix(first, "@"): // a directive, or a matcher
		text = "app.example.com {\n" + text + "\n}\n"
	}
	return account + text
}

// listens is the address of a server in a configuration of nginx.
var listens = regexp.MustCompile(`(?m)(^\s*listen\s+)(?:\S+:)?\d+`)

// nginxFile writes a configuration of nginx to a file, and returns its path. nginx -t binds the
// addresses of its servers, so each gets a free one. A part of a server gets a server around it.
func nginxFile(t *testing.T, text string) string {
	t.Helper()
	if !strings.Contains(text, "server {") {
		text = "server {\nlisten 80;\nlocation / {\n" + text + "\n}\n}"
	}
	text = listens.ReplaceAllStringFunc(text, func(line string) string {
		return listens.ReplaceAllString(line, fmt.Sprintf("${1}127.0.0.1:%d", harness.FreePort(t)))
	})
	dir := t.TempDir()
	name := filepath.Join(dir, "nginx.conf")
	harness.WriteFile(t, name, harness.NginxConfig(dir, text))
	return name
}

// haproxyFile writes a configuration of HAProxy to a file, and returns its path.
func haproxyFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "haproxy.cfg")
	harness.WriteFile(t, name, text)
	return name
}

// wantLoads checks that a program takes a configuration without a warning.
func wantLoads(t *testing.T, program string, args ...string) {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil || regexp.MustCompile(`(?i)\bwarn`).Match(out) {
		t.Errorf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
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
