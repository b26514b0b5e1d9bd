package request

import (
	"net/http"
	"slices"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
)

func TestPreference(t *testing.T) {
	for _, c := range []struct {
		accept     string
		html, json float64
		named      bool
	}{
		{"", 0, 0, false},
		{"*/*", 1, 1, false},
		{"text/html", 1, 0, true},
		{"TEXT/HTML ; charset=utf-8", 1, 0, true},
		{"application/json", 0, 1, false},
		{"application/problem+json;q=0.3", 0, 0.3, false},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", 1, 0.8, true},
		{"text/html;q=0.2, application/json", 0.2, 1, true},
		{"text/html;q=0, */*", 0, 1, true},           // the most specific range decides
		{"*/*;q=0.1, text/*;q=0.5", 0.5, 0.1, false}, // as it does here
		{"application/*;q=0.7, */*;q=0.9", 0.9, 0.7, false},
		{"text/html; q=0.4; level=1", 0.4, 0, true},
		{"text/html;Q=0.4", 0.4, 0, true},
		{"text/html;q=nonsense, application/json;q=7", 1, 1, true},
		{"text/html;q=-1;q=0.5", 0.5, 0, true},
		{"image/*, text/event-stream", 0, 0, false},
		{",;,=,text/html", 1, 0, true},
	} {
		html, json, named := preference([]string{c.accept})
		if html != c.html || json != c.json || named != c.named {
			t.Errorf("preference(%q) is %v, %v, %t; want %v, %v, %t", c.accept, html, json, named, c.html, c.json, c.named)
		}
	}
	if html, json, _ := preference([]string{"text/html;q=0.5", "application/json"}); html != 0.5 || json != 1 {
		t.Errorf("two fields are read as %v, %v", html, json)
	}
}

func TestPrefersJSON(t *testing.T) {
	for _, c := range []struct {
		accept, contentType string
		want                bool
	}{
		{"", "", false},
		{"*/*", "", false},
		{"text/html", "", false},
		{"application/json", "", true},
		{"application/problem+json", "", true},
		{"application/json, text/html;q=0.9", "", true},
		{"application/json;q=0.9, text/html", "", false},
		{"application/json, text/plain, */*", "", false}, // no more than anything else
		{"", "application/json", true},
		{"*/*", "application/json; charset=utf-8", true},
		{"text/html", "application/json", false},
		{"", "application/x-www-form-urlencoded", false},
		{"application/json, text/plain, */*", "application/json", true},
		{"", "application/jsonx", false},
	} {
		r := &http.Request{Header: http.Header{}}
		if c.accept != "" {
			r.Header.Set("Accept", c.accept)
		}
		if c.contentType != "" {
			r.Header.Set("Content-Type", c.contentType)
		}
		if got := PrefersJSON(r); got != c.want {
			t.Errorf("prefersJSON with %q, %q is %t", c.accept, c.contentType, got)
		}
	}
}

// destinations are the values of Sec-Fetch-Dest (Fetch, "destination"), and "" for none.
var destinations = []string{
	"", "audio", "audioworklet", "document", "embed", "empty", "fencedframe", "font", "frame", "iframe", "image", "json",
	"manifest", "object", "paintworklet", "report", "script", "serviceworker", "sharedworker", "speculationrules", "style",
	"text", "track", "video", "webidentity", "worker", "xslt", "IFRAME", "unknown",
}

func request(pairs ...string) *http.Request {
	return &http.Request{Method: http.MethodGet, Host: "app.example.com", Header: harness.With(pairs...)}
}

// Only a document in a whole tab is a navigation, also if a service worker fetches it, and only the
// four elements make a frame.
func TestDestinations(t *testing.T) {
	frames := []string{"embed", "frame", "iframe", "object"}
	for _, dest := range destinations {
		for _, mode := range []string{"", "navigate", "cors", "no-cors", "same-origin", "websocket"} {
			r := request("Sec-Fetch-Mode", mode, "Sec-Fetch-Dest", dest, "Sec-Fetch-Site", "same-origin", "Accept", "text/html")
			if got, want := IsFrame(r), slices.Contains(frames, dest); got != want {
				t.Errorf("mode %q, destination %q: a frame is %t", mode, dest, got)
			}
			want := mode == "navigate" && (dest == "" || dest == "document" || dest == "empty")
			if got := IsNavigation(r); got != want {
				t.Errorf("mode %q, destination %q: a navigation is %t", mode, dest, got)
			}
		}
	}
}

