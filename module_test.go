package websms_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/websmstest"
)

// If a placeholder has no value, the configuration fails to load. The error names the placeholder.
func TestUnsetPlaceholders(t *testing.T) {
	storage := harness.FileStorage(t.TempDir())
	t.Setenv("WEBSMS_EMPTY", "")
	t.Setenv("WEBSMS_BLANK", " \t")
	empty := filepath.Join(t.TempDir(), "empty")
	harness.WriteFile(t, empty, "\n")
	hook := func(secret string) map[string]any {
		return harness.SiteJSON(map[string]any{"handler": "websms_webhook", "secret": secret})
	}
	for _, c := range []struct{ value, want string }{
		{"{env.WEBSMS_NOT_SET_ANYWHERE}", "{env.WEBSMS_NOT_SET_ANYWHERE} is empty: set it where Caddy runs, or correct its name"},
		{"{env.WEBSMS_EMPTY}", "{env.WEBSMS_EMPTY} is empty"},
		{"{env.WEBSMS_BLANK}", "is blank"},
		{"{file./nope}", "{file./nope} is empty: set it where Caddy runs"},
		{"{file." + empty + "}", "{file." + empty + "} is empty"},
		{"{envv.WEBSMS_EMPTY}", "holds a placeholder that is unknown or empty: give {env.NAME} or {file./path}"},
		{"csk_{9f8e7d}", "holds a placeholder that is unknown or empty"},
		{"  ", "is blank"},
	} {
		for option, apps := range map[string]map[string]any{
			"client_id":     {"websms": map[string]any{"client_id": c.value, "client_secret": "csk"}},
			"client_secret": {"websms": map[string]any{"client_id": "cid", "client_secret": c.value}},
			"secret":        {"http": hook(c.value)},
		} {
			err := caddy.Load(harness.ConfigJSON(storage, apps), true)
			if err == nil || !strings.Contains(err.Error(), option) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s %q: %v, want %s", option, c.value, err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "9f8e7d") {
				t.Errorf("%s: the error holds a part of the secret: %v", option, err)
			}
			harness.WantPool(t, nil)
		}
	}
}

// The error for a gate without an account names the missing option, and so does that for a webhook
// without a secret.
func TestMissingCredentials(t *testing.T) {
	storage := harness.FileStorage(t.TempDir())
	gate := harness.SiteJSON(map[string]any{"handler": "websms_otp", "company": "Acme"})
	const where = "add to the block websms of the global options: "
	for _, c := range []struct {
		app  map[string]any
		want string
	}{
		{map[string]any{}, where + "client_id {env.WEBSMS_CLIENT_ID}, client_secret {env.WEBSMS_CLIENT_SECRET}"},
		{map[string]any{"client_id": "cid"}, where + "client_secret {env.WEBSMS_CLIENT_SECRET}"},
		{map[string]any{"client_secret": "csk"}, where + "client_id {env.WEBSMS_CLIENT_ID}"},
	} {
		err := caddy.Load(harness.ConfigJSON(storage, map[string]any{"websms": c.app, "http": gate}), true)
		if err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%v: %v, want %s", c.app, err, c.want)
		}
	}
	hook := harness.SiteJSON(map[string]any{"handler": "websms_webhook"})
	if err := caddy.Load(harness.ConfigJSON(storage, map[string]any{"http": hook}), true); err == nil ||
		!strings.Contains(err.Error(), "websms_webhook: secret is missing") {
		t.Errorf("a webhook without a secret: %v", err)
	}
}

// Secrets come from the environment or from a file. The final newline of a file is removed.
func TestSecretsResolved(t *testing.T) {
	t.Setenv("WEBSMS_ID", "cid_demo")
	secret := filepath.Join(t.TempDir(), "secret")
	harness.WriteFile(t, secret, "csk_demo\n")
	w := harness.Start(t, harness.Setup{})
	text := strings.Replace(w.Config(""), "client_id cid_demo", "client_id {env.WEBSMS_ID}", 1)
	text = strings.Replace(text, "client_secret csk_demo", fmt.Sprintf("client_secret {file.%s}", secret), 1)
	before := harness.Held(t, "engine")
	if err := harness.LoadCaddyfile(text); err != nil {
		t.Fatal(err)
	}
	w.AwaitReload()
	if harness.Held(t, "engine") != before {
		t.Error("the account is another one")
	}
	w.Browser().Login("+6421234567")
}

