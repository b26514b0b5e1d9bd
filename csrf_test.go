package websms

import (
	"net/http"
	"strings"
	"testing"
)

// foreign is how a browser's request tells that another origin made it: of any
// browser of today by Fetch Metadata, of older ones by Origin alone.
func foreign(site string) map[string]http.Header {
	scheme, rest, _ := strings.Cut(site, "://")
	name, port, _ := strings.Cut(rest, ":")
	other := map[string]string{"http": "https", "https": "http"}[scheme]
	list := map[string]http.Header{
		"another site":                       with("Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"),
		"another site, that claims ours":     with("Sec-Fetch-Site", "cross-site", "Origin", site),
		"another site, that hides":           with("Sec-Fetch-Site", "cross-site"),
		"another site, in capitals":          with("Sec-Fetch-Site", "CROSS-SITE"),
		"another site, said twice":           {"Sec-Fetch-Site": {"cross-site", "same-origin"}, "Origin": {site}},
		"a sibling":                          with("Sec-Fetch-Site", "same-site", "Origin", scheme+"://x."+rest),
		"something unheard of":               with("Sec-Fetch-Site", "same-origin, cross-site"),
		"by Origin, another site":            with("Origin", "https://evil.example"),
		"by Origin, a sandbox":               with("Origin", "null"),
		"by Origin, another port":            with("Origin", scheme+"://"+name+":1"),
		"by Origin, no port":                 with("Origin", scheme+"://"+name),
		"by Origin, a subdomain":             with("Origin", scheme+"://x."+rest),
		"by Origin, a name that begins so":   with("Origin", scheme+"://"+name+".evil.example:"+port),
		"by Origin, a name that ends so":     with("Origin", scheme+"://x"+rest),
		"by Origin, our name as the user":    with("Origin", scheme+"://"+rest+"@evil.example"),
		"by Origin, our name in the path":    with("Origin", "https://evil.example/"+site),
		"by Origin, another scheme and port": with("Origin", other+"://"+name+":1"),
		"by Origin, another scheme":          with("Origin", "file://"),
		"by Origin, what is none":            with("Origin", "::"),
		"by Origin, several":                 with("Origin", "https://evil.example "+site),
		"by Origin, an extension":            with("Origin", "moz-extension://00000000-0000-0000-0000-000000000000"),
	}
	if scheme == "https" { // who holds the network can serve http://, and post from there
		list["by Origin, our host over plain HTTP"] = with("Origin", "http://"+rest)
		list["by Origin, our host over plain HTTP, in capitals"] = with("Origin", "HTTP://"+rest)
	}
	return list
}

