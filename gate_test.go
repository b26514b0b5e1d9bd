package websms_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
)

// No path under the prefix reaches the upstream, in any spelling, with or without a session.
func TestPrefixIsOurs(t *testing.T) {
	for _, prefix := range []string{"/.websms", "/auth/sms"} {
		t.Run(prefix, func(t *testing.T) {
			w := harness.Start(t, harness.Setup{Gate: "prefix " + prefix + "\n bypass {\n path " + prefix + "/open*\n}\n" + harness.Plenty})
			b := w.Browser()
			b.Post(prefix+"/send", []string{"phone", "021 234 567"}, harness.API)
			harness.WantStatus(t, "verify", b.Post(prefix+"/verify", []string{"code", w.CodeFor("+6421234567", 1)}, harness.API), http.StatusOK)
			cookie := "Cookie: " + b.Cookies()

			upper, encoded := strings.ToUpper(prefix), "/%"+strings.ToUpper(hex2(prefix[1]))+prefix[2:]
			for _, c := range []struct {
				target string
				status int // for a GET with a session
			}{
				{prefix, http.StatusFound},
				{prefix + "/", http.StatusFound},
				{prefix + "?x=1", http.StatusFound},
				{prefix + "/unknown", http.StatusNotFound},
				{prefix + "/unknown/deeper?x=/", http.StatusNotFound},
				{prefix + "/login/", http.StatusNotFound},
				{prefix + "/login/..", http.StatusNotFound},
				{prefix + "/Login", http.StatusNotFound},
				{prefix + "/assets", http.StatusNotFound},
				{prefix + "/assets/", http.StatusNotFound},
				{prefix + "/assets/../session", http.StatusNotFound},
				{prefix + "/open", http.StatusNotFound}, // a bypass does not apply under the prefix
				{prefix + "/.", http.StatusNotFound},
				{prefix + "/..", http.StatusNotFound},
				{prefix + "/../x", http.StatusNotFound},
				{prefix + "/%2e%2e/x", http.StatusNotFound},
				{prefix + "//", http.StatusNotFound},
				{prefix + "//login", http.StatusNotFound},
				{"/" + prefix + "/login", http.StatusNotFound},
				{"//" + prefix, http.StatusNotFound},
				{"/." + prefix + "/login", http.StatusNotFound},
				{"/x/.." + prefix + "/y", http.StatusNotFound},
				{"/x/../" + prefix + "/login", http.StatusNotFound},
				{"/x/%2e%2e" + prefix + "/y", http.StatusNotFound},
				{"/x/..%2f" + prefix[1:] + "/login", http.StatusNotFound},
				{"/x%2f.." + prefix + "/login", http.StatusNotFound},
				{encoded + "/x", http.StatusNotFound},
				{encoded + "/login", http.StatusSeeOther},
				{prefix + "%2flogin", http.StatusSeeOther},
				{prefix + "%2Funknown", http.StatusNotFound},
				{prefix + "%5Clogin", http.StatusNotFound},
				{prefix + `\login`, http.StatusNotFound},
				{`/\` + prefix[1:] + `\login`, http.StatusNotFound},
				{`/x\..` + strings.ReplaceAll(prefix, "/", `\`) + `\login`, http.StatusNotFound},
				{upper + "/login", http.StatusNotFound},
				{upper, http.StatusNotFound},
				{strings.TrimPrefix(w.URL, "http://"), http.StatusBadRequest}, // no path at all
				{w.URL + prefix + "/unknown", http.StatusNotFound},            // the absolute form, as for a proxy
			} {
				for _, method := range []string{"GET", "POST"} {
					for _, lines := range [][]string{{cookie}, nil} {
						if method == "POST" {
							lines = append(lines, "Content-Length: 0")
						}
						a := w.Raw(method, c.target, lines...)
						if method == "GET" && len(lines) == 1 && a.StatusCode != c.status {
							t.Errorf("%s %s: %s; want %d", method, c.target, a.Status, c.status)
						}
						if method == "POST" && a.StatusCode/100 == 2 {
							t.Errorf("%s %s: %s", method, c.target, a.Status)
						}
					}
				}
			}
			if seen := w.App.Seen(); len(seen) > 0 {
				t.Errorf("the app was asked for %s %s, and %d more", seen[0].Method, seen[0].URI, len(seen)-1)
			}

			// A path that only resembles the prefix belongs to the app.
			for _, target := range []string{
				prefix + "x", prefix + "-admin/login", prefix + ".php", prefix[:len(prefix)-1], prefix + "%20/login", prefix + "%00",
				"/x" + prefix + "/login", "/%25" + hex2(prefix[1]) + prefix[2:] + "/login", "/?" + prefix + "/login", "/x;" + prefix,
			} {
				if a := w.Raw("GET", target); a.StatusCode != http.StatusUnauthorized {
					t.Errorf("%s without a session: %s; want 401", target, a.Status)
				}
				before := len(w.App.Seen())
				a := w.Raw("GET", target, cookie)
				seen := w.App.Seen()
				if a.StatusCode != http.StatusOK || len(seen) != before+1 || seen[before].URI != target {
					t.Errorf("%s with a session: %s; the app saw %+v", target, a.Status, seen[before:])
				}
			}
		})
	}
}

// hex2 returns a byte as two hexadecimal digits.
func hex2(c byte) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[c>>4], digits[c&15]})
}

// A directive in front of the gate may rewrite the path for the app. The gate's own pages stay at
// the paths that the browser uses, and the browser is sent back to the path that it requested.
func TestRewriteInFront(t *testing.T) {
	w := harness.Start(t, harness.Setup{Front: "rewrite * /index.php?p={path}", Gate: harness.Plenty})
	b := w.Browser()
	if got := b.Get("/timesheet?week=47", harness.Page).Header.Get("Location"); got != "/.websms/login?rd=%2Ftimesheet%3Fweek%3D47" {
		t.Errorf("a stranger is sent to %q", got)
	}
	if a := b.Get("/.websms/login?rd=%2Ftimesheet", harness.Page); a.StatusCode != http.StatusOK ||
		!strings.Contains(a.Text, `name="rd" value="/timesheet"`) {
		t.Errorf("the number form: %s %s", a.Status, harness.Excerpt(a.Text))
	}
	b.Login("+6421234567")
	before := len(w.App.Seen())
	harness.WantStatus(t, "a page that does not exist", b.Get("/.websms/unknown", harness.Page), http.StatusNotFound)
	if seen := w.App.Seen(); len(seen) != before {
		t.Errorf("the app was asked for %s", seen[before].URI)
	}
	b.Get("/timesheet", harness.Page)
	if seen := w.App.Seen(); len(seen) != before+1 || seen[before].URI != "/index.php?p=%2Ftimesheet" {
		t.Errorf("the app saw %+v", seen[before:])
	}
}

// With a matcher, the gate guards only matched paths and serves its prefix.
func TestMatcherForm(t *testing.T) {
	w := harness.Start(t, harness.Setup{Matcher: "/admin/*", Gate: harness.Plenty})
	b := w.Browser()
	for _, path := range []string{"/", "/administration", "/x/admin/"} {
		if a := b.Get(path, harness.Page); a.StatusCode != http.StatusOK || a.Text != "legacy app: GET "+path {
			t.Errorf("%s, which is not guarded: %s %s", path, a.Status, a.Text)
		}
	}
	for _, path := range []string{"/admin/", "/admin/users", "/ADMIN/users", "//admin/users", "/x/../admin/users", "/%61dmin/users"} {
		if a := w.Raw("GET", path, "Accept: text/html"); a.StatusCode != http.StatusFound {
			t.Errorf("%s, which is guarded: %s", path, a.Status)
		}
	}
	before := len(w.App.Seen())
	for path, status := range map[string]int{
		"/.websms": 302, "/.websms/": 302, "/.websms/login": 200, "/.websms/session": 401, "/.websms/unknown": 404,
		"/.WEBSMS/login": 404, "//.websms/login": 404, "/x/../.websms/y": 404, "/%2ewebsms/x": 404, "/.websms%2fx": 404,
		"/.websms/../admin/x": 404, "/admin/../.websms/x": 404,
	} {
		if a := w.Raw("GET", path); a.StatusCode != status {
			t.Errorf("%s: %s; want %d", path, a.Status, status)
		}
	}
	if seen := w.App.Seen(); len(seen) > before {
		t.Errorf("the app was asked for %s", seen[before].URI)
	}
	b.Login("+6421234567")
	if a := b.Get("/admin/users", harness.Page); a.Text != "legacy app: GET /admin/users" {
		t.Errorf("with a session: %s %s", a.Status, harness.Excerpt(a.Text))
	}
	if seen := w.App.Seen(); seen[len(seen)-1].Header.Get("X-Verified-Number") != "+6421234567" {
		t.Errorf("the app saw %v", seen[len(seen)-1].Header)
	}
}

// A bypass lets matched requests through, and no others.
func TestBypass(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: "bypass {\n path /health /api/*\n method GET HEAD\n}\n" + harness.Plenty})
	b := w.Browser()
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/health", 200}, {"HEAD", "/health", 200}, {"GET", "/api/v1", 200},
		{"POST", "/health", 401}, {"GET", "/healthy", 401}, {"GET", "/", 401},
	} {
		if a := b.Do(c.method, c.path, nil, harness.API); a.StatusCode != c.status {
			t.Errorf("%s %s: %s; want %d", c.method, c.path, a.Status, c.status)
		}
	}
	b.Login("+6421234567")
	harness.WantStatus(t, "with a session", b.Get("/health", harness.With("X-Verified-Number", "+64279999999")), http.StatusOK)
	seen := w.App.Seen()
	last := seen[len(seen)-1].Header
	if last.Get("X-Verified-Number") != "" || strings.Contains(last.Get("Cookie"), "websms") {
		t.Errorf("a bypassed request brings the app %v", last)
	}
}

// Handlers before and behind the gate read the placeholders of the verified session.
func TestPlaceholders(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{
		Front: `header >Who "{http.auth.user.id}|{http.auth.user.phone}|{http.websms.number}|{http.websms.verified_at}|{http.websms.means}"`,
		Gate:  harness.Plenty,
	})
	b := w.Browser()
	if got := b.Get("/", harness.API).Header.Get("Who"); strings.ContainsAny(got, "0123456789") {
		t.Errorf("of a stranger they tell %q", got)
	}
	b.Login("+6421234567")
	const want = "+6421234567|+6421234567|+6421234567|2026-07-01T09:00:00Z|sms"
	if got := b.Get("/", harness.API).Header.Get("Who"); got != want {
		t.Errorf("they tell %q; want %q", got, want)
	}
	now.Advance(30 * time.Minute)
	if got := b.Get("/", harness.API).Header.Get("Who"); got != want {
		t.Errorf("after half an hour they tell %q; want %q", got, want)
	}
	if got := b.Get("/?x={http.websms.number}{env.HOME}", harness.API).Text; got != "legacy app: GET /?x={http.websms.number}{env.HOME}" {
		t.Errorf("a placeholder in a request became %q", got)
	}
}

// The gate neither forwards nor awaits the body of a request without a session.
func TestBodyOfStranger(t *testing.T) {
	w := harness.Start(t, harness.Setup{})
	for _, lines := range [][]string{
		{"Content-Type: text/plain", "Content-Length: 5", "", "hello"},
		{"Content-Length: 1000000", "", "only the beginning of it"},
		{"Transfer-Encoding: chunked", "", "5\r\nhello\r\n"},
		{"Expect: 100-continue", "Content-Length: 5", "", ""},
	} {
		a := w.Raw("POST", "/form", lines...)
		harness.WantProblem(t, strings.Join(lines, "|"), a, http.StatusUnauthorized, "unverified")
	}
	if seen := w.App.Seen(); len(seen) > 0 {
		t.Errorf("the app saw %+v", seen)
	}
}
