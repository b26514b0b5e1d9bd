package websms

import (
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/session"
)

// A session without a number tells the application no number, not an empty one,
// and in number mode it is none.
func TestSessionWithoutNumber(t *testing.T) {
	g, _ := benchGate(t)
	s := session.Session{ID: session.NewID(), User: "ada", Means: session.RecoveryCode}
	g.jar.Life.Begin(&s, time.Now())
	sealed, err := s.Seal(g.engine.vault.Ring, "app.example.com")
	if err != nil {
		t.Fatal(err)
	}
	opened, err := session.Open(g.engine.vault.Ring, "app.example.com", sealed)
	if err != nil || opened.ID != s.ID || opened.Number != "" || opened.Region != "" || opened.User != "ada" || opened.Means != session.RecoveryCode {
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
