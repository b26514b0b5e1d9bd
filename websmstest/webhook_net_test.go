package websmstest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/websmstest"
)

// A post over a real connection has the right headers and body, and a redirect is not
// followed.
func TestWebhookPosts(t *testing.T) {
	h := newHook(t, http.StatusFound)
	a := open(t, websmstest.Options{WebhookURL: h.URL + "/hook", WebhookSecret: "s3cret"})
	a.sim.Next(websmstest.NumericID())
	if r, err := a.post("/sms/otp", form()); err != nil || r.status != http.StatusOK {
		t.Fatal(r, err)
	}
	m := a.sim.Messages()[0]
	seen := make(map[float64]int)
	for range 3 {
		d := h.next(t)
		seen[d.fields["statusCode"].(float64)]++
		if d.auth != "Bearer s3cret" || d.kind != "application/json" || d.fields["type"] != "dlr" {
			t.Errorf("got %+v", d)
		}
		if !strings.Contains(d.raw, `"messageId":`+m.ID+",") {
			t.Errorf("the id is not a number, or not %s: %s", m.ID, d.raw)
		}
	}
	if seen[8] != 2 || seen[1] != 1 {
		t.Errorf("reports by status code %v", seen)
	}
	if err := a.sim.Reply(t.Context(), m.ID, "Kia ora"); err != nil {
		t.Fatal(err)
	}
	if d := h.next(t); d.fields["type"] != "mo" || d.fields["body"] != "Kia ora" || d.fields["from"] != "+6421234567" {
		t.Errorf("got %s", d.raw)
	}
	if got := a.sim.Counts().WebhookPosts; got != 4 {
		t.Errorf("%d posts counted, want 4", got)
	}
}

// The error for a webhook that cannot be reached holds no part of the URL that may be a
// secret.
func TestWebhookErrorsKeepSecrets(t *testing.T) {
	h := newHook(t)
	h.Close()
	a := open(t, websmstest.Options{WebhookURL: h.URL + "/?secret=query-secret", WebhookSecret: "bearer-secret"})
	m := a.send()
	for _, url := range []string{h.URL + "/?secret=query-secret", "http://user:pass-secret@%zz/"} {
		a.sim.SetWebhook(url, "bearer-secret")
		err := a.sim.Report(t.Context(), m.ID, 1)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v", err)
		}
	}
}
