package websms_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/internal/harness"
)

// webhookLines returns the log lines of all loggers of the webhook.
func webhookLines(w *harness.World) []map[string]any {
	w.T.Helper()
	return append(append(w.Logged("websms.mo"), w.Logged("websms.dlr")...), w.Logged("websms.webhook")...)
}

func TestWebhookMethods(t *testing.T) {
	w := harness.Start(t, harness.Setup{})
	b := w.Browser()
	for _, method := range []string{"GET", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"} {
		a := harness.PostHook(b, method, w.HookPath+"?secret="+harness.WebhookSecret, strings.NewReader(`{"type":"mo"}`), nil)
		harness.WantAnswer(t, method, a, http.StatusMethodNotAllowed, `{"error":"method not allowed"}`)
		if allow := a.Header.Get("Allow"); allow != "POST" {
			t.Errorf("%s: Allow is %q", method, allow)
		}
	}
	if a := harness.PostHook(b, http.MethodHead, w.HookPath, nil, nil); a.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("HEAD: %s", a.Status)
	}
	if lines := webhookLines(w); len(lines) != 0 {
		t.Errorf("these were handled: %v", lines)
	}
}

func TestWebhookSecret(t *testing.T) {
	w := harness.Start(t, harness.Setup{})
	b := w.Browser()
	event := `{"type":"mo","body":"hello"}` // without an id, so each one is handled
	basic := func(user, password string) http.Header {
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(user, password)
		return r.Header
	}
	bearer := func(value string) http.Header { return http.Header{"Authorization": {value}} }
	right := []struct {
		query  string
		header http.Header
	}{
		{"?secret=" + harness.WebhookSecret, nil},
		{"?x=1&secret=hook%2Dsecret", nil},
		{"", bearer("Bearer " + harness.WebhookSecret)},
		{"", bearer("bearer  " + harness.WebhookSecret + " ")}, // RFC 9110, 11.1: the scheme in any case
		{"", basic("websms", harness.WebhookSecret)},
		{"", basic("", harness.WebhookSecret)},
		{"?secret=" + harness.WebhookSecret, bearer("Bearer of something else")},
		{"?secret=wrong", basic("websms", harness.WebhookSecret)},
	}
	for i, c := range right {
		a := harness.PostHook(b, http.MethodPost, w.HookPath+c.query, strings.NewReader(event), c.header)
		harness.WantAnswer(t, fmt.Sprintf("right secret, way %d", i), a, http.StatusOK, harness.Acknowledged)
	}
	if n := len(w.Logged("websms.mo")); n != len(right) {
		t.Errorf("%d events handled, want %d", n, len(right))
	}
	for _, c := range []struct {
		query  string
		header http.Header
	}{
		{"", nil},
		{"?secret", nil},
		{"?secret=", nil},
		{"?Secret=" + harness.WebhookSecret, nil},
		{"?secret=wrong", nil},
		{"?secret=" + harness.WebhookSecret[:len(harness.WebhookSecret)-1], nil},
		{"?secret=" + harness.WebhookSecret + "x", nil},
		{"?secret=" + strings.ToUpper(harness.WebhookSecret), nil},
		{"?secret=wrong&secret=" + harness.WebhookSecret, nil},
		{"?secret=" + strings.Repeat(harness.WebhookSecret, 100), nil},
		{"", bearer("Bearer ")},
		{"", bearer("Bearer")},
		{"", bearer(harness.WebhookSecret)},
		{"", bearer("Digest " + harness.WebhookSecret)},
		{"", bearer("Bearer wrong")},
		{"", bearer("Bearer " + harness.WebhookSecret + ",")},
		{"", bearer("Basic " + harness.WebhookSecret)},
		{"", basic("websms", "")},
		{"", basic("websms", "wrong")},
		{"", basic(harness.WebhookSecret, "")},
		{"", http.Header{"X-Secret": {harness.WebhookSecret}, "Cookie": {"secret=" + harness.WebhookSecret}}},
	} {
		// All refusals are alike: the answer does not tell how a secret was wrong.
		a := harness.PostHook(b, http.MethodPost, w.HookPath+c.query, strings.NewReader(event), c.header)
		harness.WantAnswer(t, c.query+c.header.Get("Authorization"), a, http.StatusUnauthorized, `{"error":"unauthorized"}`)
		if challenge := a.Header.Get("WWW-Authenticate"); challenge == "" { // RFC 9110, 15.5.2
			t.Errorf("%q: 401 without WWW-Authenticate", c.query)
		}
	}
	if n := len(w.Logged("websms.mo")); n != len(right) {
		t.Errorf("events of strangers were handled: %d lines, want %d", n, len(right))
	}
}

