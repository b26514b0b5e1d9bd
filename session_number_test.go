package websms

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/session"
)

// For a session without a number, the application gets no number header, not even an empty one. A
// gate in number mode does not accept that session.
func TestSessionWithoutNumber(t *testing.T) {
	g, _ := benchGate(t)
	s := session.Session{ID: session.NewID(), User: "ada", Means: session.RecoveryCode}
	g.jar.Life.Begin(&s, time.Now())
	sealed, err := s.Seal(g.engine.vault.Ring, "app.example.com")
	if err != nil {
		t.Fatal(err)
	}
	opened, err := session.Open(g.engine.vault.Ring, "app.example.com", sealed)
	if err != nil || opened.ID != s.ID || opened.Number != "" || opened.Region != "" || opened.User != "ada" ||
		opened.Means != session.RecoveryCode {
		t.Fatalf("it opens as %+v, %v", opened, err)
	}
	r := benchRequest(sealed)
	g.identity.Scrub(r)
	g.admit(r, &opened)
	if got, set := r.Header["X-Verified-Number"]; set {
		t.Errorf("the application is told the number %q", got)
	}
	if got := r.Header.Get("X-Verified-User"); got != "ada" {
		t.Errorf("the application is told the user %q", got)
	}
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	got := repl.ReplaceKnown("{http.auth.user.id}|{http.auth.user.phone}|{http.websms.number}|{http.websms.means}", "")
	if got != "ada|||recovery_code" {
		t.Errorf("the placeholders are %q", got)
	}
	browser := g.jar.Browser(nil, benchRequest(sealed), time.Now())
	if _, valid := browser.Session(); valid {
		t.Error("in number mode it is valid")
	}
}

// If a request passes several gates, the last one sets the placeholders and the headers. A handler
// that appends to one header does not change another.
func TestLastGateTellsPlaceholders(t *testing.T) {
	g, _ := benchGate(t)
	r := benchRequest("")
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	repl.Map(func(name string) (any, bool) { return "mapped", name == "http.websms.means" }) // as a handler in front may do
	issued := time.Date(2026, 11, 29, 2, 30, 0, 0, time.FixedZone("NZDT", 13*3600))
	const all = "{http.websms.number}|{http.websms.verified_at}|{http.websms.means}|{http.auth.user.phone}|{http.websms.other}"
	if got := repl.ReplaceKnown(all, ""); got != strings.Replace(all, "{http.websms.means}", "mapped", 1) {
		t.Errorf("before any gate the placeholders are %q", got)
	}
	for _, c := range []struct {
		s    session.Session
		want string
	}{
		{session.Session{Number: "+6421234567", User: "ada"}, "+6421234567|2026-11-28T13:30:00Z|sms|+6421234567|{http.websms.other}"},
		{session.Session{Number: "+6421234568", Means: session.RecoveryCode},
			"+6421234568|2026-11-28T13:30:00Z|recovery_code|+6421234568|{http.websms.other}"},
	} {
		c.s.Issued = issued
		g.admit(r, &c.s)
		if got := repl.ReplaceKnown(all, ""); got != c.want {
			t.Errorf("the placeholders are %q; want %q", got, c.want)
		}
		r.Header.Add("X-Verified-Number", "appended")
		if got := r.Header["X-Verified-Number"]; !slices.Equal(got, []string{c.s.Number, "appended"}) {
			t.Errorf("the number is %q", got)
		}
		if value, _ := repl.Get("http.websms.number"); value != any(c.s.Number) {
			t.Errorf("the number is a %T", value)
		}
	}
	if got := r.Header.Get("X-Verified-User"); got != "ada" {
		t.Errorf("the user is %q", got)
	}
}
