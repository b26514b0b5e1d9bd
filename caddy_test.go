package websms_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
)

// The main flow: a stranger is challenged, gets a code, enters it, and reaches an unchanged
// application.
func TestWalk(t *testing.T) {
	w := harness.Start(t, harness.Setup{})
	b := w.Browser()

	a := b.Get("/timesheet?week=47", harness.Page)
	if a.StatusCode != http.StatusFound || a.Header.Get("Location") != "/.websms/login?rd=%2Ftimesheet%3Fweek%3D47" {
		t.Fatalf("a stranger gets %s to %q", a.Status, a.Header.Get("Location"))
	}
	a = b.Get(a.Header.Get("Location"), harness.Page)
	if a.StatusCode != http.StatusOK || !strings.Contains(a.Text, `autocomplete="tel"`) {
		t.Fatalf("the number form: %s %s", a.Status, harness.Excerpt(a.Text))
	}
	a = b.Post("/.websms/send", []string{"phone", "021 234 567", "rd", "/timesheet?week=47"}, harness.Page)
	if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/.websms/verify" {
		t.Fatalf("send: %s to %q", a.Status, a.Header.Get("Location"))
	}
	if a = b.Get("/.websms/verify", harness.Page); a.StatusCode != http.StatusOK || !strings.Contains(a.Text, `autocomplete="one-time-code"`) {
		t.Fatalf("the code form: %s %s", a.Status, harness.Excerpt(a.Text))
	}
	code := b.Code(0)
	a = b.Post("/.websms/verify", []string{"code", code}, harness.Page)
	if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/timesheet?week=47" {
		t.Fatalf("verify: %s to %q, %s", a.Status, a.Header.Get("Location"), harness.Excerpt(a.Text))
	}
	if n := len(w.App.Seen()); n != 0 {
		t.Fatalf("%d requests reached the app before anybody was verified", n)
	}
	if a = b.Get("/timesheet?week=47", harness.Page); a.Text != "legacy app: GET /timesheet?week=47" {
		t.Fatalf("the app: %s %s", a.Status, harness.Excerpt(a.Text))
	}
	seen := w.App.Seen()[0]
	if got := seen.Header.Get("X-Verified-Number"); got != "+6421234567" {
		t.Errorf("the app is told of %q", got)
	}
	if cookies := seen.Header.Get("Cookie"); strings.Contains(cookies, "websms") {
		t.Errorf("the app sees our cookies: %q", cookies)
	}
	if a = b.Post("/.websms/logout", nil, harness.Page); a.StatusCode != http.StatusSeeOther {
		t.Errorf("logout: %s", a.Status)
	}
	if a = b.Get("/timesheet", harness.Page); a.StatusCode != http.StatusFound {
		t.Errorf("after logout: %s", a.Status)
	}
	if log := w.LogText(); strings.Contains(log, code) || strings.Contains(log, "21234567") {
		t.Error("the log holds the code or the number")
	}
}
