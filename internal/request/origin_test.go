package request_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/internal/request"
)

// from returns a post to a host, as it comes from a proxy or a browser at 192.0.2.1. fields are
// name, value, name, value.
func from(trusted bool, host string, fields ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/.websms/send", nil)
	r.Host, r.RemoteAddr = host, "192.0.2.1:1234"
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	vars := map[string]any{caddyhttp.TrustedProxyVarKey: trusted}
	return r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, vars))
}

// A page of the site's own origin may post through a proxy that is trusted, and a page of another
// origin may not. A stranger's forwarded fields count nowhere.
func TestCrossOrigin(t *testing.T) {
	const (
		app     = "https://app.example.com"
		another = "a page of another site"
		port    = "drops or changes the port"
		sender  = "192.0.2.1 is not in the server's option trusted_proxies"
		plain   = "over plain HTTP"
		unnamed = "does not name the page"
		sibling = "another host or port of the same domain"
	)
	type fields []string
	for _, c := range []struct {
		name     string
		host     string
		fields   fields
		trusted  string // the cause if the sender is a trusted proxy; "" if the post passes
		stranger string // the cause if the sender is not; "" if the post passes
	}{
		// Nothing but the Host header.
		{"no Origin", "app.example.com", nil, "", ""},
		{"its own", "app.example.com", fields{"Origin", "http://app.example.com"}, "", ""},
		{"its own, with TLS in front", "app.example.com", fields{"Origin", app}, "", ""},
		{"in capitals", "APP.example.com", fields{"Origin", "HTTP://App.Example.Com"}, "", ""},
		{"its own port", "app.example.com:8080", fields{"Origin", "http://app.example.com:8080"}, "", ""},
		{"the default port, written out", "app.example.com:80", fields{"Origin", "http://app.example.com"}, "", ""},
		{"the default port of TLS, written out", "app.example.com:443", fields{"Origin", app}, "", ""},
		{"the default port, in the Origin", "app.example.com", fields{"Origin", "http://app.example.com:80"}, "", ""},
		{"the port of the other scheme", "app.example.com:80", fields{"Origin", app}, port, port},
		{"the other port of the other scheme", "app.example.com:443", fields{"Origin", "http://app.example.com"}, port, port},
		{"a dropped port", "app.example.com", fields{"Origin", app + ":8443"}, port, port},
		{"another port", "app.example.com:8080", fields{"Origin", app + ":8443"}, port, port},
		{"another host", "app.example.com", fields{"Origin", "https://evil.example"}, another, another},
		{"a host that ends so", "app.example.com", fields{"Origin", "https://xapp.example.com"}, another, another},
		{"a host that begins so", "app.example.com", fields{"Origin", "https://app.example.com.evil.example"}, another, another},
		{"a replaced Host", "127.0.0.1:8080", fields{"Origin", app}, "proxy_set_header Host $http_host", "proxy_set_header Host $http_host"},
		{"no Host", "", fields{"Origin", app}, another, another},

		// IPv6.
		{"IPv6", "[2001:db8::1]", fields{"Origin", "http://[2001:db8::1]"}, "", ""},
		{"IPv6 with a port", "[2001:DB8::1]:8080", fields{"Origin", "http://[2001:db8::1]:8080"}, "", ""},
		{"IPv6 that ends like a port", "[2001:db8::443]", fields{"Origin", "https://[2001:db8::443]"}, "", ""},
		{"IPv6 that is no port", "[2001:db8::443]", fields{"Origin", "https://[2001:db8::]"}, another, another},
		{"IPv6 without its port", "[2001:db8::1]", fields{"Origin", "http://[2001:db8::1]:8080"}, port, port},
		{"IPv6 and X-Forwarded-Port", "[2001:db8::1]", fields{"Origin", "http://[2001:db8::1]:8080", "X-Forwarded-Port", "8080"}, "", sender},
		{"IPv6 with a port and X-Forwarded-Port", "[2001:db8::1]:1", fields{"Origin", "http://[2001:db8::1]:8080", "X-Forwarded-Port", "8080"},
			"", sender},
		{"IPv6 in X-Forwarded-Host", "gate", fields{"Origin", "https://[2001:db8::1]", "X-Forwarded-Host", "[2001:DB8::1]:443"}, "", sender},

		// An Origin that is none.
		{"null", "app.example.com", fields{"Origin", "null"}, unnamed, unnamed},
		{"null, and a host of that name", "null", fields{"Origin", "null"}, unnamed, unnamed},
		{"an app's web view", "localhost", fields{"Origin", "capacitor://localhost"}, unnamed, unnamed},
		{"a file", "localhost", fields{"Origin", "file://"}, unnamed, unnamed},
		{"garbage", "app.example.com", fields{"Origin", "::"}, unnamed, unnamed},
		{"no scheme", "app.example.com", fields{"Origin", "app.example.com"}, unnamed, unnamed},
		{"a slash at its end", "app.example.com", fields{"Origin", app + "/"}, unnamed, unnamed},
		{"a question mark at its end", "app.example.com", fields{"Origin", app + "?"}, unnamed, unnamed},
		{"a user in it", "app.example.com", fields{"Origin", "https://evil@app.example.com"}, unnamed, unnamed},
		{"our host as the user", "app.example.com", fields{"Origin", app + "@evil.example"}, unnamed, unnamed},
		{"two in one", "app.example.com", fields{"Origin", app + " https://evil.example"}, unnamed, unnamed},
		{"two fields", "app.example.com", fields{"Origin", app, "Origin", "https://evil.example"}, unnamed, unnamed},
		{"an empty host in both", "", fields{"Origin", "https://"}, unnamed, unnamed},

		// X-Forwarded-Host.
		{"forwarded", "127.0.0.1:8080", fields{"Origin", app, "X-Forwarded-Host", "app.example.com"}, "", sender},
		{"forwarded in capitals", "gate", fields{"Origin", app, "X-Forwarded-Host", "APP.Example.COM"}, "", sender},
		{"forwarded with its port", "gate", fields{"Origin", app + ":8443", "X-Forwarded-Host", "app.example.com:8443"}, "", sender},
		{"forwarded with the default port", "gate", fields{"Origin", app, "X-Forwarded-Host", "app.example.com:443"}, "", sender},
		{"the first of a list", "gate", fields{"Origin", app, "X-Forwarded-Host", " app.example.com , gate.internal"}, "", sender},
		{"the first of two fields", "gate", fields{"Origin", app, "X-Forwarded-Host", "app.example.com", "X-Forwarded-Host", "x"}, "", sender},
		{"the first that is not empty", "gate", fields{"Origin", app, "X-Forwarded-Host", " ,, app.example.com"}, "", sender},
		{"the first behind an empty field", "gate", fields{"Origin", app, "X-Forwarded-Host", "", "X-Forwarded-Host", "app.example.com"}, "",
			sender},
		{"the second of a list", "gate", fields{"Origin", "https://gate.internal", "X-Forwarded-Host", "app.example.com,gate.internal"},
			another, another},
		{"forwarded, and the Host header counts too", "app.example.com", fields{"Origin", app, "X-Forwarded-Host", "gate"}, "", ""},
		{"forwarded without its port", "gate", fields{"Origin", app + ":8443", "X-Forwarded-Host", "app.example.com"}, port, another},
		{"forwarded, of another host", "gate", fields{"Origin", "https://evil.example", "X-Forwarded-Host", "app.example.com"}, another, another},
		{"nothing forwarded", "gate", fields{"Origin", app, "X-Forwarded-Host", " , "}, another, another},

		// X-Forwarded-Port.
		{"the port", "app.example.com", fields{"Origin", app + ":8443", "X-Forwarded-Port", "8443"}, "", sender},
		{"the port, of a list", "app.example.com", fields{"Origin", app + ":8443", "X-Forwarded-Port", " 8443 , 80"}, "", sender},
		{"the port in place of the gate's", "app.example.com:8080", fields{"Origin", app + ":8443", "X-Forwarded-Port", "8443"}, "", sender},
		{"the default port of TLS", "app.example.com:8080", fields{"Origin", app, "X-Forwarded-Port", "443"}, "", sender},
		{"the port of a forwarded host", "gate",
			fields{"Origin", app + ":8443", "X-Forwarded-Host", "app.example.com", "X-Forwarded-Port", "8443"},
			"", sender},
		{"the port in place of a forwarded one", "gate",
			fields{"Origin", app + ":8443", "X-Forwarded-Host", "app.example.com:80", "X-Forwarded-Port", "8443"}, "", sender},
		{"a port that is none", "app.example.com", fields{"Origin", app + ":8443", "X-Forwarded-Port", "https"}, port, port},
		{"a host in the port", "app.example.com",
			fields{"Origin", "https://evil.example", "X-Forwarded-Port", "1@evil.example"}, another, another},
		{"another port than forwarded", "app.example.com", fields{"Origin", app + ":1", "X-Forwarded-Port", "8443"}, port, port},

		// The scheme.
		{"HTTPS in front", "app.example.com", fields{"Origin", app, "X-Forwarded-Proto", "https"}, "", ""},
		{"plain HTTP behind HTTPS", "app.example.com", fields{"Origin", "http://app.example.com", "X-Forwarded-Proto", "https"}, plain, ""},
		{"plain HTTP behind a chain", "app.example.com",
			fields{"Origin", "http://app.example.com", "X-Forwarded-Proto", "HTTPS , http"}, plain, ""},
		{"plain HTTP, forwarded", "gate",
			fields{"Origin", "http://app.example.com", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "app.example.com"}, plain, sender},
		{"a chain that begins with plain HTTP", "app.example.com", fields{"Origin", "http://app.example.com", "X-Forwarded-Proto", "http,https"},
			"", ""},

		// Sec-Fetch-Site decides where it stands.
		{"same-origin", "gate", fields{"Sec-Fetch-Site", "same-origin", "Origin", app}, "", ""},
		{"same-origin that hides its name", "gate", fields{"Sec-Fetch-Site", "same-origin", "Origin", "null"}, "", ""},
		{"none", "gate", fields{"Sec-Fetch-Site", "none", "Origin", "null"}, "", ""},
		{"same-site", "app.example.com", fields{"Sec-Fetch-Site", "same-site", "Origin", app}, sibling, sibling},
		{"cross-site", "app.example.com", fields{"Sec-Fetch-Site", "cross-site", "Origin", app}, another, another},
		{"cross-site without an Origin", "app.example.com", fields{"Sec-Fetch-Site", "cross-site"}, another, another},
		{"cross-site, forwarded", "gate", fields{"Sec-Fetch-Site", "cross-site", "Origin", app, "X-Forwarded-Host", "app.example.com"},
			another, another},
		{"of a kind to come", "app.example.com", fields{"Sec-Fetch-Site", "same-party", "Origin", app}, another, another},
		{"in capitals", "app.example.com", fields{"Sec-Fetch-Site", "Same-Origin", "Origin", app}, another, another},
		{"twice", "app.example.com", fields{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"}, another, another},
		{"empty, so the Origin counts", "app.example.com", fields{"Sec-Fetch-Site", "", "Origin", "https://evil.example"}, another, another},
		{"empty, and its own Origin", "app.example.com", fields{"Sec-Fetch-Site", "", "Origin", app}, "", ""},
	} {
		for trusted, cause := range map[bool]string{true: c.trusted, false: c.stranger} {
			foreign := request.CrossOrigin(from(trusted, c.host, c.fields...))
			switch {
			case (foreign != nil) != (cause != ""):
				t.Errorf("%s, trusted %t: %+v; want the cause %q", c.name, trusted, foreign, cause)
			case foreign != nil && !strings.Contains(foreign.Cause, cause):
				t.Errorf("%s, trusted %t: the cause is %q; want %q", c.name, trusted, foreign.Cause, cause)
			}
		}
	}
}

// The description names both origins as they stand in an address bar, in plain text of a bounded
// length.
func TestForeignPost(t *testing.T) {
	long := "https://" + strings.Repeat("a", 300) + ".example"
	for _, c := range []struct {
		r                *http.Request
		origin, expected string
	}{
		{from(false, "app.example.com:80", "Origin", "https://evil.example"), "https://evil.example", "http://app.example.com"},
		{from(false, "app.example.com", "Origin", "https://app.example.com:8443"),
			"https://app.example.com:8443", "http://app.example.com"},
		{from(true, "gate:8080", "Origin", "https://evil.example", "X-Forwarded-Host", "App.example.com:443", "X-Forwarded-Proto", "https"),
			"https://evil.example", "https://app.example.com"},
		{from(true, "app.example.com", "Origin", "https://evil.example", "X-Forwarded-Port", "8443", "X-Forwarded-Proto", "https"),
			"https://evil.example", "https://app.example.com:8443"},
		{from(false, "gate", "Origin", "https://app.example.com", "X-Forwarded-Host", "app.example.com"), "https://app.example.com",
			"http://gate"},
		{from(true, "app.example.com", "Origin", "http://app.example.com", "X-Forwarded-Proto", "https"), "http://app.example.com",
			"https://app.example.com"},
		{from(true, "app.example.com", "Origin", "null"), "null", "http://app.example.com"},
		{from(true, "app.example.com", "Sec-Fetch-Site", "same-site"), "", "http://app.example.com"},
		{from(true, "app.example.com", "Sec-Fetch-Site", "cross-site", "Origin", "null"), "null", "http://app.example.com"},
		{from(true, "x", "Origin", "https://\u202e\x85é.example"), "https://??????.example", "http://x"},
		{from(true, "x", "Origin", "https://evil.example", "X-Forwarded-Host", "\x9b\u2028x"), "https://evil.example", "http://??????x"},
		{from(true, "x", "Origin", long, "X-Forwarded-Host", long), long[:200], ("http://" + long)[:200]},
	} {
		p := request.CrossOrigin(c.r)
		if p == nil || p.Origin != c.origin || p.Expected != c.expected {
			t.Errorf("of %v: %+v; want %q, %q", c.r.Header, p, c.origin, c.expected)
		}
	}
	socket := from(false, "gate", "Origin", "https://app.example.com", "X-Forwarded-Host", "app.example.com")
	socket.RemoteAddr = "@"
	if p := request.CrossOrigin(socket); p == nil || !strings.Contains(p.Cause, "trusted_proxies_unix") {
		t.Errorf("at a Unix socket: %+v", p)
	}
}

// A post passes by its Origin only if the host of the Origin stands in the
// Host header or, from a trusted proxy, in X-Forwarded-Host. From a stranger its port must stand
// there too.
func TestForeignHostNeverPasses(t *testing.T) {
	hosts := []string{"app.example.com", "APP.example.com", "evil.example", "xapp.example.com",
		"[2001:db8::1]", "[::443]", "::1", "localhost", ""}
	ports := []string{"", ":80", ":443", ":8443", ":"}
	anyOf := func(t *rapid.T, name string, lists ...[]string) string {
		var out strings.Builder
		for _, list := range lists {
			out.WriteString(rapid.SampledFrom(list).Draw(t, name))
		}
		return out.String()
	}
	rapid.Check(t, func(t *rapid.T) {
		trusted := rapid.Bool().Draw(t, "trusted")
		schemes := []string{"https://", "http://", "app://", "//", "https://app.example.com@", ""}
		origin := anyOf(t, "origin", schemes, hosts, ports, []string{"", "/", " "})
		host := anyOf(t, "host", hosts, ports)
		forwarded := anyOf(t, "forwarded", []string{"", "", ",", " "}, hosts, ports, []string{"", ",evil.example", " , evil.example"})
		r := from(trusted, host, "Origin", origin, "X-Forwarded-Host", forwarded,
			"X-Forwarded-Port", anyOf(t, "port", []string{"", "443", "8443, 80", "80", "evil.example", ":443"}),
			"X-Forwarded-Proto", anyOf(t, "proto", []string{"", "https", "http", "https,http", "HTTPS"}))
		if request.CrossOrigin(r) != nil || origin == "" {
			return
		}
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.Path != "" {
			t.Fatalf("passes, and is no origin of the web: %q", origin)
		}
		first := strings.TrimSpace(strings.Split(strings.TrimLeft(forwarded, ", "), ",")[0])
		allowed := []string{(&url.URL{Host: host}).Hostname()}
		if trusted {
			allowed = append(allowed, (&url.URL{Host: first}).Hostname())
		}
		if !slices.ContainsFunc(allowed, func(name string) bool { return strings.EqualFold(name, u.Hostname()) }) {
			t.Fatalf("%q passes at %q with %v", origin, host, r.Header)
		}
		standard := func(hostport string) string {
			return strings.TrimSuffix(strings.ToLower(hostport), map[string]string{"http": ":80", "https": ":443"}[u.Scheme])
		}
		if !trusted && standard(u.Host) != standard(host) {
			t.Fatalf("%q passes at %q", origin, host)
		}
		if trusted && u.Scheme == "http" && strings.HasPrefix(strings.ToLower(r.Header.Get("X-Forwarded-Proto")), "https") {
			t.Fatalf("%q passes at a site on HTTPS", origin)
		}
	})
}

// The browser speaks HTTPS if Caddy does, or if a trusted proxy says so first in X-Forwarded-Proto.
func TestIsHTTPS(t *testing.T) {
	for _, c := range []struct {
		fields  []string
		trusted bool // the result from a trusted proxy
	}{
		{nil, false},
		{[]string{"https"}, true}, {[]string{"HTTPS"}, true}, {[]string{" https "}, true},
		{[]string{"https,http"}, true}, {[]string{"https , http"}, true}, {[]string{"https", "http"}, true},
		{[]string{", https"}, true}, {[]string{"", "https"}, true},
		{[]string{"http"}, false}, {[]string{"http,https"}, false}, {[]string{"http", "https"}, false},
		{[]string{"wss"}, true}, {[]string{"ws"}, false},
		{[]string{"https://"}, false}, {[]string{"httpsx"}, false}, {[]string{","}, false}, {[]string{""}, false},
	} {
		for trusted, want := range map[bool]bool{true: c.trusted, false: false} {
			r := from(trusted, "app.example.com")
			r.Header["X-Forwarded-Proto"] = c.fields
			if got := request.IsHTTPS(r); got != want {
				t.Errorf("%q, trusted %t: %t", c.fields, trusted, got)
			}
			r.TLS = &tls.ConnectionState{HandshakeComplete: true}
			if !request.IsHTTPS(r) {
				t.Errorf("%q in TLS: false", c.fields)
			}
		}
	}
	r := from(true, "app.example.com", "X-Forwarded-Proto", "https, http")
	if n := testing.AllocsPerRun(100, func() { request.IsHTTPS(r) }); n > 0 {
		t.Errorf("it allocates %v times for each request", n)
	}
}

// The host and port of a URL decide whether it is of this site. Its path and user do not.
func TestIsOwnOrigin(t *testing.T) {
	for raw, own := range map[string]bool{
		"https://app.example.com:8443/list?id=1": true, "http://app.example.com:8443/": true, "https://APP.example.com:8443": true,
		"https://app.example.com/": true, "https://app.example.com:9443/": false, "https://evil.example:8443/": false,
		"android-app://app.example.com:8443/": false, "/list": false, "": false, "https:///list": false,
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := request.IsOwnOrigin(from(true, "app.example.com", "X-Forwarded-Port", "8443"), u); got != own {
			t.Errorf("%s: %t", raw, got)
		}
	}
}
