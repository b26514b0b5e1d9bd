package websms_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/request"
)

// For any requested target, the final redirect is safe. It is the same for a query, a form and
// JSON.
func TestReturnThroughFlow(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	stranger, b := w.Browser(), w.Browser()
	targets := append(append(append([]string{strings.Repeat("/x", 999)}, harness.HostileTargets...), harness.HarmlessTargets...),
		harness.OwnTargets...)
	for _, rd := range targets {
		want := request.ReturnTarget(rd, "/.websms")
		what := harness.Excerpt(rd)

		// The login page puts the target of its query into the form.
		if a := stranger.Get("/.websms/login?rd="+url.QueryEscape(rd),
			harness.Page); !strings.Contains(harness.UnescapeHTML(a.Text), `name="rd" value="`+want+`"`) {
			t.Errorf("%q: the form posts back something else than %q", what, want)
		}

		// A person sends the target in a form.
		number := harness.FreshNumber()
		if a := b.Post("/.websms/send", []string{"phone", number, "rd", rd}, harness.Page); a.StatusCode != http.StatusSeeOther ||
			a.Header.Get("Location") != "/.websms/verify" {
			t.Fatalf("%q: %s", what, a.Status)
		}
		a := b.Post("/.websms/verify", []string{"code", w.CodeFor(number, 1)}, harness.Page)
		if location := a.Header.Get("Location"); a.StatusCode != http.StatusSeeOther ||
			location != request.EscapeNonASCII(want) || !harness.StaysHere(location) {
			t.Errorf("%q: %s to %q; want %q", what, a.Status, location, want)
		}
		if len(a.Header["Location"]) != 1 || a.Header.Get("Set-Cookie") == "" || a.SetCookie("a") != nil {
			t.Errorf("%q: the header became %v", what, a.Header)
		}

		// With a session, the login page redirects at once.
		a = b.Get("/.websms/login?rd="+url.QueryEscape(rd), harness.Page)
		if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != request.EscapeNonASCII(want) {
			t.Errorf("%q: with a session %s to %q", what, a.Status, a.Header.Get("Location"))
		}
	}
	for _, rd := range append(append([]string{}, harness.HostileTargets[:30]...), harness.HarmlessTargets...) {
		// A program sends the target as JSON. JSON cannot hold invalid UTF-8.
		number := harness.FreshNumber()
		body, err := json.Marshal(map[string]string{"phone": number, "rd": rd})
		if err != nil {
			t.Fatal(err)
		}
		if a := b.Send("/.websms/send", "application/json", string(body)); a.StatusCode != http.StatusAccepted {
			t.Fatalf("%q: %s %s", rd, a.Status, a.Text)
		}
		a := b.Send("/.websms/verify", "application/json", `{"code":"`+w.CodeFor(number, 1)+`"}`)
		if want := request.ReturnTarget(rd, "/.websms"); a.JSON("rd") != want {
			t.Errorf("%q: JSON says %v; want %q", rd, a.JSON("rd"), want)
		}
	}
}

// The login returns a stranger to the page that they requested.
func TestChallengeRemembersTarget(t *testing.T) {
	w := harness.Start(t, harness.Setup{})
	long := "/search?q=" + strings.Repeat("x", 1900)
	for target, rd := range map[string]string{
		"/":                              "/",
		"/a/b?c=d&e=%26":                 "/a/b?c=d&e=%26",
		"/m%C4%81ori":                    "/m%C4%81ori",
		"//evil.example/":                "/",
		`/\evil.example`:                 "/",
		"/%5cevil.example":               "/",
		"/x%0d%0aSet-Cookie:a=b":         "/",
		"http://evil.example/a":          "/a", // the absolute form, as for a proxy: only the path counts
		long:                             long,
		long + strings.Repeat("x", 1000): "/",
	} {
		lines := []string{"Accept: text/html"}
		if strings.HasPrefix(target, "http") {
			target = strings.Replace(target, "evil.example", strings.TrimPrefix(w.URL, "http://"), 1)
		}
		a := w.Raw("GET", target, lines...)
		if got, want := a.Header.Get("Location"), "/.websms/login?rd="+url.QueryEscape(rd); a.StatusCode != http.StatusFound || got != want {
			t.Errorf("%s: %s to %q; want %q", harness.Excerpt(target), a.Status, harness.Excerpt(got), harness.Excerpt(want))
		}
	}
}
