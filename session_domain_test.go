package websms

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/publicsuffix"

	"github.com/caddy-websms/websms/internal/harness"
)

// sharesCookies reports whether a browser keeps a cookie that one host below a domain sets
// for the domain, and sends it to another.
func sharesCookies(t *testing.T, domain string) bool {
	t.Helper()
	jar, err := cookiejar.New(&cookiejar.Options{PublicSuffixList: publicsuffix.List})
	if err != nil {
		t.Fatal(err)
	}
	at := func(host string) *url.URL { return &url.URL{Scheme: "https", Host: host + domain, Path: "/"} }
	jar.SetCookies(at("a."), []*http.Cookie{{Name: "x", Value: "y", Domain: domain}})
	return len(jar.Cookies(at("b."))) == 1
}

// A session is shared across a domain only if browsers share its cookies.
func TestDomainsThatBrowsersRefuse(t *testing.T) {
	for domain, says := range map[string]string{
		"com": "a single label", "nz": "a single label", "localhost": "a single label", "internal": "a single label", "lan": "a single label",
		"co.nz": "a public suffix", "govt.nz": "a public suffix", "co.uk": "a public suffix", "com.au": "a public suffix",
		"foo.ck": "a public suffix", "github.io": "a public suffix", "herokuapp.com": "a public suffix", "pages.dev": "a public suffix",
		"vercel.app": "a public suffix", "xn--55qx5d.cn": "a public suffix", "k12.ca.us": "a public suffix",
		"127.0.0.1": "an IP address", "10.1": "an IP address", "0x7f.1": "an IP address", "2130706433": "an IP address",
		"a.0x7f":         "an IP address",
		"192.0.2.1:8443": "an IP address", "::1": "an IP address", "[::1]": "an IP address", "[2001:db8::1]:443": "an IP address",
		".example.com": "without scheme, port or leading dot", "example.com.": "without scheme", "Example.com": "in lower case",
		"example.com:443": "without scheme, port", "https://example.com": "without scheme", "*.example.com": "without scheme",
		"exa mple.com": "without scheme", "example..com": "without scheme", "-a.example.com": "without scheme", "kōwhai.nz": "without scheme",
		"{env.DOMAIN}": "without scheme", strings.Repeat("a", 64) + ".example.com": "without scheme",
		strings.Repeat("a.", 127) + "example.com": "without scheme",
	} {
		err := SessionConfig{Domain: domain}.check()
		if err == nil || !strings.HasPrefix(err.Error(), "domain is ") || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v; want %s", domain, err, says)
		}
		if strings.HasPrefix(says, "a ") && sharesCookies(t, domain) {
			t.Errorf("%q: a browser shares its cookies", domain)
		}
	}
	for _, domain := range []string{
		"example.com", "example.co.nz", "app.example.co.nz", "kowhai.github.io", "shop.herokuapp.com", "corp.internal", "app.lan", "x.local",
		"www.ck", "a.foo.ck", "app.localhost", "a.b.c.d.example.com", "xn--kwhai-g9a.nz", "1.example.com", "a1.2b", "127.0.0.1.example.com",
	} {
		if err := (SessionConfig{Domain: domain}).check(); err != nil {
			t.Errorf("%q: %v", domain, err)
		}
		if !sharesCookies(t, domain) {
			t.Errorf("%q: a browser does not share its cookies", domain)
		}
	}
}

// A Caddyfile with a domain that browsers refuse does not adapt, and JSON with one does not
// load.
func TestRefusedDomain(t *testing.T) {
	harness.SetAccount(t)
	_, err := harness.Adapt(harness.InGate("session {\nidle 0\ndomain github.io\n}"))
	if err == nil || !strings.Contains(err.Error(), `session: domain is "github.io", a public suffix`) || !strings.Contains(err.Error(),
		"Caddyfile:6") {
		t.Errorf("a Caddyfile: %v", err)
	}
	err = harness.Validate(t, harness.HandlerJSON(t, "websms_otp", `{"company": "Acme", "session": {"domain": "co.nz"}}`))
	if err == nil || !strings.Contains(err.Error(), `session: domain is "co.nz", a public suffix`) {
		t.Errorf("JSON: %v", err)
	}
}

