package websms_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
)

// fetchMetadata returns the headers of a navigation in Chromium, Firefox and Safari, on HTTPS and
// on localhost.
func fetchMetadata(dest, site string) http.Header {
	accept := "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	return harness.With("Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", dest, "Sec-Fetch-Site", site, "Accept", accept)
}

// In a frame, every request without a session gets a small page. Frames of the same origin may show
// it, and its link opens the login page in the whole window.
func TestFrameWithoutSession(t *testing.T) {
	w := harness.Start(t, harness.Setup{Front: "header X-Frame-Options DENY"})
	b := w.Browser()
	long := "/desk?q=" + strings.Repeat("x", 2000)
	for _, dest := range []string{"iframe", "frame", "embed", "object"} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT"} {
			for referer, rd := range map[string]string{
				"":                                 "/",
				w.URL + "/desk?tab=2&next=%2F%2Fx": "/desk?tab=2&next=%2F%2Fx",
				w.URL + "/":                        "/",
				w.URL + long:                       "/desk",
				w.URL + "//evil.example/":          "/",
				w.URL + "/.websms/verify":          "/",
				w.URL + "/.websms/login?rd=%2Forders%2F7":                                  "/orders/7",
				"https://evil.example/desk":                                                "/",
				strings.Replace(w.URL, "localhost", "localhost.evil.example", 1) + "/desk": "/",
			} {
				what := fmt.Sprintf("%s of a %s from %q", method, dest, harness.Excerpt(referer))
				headers := []http.Header{fetchMetadata(dest, "same-origin")}
				if referer != "" {
					headers = append(headers, harness.With("Referer", referer))
				}
				var form url.Values
				if method == "POST" || method == "PUT" {
					form = url.Values{"hours": {"8"}}
				}
				wantFramePage(t, what, b.Do(method, "/menu?x=1", form, headers...), rd)
			}
		}
	}
	// Neither another Accept header nor the place of the page around the frame changes the answer.
	for what, headers := range map[string][]http.Header{
		"an object that accepts anything":    {fetchMetadata("object", "same-origin"), harness.With("Accept", "*/*")},
		"an embed that loads without a mode": {harness.With("Sec-Fetch-Dest", "embed")},
		"an older embed":                     {fetchMetadata("embed", "same-origin"), harness.With("Sec-Fetch-Mode", "no-cors")},
		"a frame in a page of another site":  {fetchMetadata("iframe", "cross-site")},
		"a frame that a script asked for": {fetchMetadata("iframe", "same-origin"),
			harness.With("X-Requested-With", "XMLHttpRequest")},
		"a frame that prefers JSON, for a test": {fetchMetadata("iframe", "same-origin"), harness.API},
	} {
		wantFramePage(t, what, b.Get("/menu", headers...), "/")
	}
	wantFramePage(t, "a form of another site in a frame", b.Post("/menu", []string{"a", "b"}, fetchMetadata("iframe", "cross-site"),
		harness.With("Origin", "https://evil.example")), "/")
	wantFramePage(t, "a doubtful path", b.Get("/x/..;/menu", fetchMetadata("frame", "same-origin")), "/")
	if seen := w.App.Seen(); len(seen) > 0 {
		t.Errorf("the app saw %s %s, and %d more", seen[0].Method, seen[0].URI, len(seen)-1)
	}
}

// wantFramePage checks an answer to a frame without a session. Its link must lead to a login with
// the return target rd.
func wantFramePage(t *testing.T, what string, a harness.Answer, rd string) {
	t.Helper()
	if a.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") {
		t.Errorf("%s: %s, %s", what, a.Status, a.Header.Get("Content-Type"))
		return
	}
	for name, want := range map[string]string{
		"Www-Authenticate": `WebSMS login="/.websms/login"`, "Cache-Control": "no-store", "Location": "", "Set-Cookie": "",
		"X-Frame-Options": "", "Cross-Origin-Opener-Policy": "",
	} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s: %s is %q", what, name, got)
		}
	}
	csp := a.Header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "frame-ancestors 'self';") || !strings.HasPrefix(csp, "default-src 'none'") {
		t.Errorf("%s: the policy is %q", what, csp)
	}
	link := `href="/.websms/login?rd=` + url.QueryEscape(rd) + `" target="_top"`
	if a.Request.Method != http.MethodHead && !strings.Contains(harness.UnescapeHTML(a.Text), link) {
		t.Errorf("%s: no link %s in %s", what, link, a.Text)
	}
}

