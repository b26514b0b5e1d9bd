package attacks_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
)

// foreign returns the headers by which a browser shows that another origin made the request: Fetch
// Metadata in today's browsers, Origin alone in older ones.
func foreign(site string) map[string]http.Header {
	scheme, rest, _ := strings.Cut(site, "://")
	name, port, _ := strings.Cut(rest, ":")
	other := map[string]string{"http": "https", "https": "http"}[scheme]
	list := map[string]http.Header{
		"another site":                       harness.With("Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"),
		"another site, that claims ours":     harness.With("Sec-Fetch-Site", "cross-site", "Origin", site),
		"another site, that hides":           harness.With("Sec-Fetch-Site", "cross-site"),
		"another site, in capitals":          harness.With("Sec-Fetch-Site", "CROSS-SITE"),
		"another site, said twice":           {"Sec-Fetch-Site": {"cross-site", "same-origin"}, "Origin": {site}},
		"a sibling":                          harness.With("Sec-Fetch-Site", "same-site", "Origin", scheme+"://x."+rest),
		"something unheard of":               harness.With("Sec-Fetch-Site", "same-origin, cross-site"),
		"by Origin, another site":            harness.With("Origin", "https://evil.example"),
		"by Origin, a sandbox":               harness.With("Origin", "null"),
		"by Origin, another port":            harness.With("Origin", scheme+"://"+name+":1"),
		"by Origin, no port":                 harness.With("Origin", scheme+"://"+name),
		"by Origin, a subdomain":             harness.With("Origin", scheme+"://x."+rest),
		"by Origin, a name that begins so":   harness.With("Origin", scheme+"://"+name+".evil.example:"+port),
		"by Origin, a name that ends so":     harness.With("Origin", scheme+"://x"+rest),
		"by Origin, our name as the user":    harness.With("Origin", scheme+"://"+rest+"@evil.example"),
		"by Origin, our name in the path":    harness.With("Origin", "https://evil.example/"+site),
		"by Origin, another scheme and port": harness.With("Origin", other+"://"+name+":1"),
		"by Origin, another scheme":          harness.With("Origin", "file://"),
		"by Origin, what is none":            harness.With("Origin", "::"),
		"by Origin, several":                 harness.With("Origin", "https://evil.example "+site),
		"by Origin, an extension":            harness.With("Origin", "moz-extension://00000000-0000-0000-0000-000000000000"),
	}
	if scheme == "https" { // an attacker in the network can serve http://, and post from there
		list["by Origin, our host over plain HTTP"] = harness.With("Origin", "http://"+rest)
		list["by Origin, our host over plain HTTP, in capitals"] = harness.With("Origin", "HTTP://"+rest)
	}
	return list
}

