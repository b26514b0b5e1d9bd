package websms_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	_ "github.com/caddy-websms/websms"
	"github.com/caddy-websms/websms/internal/harness"
)

// Configurations, dashboards and log pipelines of operators hold these names. A change
// here breaks them. internal/e2e holds the IDs of the modules, and testdata/caddyfile/all.txt
// the JSON of a configuration with all options.

// A test in internal/telemetry checks that docs/operations.md names each metric, and no other.
func TestMetricNames(t *testing.T) {
	want := []string{
		"caddy_websms_account_balance", "caddy_websms_api_duration_seconds", "caddy_websms_challenges", "caddy_websms_delivery_seconds",
		"caddy_websms_gate_requests_total", "caddy_websms_sends_total", "caddy_websms_token_refreshes_total",
		"caddy_websms_verifications_total", "caddy_websms_webhooks_total",
	}
	page, err := os.ReadFile("docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "## Metrics")
	table, _, _ = strings.Cut(table, "## Logs")
	var got []string
	for _, name := range regexp.MustCompile("`(caddy_websms_[a-z_]+)`").FindAllStringSubmatch(table, -1) {
		got = append(got, name[1])
	}
	slices.Sort(got)
	if got = slices.Compact(got); !slices.Equal(got, want) {
		t.Errorf("the metrics are %q; want %q", got, want)
	}
}

func TestLoggerNames(t *testing.T) {
	w := harness.Start(t, harness.Setup{App: "sandbox", Gate: "code {\n length 4\n}"}) // both options are risks, so they are logged
	b := w.Browser()
	b.Login(harness.FreshNumber())
	for _, body := range []string{
		`{"type":"mo","message_id":"m1","from":"+6421000000","to":"1234","message":"STOP"}`,
		`{"type":"dlr","message_id":"m1","status":"DELIVRD"}`, `{"type":"other"}`,
	} {
		b.Send(w.HookPath+"?secret="+harness.WebhookSecret, "application/json", body)
	}
	for _, name := range []string{"http.handlers.websms_otp", "websms", "websms.audit", "websms.dlr", "websms.mo", "websms.webhook"} {
		harness.Eventually(t, "a line of the logger "+name, func() bool { return len(w.Logged(name)) > 0 })
	}
}
