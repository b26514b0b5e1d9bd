package attacks_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
)

// doubtfulTargets are spellings that one server reads as a public page, and another as a guarded
// page.
var doubtfulTargets = []string{
	"/admin/../public/x", "/public/../admin/x", "/public/%2e%2e/admin/x", "/public/..%2fadmin", "/public/..%5cadmin",
	`/public\..\admin`, "//public/admin/x", "/public//x", "/./public/x",
	"/public/%2fadmin", "/public/x%00", "/public/x%0a", "/public/%252e%252e/admin", "/public/%25252fx",
	"/public/x%3f/admin", "/public/x%23", "/public/%3b/x", "/public/x.", "/public/x%20", "/public./x", "/public%20/x",
	"/public/x::$DATA", "/public/admin~1", "/public/%7e1/ADMI%7e1", "/public/x%7f", "/public/x%1f/y",
}

// Without a session no bypass admits a doubtful path. With a session each of them passes, and the
// application gets the same bytes.
func TestBypassAndDoubtfulPaths(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: "bypass {\n path /public/*\n}\n" + harness.Plenty})
	b := w.Browser()
	b.Login("+6421234567")
	session := "Cookie: " + b.Cookies()
	for _, target := range append([]string{"/public/..;/admin/x", "/public;/x", "/public/x;jsessionid=1",
		"/public/%c0%ae%c0%ae%c0%afadmin", "/public/caf%E9"}, doubtfulTargets...) {
		for _, form := range []string{target, w.URL + target} {
			before := len(w.App.Seen())
			if a := w.Raw("GET", form); a.StatusCode != http.StatusUnauthorized || len(w.App.Seen()) != before {
				t.Errorf("%s passes without a session: %s", form, a.Status)
			}
			if a := w.Raw("GET", form, session); a.StatusCode != http.StatusOK || len(w.App.Seen()) != before+1 {
				t.Errorf("%s with a session: %s", form, a.Status)
			} else if got := w.App.Seen()[before].URI; got != target && !strings.Contains(target, `\`) { // Go escapes a backslash
				t.Errorf("%s reaches the app as %s", target, got)
			}
		}
	}
	for _, target := range []string{"/public/x", "/PUBLIC/x", "/public/", "/public/a.b/c.css?x=../%2f;",
		"/public/caf%C3%A9", "/%70ublic/x", "/public/.well-known/x"} {
		if a := w.Raw("GET", target); a.StatusCode != http.StatusOK {
			t.Errorf("%s is bypassed no more: %s", target, a.Status)
		}
	}
}

// A gate for a part of the site also covers doubtful paths that could be in that part. It leaves
// the links of old applications alone.
func TestMatcherAndDoubtfulPaths(t *testing.T) {
	for _, setting := range []harness.Setup{
		{Matcher: "/admin/*"},
		{Matcher: "@admin", Front: "@admin {\n path /admin /admin/*\n method GET\n}"},
		{Matcher: "@admin", Front: "@admin path_regexp ^/admin(/|$)"},
		{Matcher: "@admin", Front: "@admin expression `path('/admin', '/admin/*')`"},
		{Matcher: "@admin", Front: "@admin vars {path} /admin /admin/x"},
	} {
		setting.Gate = harness.Plenty
		w := harness.Start(t, setting)
		what := setting.Matcher + " " + setting.Front
		gated := append([]string{"/admin", "/admin;/x", "/x/..;/admin/x", "/admin;jsessionid=1", "/%c0%afadmin/x",
			"/;/admin/x", "//x/admin/x", "/admin/x"}, doubtfulTargets...)
		for _, target := range gated {
			before := len(w.App.Seen())
			if a := w.Raw("GET", target); a.StatusCode != http.StatusUnauthorized || len(w.App.Seen()) != before {
				t.Errorf("%s: %s passes beside the gate: %s", what, target, a.Status)
			}
		}
		for _, target := range []string{"/", "/public/x", "/public/x;jsessionid=1", "/public/caf%E9", "/administration",
			"/x;/y", "/public/a%20b"} {
			if a := w.Raw("GET", target, "X-Verified-Number: "+victim); a.StatusCode != http.StatusOK ||
				w.App.Seen()[len(w.App.Seen())-1].Header.Get("X-Verified-Number") != "" {
				t.Errorf("%s: %s is not passed on as if there were no gate: %s", what, target, a.Status)
			}
		}
	}
	w := harness.Start(t, harness.Setup{Matcher: "@post", Front: "@post {\n path /admin/*\n method POST\n}", Gate: harness.Plenty})
	if a := w.Raw("GET", "/x/../admin/y"); a.StatusCode != http.StatusOK {
		t.Errorf("a matcher for POST takes in a GET: %s", a.Status)
	}
	if a := w.Raw("POST", "/x/../y", "Content-Length: 0"); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("a matcher for POST misses a POST: %s", a.Status)
	}
}

// The gate also judges the path that a rewrite in front of it leaves.
func TestRewriteAndDoubtfulPaths(t *testing.T) {
	w := harness.Start(t, harness.Setup{Front: "rewrite /go/* /public/{query.to}\nuri strip_prefix /strip",
		Gate: "bypass {\n path /public/*\n}\n" + harness.Plenty})
	for _, target := range []string{"/go/x?to=../admin", "/go/x?to=%2e%2e/admin", "/strip/public/../admin",
		"/strip/public/x/", "/go/../x?to=y", "/strip//public/x", "/strip/public/x%2f"} {
		want := http.StatusUnauthorized
		if target == "/strip/public/x/" {
			want = http.StatusOK
		}
		if a := w.Raw("GET", target); a.StatusCode != want {
			t.Errorf("%s: %s; want %d", target, a.Status, want)
		}
	}
}

// Two gates of one site both cover a doubtful path. A session that is valid for both passes both.
func TestTwoGatesAndDoubtfulPaths(t *testing.T) {
	w := harness.Start(t, harness.Setup{Matcher: "/admin/*", Gate: harness.Plenty,
		Front: "websms_otp /b/* {\n company Other\n prefix /b/.websms\n bypass {\n  path /b/open/*\n }\n}\n" +
			"websms_otp /b/open/* {\n company Third\n prefix /b/open/.websms\n}"})
	b := w.Browser()
	b.Login("+6421234567")
	session := "Cookie: theme=dark; " + b.Cookies()
	for _, target := range []string{"/x//y", "/x/../y", "/img/a~1", "/p/a%2Fb", "/admin//x", "/b//x", "/admin/x", "/b/x",
		"/b/open/x", "/x", "/b;/x"} {
		before := len(w.App.Seen())
		a := w.Raw("GET", target, session)
		if a.StatusCode != http.StatusOK || len(w.App.Seen()) != before+1 {
			t.Errorf("%s with a session: %s", target, a.Status)
			continue
		}
		if got := w.App.Seen()[before].Header.Get("Cookie"); got != "theme=dark" && target != "/x" {
			t.Errorf("%s: the app sees the cookies %q", target, got)
		}
		if a := w.Raw("GET", target); (a.StatusCode == http.StatusOK) != (target == "/x") {
			t.Errorf("%s without a session: %s", target, a.Status)
		}
	}
}
