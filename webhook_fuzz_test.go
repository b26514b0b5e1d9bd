package websms

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/logtext"
	"github.com/caddy-websms/websms/internal/telemetry"
	"github.com/caddy-websms/websms/memorystore"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

// bareWebhook returns a webhook without a server or a configuration.
func bareWebhook(tb testing.TB, core zapcore.Core) *Webhook {
	tb.Helper()
	log := logtext.Escaping(zap.New(core))
	return &Webhook{
		Dedupe: caddy.Duration(24 * time.Hour), secret: sha256.Sum256([]byte(harness.WebhookSecret)),
		engine:  &engine{Engine: otp.NewEngine(otp.Config{Store: openStore(tb, 1000), Ring: bareRing(tb)})},
		replies: log.Named("mo"), reports: log.Named("dlr"), logger: log.Named("webhook"),
		refusals: telemetry.NewRefusals(log.Named("webhook"), time.Now),
	}
}

// openStore returns a memory store without a file. It is closed with the test. Two stores that are
// open at the same time share their data.
func openStore(tb testing.TB, capacity int) otp.Store {
	tb.Helper()
	store, release, err := (&memorystore.Store{Capacity: capacity}).Open()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := release(); err != nil {
			tb.Errorf("closing the store: %v", err)
		}
	})
	return store
}

func bareRing(tb testing.TB) *session.Ring {
	tb.Helper()
	ring, err := session.NewRing(session.NewKeys(time.Now()))
	if err != nil {
		tb.Fatal(err)
	}
	return ring
}

// noNext fails the test if the webhook passes an event on.
var noNext = caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return errors.New("passed on") })

// serveEvent gives one event to the webhook, without a network.
func serveEvent(tb testing.TB, h *Webhook, body, secret string) *httptest.ResponseRecorder {
	tb.Helper()
	r := httptest.NewRequest(http.MethodPost, "/webhook", strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+secret)
	w := httptest.NewRecorder()
	if err := h.ServeHTTP(w, r, noNext); err != nil {
		tb.Fatalf("%v", err)
	}
	return w
}

func FuzzWebhook(f *testing.F) {
	for _, seed := range []string{
		`{"type":"mo","messageId":"MO456","from":"+6421234567","to":"shortcode","body":"Reply text","timestamp":1234567890}`,
		`{"type":"dlr","messageId":"MSG123","status":"DELIVRD","statusCode":1,"timestamp":1234567890}`,
		`{"type":"SMS","messageId":7,"from":6421234567,"encoding":"UCS2","network":null}`,
		`{"type":"dlr","messageId":1e400,"statusCode":"-1"}`,
		`{"type":"voice"}`, `{"type":7}`, `[]`, "", "\ufeff{}", `{"type":"mo","type":"dlr"}`,
		`{"type":"mo","body":"` + strings.Repeat("\\ud800", 100) + `"}`,
		`{"type":"mo","body":"\u202e\u0085\u2028\u007f \\u202e"}`, "{\"type\":\"\u2066\"}", `{"type":"dlr","status":"\ufeff"}`,
	} {
		f.Add(seed, "mo")
	}
	f.Fuzz(func(t *testing.T, body, secret string) {
		core, lines := observer.New(zapcore.DebugLevel)
		h := bareWebhook(t, core)
		if secret != harness.WebhookSecret {
			a := serveEvent(t, h, body, secret)
			if a.Code != http.StatusUnauthorized || lines.Len() != 1 || lines.FilterMessage("webhook refused").Len() != 1 {
				t.Errorf("a stranger gets %d, and these lines are logged: %v", a.Code, lines.All())
			}
		}
		lines.TakeAll()
		first, logged := serveEvent(t, h, body, harness.WebhookSecret), lines.Len()
		refused := lines.FilterMessage("webhook refused").Len()
		var object map[string]json.RawMessage
		isEvent := false
		if json.Unmarshal([]byte(strings.TrimPrefix(body, "\ufeff")), &object) == nil {
			isEvent = strings.HasPrefix(string(object["type"]), `"`)
		}
		switch {
		case logged != 1:
			t.Errorf("%d lines, want 1", logged)
		case len(body) > maxEvent:
			if first.Code != http.StatusRequestEntityTooLarge || refused != 1 {
				t.Errorf("%d bytes: %d, %d refused", len(body), first.Code, refused)
			}
		case !isEvent:
			if first.Code != http.StatusBadRequest || first.Body.String() != harness.InvalidPayload || refused != 1 {
				t.Errorf("no event: %d %s, %d refused", first.Code, first.Body, refused)
			}
		case first.Code != http.StatusOK || first.Body.String() != harness.Acknowledged || refused != 0:
			t.Errorf("an event: %d %s, %d refused", first.Code, first.Body, refused)
		}
		for _, line := range lines.All() {
			for name, value := range line.ContextMap() {
				text, _ := value.(string)
				if len(text) > 6*(maxLogged+len("…")) {
					t.Errorf("field %s is logged with %d bytes", name, len(text))
				}
				if strings.ContainsFunc(text, func(r rune) bool {
					return r >= ' ' && r != '\u200c' && r != '\u200d' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
				}) {
					t.Errorf("field %s is logged as %+q", name, text)
				}
			}
		}
		if again := serveEvent(t, h, body, harness.WebhookSecret); again.Code != first.Code || again.Body.String() != first.Body.String() {
			t.Errorf("repeated: %d %s, at first %d %s", again.Code, again.Body, first.Code, first.Body)
		}
		if n := lines.Len() - logged; n > 1 {
			t.Errorf("repeated: %d lines more", n)
		}
	})
}

func BenchmarkWebhook(b *testing.B) {
	run := func(b *testing.B, status int, secret string, body func(i int) string) {
		h := bareWebhook(b, zapcore.NewNopCore())
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if a := serveEvent(b, h, body(i), secret); a.Code != status {
				b.Fatalf("%d %s", a.Code, a.Body)
			}
		}
	}
	report := func(i int) string {
		return fmt.Sprintf(`{"type":"dlr","messageId":"MSG%d","status":"DELIVRD","statusCode":1,"timestamp":1234567890}`, i)
	}
	b.Run("new", func(b *testing.B) { run(b, http.StatusOK, harness.WebhookSecret, report) })
	b.Run("repeated", func(b *testing.B) {
		run(b, http.StatusOK, harness.WebhookSecret, func(int) string { return report(0) })
	})
	b.Run("stranger", func(b *testing.B) { run(b, http.StatusUnauthorized, "guess", report) })
	b.Run("invalid", func(b *testing.B) {
		run(b, http.StatusBadRequest, harness.WebhookSecret, func(int) string { return "no" })
	})
}