// The plugin logs no secret at any level. Caddy itself logs configurations and request headers at
// the debug level only.
func TestSecretsNotLogged(t *testing.T) {
	w := harness.Start(t, harness.Setup{Global: "debug"})
	b := w.Browser()
	number := "+6421234567"
	code := b.Ask(number)
	b.Post("/.websms/verify", []string{"code", "wrong"}, harness.API)
	if a := b.Post("/.websms/verify", []string{"code", code}, harness.API); a.StatusCode != http.StatusOK {
		t.Fatalf("verify: %s %s", a.Status, a.Text)
	}
	b.Get("/timesheet", harness.Page)
	harness.Deliver(b, `{"type":"dlr","messageId":"M1","statusCode":1}`)
	harness.Deliver(b, `no`)
	w.Sim.RevokeTokens()
	w.Sim.Next(websmstest.InsufficientFunds200())
	w.Browser().Post("/.websms/send", []string{"phone", "+6421234568"}, harness.API)
	harness.Eventually(t, "the failure is logged", func() bool { return strings.Contains(w.LogText(), "send_failed") })
	w.Load("")
	log := ""
	for line := range strings.Lines(w.LogText()) {
		var fields struct{ Level, Logger string }
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if fields.Level != "debug" || strings.Contains(fields.Logger, "websms") {
			log += line
		}
	}
	if strings.Count(log, "websms.audit") < 4 {
		t.Fatalf("the decisions are not logged: the test tests nothing: %s", log)
	}
	for name, secret := range map[string]string{
		"client secret": "csk_demo", "bearer token": "wst_", "webhook secret": harness.WebhookSecret, "code": code, "number": number[3:],
	} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds the %s", name)
		}
	}
}

// keysOf returns the stored keys of a world.
func keysOf(w *harness.World) string {
	w.T.Helper()
	name := filepath.Join(w.Dir, harness.KeysFile)
	data, err := os.ReadFile(name)
	if err != nil {
		w.T.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil {
		w.T.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		w.T.Errorf("%s can be read by others: %o", harness.KeysFile, mode)
	}
	return string(data)
}

// The keys are made once. A new process reads them, so older sessions stay valid.
func TestKeysReused(t *testing.T) {
	w := harness.Start(t, harness.Setup{})
	keys := keysOf(w)
	b := w.Browser()
	b.Login("+6421234567")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	harness.WantPool(t, nil)
	w.Load("")
	b.Client.CloseIdleConnections()
	if again := keysOf(w); again != keys {
		t.Error("the keys were made anew")
	}
	if a := b.Get("/timesheet", harness.Page); a.StatusCode != http.StatusOK {
		t.Errorf("the session is gone: %s", a.Status)
	}
	if locks, _ := filepath.Glob(filepath.Join(w.Dir, "locks", "websms*")); len(locks) != 0 { // Caddy has locks of its own
		t.Errorf("these locks are left: %v", locks)
	}
}

// The error for a fault of the storage names the fault and the remedy.
func TestStorageTrouble(t *testing.T) {
	load := func(dir string) error {
		return caddy.Load(harness.ConfigJSON(harness.FileStorage(dir), map[string]any{"websms": harness.AccountJSON()}), true)
	}
	for _, keys := range []string{"", "{", "null", "{}", "[]", `{"keys":[]}`, `{"index":"AA==","keys":[{"id":1,"secret":"AA=="}]}`} {
		dir := t.TempDir()
		harness.WriteFile(t, filepath.Join(dir, harness.KeysFile), keys)
		err := load(dir)
		if err == nil || !strings.Contains(err.Error(), "websms/keys.json in Caddy's storage") ||
			!strings.Contains(err.Error(), "restore it, or delete it to end all sessions and begin anew") {
			t.Errorf("keys %q: %v", keys, err)
		}
		if text, _ := os.ReadFile(filepath.Join(dir, harness.KeysFile)); string(text) != keys {
			t.Errorf("keys %q were overwritten", keys)
		}
		harness.WantPool(t, nil)
	}
	file := filepath.Join(t.TempDir(), "file")
	harness.WriteFile(t, file, "")
	err := load(filepath.Join(file, "below"))
	if err == nil || !strings.Contains(err.Error(), "the keys that seal sessions: reading websms/keys.json in Caddy's storage") {
		t.Errorf("a storage that cannot be: %v", err)
	}
	harness.WantPool(t, nil)
}
