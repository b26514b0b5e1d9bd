package websms_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
)

// The next handler sees the whole request except the secret, in every field and placeholder.
func TestWebhookPassthroughHidesSecret(t *testing.T) {
	next := newNextHandler(t)
	s := next.behind()
	s.Hook = strings.Replace(s.Hook, "reverse_proxy ", "header ?X-Seen {http.request.orig_uri}\nreverse_proxy ", 1) + ` {
		header_up X-Orig-Uri {http.request.orig_uri}
		header_up X-Orig-Query "{http.request.orig_uri.query}{http.request.orig_uri.prefixed_query}"
		header_up X-Uri "{uri}{query}{http.request.uri_escaped}{http.request.uri.prefixed_query}"
		header_up X-Parameter "{query.secret}"
		header_up X-Auth "{header.Authorization}{http.auth.user.id}"
	}`
	w := harness.Start(t, s)
	b := w.Browser()
	basic := func(password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte("websms:"+password))
	}
	const bearer = "Bearer " + harness.WebhookSecret
	for _, c := range []struct{ query, authorization, wantURI, wantAuthorization string }{
		{"?secret=hook-secret", "", "/webhook", ""},
		{"?secret=hook%2Dsecret&b=2&a=%31", "", "/webhook?b=2&a=%31", ""},
		{"?a=1&secret=hook-secret&b=+%20&&c", "", "/webhook?a=1&b=+%20&&c", ""},
		{"?a=1&%73ecret=hook-secret", "", "/webhook?a=1", ""},
		{"?secret=hook-secret&x=1&secret=hook-secret&secret", "", "/webhook?x=1", ""},
		{"?a=1&Secret=A&secrets=B&xsecret=C&x=secret", bearer, "/webhook?a=1&Secret=A&secrets=B&xsecret=C&x=secret", ""},
		{"", bearer, "/webhook", ""},
		{"?", basic(harness.WebhookSecret), "/webhook", ""},
		{"?a=1", basic(harness.WebhookSecret), "/webhook?a=1", ""},
		{"?secret=hook-secret", basic("of the next handler"), "/webhook", basic("of the next handler")},
		{"?secret=hook-secret", "Bearer of-the-next", "/webhook", "Bearer of-the-next"},
		{"?secret=hook-secret", "Digest x", "/webhook", "Digest x"},
		{"?secret=hook-secret", bearer, "/webhook", ""},
		{"?secret=wrong", bearer, "/webhook", ""}, // for example an earlier secret
		{"?a=1;secret=hook-secret;b=2&c=x;y", bearer, "/webhook?a=1;b=2&c=x;y", ""},
		{"?a=1;secret=else", bearer, "/webhook?a=1;secret=else", ""},
		{"?secret=%zz&%zz=secret", bearer, "/webhook?%zz=secret", ""},
	} {
		header := http.Header{}
		if c.authorization != "" {
			header.Set("Authorization", c.authorization)
		}
		a := harness.PostHook(b, http.MethodPost, w.HookPath+c.query, strings.NewReader(`{"type":"mo"}`), header)
		if a.StatusCode != http.StatusOK {
			t.Errorf("%s %s: %s %s", c.query, c.authorization, a.Status, a.Text)
			continue
		}
		seen := next.seen()
		got := seen[len(seen)-1]
		if uri := strings.TrimSuffix(got.URI, "?"); uri != c.wantURI {
			t.Errorf("%s: the next handler gets %q, want %q", c.query, got.URI, c.wantURI)
		}
		if auth := got.Header.Get("Authorization"); auth != c.wantAuthorization {
			t.Errorf("%s: the next handler gets Authorization %q, want %q", c.authorization, auth, c.wantAuthorization)
		}
		if c.wantAuthorization == "" && len(got.Header["Authorization"]) > 0 {
			t.Errorf("%s: an Authorization header is left", c.authorization)
		}
		if uri := strings.TrimSuffix(got.Header.Get("X-Orig-Uri"), "?"); uri != c.wantURI {
			t.Errorf("%s: the original URI is %q, want %q", c.query, uri, c.wantURI)
		}
		for name, values := range got.Header {
			for _, value := range values {
				plain, _ := url.QueryUnescape(value)
				if strings.Contains(value, harness.WebhookSecret) || strings.Contains(plain, harness.WebhookSecret) {
					t.Errorf("%s: %s holds the secret: %q", c.query, name, value)
				}
				if encoded, ok := strings.CutPrefix(value, "Basic "); ok {
					if text, _ := base64.StdEncoding.DecodeString(encoded); strings.Contains(string(text), harness.WebhookSecret) {
						t.Errorf("%s holds the secret", name)
					}
				}
			}
		}
	}
}

// If a handler fails, Caddy runs the error routes. They come after the webhook, so they do not see
// the secret either.
func TestWebhookSecretHiddenFromErrorRoutes(t *testing.T) {
	w := harness.Start(t, harness.Setup{
		Webhook: "passthrough", Gate: "bypass {\n path /webhook\n}", Hook: "error 503",
		Front: "handle_errors {\n respond \"{uri} {http.request.orig_uri} {header.Authorization} {query}\" 503\n}",
	})
	a := harness.PostHook(w.Browser(), http.MethodPost, w.HookPath+"?a=1&secret="+harness.WebhookSecret, strings.NewReader(`{"type":"mo"}`),
		http.Header{"Authorization": {"Bearer " + harness.WebhookSecret}})
	if a.StatusCode != http.StatusServiceUnavailable || !strings.Contains(a.Text, "a=1") || strings.Contains(a.Text, harness.WebhookSecret) {
		t.Errorf("the error route answers %s %q", a.Status, a.Text)
	}
}
