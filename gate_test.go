package websms

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// Nothing under the prefix ever reaches the upstream, however it is spelled,
// with a session and without one.
func TestPrefixIsOurs(t *testing.T) {
	for _, prefix := range []string{"/.websms", "/auth/sms"} {
		t.Run(prefix, func(t *testing.T) {
			w := start(t, setup{gate: "prefix " + prefix + "\n bypass {\n path " + prefix + "/open*\n}\n" + plenty})
			b := w.browser()
			b.post(prefix+"/send", []string{"phone", "021 234 567"}, api)
			wantStatus(t, "verify", b.post(prefix+"/verify", []string{"code", w.codeFor("+6421234567", 1)}, api), http.StatusOK)
			cookie := "Cookie: " + b.cookies()

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
				{prefix + "/open", http.StatusNotFound}, // no bypass reaches under it
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
				{strings.TrimPrefix(w.url, "http://"), http.StatusBadRequest}, // no path at all
				{w.url + prefix + "/unknown", http.StatusNotFound},            // as one asks a proxy
			} {
				for _, method := range []string{"GET", "POST"} {
					for _, lines := range [][]string{{cookie}, nil} {
						if method == "POST" {
							lines = append(lines, "Content-Length: 0")
						}
						a := w.raw(method, c.target, lines...)
						if method == "GET" && len(lines) == 1 && a.StatusCode != c.status {
							t.Errorf("%s %s: %s; want %d", method, c.target, a.Status, c.status)
						}
						if method == "POST" && a.StatusCode/100 == 2 {
							t.Errorf("%s %s: %s", method, c.target, a.Status)
						}
					}
				}
			}
			if seen := w.app.seen(); len(seen) > 0 {
				t.Errorf("the app was asked for %s %s, and %d more", seen[0].Method, seen[0].URI, len(seen)-1)
			}

			// What only looks like the prefix is the app's.
			for _, target := range []string{
				prefix + "x", prefix + "-admin/login", prefix + ".php", prefix[:len(prefix)-1], prefix + "%20/login", prefix + "%00",
				"/x" + prefix + "/login", "/%25" + hex2(prefix[1]) + prefix[2:] + "/login", "/?" + prefix + "/login", "/x;" + prefix,
			} {
				if a := w.raw("GET", target); a.StatusCode != http.StatusUnauthorized {
					t.Errorf("%s without a session: %s; want 401", target, a.Status)
				}
				before := len(w.app.seen())
				a := w.raw("GET", target, cookie)
				seen := w.app.seen()
				if a.StatusCode != http.StatusOK || len(seen) != before+1 || seen[before].URI != target {
					t.Errorf("%s with a session: %s; the app saw %+v", target, a.Status, seen[before:])
				}
			}
		})
	}
}

// hex2 returns a byte as two digits.
func hex2(c byte) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[c>>4], digits[c&15]})
}

// A directive in front of the gate may rewrite what the app sees of a path.
// The gate's pages are where the browser sees them, and what is sent back to
// the browser is what it asked for.
func TestRewriteInFront(t *testing.T) {
	w := start(t, setup{front: "rewrite * /index.php?p={path}", gate: plenty})
	b := w.browser()
	if got := b.get("/timesheet?week=47", page).Header.Get("Location"); got != "/.websms/login?rd=%2Ftimesheet%3Fweek%3D47" {
		t.Errorf("a stranger is sent to %q", got)
	}
	if a := b.get("/.websms/login?rd=%2Ftimesheet", page); a.StatusCode != http.StatusOK || !strings.Contains(a.body, `name="rd" value="/timesheet"`) {
		t.Errorf("the number form: %s %s", a.Status, redact(a.body))
	}
	b.login("+6421234567")
	before := len(w.app.seen())
	wantStatus(t, "a page that does not exist", b.get("/.websms/unknown", page), http.StatusNotFound)
	if seen := w.app.seen(); len(seen) != before {
		t.Errorf("the app was asked for %s", seen[before].URI)
	}
	b.get("/timesheet", page)
	if seen := w.app.seen(); len(seen) != before+1 || seen[before].URI != "/index.php?p=%2Ftimesheet" {
		t.Errorf("the app saw %+v", seen[before:])
	}
}

