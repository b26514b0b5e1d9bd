package websms_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
)

// refusals returns the lines of refused requests, without their time.
func refusals(w *harness.World) []map[string]any {
	w.T.Helper()
	var lines []map[string]any
	for _, line := range w.Logged("websms.webhook") {
		if line["msg"] == "webhook refused" {
			delete(line, "ts")
			lines = append(lines, line)
		}
	}
	return lines
}

// wantRefusals compares the refused requests in the log. Each one that is wanted is a reason, a
// Content-Type, a length and a client.
func wantRefusals(w *harness.World, what string, want ...[4]any) {
	w.T.Helper()
	lines := refusals(w)
	if len(lines) != len(want) {
		w.T.Errorf("%s: %d lines, want %d: %v", what, len(lines), len(want), lines)
		return
	}
	for i, c := range want {
		line := map[string]any{"level": "warn", "logger": "websms.webhook", "msg": "webhook refused",
			"reason": c[0], "content_type": c[1], "length": float64(c[2].(int)), "client_ip": c[3]}
		if got := lines[i]; fmt.Sprint(got) != fmt.Sprint(line) {
			w.T.Errorf("%s: line %d is %v, want %v", what, i, got, line)
		}
	}
}

// Each refusal leaves a line with its reason. The line has no part of the body, and not the secret.
func TestWebhookRefused(t *testing.T) {
	const private = "a-private-text"
	for _, c := range []struct {
		what, kind, body string
		secret           string
		reason           string
		length           int
	}{
		{"a form", "application/x-www-form-urlencoded", "type=mo&body=" + private, "right", "invalid_json", 27},
		{"cut off", "application/json", `{"type":"mo","body":"` + private, "right", "invalid_json", 35},
		{"two objects", "application/json", `{"type":"mo"}{"type":"mo"}`, "right", "invalid_json", 26},
		{"nothing", "", "", "right", "invalid_json", 0},
		{"no type", "application/json", `{"body":"` + private + `"}`, "right", "no_type", 25},
		{"a type that is no string", "text/plain", `{"type":{"` + private + `":1}}`, "right", "no_type", 29},
		{"a list", "application/json", `[{"type":"mo"}]`, "right", "no_type", 15},
		{"behind a byte order mark", "application/json", "\ufeff{}", "right", "no_type", 5},
		{"no secret", "application/json", `{"type":"mo","body":"` + private + `"}`, "", "unauthorized", 0},
		{"a wrong secret", "application/json", `{"type":"mo","body":"` + private + `"}`, "a-wrong-secret", "unauthorized", 0},
		{"large", "application/json", `{"type":"mo","body":"` + strings.Repeat(private, 5000) + `"}`, "right", "too_large", 64 << 10},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := harness.Start(t, harness.Setup{Global: harness.TrustLocal})
			secret := strings.Replace(c.secret, "right", harness.WebhookSecret, 1)
			a := harness.PostHook(w.Browser(), http.MethodPost, w.HookPath+"?secret="+secret, strings.NewReader(c.body),
				http.Header{"Content-Type": {c.kind}, "X-Forwarded-For": {"203.0.113.7"}})
			if a.StatusCode < 400 {
				t.Errorf("%s", a.Status)
			}
			wantRefusals(w, c.what, [4]any{c.reason, c.kind, c.length, "203.0.113.7"})
			for _, hidden := range []string{private, "a-wrong-secret", harness.WebhookSecret} {
				if strings.Contains(w.LogText(), hidden) {
					t.Errorf("the log holds %s", hidden)
				}
			}
		})
	}
}

// A refusal leaves at most one line a second, for each reason. An event that is taken, and a wrong method,
// leave none.
func TestWebhookRefusedOnceASecond(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{})
	b := w.Browser()
	round := func() {
		t.Helper()
		for range 3 {
			harness.WantAnswer(t, "not JSON", harness.Deliver(b, "no"), http.StatusBadRequest, harness.InvalidPayload)
			harness.WantAnswer(t, "no type", harness.Deliver(b, "{}"), http.StatusBadRequest, harness.InvalidPayload)
			a := harness.PostHook(b, http.MethodPost, w.HookPath, strings.NewReader("no"), nil)
			harness.WantAnswer(t, "no secret", a, http.StatusUnauthorized, `{"error":"unauthorized"}`)
			harness.WantAnswer(t, "an event", harness.Deliver(b, `{"type":"mo"}`), http.StatusOK, harness.Acknowledged)
			a = harness.PostHook(b, http.MethodPut, w.HookPath, strings.NewReader("no"), nil)
			harness.WantAnswer(t, "another method", a, http.StatusMethodNotAllowed, `{"error":"method not allowed"}`)
		}
	}
	var want [][4]any
	second := [][4]any{
		{"invalid_json", "application/json", 2, "127.0.0.1"}, {"no_type", "application/json", 2, "127.0.0.1"},
		{"unauthorized", "application/json", 0, "127.0.0.1"},
	}
	want = append(want, second...)
	round()
	wantRefusals(w, "in the first second", want...)
	now.Advance(time.Second - time.Nanosecond)
	round()
	wantRefusals(w, "at its end", want...)
	now.Advance(time.Nanosecond)
	want = append(want, second...)
	round()
	wantRefusals(w, "in the next second", want...)
	now.Advance(-time.Hour)
	want = append(want, second...)
	round()
	wantRefusals(w, "after the clock was set back", want...)
}

// A client that breaks off leaves a line too. TestWebhookInTime has one that is too slow.
func TestWebhookBrokenOff(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{})
	for _, c := range []struct {
		what, begin string
		length      int
	}{
		{"within its length", "Content-Length: 1000\r\n\r\n{\"type\":\"mo\"", 12},
		{"in chunks", "Transfer-Encoding: chunked\r\n\r\n3\r\n{\"t\r\n", 3},
	} {
		before := len(refusals(w))
		conn, err := net.Dial("tcp", strings.TrimPrefix(w.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "POST "+w.HookPath+" HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+harness.WebhookSecret+
			"\r\nContent-Type: application/json\r\n"+c.begin); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, c.what, func() bool { return len(refusals(w)) > before })
		line := refusals(w)[before]
		if line["reason"] != "not_arrived" || line["length"] != float64(c.length) || line["content_type"] != "application/json" {
			t.Errorf("%s: %v", c.what, line)
		}
		now.Advance(time.Second)
	}
}

// A Content-Type is cut, so that a stranger's does not fill the log.
func TestWebhookRefusedLongType(t *testing.T) {
	for _, character := range []string{"x", "ā", "\u202e"} {
		t.Run(fmt.Sprintf("%+q", character), func(t *testing.T) {
			w := harness.Start(t, harness.Setup{})
			harness.PostHook(w.Browser(), http.MethodPost, w.HookPath, nil, http.Header{"Content-Type": {strings.Repeat(character, 5000)}})
			lines := refusals(w)
			if len(lines) != 1 {
				t.Fatalf("%d lines, want 1", len(lines))
			}
			logged := lines[0]["content_type"].(string)
			if len(logged) > 500 || !strings.HasSuffix(logged, "…") || strings.ContainsAny(logged, "\ufffd\u202e") {
				t.Errorf("%d bytes are logged: %+q", len(logged), logged)
			}
		})
	}
}