// No other origin has a browser do anything here: nothing is sent, nobody is
// signed out or in, no attempt is used up, no cookie is set.
func TestCSRF(t *testing.T) {
	for _, https := range []bool{false, true} {
		w := start(t, setup{https: https, gate: plenty})
		b := w.browser()
		b.login("+6421234567")
		code := b.ask("+6421234567")
		cookies := b.cookies()
		w.wantSends("posts of other origins", 0, "+64274000001", func() {
			for who, header := range foreign(w.url) {
				for _, path := range []string{"send", "verify", "resend", "logout"} {
					what := path + " by " + who
					a := b.post("/.websms/"+path, []string{"phone", "+6421234567", "code", other(code)}, api, header)
					wantProblem(t, what, a, http.StatusForbidden, "cross_origin")
					html := b.post("/.websms/"+path, []string{"phone", "+6421234567", "code", code}, page, header)
					wantStatus(t, what+", for a person", html, http.StatusForbidden)
					json := b.send("/.websms/"+path, "application/json", `{"phone":"+6421234567","code":"`+other(code)+`"}`, header)
					wantProblem(t, what+", in JSON", json, http.StatusForbidden, "cross_origin")
					for _, a := range []answer{a, html, json} {
						if len(a.Cookies()) > 0 || len(a.Header["Access-Control-Allow-Origin"]) > 0 {
							t.Errorf("%s: the header is %v", what, a.Header)
						}
					}
				}
			}
			// What another site can send without a preflight, and without any
			// word of whose it is, is no form of ours or does nothing.
			for _, kind := range []string{"text/plain", "text/plain; application/json", "multipart/form-data; boundary=x", ""} {
				for _, path := range []string{"send", "verify", "resend"} {
					a := b.send("/.websms/"+path, kind, `{"phone":"+6421234567","code":"`+other(code)+`","x":"="}`, api)
					wantProblem(t, path+" as "+kind, a, http.StatusUnsupportedMediaType, "unsupported_media_type")
				}
			}
			// A link, an image or a prefetch is a GET, whatever it calls itself.
			for _, path := range []string{"send", "verify", "resend", "logout"} {
				for _, header := range []http.Header{with("X-Http-Method-Override", "POST"), with("X-Http-Method", "POST"), with("X-Method-Override", "POST"), with("Purpose", "prefetch")} {
					a := b.get("/.websms/"+path+"?_method=POST&phone=%2B6421234567&code="+code, api, header)
					if want := map[bool]int{true: http.StatusOK, false: http.StatusMethodNotAllowed}[path == "verify"]; a.StatusCode != want || len(a.Cookies()) > 0 {
						t.Errorf("GET %s with %v: %s, sets %v", path, header, a.Status, a.Cookies())
					}
				}
				preflight := b.do(http.MethodOptions, "/.websms/"+path, nil, api, with("Origin", "https://evil.example", "Access-Control-Request-Method", "POST"))
				if preflight.StatusCode/100 == 2 || len(preflight.Header["Access-Control-Allow-Origin"]) > 0 {
					t.Errorf("a preflight of %s: %s %v", path, preflight.Status, preflight.Header)
				}
			}
		})
		if got := b.cookies(); got != cookies {
			t.Errorf("the browser's cookies have changed from %q to %q", cookies, got)
		}
		if a := b.get("/.websms/session", api); a.json("verified") != true {
			t.Errorf("the session: %s %s", a.Status, a.body)
		}
		if a := b.get("/.websms/status", api); a.json("attempts_left") != 5.0 {
			t.Errorf("the challenge: %s %s", a.Status, a.body)
		}
		// Our own pages may, in each kind of browser.
		for who, header := range map[string]http.Header{
			"a browser of today":      with("Sec-Fetch-Site", "same-origin", "Origin", w.url),
			"one that hides its name": with("Sec-Fetch-Site", "same-origin", "Origin", "null"),
			"an older one":            with("Origin", w.url),
			"a person's own doing":    with("Sec-Fetch-Site", "none"),
			"a program":               {},
		} {
			wantStatus(t, "resend by "+who, b.post("/.websms/resend", nil, api, header), http.StatusAccepted)
		}
		wantStatus(t, "verify", b.answerWith(code, with("Sec-Fetch-Site", "same-origin")), http.StatusOK)
		wantStatus(t, "logout", b.post("/.websms/logout", nil, api, with("Origin", w.url)), http.StatusNoContent)
		wantStatus(t, "after logout", b.get("/", api), http.StatusUnauthorized)
	}
}

// A session cookie is not sent along with what other sites post to the
// application, and a page of ours is shown in no frame.
func TestCSRFByBrowserRules(t *testing.T) {
	w := start(t, setup{https: true, gate: plenty})
	b := w.browser()
	number := freshNumber()
	answers := []answer{b.request(number), b.answerWith(w.codeFor(number, 1)), b.post("/.websms/logout", nil, page)}
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
		if policy := b.get(path, page).Header.Get("Content-Security-Policy"); !strings.Contains(policy, "frame-ancestors 'none'") || !strings.Contains(policy, "form-action 'self'") {
			t.Errorf("%s: the policy is %q", path, policy)
		}
	}
}