func TestWebhookSize(t *testing.T) {
	w := harness.Start(t, harness.Setup{})
	b := w.Browser()
	pad := func(size int) string {
		event := `{"type":"mo","messageId":"big"}`
		return event + strings.Repeat(" ", size-len(event))
	}
	chunked := func(s string) io.Reader { return io.MultiReader(strings.NewReader(s)) } // hides the length
	header := http.Header{"Authorization": {"Bearer " + harness.WebhookSecret}}
	a := harness.PostHook(b, http.MethodPost, w.HookPath, strings.NewReader(pad(64<<10)), header)
	harness.WantAnswer(t, "64 KiB", a, http.StatusOK, harness.Acknowledged)
	a = harness.PostHook(b, http.MethodPost, w.HookPath, chunked(pad(64<<10)), header)
	harness.WantAnswer(t, "64 KiB in chunks", a, http.StatusOK, harness.Acknowledged)
	a = harness.PostHook(b, http.MethodPost, w.HookPath, strings.NewReader(pad(64<<10+1)), header)
	harness.WantAnswer(t, "over 64 KiB", a, http.StatusRequestEntityTooLarge, `{"error":"payload too large"}`)
	a = harness.PostHook(b, http.MethodPost, w.HookPath, chunked(pad(64<<10+1)), header)
	harness.WantAnswer(t, "over 64 KiB in chunks", a, http.StatusRequestEntityTooLarge, `{"error":"payload too large"}`)
	a = harness.PostHook(b, http.MethodPost, w.HookPath, strings.NewReader(pad(64<<10+1)), nil)
	harness.WantAnswer(t, "over 64 KiB from a stranger", a, http.StatusUnauthorized, `{"error":"unauthorized"}`)
	if n := len(w.Logged("websms.mo")); n != 1 {
		t.Errorf("%d lines, want 1", n)
	}
}

func TestWebhookInvalid(t *testing.T) {
	w := harness.Start(t, harness.Setup{})
	b := w.Browser()
	for _, body := range []string{
		"", " ", "null", "true", "12", `"mo"`, "[]", `[{"type":"mo"}]`, "{}", `{"type":null}`, `{"type":7}`, `{"type":true}`,
		`{"type":{}}`, `{"type":["mo"]}`, `{"Type":"mo"}`, `{"type":"mo"`, `{"type":"mo"} x`, `{"type":"mo"}{"type":"mo"}`, `{'type':'mo'}`,
		"type=mo&messageId=1", "<xml/>", "\xff\xfe", "\x00", `{"type":"mo","body":"` + "\n" + `"}`,
		strings.Repeat("[", 60<<10), strings.Repeat(`{"type":`, 8<<10),
	} {
		harness.WantAnswer(t, harness.Excerpt(body), harness.Deliver(b, body), http.StatusBadRequest, harness.InvalidPayload)
	}
	if lines := webhookLines(w); len(lines) != len(refusals(w)) {
		t.Errorf("these were handled: %v", lines)
	}
}