// A frame is judged last: a bypass lets it through, and so does a session. The gate's own pages
// never stand in a frame.
func TestFramesThatPass(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: "bypass {\n path /public/* /healthz\n}\n" + harness.Plenty})
	b := w.Browser()
	for _, dest := range []string{"iframe", "frame", "embed", "object"} {
		frame := fetchMetadata(dest, "same-origin")
		for method, path := range map[string]string{"GET": "/public/menu", "POST": "/public/form", "HEAD": "/healthz"} {
			harness.WantStatus(t, dest+" "+path, b.Do(method, path, nil, frame), http.StatusOK)
		}
		wantFramePage(t, dest, b.Get("/private", frame), "/")
		for _, page := range []string{"login", "recover", "nothing"} {
			a := b.Get("/.websms/"+page, frame)
			csp := a.Header.Get("Content-Security-Policy")
			if a.Header.Get("X-Frame-Options") != "DENY" || !strings.Contains(csp, "frame-ancestors 'none'") {
				t.Errorf("%s in a %s: %s with %v", page, dest, a.Status, a.Header)
			}
		}
	}
	b.Login(harness.FreshNumber())
	for _, dest := range []string{"iframe", "frame", "embed", "object"} {
		if a := b.Get("/private", fetchMetadata(dest, "same-origin")); a.Text != "legacy app: GET /private" {
			t.Errorf("a %s with a session: %s %s", dest, a.Status, harness.Excerpt(a.Text))
		}
	}
	frame := fetchMetadata("iframe", "same-origin")
	harness.WantStatus(t, "logout in a frame", b.Post("/.websms/logout", nil, frame), http.StatusSeeOther)
	wantFramePage(t, "after the logout", b.Get("/", frame), "/")
}

// A form that another site posts, such as the answer of an identity provider or of a payment,
// carries no Lax cookie. So the page does not tell its sender that the session has ended.
func TestFormOfAnotherSite(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: "bypass {\n path /saml/acs\n}\n" + harness.Plenty})
	b := w.Browser()
	const (
		foreign = "We did not accept a form from another website"
		ownForm = "Your form was not sent"
	)
	document := func(site string) http.Header { return fetchMetadata("document", site) }
	for _, c := range []struct {
		name    string
		headers []http.Header
		want    string
	}{
		{"SAML", []http.Header{document("cross-site"), harness.With("Origin", "https://idp.example")}, foreign},
		{"a payment that hides its origin", []http.Header{document("cross-site"), harness.With("Origin", "null")}, foreign},
		{"a form after a redirect", []http.Header{document("cross-site"), harness.With("Origin", w.URL)}, foreign},
		{"a sibling host", []http.Header{document("same-site"), harness.With("Origin", "https://www.localhost")}, ownForm},
		{"its own form", []http.Header{document("same-origin"), harness.With("Origin", w.URL)}, ownForm},
		{"a form that the user resent", []http.Header{document("none")}, ownForm},
		{"SAML in an older browser", []http.Header{harness.Page, harness.With("Origin", "https://idp.example")}, foreign},
		{"its own form in an older browser", []http.Header{harness.Page, harness.With("Origin", w.URL)}, ownForm},
		{"an older browser that hides the origin", []http.Header{harness.Page, harness.With("Origin", "null")}, ownForm},
		{"an older browser at another port", []http.Header{harness.Page, harness.With("Origin", "http://localhost")}, ownForm},
	} {
		a := b.Post("/saml/other", []string{"SAMLResponse", "PHNhbWw+"}, c.headers...)
		if a.StatusCode != http.StatusUnauthorized || !strings.Contains(a.Text, c.want) ||
			!strings.Contains(harness.UnescapeHTML(a.Text), `href="/.websms/login?rd=%2F" target="_blank"`) {
			t.Errorf("%s: %s %s; want %q", c.name, a.Status, a.Text, c.want)
		}
		h := a.Header
		if h.Get("Cache-Control") != "no-store" || h.Get("Www-Authenticate") == "" || h.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: the headers are %v", c.name, a.Header)
		}
		if strings.Contains(a.Text, "bypass") != (c.want == foreign) {
			t.Errorf("%s: the page tells of a bypass where it must not, or does not where it must: %s", c.name, a.Text)
		}
	}
	// A link of another site is a navigation like any other, and a script of it gets no page.
	if a := b.Get("/orders/7", document("cross-site")); a.StatusCode != http.StatusFound {
		t.Errorf("a link of another site: %s", a.Status)
	}
	harness.WantProblem(t, "a script of another site", b.Post("/orders/7", nil, harness.With("Sec-Fetch-Mode", "cors",
		"Sec-Fetch-Dest", "empty", "Sec-Fetch-Site", "cross-site", "Accept", "text/html")), http.StatusUnauthorized, "unverified")
	if n := len(w.App.Seen()); n != 0 {
		t.Errorf("%d forms reached the app", n)
	}
	// The bypass that the page speaks of helps.
	a := b.Post("/saml/acs", []string{"SAMLResponse", "PHNhbWw+"}, document("cross-site"), harness.With("Origin", "https://idp.example"))
	if a.StatusCode != http.StatusOK || w.App.Seen()[0].Body != "SAMLResponse=PHNhbWw%2B" {
		t.Errorf("through the bypass: %s, the app saw %+v", a.Status, w.App.Seen())
	}
}