func TestIsNavigation(t *testing.T) {
	const html, all = "text/html,application/xhtml+xml,*/*;q=0.8", "*/*"
	for _, c := range []struct {
		pairs []string
		want  bool
	}{
		{[]string{"Accept", html}, true},
		{[]string{"Accept", all}, false},
		{nil, false},
		{[]string{"Accept", html, "X-Requested-With", "XMLHttpRequest"}, false},
		{[]string{"Accept", html, "X-Requested-With", "xmlhttprequest"}, false},
		{[]string{"Accept", html, "X-Requested-With", ""}, true},
		{[]string{"Accept", html, "X-Requested-With", "nz.example.app"}, true}, // a WebView of Android names its app
		{[]string{"Accept", all, "X-Requested-With", "XMLHttpRequest"}, false},
		// A browser that sends Fetch Metadata knows it better than the others.
		{[]string{"Accept", all, "Sec-Fetch-Mode", "navigate"}, true},
		{[]string{"Accept", html, "Sec-Fetch-Mode", "cors"}, false},
		{[]string{"Accept", html, "Sec-Fetch-Site", "none"}, false},
		{[]string{"Accept", html, "Sec-Fetch-Dest", "document"}, false},
		{[]string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "X-Requested-With", "nz.example.app"}, true},
		{[]string{"Accept", html, "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "X-Requested-With", "XMLHttpRequest"}, false},
	} {
		if got := IsNavigation(request(c.pairs...)); got != c.want {
			t.Errorf("with %q, a navigation is %t", c.pairs, got)
		}
		if IsFrame(request(c.pairs...)) {
			t.Errorf("with %q, it is a frame", c.pairs)
		}
	}
}

// A browser withholds Lax cookies from a post of another site, but not from one of a sibling host.
func TestIsCrossSite(t *testing.T) {
	for _, c := range []struct {
		host  string
		pairs []string
		want  bool
	}{
		{"app.example.com", nil, false},
		{"app.example.com", []string{"Sec-Fetch-Site", "cross-site"}, true},
		{"app.example.com", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://app.example.com"}, true},
		{"app.example.com", []string{"Sec-Fetch-Site", "same-site", "Origin", "https://www.example.com"}, false},
		{"app.example.com", []string{"Sec-Fetch-Site", "same-origin", "Origin", "https://evil.example"}, false},
		{"app.example.com", []string{"Sec-Fetch-Site", "none"}, false},
		// Browsers on plain HTTP tell the origin alone.
		{"app.example.com", []string{"Origin", "http://app.example.com"}, false},
		{"app.example.com", []string{"Origin", "http://app.example.com:8080"}, false},
		{"app.example.com:8080", []string{"Origin", "http://APP.example.com"}, false},
		{"app.example.com", []string{"Origin", "http://www.example.com"}, false},
		{"app.example.com", []string{"Origin", "http://example.com"}, false},
		{"app.example.com", []string{"Origin", "http://idp.example"}, true},
		{"app.example.com", []string{"Origin", "http://example.com.evil.example"}, true},
		{"app.example.co.nz", []string{"Origin", "http://other.co.nz"}, true},
		{"app.example.co.nz", []string{"Origin", "http://www.example.co.nz"}, false},
		{"a.github.io", []string{"Origin", "http://b.github.io"}, true},
		{"intranet", []string{"Origin", "http://intranet"}, false},
		{"intranet", []string{"Origin", "http://sso"}, true},
		{"192.168.1.5", []string{"Origin", "http://192.168.1.5:8080"}, false},
		{"192.168.1.5", []string{"Origin", "http://10.2.1.5"}, true},
		{"[::1]:8080", []string{"Origin", "http://[::1]"}, false},
		{"[::1]:8080", []string{"Origin", "http://[::2]"}, true},
		// A page may hide its origin, also one of this site.
		{"app.example.com", []string{"Origin", "null"}, false},
		{"app.example.com", []string{"Origin", "::"}, false},
	} {
		r := request(c.pairs...)
		r.Host = c.host
		if got := IsCrossSite(r); got != c.want {
			t.Errorf("at %s with %q, it is cross-site: %t", c.host, c.pairs, got)
		}
	}
}
