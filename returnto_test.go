package websms

import (
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
)

// hostile are return targets that would lead elsewhere, or could (CVE-2024-21497
// and its siblings).
var hostile = []string{
	"", "x", "evil.example", "https://evil.example/", "HTTPS:evil.example", "javascript:alert(1)", "data:text/html,x",
	"//evil.example", "///evil.example", "////evil.example/..", "/x//evil.example", "//", "/x?next=//evil.example",
	`/\evil.example`, `\/evil.example`, `\\evil.example`, `/\/evil.example`, `/x\..\..`,
	"/%2fevil.example", "/%2Fevil.example", "/%5cevil.example", "/%5Cevil.example", "/%252fevil.example", "/%25252fevil.example",
	"/%25%32%66evil.example", "/%5c%5cevil.example", "/%2f%2fevil.example", "%2f%2fevil.example", "/x%2f/evil.example",
	"/\t/evil.example", "/\n/evil.example", "/\r\nLocation: https://evil.example/", "/%09/evil.example", "/%0a", "/%0d%0aSet-Cookie:%20a=b",
	"/\x00", "/%00", "/\x7f", "/%7f", "/\u0085x", "/%c2%85x", "/\u2028", "/%e2%80%a8", "/\ufffd", "/\xff", "/%ff", "/%c0%afevil.example",
	" /x", "\t/x", "\u00a0/x", "?x", "#x", ".", "..", "./x", "../x", "@evil.example/", ":80/", ";/x",
}

// harmless are return targets that somebody may have asked for.
var harmless = []string{
	"/", "/x", "/a/b.php?c=d&e=f#g", "/?", "/a/../b", "/..", "/a%20b", "/%2e%2e/x", "/x?100%", "/x?%zz", "/x?%", "/a+b", "/māori", "/m%C4%81ori?q=%F0%9F%A5%9D",
	"/x?next=/y", "/x?q=a:b@c", "/:80/", "/@evil.example", "/javascript:alert(1)", "/;x", "/\"><script>alert(1)</script>", "/'", "/{http.request.host}", "/ x",
	"/.websmsx", "/x/.websms", "/x?y=/.websms/login",
}

// ourPages are return targets that lead to the gate's own pages, where nobody
// who has just signed in wants to be.
var ourPages = []string{
	"/.websms", "/.websms/", "/.websms/login", "/.websms/logout?x", "/.websms?x", "/.websms#x", "/.WEBSMS/login", "/%2ewebsms/login", "/%2Ewebsms",
	"/.websms%2flogin", "/x/../.websms/login", "/x/%2e%2e/.websms/login", "/./.websms", "/%2e/.websms/verify", "/x/..%2f.websms", "/.websms/../x",
}

func TestReturnTarget(t *testing.T) {
	for _, rd := range hostile {
		if got := returnTarget(rd); got != "/" {
			t.Errorf("returnTarget(%q) is %q", rd, got)
		}
	}
	for _, rd := range harmless {
		if got := returnTarget(rd); got != rd {
			t.Errorf("returnTarget(%q) is %q", rd, got)
		}
	}
	long := "/" + strings.Repeat("x", maxReturn-1)
	if got := returnTarget(long); got != long {
		t.Errorf("a target of %d bytes becomes one of %d", len(long), len(got))
	}
	if got := returnTarget(long + "x"); got != "/" {
		t.Errorf("a target of %d bytes becomes one of %d", len(long)+1, len(got))
	}
	// Each level of escapes is another look at it all, which a stranger could
	// have us take a thousand times.
	if got := returnTarget("/%" + strings.Repeat("25", 3) + "20x"); got == "/" {
		t.Errorf("a target encoded 4 times becomes %q", got)
	}
	if got := returnTarget("/%" + strings.Repeat("25", 900) + "20x"); got != "/" {
		t.Errorf("a target encoded 901 times becomes %q", harness.Redact(got))
	}
}

func TestTargetIsNeverOurs(t *testing.T) {
	g := &Gate{Prefix: DefaultPrefix}
	for _, rd := range ourPages {
		if got := g.target(rd); got != "/" {
			t.Errorf("target(%q) is %q", rd, got)
		}
		if got := g.loginURL(rd); got != "/.websms/login?rd=%2F" {
			t.Errorf("loginURL(%q) is %q", rd, got)
		}
	}
	for _, rd := range harmless {
		if got := g.target(rd); got != rd {
			t.Errorf("target(%q) is %q", rd, got)
		}
	}
}