// A configuration does not load if a host of the site is outside of the domain that shares
// its sessions.
func TestHostsOutsideOfTheDomain(t *testing.T) {
	const options = "{\n admin off\n auto_https off\n websms {\n  client_id cid\n  client_secret csk\n }\n}\n"
	gate := func(domain string) string {
		return "websms_otp {\n company Acme\n session {\n  domain " + domain + "\n }\n}\n"
	}
	for name, c := range map[string]struct{ config, outside string }{
		"the domain itself":      {"example.com {\n" + gate("example.com") + "}", ""},
		"below it":               {"a.b.example.com:8443 {\n" + gate("example.com") + "}", ""},
		"in capitals":            {"App.Example.COM {\n" + gate("example.com") + "}", ""},
		"a wildcard":             {"*.example.com {\n" + gate("example.com") + "}", ""},
		"a deeper wildcard":      {"*.a.example.com {\n" + gate("example.com") + "}", ""},
		"any host":               {":8080 {\n" + gate("example.com") + "}", ""},
		"a placeholder":          {"{$NOWHERE:app.example.com} {\n" + gate("example.com") + "}", ""},
		"a host matcher by name": {":8080 {\n@a host {vars.x}\nhandle @a {\n" + gate("example.com") + "}\n}", ""},
		"unicode":                {"app.kōwhai.nz {\n" + gate("xn--kwhai-g9a.nz") + "}", ""},
		"a matcher for the right one": {"app.example.com, other.test {\n@a host app.example.com\nhandle @a {\n" + gate("example.com") +
			"}\n}", ""},
		"its own matcher": {"app.example.com, other.test {\n@a host app.example.com\nwebsms_otp @a {\n company Acme\n session {\n" +
			"  domain example.com\n }\n}\n}", ""},
		"another site":        {"app.example.com {\n" + gate("example.com") + "}\nother.test {\nrespond x\n}", ""},
		"unlisted":            {"app.corp.internal {\n" + gate("corp.internal") + "}", ""},
		"another host":        {"other.test {\n" + gate("example.com") + "}", "other.test"},
		"one of two":          {"app.example.com, other.test {\n" + gate("example.com") + "}", "other.test"},
		"an ending alone":     {"notexample.com {\n" + gate("example.com") + "}", "notexample.com"},
		"above it":            {"example.com {\n" + gate("app.example.com") + "}", "example.com"},
		"a sibling":           {"app.example.com {\n" + gate("hr.example.com") + "}", "app.example.com"},
		"an IP address":       {"http://192.0.2.1 {\n" + gate("example.com") + "}", "192.0.2.1"},
		"localhost":           {"localhost {\n" + gate("example.com") + "}", "localhost"},
		"a wildcard above it": {"*.example.com {\n" + gate("app.example.com") + "}", "*.example.com"},
		"another wildcard":    {"*.other.test {\n" + gate("example.com") + "}", "*.other.test"},
		"in a named route":    {"&(app) {\n" + gate("example.com") + "}\nother.test {\n invoke app\n}", "other.test"},
		"in the second site":  {"a.example.com {\nrespond x\n}\nother.test {\n" + gate("example.com") + "}", "other.test"},
		"in a handle": {"other.test {\nhandle /a/* {\n respond a\n}\nhandle {\nroute {\n" + gate("example.com") +
			"}\n}\n}", "other.test"},
		"a matcher for a host": {":8080 {\n@a host other.test\nhandle @a {\n" + gate("example.com") + "}\n}", "other.test"},
		"of errors":            {"other.test {\nrespond x\nhandle_errors {\n" + gate("example.com") + "}\n}", "other.test"},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := harness.Adapt(options + c.config)
			if err != nil {
				t.Fatal(err)
			}
			err = harness.Validate(t, config)
			if c.outside == "" && err != nil {
				t.Fatal(err)
			}
			if c.outside != "" && (err == nil || !strings.Contains(err.Error(), "the site's host "+c.outside+" is not below it")) {
				t.Errorf("loads: %v; want %s named", err, c.outside)
			}
		})
	}
}
