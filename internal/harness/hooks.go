package harness

import (
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
)

// Deliver posts an event to the webhook as WebSMS does.
func Deliver(b *Browser, body string) Answer {
	b.T.Helper()
	return PostHook(b, http.MethodPost, b.HookPath, strings.NewReader(body), http.Header{"Authorization": {"Bearer " + WebhookSecret}})
}

// PostHook sends any request to the webhook. It sends a body of unknown length in chunks.
func PostHook(b *Browser, method, target string, body io.Reader, header http.Header) Answer {
	b.T.Helper()
	req, err := http.NewRequest(method, b.URL+target, body)
	if err != nil {
		b.T.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	maps.Copy(req.Header, header)
	res, err := b.Client.Do(req)
	if err != nil {
		b.T.Fatalf("%s %s: %v", method, target, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.T.Fatalf("%s %s: reading the body: %v", method, target, err)
	}
	return Answer{Response: res, Text: string(text)}
}

// The answers of the webhook: to an event, and to a body that is no event.
const (
	Acknowledged   = `{"ok":true}`
	InvalidPayload = `{"error":"invalid payload"}`
)

// WantAnswer checks an answer of the webhook, which is always JSON that no
// cache keeps.
func WantAnswer(t *testing.T, what string, a Answer, status int, body string) {
	t.Helper()
	if a.StatusCode != status || a.Text != body {
		t.Errorf("%s: %d %s, want %d %s", what, a.StatusCode, Excerpt(a.Text), status, body)
	}
	if kind := a.Header.Get("Content-Type"); kind != "application/json" {
		t.Errorf("%s: Content-Type is %q", what, kind)
	}
	if cache := a.Header.Get("Cache-Control"); cache != "no-store" {
		t.Errorf("%s: Cache-Control is %q", what, cache)
	}
}
