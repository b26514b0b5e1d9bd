package websmstest_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"

	_ "github.com/caddy-websms/websms/websmstest"
)

// adapt adapts a Caddyfile that holds body as its directive.
func adapt(t *testing.T, body string) (string, error) {
	t.Helper()
	source := "http://localhost:8025 {\n" + body + "\n}\n"
	out, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(source), map[string]any{"filename": "Caddyfile"})
	for _, w := range warnings {
		if !strings.Contains(w.Message, "not formatted") {
			t.Errorf("warning: %s", w)
		}
	}
	return string(out), err
}

func TestCaddyfile(t *testing.T) {
	for _, tc := range []struct{ name, body, want string }{
		{"nothing", "websms_simulator", `{"handler":"websms_simulator"}`},
		{"everything", `websms_simulator {
			name           lab
			client_id      {env.ID}
			client_secret  {file./run/secret}
			webhook        http://localhost:8080/hook
			webhook_secret {env.HOOK}
			latency        150ms
			delivery       2s
		}`, `{"client_id":"{env.ID}","client_secret":"{file./run/secret}","delivery":2000000000,` +
			`"handler":"websms_simulator","latency":150000000,` +
			`"name":"lab","webhook":"http://localhost:8080/hook","webhook_secret":"{env.HOOK}"}`},
		{"a placeholder in the URL", "websms_simulator {\nwebhook {env.HOOK_URL}\n}",
			`{"handler":"websms_simulator","webhook":"{env.HOOK_URL}"}`},
		{"a matcher", "websms_simulator /sim/*", `{"handler":"websms_simulator"}`},
		{"before respond", "respond 404\nwebsms_simulator",
			`{"handler":"websms_simulator"},{"handler":"static_response","status_code":404}`},
	} {
		got, err := adapt(t, tc.body)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if !strings.Contains(got, tc.want) || !json.Valid([]byte(got)) {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestCaddyfileErrors(t *testing.T) {
	for _, tc := range []struct {
		name, body, want string
		line             string
	}{
		{"argument", "websms_simulator on", `takes no argument but a matcher, got "on": put options in a block`, "2"},
		{"unknown option", "websms_simulator {\nbase_url http://x\n}",
			`unknown option "base_url": websms_simulator has name, client_id,`, "3"},
		{"misspelt option", "websms_simulator {\nname x\nclientid y\n}", `unknown option "clientid"`, "4"},
		{"repeated option", "websms_simulator {\nclient_id a\nclient_id a\n}", "client_id is given twice: keep one", "4"},
		{"no value", "websms_simulator {\nclient_id\n}", "client_id takes one value, such as: client_id cid_demo", "3"},
		{"empty value", "websms_simulator {\nclient_secret \"\"\n}", "client_secret takes one value, such as: client_secret csk_demo", "3"},
		{"two values", "websms_simulator {\nwebhook http://localhost/ demo\n}",
			"webhook takes one value, such as: webhook http://localhost:8080/webhook", "3"},
		{"name without value", "websms_simulator {\nname\n}", "name takes one value, such as: name default", "3"},
		{"block in an option", "websms_simulator {\nwebhook http://localhost/ {\nsecret demo\n}\n}",
			"webhook takes no block: write webhook http://localhost:8080/webhook", "4"},
		{"empty block in an option", "websms_simulator {\nlatency 1s {\n}\n}", "latency takes no block: write latency 150ms", "4"},
		{"relative webhook", "websms_simulator {\nwebhook /hook\n}", "webhook must be an absolute http or https URL, such as http://", "3"},
		{"webhook without scheme", "websms_simulator {\nwebhook localhost:8080\n}", "webhook must be an absolute http or https URL", "3"},
		{"webhook by ftp", "websms_simulator {\nwebhook ftp://localhost/\n}", "webhook must be an absolute http or https URL", "3"},
		{"malformed webhook", "websms_simulator {\nwebhook http://%zz/\n}", "webhook must be an absolute http or https URL", "3"},
		{"secret for no webhook", "websms_simulator {\nwebhook_secret demo\n}",
			"webhook_secret needs a webhook to go to: add webhook http://", "4"},
		{"number for a duration", "websms_simulator {\nlatency 150\n}",
			`"150" is not a duration of 0 to 1m0s: write a number with its unit, such as 150ms or 2s`, "3"},
		{"word for a duration", "websms_simulator {\ndelivery soon\n}", `"soon" is not a duration of 0 to 1h0m0s`, "3"},
		{"negative duration", "websms_simulator {\nlatency -1s\n}", `"-1s" is not a duration`, "3"},
		{"long latency", "websms_simulator {\nlatency 61s\n}", `"61s" is not a duration of 0 to 1m0s`, "3"},
		{"long delivery", "websms_simulator {\ndelivery 1d\n}", `"1d" is not a duration of 0 to 1h0m0s`, "3"},
	} {
		got, err := adapt(t, tc.body)
		if err == nil {
			t.Errorf("%s: no error, got %s", tc.name, got)
			continue
		}
		if !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "at Caddyfile:"+tc.line) {
			t.Errorf("%s: got %q, want %q at Caddyfile:%s", tc.name, err, tc.want, tc.line)
		}
	}
}
