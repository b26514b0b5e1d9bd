package websms_test

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/websmstest"
)

// scrape reads the metrics as Prometheus does. It returns a value for each of our names and labels.
// For a histogram, the value is the number of observations. The balance and the calls for it are left
// out, because scrapes themselves cause them: TestAccountBalance has them.
func scrape(t *testing.T, admin string) map[string]float64 {
	t.Helper()
	a := (&harness.World{T: t, URL: admin}).Browser().Get("/metrics")
	if a.StatusCode != http.StatusOK {
		t.Fatalf("/metrics: %s", a.Status)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(a.Text))
	if err != nil {
		t.Fatalf("/metrics: %v", err)
	}
	values := map[string]float64{}
	for name, family := range families {
		if !strings.HasPrefix(name, "caddy_websms_") || name == "caddy_websms_account_balance" {
			continue
		}
		for _, m := range family.Metric {
			key := name + labels(m)
			if strings.Contains(key, `endpoint="balance"`) {
				continue
			}
			switch family.GetType() {
			case dto.MetricType_COUNTER:
				values[key] = m.Counter.GetValue()
			case dto.MetricType_GAUGE:
				values[key] = m.Gauge.GetValue()
			case dto.MetricType_HISTOGRAM:
				values[key] = float64(m.Histogram.GetSampleCount())
			}
		}
	}
	return values
}