// Whatever is asked for: what comes back at the end is safe, and is the same
// by query, form and JSON.
func TestReturnThroughFlow(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	stranger, b := w.Browser(), w.Browser()
	targets := append(append(append([]string{strings.Repeat("/x", 999)}, hostile...), harmless...), ourPages...)
	for _, rd := range targets {
		want := (&Gate{Prefix: DefaultPrefix}).target(rd)
		what := harness.Redact(rd)

		// The query of the login page is in its form.
		if a := stranger.Get("/.websms/login?rd="+url.QueryEscape(rd), harness.Page); !strings.Contains(unescapeHTML(a.Text), `name="rd" value="`+want+`"`) {
			t.Errorf("%q: the form posts back something else than %q", what, want)
		}

		// As a form, for a person.
		number := harness.FreshNumber()
		if a := b.Post("/.websms/send", []string{"phone", number, "rd", rd}, harness.Page); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/.websms/verify" {
			t.Fatalf("%q: %s", what, a.Status)
		}
		a := b.Post("/.websms/verify", []string{"code", w.CodeFor(number, 1)}, harness.Page)
		if location := a.Header.Get("Location"); a.StatusCode != http.StatusSeeOther || location != escapeNonASCII(want) || !sameOrigin(location) {
			t.Errorf("%q: %s to %q; want %q", what, a.Status, location, want)
		}
		if len(a.Header["Location"]) != 1 || a.Header.Get("Set-Cookie") == "" || a.SetCookie("a") != nil {
			t.Errorf("%q: the header became %v", what, a.Header)
		}

		// With the session: straight on.
		a = b.Get("/.websms/login?rd="+url.QueryEscape(rd), harness.Page)
		if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != escapeNonASCII(want) {
			t.Errorf("%q: with a session %s to %q", what, a.Status, a.Header.Get("Location"))
		}
	}
	for _, rd := range append(append([]string{}, hostile[:30]...), harmless...) {
		// As JSON, for a program, whose reader cannot hold what is no UTF-8.
		number := harness.FreshNumber()
		body, err := json.Marshal(map[string]string{"phone": number, "rd": rd})
		if err != nil {
			t.Fatal(err)
		}
		if a := b.Send("/.websms/send", "application/json", string(body)); a.StatusCode != http.StatusAccepted {
			t.Fatalf("%q: %s %s", rd, a.Status, a.Text)
		}
		a := b.Send("/.websms/verify", "application/json", `{"code":"`+w.CodeFor(number, 1)+`"}`)
		if want := (&Gate{Prefix: DefaultPrefix}).target(rd); a.JSON("rd") != want {
			t.Errorf("%q: JSON says %v; want %q", rd, a.JSON("rd"), want)
		}
	}
}

func unescapeHTML(s string) string {
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&#34;", `"`, "&#39;", "'", "&#43;", "+", "&amp;", "&").Replace(s)
}

// sameOrigin reports whether a browser on the site would stay there. It reads
// as the URL standard has it: tabs and line ends are dropped, white space at
// both ends is, and a backslash is a slash.
func sameOrigin(location string) bool {
	const origin = "https://app.example.com"
	s := strings.Map(func(r rune) rune {
		switch r {
		case '\t', '\n', '\r':
			return -1
		case '\\':
			return '/'
		}
		return r
	}, strings.TrimFunc(location, func(r rune) bool { return r <= ' ' }))
	if !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") {
		return false
	}
	base, err := url.Parse(origin)
	if err != nil {
		return false
	}
	clean, _, _ := strings.Cut(s, "?")
	clean, _, _ = strings.Cut(clean, "#")
	u := base.JoinPath(path.Clean(unescape(clean)))
	return u.Scheme+"://"+u.Host == origin
}

// What a stranger asked for is where the login leads back to.
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
		"http://evil.example/a":          "/a", // as one asks a proxy: the path is ours
		long:                             long,
		long + strings.Repeat("x", 1000): "/",
	} {
		lines := []string{"Accept: text/html"}
		if strings.HasPrefix(target, "http") {
			target = strings.Replace(target, "evil.example", strings.TrimPrefix(w.URL, "http://"), 1)
		}
		a := w.Raw("GET", target, lines...)
		if got, want := a.Header.Get("Location"), "/.websms/login?rd="+url.QueryEscape(rd); a.StatusCode != http.StatusFound || got != want {
			t.Errorf("%s: %s to %q; want %q", harness.Redact(target), a.Status, harness.Redact(got), harness.Redact(want))
		}
	}
}

func FuzzReturnTarget(f *testing.F) {
	for _, list := range [][]string{hostile, harmless, ourPages} {
		for _, rd := range list {
			f.Add(rd)
		}
	}
	g := &Gate{Prefix: DefaultPrefix}
	f.Fuzz(func(t *testing.T, rd string) {
		got := g.target(rd)
		if got != rd && got != "/" {
			t.Fatalf("target(%q) is %q: neither it nor /", rd, got)
		}
		if again := g.target(got); again != got {
			t.Fatalf("target(%q) is %q, and of that %q", rd, got, again)
		}
		location := escapeNonASCII(got)
		if strings.ContainsFunc(location, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			t.Fatalf("target(%q) makes a header of %q", rd, location)
		}
		for form := location; ; { // whatever decodes it behind us
			if !sameOrigin(form) {
				t.Fatalf("target(%q) leads to another origin as %q", rd, form)
			}
			decoded := unescape(form)
			if decoded == form {
				break
			}
			form = decoded
		}
		u, err := url.Parse("http://app.example.com" + location)
		if err == nil && (u.Host != "app.example.com" || isOwn(u.Path, g.Prefix) || isOwn(path.Clean(u.Path), g.Prefix)) {
			t.Fatalf("target(%q) leads to %q", rd, u)
		}
	})
}