// With a matcher the gate guards what it matches, and serves its prefix.
func TestMatcherForm(t *testing.T) {
	w := start(t, setup{matcher: "/admin/*", gate: plenty})
	b := w.browser()
	for _, path := range []string{"/", "/administration", "/x/admin/"} {
		if a := b.get(path, page); a.StatusCode != http.StatusOK || a.body != "legacy app: GET "+path {
			t.Errorf("%s, which is not guarded: %s %s", path, a.Status, a.body)
		}
	}
	for _, path := range []string{"/admin/", "/admin/users", "/ADMIN/users", "//admin/users", "/x/../admin/users", "/%61dmin/users"} {
		if a := w.raw("GET", path, "Accept: text/html"); a.StatusCode != http.StatusFound {
			t.Errorf("%s, which is guarded: %s", path, a.Status)
		}
	}
	before := len(w.app.seen())
	for path, status := range map[string]int{
		"/.websms": 302, "/.websms/": 302, "/.websms/login": 200, "/.websms/session": 401, "/.websms/unknown": 404,
		"/.WEBSMS/login": 404, "//.websms/login": 404, "/x/../.websms/y": 404, "/%2ewebsms/x": 404, "/.websms%2fx": 404,
		"/.websms/../admin/x": 404, "/admin/../.websms/x": 404,
	} {
		if a := w.raw("GET", path); a.StatusCode != status {
			t.Errorf("%s: %s; want %d", path, a.Status, status)
		}
	}
	if seen := w.app.seen(); len(seen) > before {
		t.Errorf("the app was asked for %s", seen[before].URI)
	}
	b.login("+6421234567")
	if a := b.get("/admin/users", page); a.body != "legacy app: GET /admin/users" {
		t.Errorf("with a session: %s %s", a.Status, redact(a.body))
	}
	if seen := w.app.seen(); seen[len(seen)-1].Header.Get("X-Verified-Number") != "+6421234567" {
		t.Errorf("the app saw %v", seen[len(seen)-1].Header)
	}
}

// A bypass lets through what it matches and nothing else.
func TestBypass(t *testing.T) {
	w := start(t, setup{gate: "bypass {\n path /health /api/*\n method GET HEAD\n}\n" + plenty})
	b := w.browser()
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/health", 200}, {"HEAD", "/health", 200}, {"GET", "/api/v1", 200},
		{"POST", "/health", 401}, {"GET", "/healthy", 401}, {"GET", "/", 401},
	} {
		if a := b.do(c.method, c.path, nil, api); a.StatusCode != c.status {
			t.Errorf("%s %s: %s; want %d", c.method, c.path, a.Status, c.status)
		}
	}
	b.login("+6421234567")
	wantStatus(t, "with a session", b.get("/health", with("X-Verified-Number", "+64279999999")), http.StatusOK)
	seen := w.app.seen()
	last := seen[len(seen)-1].Header
	if last.Get("X-Verified-Number") != "" || strings.Contains(last.Get("Cookie"), "websms") {
		t.Errorf("a bypassed request brings the app %v", last)
	}
}

// What handlers around the gate can learn of who was verified.
func TestPlaceholders(t *testing.T) {
	now := useClock(t)
	w := start(t, setup{
		front: `header >Who "{http.auth.user.id}|{http.auth.user.phone}|{http.websms.number}|{http.websms.verified_at}|{http.websms.means}"`,
		gate:  plenty,
	})
	b := w.browser()
	if got := b.get("/", api).Header.Get("Who"); strings.ContainsAny(got, "0123456789") {
		t.Errorf("of a stranger they tell %q", got)
	}
	b.login("+6421234567")
	const want = "+6421234567|+6421234567|+6421234567|2026-07-01T09:00:00Z|sms"
	if got := b.get("/", api).Header.Get("Who"); got != want {
		t.Errorf("they tell %q; want %q", got, want)
	}
	now.Advance(30 * time.Minute)
	if got := b.get("/", api).Header.Get("Who"); got != want {
		t.Errorf("after half an hour they tell %q; want %q", got, want)
	}
	if got := b.get("/?x={http.websms.number}{env.HOME}", api).body; got != "legacy app: GET /?x={http.websms.number}{env.HOME}" {
		t.Errorf("a placeholder in a request became %q", got)
	}
}

// The body of a request without a session goes nowhere, nor is it waited for.
func TestBodyOfStranger(t *testing.T) {
	w := start(t, setup{})
	for _, lines := range [][]string{
		{"Content-Type: text/plain", "Content-Length: 5", "", "hello"},
		{"Content-Length: 1000000", "", "only the beginning of it"},
		{"Transfer-Encoding: chunked", "", "5\r\nhello\r\n"},
		{"Expect: 100-continue", "Content-Length: 5", "", ""},
	} {
		a := w.raw("POST", "/form", lines...)
		wantProblem(t, strings.Join(lines, "|"), a, http.StatusUnauthorized, "unverified")
	}
	if seen := w.app.seen(); len(seen) > 0 {
		t.Errorf("the app saw %+v", seen)
	}
}