// Another origin can make a browser do nothing here: it sends no code, signs nobody in or out, uses
// up no attempt, and sets no cookie.
func TestCSRF(t *testing.T) {
	for _, https := range []bool{false, true} {
		w := harness.Start(t, harness.Setup{HTTPS: https, Gate: harness.Plenty})
		b := w.Browser()
		b.Login("+6421234567")
		code := b.Ask("+6421234567")
		cookies := b.Cookies()
		w.WantSends("posts of other origins", 0, "+64274000001", func() {
			for who, header := range foreign(w.URL) {
				for _, path := range []string{"send", "verify", "resend", "logout"} {
					what := path + " by " + who
					a := b.Post("/.websms/"+path, []string{"phone", "+6421234567", "code", harness.OtherCode(code)}, harness.API, header)
					harness.WantProblem(t, what, a, http.StatusForbidden, "cross_origin")
					html := b.Post("/.websms/"+path, []string{"phone", "+6421234567", "code", code}, harness.Page, header)
					harness.WantStatus(t, what+", for a person", html, http.StatusForbidden)
					json := b.Send("/.websms/"+path, "application/json", `{"phone":"+6421234567","code":"`+harness.OtherCode(code)+`"}`, header)
					harness.WantProblem(t, what+", in JSON", json, http.StatusForbidden, "cross_origin")
					for _, a := range []harness.Answer{a, html, json} {
						if len(a.Cookies()) > 0 || len(a.Header["Access-Control-Allow-Origin"]) > 0 {
							t.Errorf("%s: the header is %v", what, a.Header)
						}
					}
				}
			}
			// Another site can send these without a preflight, and the request does not say where
			// it comes from. They are no valid form, or they do nothing.
			for _, kind := range []string{"text/plain", "text/plain; application/json", "multipart/form-data; boundary=x", ""} {
				for _, path := range []string{"send", "verify", "resend"} {
					a := b.Send("/.websms/"+path, kind, `{"phone":"+6421234567","code":"`+harness.OtherCode(code)+`","x":"="}`, harness.API)
					harness.WantProblem(t, path+" as "+kind, a, http.StatusUnsupportedMediaType, "unsupported_media_type")
				}
			}
			// A link, an image or a prefetch is a GET, under any name.
			for _, path := range []string{"send", "verify", "resend", "logout"} {
				for _, header := range []http.Header{harness.With("X-Http-Method-Override", "POST"),
					harness.With("X-Http-Method", "POST"), harness.With("X-Method-Override", "POST"), harness.With("Purpose", "prefetch")} {
					a := b.Get("/.websms/"+path+"?_method=POST&phone=%2B6421234567&code="+code, harness.API, header)
					if want := map[bool]int{true: http.StatusOK, false: http.StatusMethodNotAllowed}[path == "verify"]; a.StatusCode != want ||
						len(a.Cookies()) > 0 {
						t.Errorf("GET %s with %v: %s, sets %v", path, header, a.Status, a.Cookies())
					}
				}
				preflight := b.Do(http.MethodOptions, "/.websms/"+path, nil, harness.API,
					harness.With("Origin", "https://evil.example", "Access-Control-Request-Method", "POST"))
				if preflight.StatusCode/100 == 2 || len(preflight.Header["Access-Control-Allow-Origin"]) > 0 {
					t.Errorf("a preflight of %s: %s %v", path, preflight.Status, preflight.Header)
				}
			}
		})
		if got := b.Cookies(); got != cookies {
			t.Errorf("the browser's cookies have changed from %q to %q", cookies, got)
		}
		if a := b.Get("/.websms/session", harness.API); a.JSON("verified") != true {
			t.Errorf("the session: %s %s", a.Status, a.Text)
		}
		if a := b.Get("/.websms/status", harness.API); a.JSON("attempts_left") != 5.0 {
			t.Errorf("the challenge: %s %s", a.Status, a.Text)
		}
		// Our own pages may post, in each kind of browser.
		for who, header := range map[string]http.Header{
			"a browser of today":      harness.With("Sec-Fetch-Site", "same-origin", "Origin", w.URL),
			"one that hides its name": harness.With("Sec-Fetch-Site", "same-origin", "Origin", "null"),
			"an older one":            harness.With("Origin", w.URL),
			"a person's own doing":    harness.With("Sec-Fetch-Site", "none"),
			"a program":               {},
		} {
			harness.WantStatus(t, "resend by "+who, b.Post("/.websms/resend", nil, harness.API, header), http.StatusAccepted)
		}
		harness.WantStatus(t, "verify", b.AnswerWith(code, harness.With("Sec-Fetch-Site", "same-origin")), http.StatusOK)
		harness.WantStatus(t, "logout", b.Post("/.websms/logout", nil, harness.API, harness.With("Origin", w.URL)), http.StatusNoContent)
		harness.WantStatus(t, "after logout", b.Get("/", harness.API), http.StatusUnauthorized)
	}
}

// The browser does not send the session cookie with a post from another site. No frame can show a
// page of the gate.
func TestCSRFByBrowserRules(t *testing.T) {
	w := harness.Start(t, harness.Setup{HTTPS: true, Gate: harness.Plenty})
	b := w.Browser()
	number := harness.FreshNumber()
	answers := []harness.Answer{b.Request(number), b.AnswerWith(w.CodeFor(number, 1)), b.Post("/.websms/logout", nil, harness.Page)}
	set := 0
	for _, a := range answers {
		for _, c := range a.Cookies() {
			if set++; c.SameSite != http.SameSiteLaxMode || !c.Secure || !c.HttpOnly || !strings.HasPrefix(c.Name, "__Host-") {
				t.Errorf("it sets %s", c.Raw)
			}
		}
	}
	if set < 5 {
		t.Errorf("only %d cookies are set: the test tests little", set)
	}
	for _, path := range []string{"/.websms/login", "/.websms/unknown"} {
		if policy := b.Get(path, harness.Page).Header.Get("Content-Security-Policy"); !strings.Contains(policy, "frame-ancestors 'none'") ||
			!strings.Contains(policy, "form-action 'self'") {
			t.Errorf("%s: the policy is %q", path, policy)
		}
	}
}
