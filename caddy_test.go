package websms

import (
	"net/http"
	"strings"
	"testing"
)

// The main job: a stranger is challenged, gets a code, answers it, and stands
// in an application that was not touched.
func TestWalk(t *testing.T) {
	w := start(t, setup{})
	b := w.browser()

	a := b.get("/timesheet?week=47", page)
	if a.StatusCode != http.StatusFound || a.Header.Get("Location") != "/.websms/login?rd=%2Ftimesheet%3Fweek%3D47" {
		t.Fatalf("a stranger gets %s to %q", a.Status, a.Header.Get("Location"))
	}
	a = b.get(a.Header.Get("Location"), page)
	if a.StatusCode != http.StatusOK || !strings.Contains(a.body, `autocomplete="tel"`) {
		t.Fatalf("the number form: %s %s", a.Status, redact(a.body))
	}
	a = b.post("/.websms/send", []string{"phone", "021 234 567", "rd", "/timesheet?week=47"}, page)
	if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/.websms/verify" {
		t.Fatalf("send: %s to %q", a.Status, a.Header.Get("Location"))
	}
	if a = b.get("/.websms/verify", page); a.StatusCode != http.StatusOK || !strings.Contains(a.body, `autocomplete="one-time-code"`) {
		t.Fatalf("the code form: %s %s", a.Status, redact(a.body))
	}
	code := b.code(0)
	a = b.post("/.websms/verify", []string{"code", code}, page)
	if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/timesheet?week=47" {
		t.Fatalf("verify: %s to %q, %s", a.Status, a.Header.Get("Location"), redact(a.body))
	}
	if n := len(w.app.seen()); n != 0 {
		t.Fatalf("%d requests reached the app before anybody was verified", n)
	}
	if a = b.get("/timesheet?week=47", page); a.body != "legacy app: GET /timesheet?week=47" {
		t.Fatalf("the app: %s %s", a.Status, redact(a.body))
	}
	seen := w.app.seen()[0]
	if got := seen.Header.Get("X-Verified-Number"); got != "+6421234567" {
		t.Errorf("the app is told of %q", got)
	}
	if cookies := seen.Header.Get("Cookie"); strings.Contains(cookies, "websms") {
		t.Errorf("the app sees our cookies: %q", cookies)
	}
	if a = b.post("/.websms/logout", nil, page); a.StatusCode != http.StatusSeeOther {
		t.Errorf("logout: %s", a.Status)
	}
	if a = b.get("/timesheet", page); a.StatusCode != http.StatusFound {
		t.Errorf("after logout: %s", a.Status)
	}
	if log := w.logText(); strings.Contains(log, code) || strings.Contains(log, "21234567") {
		t.Error("the log holds the code or the number")
	}
}