func TestWebhookLogs(t *testing.T) {
	w := harness.Start(t, harness.Setup{})
	b := w.Browser()
	mo := func(fields ...any) map[string]any {
		m := map[string]any{"level": "info", "logger": "websms.mo", "msg": "incoming reply", "message_id": "", "from": "", "to": "",
			"body": "", "timestamp": nil, "encoding": "", "network": ""}
		for i := 0; i < len(fields); i += 2 {
			m[fields[i].(string)] = fields[i+1]
		}
		return m
	}
	dlr := func(id, status string, code float64, state string, timestamp any) map[string]any {
		return map[string]any{"level": "info", "logger": "websms.dlr", "msg": "delivery report", "message_id": id, "status": status,
			"status_code": code, "state": state, "timestamp": timestamp}
	}
	unknown := func(kind string) map[string]any {
		return map[string]any{"level": "warn", "logger": "websms.webhook", "msg": "unknown webhook type", "type": kind}
	}
	long := strings.Repeat("ā", 20_000)
	for _, c := range []struct {
		body string
		want map[string]any
	}{
		// The examples of the WebSMS developer guide, step 6.
		{`{"type":"mo","messageId":"MO456","from":"+6421234567","to":"shortcode","body":"Reply text","timestamp":1234567890}`,
			mo("message_id", "MO456", "from", "+6421234567", "to", "shortcode", "body", "Reply text", "timestamp", 1234567890.0)},
		{`{"type":"dlr","messageId":"MSG123","status":"DELIVRD","statusCode":1,"timestamp":1234567890}`,
			dlr("MSG123", "DELIVRD", 1, "delivered", 1234567890.0)},
		// Events that integrators have received.
		{`{"type":"SMS","messageId":789,"from":6421234567,"to":2427,"body":"ok","timestamp":"1234567890",` +
			`"encoding":"GSM7","network":"One NZ","extra":{}}`,
			mo("message_id", "789", "from", "6421234567", "to", "2427", "body", "ok", "timestamp", 1234567890.0, "encoding",
				"GSM7", "network", "One NZ")},
		{`{"type":"mo"}`, mo()},
		{`{"type":"MO","messageId":null,"from":["x"],"body":"line\n\"two\"\u0000 ✓","timestamp":"yesterday"}`, mo("body", "line\n\"two\"\x00 ✓")},
		{`{"type":"mo","body":"` + long + `"}`, mo("body", long[:4096]+"…")},
		{`{"type":"dlr","messageId":"M2","status":"UNDELIV","statusCode":"2","customerMessageId":"c"}`,
			dlr("M2", "UNDELIV", 2, "undelivered", nil)},
		{`{"type":"dlr","messageId":"M3","status":"QUEUED","statusCode":4}`, dlr("M3", "QUEUED", 4, "queued", nil)},
		{`{"type":"dlr","messageId":"M4","status":"EXPIRED","statusCode":4}`, dlr("M4", "EXPIRED", 4, "expired", nil)},
		{`{"type":"dlr","messageId":"M5","status":"ACCEPTD","statusCode":8}`, dlr("M5", "ACCEPTD", 8, "accepted", nil)},
		{`{"type":"dlr","messageId":"M6","status":"UNDELIV","statusCode":16}`, dlr("M6", "UNDELIV", 16, "rejected", nil)},
		{`{"type":"dlr","messageId":"M7","statusCode":-1}`, dlr("M7", "", -1, "blocked", nil)},
		{`{"type":"dlr","messageId":"M8","status":"DELIVRD","statusCode":99}`, dlr("M8", "DELIVRD", 99, "unknown", nil)},
		{`{"type":"dlr"}`, dlr("", "", 0, "unknown", nil)},
		{`{"type":"voice","messageId":"V1"}`, unknown("voice")},
		{`{"type":""}`, unknown("")},
		{`{"type":"` + strings.Repeat("x", 5000) + `"}`, unknown(strings.Repeat("x", 4096) + "…")},
	} {
		logger := c.want["logger"].(string)
		before := len(w.Logged(logger))
		harness.WantAnswer(t, harness.Excerpt(c.body), harness.Deliver(b, c.body), http.StatusOK, harness.Acknowledged)
		// The webhook logs an event before it acknowledges it, so the test need not wait.
		lines := w.Logged(logger)
		if len(lines) != before+1 {
			t.Errorf("%s: %d lines, want one", harness.Excerpt(c.body), len(lines)-before)
			continue
		}
		got := lines[before]
		delete(got, "ts")
		if !maps.Equal(got, c.want) {
			text, _ := json.Marshal(got)
			t.Errorf("%s is logged as\n%s, want\n%v", harness.Excerpt(c.body), harness.Excerpt(string(text)), c.want)
		}
	}
	if log := w.LogText(); strings.Contains(log, harness.WebhookSecret) {
		t.Error("the log holds the secret")
	}
}