func labels(m *dto.Metric) string {
	var list []string
	for _, l := range m.Label {
		list = append(list, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
	}
	if list == nil {
		return ""
	}
	return "{" + strings.Join(list, ",") + "}"
}

// moves checks that happens changes exactly these metrics.
func moves(t *testing.T, admin, what string, happens func(), want map[string]float64) {
	t.Helper()
	before := scrape(t, admin)
	happens()
	var after map[string]float64
	changed := func() map[string]float64 {
		after = scrape(t, admin)
		diff := map[string]float64{}
		for key, value := range after {
			if d := value - before[key]; d != 0 {
				diff[key] = d
			}
		}
		return diff
	}
	deadline := time.Now().Add(5 * time.Second)
	got := changed()
	for !maps.Equal(got, want) && time.Now().Before(deadline) { // sends and reports continue after the request
		time.Sleep(5 * time.Millisecond)
		got = changed()
	}
	if !maps.Equal(got, want) {
		t.Errorf("%s moved\n %v, want\n %v", what, got, want)
	}
}

const metric = "caddy_websms_"

// Every metric changes as it should while a person uses each feature of a gate and a webhook.
func TestMetricsThroughAWalk(t *testing.T) {
	now := harness.UseClock(t)
	const gate = "numbers {\n allow +6421000001 +6421000002 +6421000003 +6421000004\n}\nbypass {\n path /healthz\n}\n" +
		"code {\n attempts 2\n}\nlimits {\n per_number 100/10m\n cooldown 30s\n lockout 3 15m\n}"
	w := harness.Start(t, harness.Setup{Gate: gate})
	admin := harness.StartAdmin(w, gate)
	b := w.Browser()
	gateRequests := func(decision string) string { return metric + `gate_requests_total{decision="` + decision + `"}` }
	sent := func(result string) string { return metric + `sends_total{result="` + result + `"}` }
	code := func(result string) string { return metric + `verifications_total{result="` + result + `"}` }
	api := func(endpoint, result string) string {
		return metric + `api_duration_seconds{endpoint="` + endpoint + `",result="` + result + `"}`
	}
	hook := func(kind, result string) string {
		return metric + `webhooks_total{result="` + result + `",type="` + kind + `"}`
	}
	const live = metric + "challenges"
	ask := func(number string) { b.Post("/.websms/send", []string{"phone", number}) }
	answer := func(code string) { b.Post("/.websms/verify", []string{"code", code}) }
	w.Sim.SetWebhook("", "") // delivery reports follow below

	scrape(t, admin) // the first one asks for the balance, and so for a token
	before := scrape(t, admin)
	moves(t, admin, "a stranger", func() { b.Get("/", harness.Page) }, map[string]float64{gateRequests("challenged"): 1})
	moves(t, admin, "a program", func() { b.Get("/data", http.Header{"Accept": {"application/json"}}) },
		map[string]float64{gateRequests("challenged"): 1})
	moves(t, admin, "a bypass", func() { b.Get("/healthz", harness.Page) }, map[string]float64{gateRequests("bypassed"): 1})
	moves(t, admin, "our own page", func() { b.Get("/.websms/login", harness.Page) }, map[string]float64{})
	moves(t, admin, "what is no number", func() { ask("12") }, map[string]float64{})
	moves(t, admin, "no challenge", func() { answer("123456") }, map[string]float64{code("no_challenge"): 1})

	var right string
	moves(t, admin, "a code", func() { right = b.Ask("+6421000001") }, map[string]float64{
		sent("sent"): 1, api("otp", "ok"): 1, live: 1,
	})
	message := w.Sim.Messages()[0]
	moves(t, admin, "too early a resend", func() { b.Post("/.websms/resend", nil) }, map[string]float64{sent("rate_limited"): 1})
	moves(t, admin, "a wrong code", func() { answer(harness.OtherCode(right)) }, map[string]float64{code("wrong_code"): 1})
	moves(t, admin, "the report", func() {
		harness.Deliver(b, fmt.Sprintf(`{"type":"dlr","messageId":%q,"statusCode":1}`, message.ID))
	}, map[string]float64{hook("dlr", "handled"): 1, metric + "delivery_seconds": 1})
	moves(t, admin, "the report again", func() {
		harness.Deliver(b, fmt.Sprintf(`{"type":"dlr","messageId":%q,"statusCode":1}`, message.ID))
	}, map[string]float64{hook("dlr", "repeated"): 1})
	moves(t, admin, "the right code", func() { answer(right) }, map[string]float64{code("verified"): 1, live: -1})
	moves(t, admin, "a session", func() { b.Get("/", harness.Page) }, map[string]float64{gateRequests("passed"): 1})

	moves(t, admin, "a number that is not listed", func() { ask("+6421999999") }, map[string]float64{sent("withheld"): 1, live: 1})
	moves(t, admin, "no answer", func() { w.Sim.Next(websmstest.ResetReply()); ask("+6421000002") },
		map[string]float64{sent("unknown"): 1, api("otp", "unavailable"): 1})
	moves(t, admin, "no funds", func() { w.Sim.Next(websmstest.InsufficientFunds200()); ask("+6421000003") },
		map[string]float64{sent("refused_funds"): 1, api("otp", "funds"): 1})
	moves(t, admin, "a bad request", func() { w.Sim.Next(websmstest.InvalidRequest()); ask("+6421000002") },
		map[string]float64{sent("failed"): 1, api("otp", "bad_request"): 1})

	moves(t, admin, "a code that nobody waits for", func() { right = b.Ask("+6421000003") },
		map[string]float64{sent("sent"): 1, api("otp", "ok"): 1})
	now.Advance(6 * time.Minute) // replaced challenges are gone too
	moves(t, admin, "a late answer", func() { answer(right) }, map[string]float64{code("expired"): 1})

	b = w.Browser()
	right = b.Ask("+6421000004")
	answer(harness.OtherCode(right))
	harness.Eventually(t, "the sending is counted", func() bool { return scrape(t, admin)[sent("sent")] == before[sent("sent")]+3 })
	moves(t, admin, "the last try", func() { answer(harness.OtherCode(right)) }, map[string]float64{code("wrong_code"): 1})
	moves(t, admin, "beyond it", func() { answer(right) }, map[string]float64{code("too_many_attempts"): 1})
	right = b.Ask("+6421000004")
	harness.Eventually(t, "the sending is counted", func() bool { return scrape(t, admin)[sent("sent")] == before[sent("sent")]+4 })
	moves(t, admin, "a wrong code that locks", func() { answer(harness.OtherCode(right)) }, map[string]float64{code("locked_out"): 1})
	moves(t, admin, "a code while locked", func() { answer(right) }, map[string]float64{code("rate_limited"): 1})
	moves(t, admin, "an ask while locked", func() { ask("+6421000004") }, map[string]float64{sent("rate_limited"): 1})

	recovery := recoveryCodeOf(t, admin, `{"number":"+6421000001"}`)
	moves(t, admin, "a recovery code", func() { recoverWith(b, recovery) }, map[string]float64{code("recovery_code"): 1, live: -1})
	moves(t, admin, "it again", func() { recoverWith(b, recovery) }, map[string]float64{code("wrong_code"): 1})

	moves(t, admin, "a reply", func() { harness.Deliver(b, `{"type":"mo","messageId":"MO1","from":"+6421000001","body":"hi"}`) },
		map[string]float64{hook("mo", "handled"): 1})
	moves(t, admin, "an unknown event", func() { harness.Deliver(b, `{"type":"balance of `+strings.Repeat("x", 50)+`"}`) },
		map[string]float64{hook("unknown", "handled"): 1})
	moves(t, admin, "no JSON", func() { harness.Deliver(b, `hello`) }, map[string]float64{hook("none", "invalid"): 1})
	moves(t, admin, "too much", func() { harness.Deliver(b, strings.Repeat("x", 70000)) }, map[string]float64{hook("none", "too_large"): 1})
	moves(t, admin, "no secret", func() { harness.PostHook(b, http.MethodPost, w.HookPath, strings.NewReader(`{}`), nil) },
		map[string]float64{hook("none", "unauthorized"): 1})
	moves(t, admin, "a GET", func() { harness.PostHook(b, http.MethodGet, w.HookPath, nil, nil) },
		map[string]float64{hook("none", "method_not_allowed"): 1})

	wantHarmlessLabels(t, admin)
}

// The gate requests a token together with the first code, if it has none.
func TestMetricsOfCredentials(t *testing.T) {
	w := harness.Start(t, harness.Setup{API: websmstest.Options{ClientSecret: "another"}})
	admin := harness.StartAdmin(w, "")
	scrape(t, admin) // the first one asks for the balance, and so for a token
	moves(t, admin, "a wrong secret", func() { w.Browser().Request("+6421000001") }, map[string]float64{
		metric + `sends_total{result="refused_credentials"}`:                   1,
		metric + `token_refreshes_total{result="failed"}`:                      1,
		metric + `api_duration_seconds{endpoint="token",result="credentials"}`: 1,
		metric + "challenges": 1,
	})
}

// Reloads neither reset nor double a metric. Several gates add up.
func TestMetricsAcrossReloads(t *testing.T) {
	const gate = "realm one\n" + harness.Plenty
	w := harness.Start(t, harness.Setup{Gate: gate})
	admin := harness.StartAdmin(w, gate)
	second := harness.RunBeside(w, gate, "",
		"websms_otp {\n company Other\n realm two\n "+harness.Unhindered(harness.Plenty)+"\n}\nrespond other")
	challenged := map[string]float64{metric + `gate_requests_total{decision="challenged"}`: 2}
	both := func() { w.Browser().Get("/", harness.Page); second.Browser().Get("/", harness.Page) }
	scrape(t, admin) // the first one asks for the balance, and so for a token
	moves(t, admin, "two gates", both, challenged)
	before := scrape(t, admin)
	for range 3 {
		w.Load(gate)
	}
	if after := scrape(t, admin); !maps.Equal(before, after) {
		t.Errorf("reloads changed\n %v to\n %v", before, after)
	}
	moves(t, admin, "two gates after three reloads", both, challenged)
	w.Sim.SetWebhook("", "")
	moves(t, admin, "a challenge", func() { w.Browser().Ask("+6421000001") }, map[string]float64{
		metric + `sends_total{result="sent"}`: 1, metric + `api_duration_seconds{endpoint="otp",result="ok"}`: 1,
		metric + "challenges": 1,
	})
}

// wantHarmlessLabels checks that no label has a value from a client. Each value is one of our own
// words.
func wantHarmlessLabels(t *testing.T, admin string) {
	t.Helper()
	words := regexp.MustCompile(`="([^"]*)"`)
	page, err := os.ReadFile("docs/operations.md") // a test in telemetry checks that the page is complete
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "## Metrics")
	table, _, _ = strings.Cut(table, "## Logs")
	var known []string
	for _, word := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(table, -1) {
		known = append(known, word[1])
	}
	for key, value := range scrape(t, admin) {
		for _, found := range words.FindAllStringSubmatch(key, -1) {
			if !slices.Contains(known, found[1]) {
				t.Errorf("%s has a label that is not ours", key)
			}
		}
		if math.IsNaN(value) || value < 0 {
			t.Errorf("%s is %v", key, value)
		}
	}
}