// Scripts get no login page: neither by fetch, nor by jQuery in an old browser.
func TestScriptsWithoutSession(t *testing.T) {
	w := harness.Start(t, harness.Setup{})
	b := w.Browser()
	html := "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	xrw := harness.With("Accept", html, "X-Requested-With", "XMLHttpRequest")
	fetch := harness.With("Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Sec-Fetch-Site", "same-origin", "Accept", "*/*")
	for name, headers := range map[string][]http.Header{
		"jQuery on plain HTTP":         {xrw},
		"jQuery with another case":     {xrw, harness.With("X-Requested-With", "xmlHttpRequest")},
		"fetch":                        {fetch},
		"fetch that says what it is":   {fetch, xrw},
		"fetch from a page in a frame": {fetch, harness.With("Referer", w.URL+"/frame")},
		"a service worker's script":    {fetch, harness.With("Sec-Fetch-Mode", "same-origin", "Sec-Fetch-Dest", "serviceworker")},
		"a style sheet":                {fetch, harness.With("Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "style")},
	} {
		for _, method := range []string{"GET", "POST", "OPTIONS", "DELETE"} {
			a := b.Do(method, "/api/orders?x=1", nil, headers...)
			harness.WantProblem(t, method+" by "+name, a, http.StatusUnauthorized, "unverified")
			if got := a.Header.Get("Www-Authenticate"); got != `WebSMS login="/.websms/login"` {
				t.Errorf("%s by %s: WWW-Authenticate is %q", method, name, got)
			}
		}
		a := b.Do("HEAD", "/api/orders?x=1", nil, headers...)
		if a.StatusCode != http.StatusUnauthorized || a.Text != "" || a.Header.Get("Content-Type") != "application/problem+json" ||
			a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Www-Authenticate") != `WebSMS login="/.websms/login"` {
			t.Errorf("HEAD by %s: %s with %v and %q", name, a.Status, a.Header, a.Text)
		}
	}
	// A service worker that fetches a page for the browser asks for the page, and passes the redirect on.
	if a := b.Get("/orders", fetchMetadata("empty", "same-origin")); a.StatusCode != http.StatusFound {
		t.Errorf("a page through a service worker: %s", a.Status)
	}
	// The WebView of an Android app names the app in that header, and shows a page to a person.
	if a := b.Get("/orders", harness.With("Accept", html, "X-Requested-With", "nz.example.app")); a.StatusCode != http.StatusFound {
		t.Errorf("a WebView: %s", a.Status)
	}
	if n := len(w.App.Seen()); n != 0 {
		t.Errorf("%d requests reached the app", n)
	}
}

// A popup of the application keeps its opener through the login: no page of the flow, and no refusal
// on the way, sends Cross-Origin-Opener-Policy.
func TestPagesKeepTheOpener(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b := w.Browser()
	number := harness.FreshNumber()
	want := func(what string, a harness.Answer, status int) {
		t.Helper()
		harness.WantStatus(t, what, a, status)
		if got, ok := a.Header["Cross-Origin-Opener-Policy"]; ok {
			t.Errorf("%s sends Cross-Origin-Opener-Policy %q", what, got)
		}
	}
	want("the redirect", b.Get("/popup", harness.Page), http.StatusFound)
	want("login", b.Get("/.websms/login?rd=%2Fpopup", harness.Page), http.StatusOK)
	want("a refused number", b.Post("/.websms/send", []string{"phone", "12"}, harness.Page), http.StatusUnprocessableEntity)
	want("send", b.Post("/.websms/send", []string{"phone", number, "rd", "/popup"}, harness.Page), http.StatusSeeOther)
	want("verify", b.Get("/.websms/verify", harness.Page), http.StatusOK)
	code := w.CodeFor(number, 1)
	wrong := harness.OtherCode(code)
	want("a wrong code", b.Post("/.websms/verify", []string{"code", wrong}, harness.Page), http.StatusUnprocessableEntity)
	want("recover", b.Get("/.websms/recover", harness.Page), http.StatusOK)
	want("no page", b.Get("/.websms/nothing", harness.Page), http.StatusNotFound)
	want("the right code", b.Post("/.websms/verify", []string{"code", code}, harness.Page), http.StatusSeeOther)
}

// The preflight of docs/recipes/cross-origin.md passes the gate and ends at Caddy. Other OPTIONS are
// refused, and the script of the portal can read that its own request was.
func TestPreflight(t *testing.T) {
	const portal = "https://portal.example.com"
	w := harness.Start(t, harness.Setup{
		Gate: "bypass {\n method OPTIONS\n header Origin " + portal + "\n header Access-Control-Request-Method *\n}\n" + harness.Plenty,
		Front: `@portal header Origin ` + portal + `
			header @portal {
				Access-Control-Allow-Origin ` + portal + `
				Access-Control-Allow-Credentials true
				Access-Control-Expose-Headers WWW-Authenticate
				+Vary Origin
			}
			@preflight {
				method OPTIONS
				header Origin ` + portal + `
				header Access-Control-Request-Method *
			}
			header @preflight Access-Control-Allow-Methods "GET, POST"
			handle @preflight {
				respond 204
			}`,
	})
	b := w.Browser()
	script := harness.With("Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Sec-Fetch-Site", "same-site", "Origin", portal)
	ask := harness.With("Access-Control-Request-Method", "POST")
	a := b.Do("OPTIONS", "/orders", nil, script, ask)
	if a.StatusCode != http.StatusNoContent || a.Header.Get("Access-Control-Allow-Methods") != "GET, POST" {
		t.Errorf("the preflight: %s with %v", a.Status, a.Header)
	}
	for what, headers := range map[string][]http.Header{
		"OPTIONS of nobody":             {},
		"OPTIONS that is no preflight":  {script},
		"a preflight of another origin": {script, ask, harness.With("Origin", "https://evil.example")},
	} {
		harness.WantProblem(t, what, b.Do("OPTIONS", "/orders", nil, headers...), http.StatusUnauthorized, "unverified")
	}
	a = b.Post("/orders", nil, script)
	harness.WantProblem(t, "the script's request", a, http.StatusUnauthorized, "unverified")
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": portal, "Access-Control-Allow-Credentials": "true",
		"Access-Control-Expose-Headers": "WWW-Authenticate", "Www-Authenticate": `WebSMS login="/.websms/login"`,
	} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("the script reads %s: %q; want %q", name, got, want)
		}
	}
	if n := len(w.App.Seen()); n != 0 {
		t.Errorf("%d requests reached the app", n)
	}
	b.Login(harness.FreshNumber())
	harness.WantStatus(t, "with a session", b.Post("/orders", nil, script), http.StatusOK)
}