func TestWebhookDedupe(t *testing.T) {
	c := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Webhook: "dedupe 10m"})
	b := w.Browser()
	reply := `{"type":"mo","messageId":"MO1","body":"yes"}`
	report := func(id string, code int) string {
		return fmt.Sprintf(`{"type":"dlr","messageId":%q,"statusCode":%d}`, id, code)
	}
	step := func(what, body string, replies, reports int) {
		t.Helper()
		harness.WantAnswer(t, what, harness.Deliver(b, body), http.StatusOK, harness.Acknowledged)
		if r, d := len(w.Logged("websms.mo")), len(w.Logged("websms.dlr")); r != replies || d != reports {
			t.Errorf("%s: %d replies and %d reports logged, want %d and %d", what, r, d, replies, reports)
		}
	}
	step("a reply", reply, 1, 0)
	step("the same reply", reply, 1, 0)
	step("the same reply, told otherwise", `{"timestamp":1,"type":"SMS","messageId":"MO1"}`, 1, 0)
	step("another reply", `{"type":"mo","messageId":"MO2"}`, 2, 0)
	step("a report of that id", report("MO1", 8), 2, 1)
	step("the same report", report("MO1", 8), 2, 1)
	step("another status code", report("MO1", 1), 2, 2)
	step("the former again", report("MO1", 8), 2, 2)
	step("without a code, a text", `{"type":"dlr","messageId":"MO1","status":"DELIVRD"}`, 2, 3)
	step("without a code, another text", `{"type":"dlr","messageId":"MO1","status":"UNDELIV"}`, 2, 4)
	step("no id", `{"type":"mo","body":"x"}`, 3, 4)
	step("no id again", `{"type":"mo","body":"x"}`, 4, 4)
	c.Advance(10*time.Minute - time.Second)
	step("within the time", reply, 4, 4)
	c.Advance(time.Second)
	step("past the time", reply, 5, 4)
	step("and again", reply, 5, 4)
	w.Load("") // marks of seen events survive a reload
	b.Client.CloseIdleConnections()
	step("after a reload", reply, 5, 4)
}

func TestWebhookCrowd(t *testing.T) {
	w := harness.Start(t, harness.Setup{})
	const crowd = 64
	b := w.Browser()
	answers := make([]harness.Answer, crowd)
	var ready, all sync.WaitGroup
	ready.Add(crowd)
	for i := range crowd {
		all.Go(func() {
			ready.Done()
			ready.Wait()
			answers[i] = harness.Deliver(b, `{"type":"mo","messageId":"MO9","body":"one of many"}`)
		})
	}
	all.Wait()
	taken := 0
	for i, a := range answers {
		if a.StatusCode == http.StatusServiceUnavailable { // the first one is still in work
			harness.WantAnswer(t, fmt.Sprintf("post %d", i), a, http.StatusServiceUnavailable, `{"error":"the event is in work"}`)
			if after, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || after < 1 || after > 10 {
				t.Errorf("post %d: Retry-After is %q", i, a.Header.Get("Retry-After"))
			}
			continue
		}
		taken++
		harness.WantAnswer(t, fmt.Sprintf("post %d", i), a, http.StatusOK, harness.Acknowledged)
	}
	if taken == 0 {
		t.Error("none was acknowledged")
	}
	harness.WantAnswer(t, "a repetition", harness.Deliver(b, `{"type":"mo","messageId":"MO9","body":"one of many"}`),
		http.StatusOK, harness.Acknowledged)
	if n := len(w.Logged("websms.mo")); n != 1 {
		t.Errorf("%d lines for %d identical events", n, crowd)
	}
}

// A webhook needs no account. It logs replies even if no gate sends codes.
func TestWebhookWithoutAccount(t *testing.T) {
	port := harness.FreePort(t)
	w := &harness.World{T: t, Dir: t.TempDir(), URL: fmt.Sprintf("http://localhost:%d", port)}
	if err := harness.LoadCaddyfile(fmt.Sprintf(`{
	admin off
	persist_config off
	storage file_system %q
	log {
		output file %q
	}
}
%s {
	websms_webhook {
		secret %s
	}
}
`, w.Dir, w.LogFile(), w.URL, harness.WebhookSecret)); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	}()
	b := w.Browser()
	harness.WantAnswer(t, "a reply", harness.Deliver(b, `{"type":"mo","messageId":"MO1","body":"yes"}`), http.StatusOK, harness.Acknowledged)
	harness.WantAnswer(t, "a report", harness.Deliver(b, `{"type":"dlr","messageId":"M1","statusCode":1}`), http.StatusOK,
		harness.Acknowledged)
	if n := len(webhookLines(w)); n != 2 {
		t.Errorf("%d lines, want 2", n)
	}
}

// readAnswer reads one answer from a raw connection.
func readAnswer(t *testing.T, from *bufio.Reader) harness.Answer {
	t.Helper()
	res, err := http.ReadResponse(from, nil)
	if err != nil {
		t.Errorf("reading the answer: %v", err)
		return harness.Answer{Response: new(http.Response)}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Errorf("reading the answer's body: %v", err)
	}
	return harness.Answer{Response: res, Text: string(body)}
}
