package websms_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
)

// A browser without a session is redirected to the login page if a person would see it. Other
// clients get an answer for programs.
func TestChallengeIsNegotiated(t *testing.T) {
	const (
		led  = "led to the login"
		told = "told as a program"
		form = "told that the form was not sent"
	)
	chrome := "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
	nav := harness.With("Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "none", "Sec-Fetch-Dest", "document", "Accept", chrome)
	w := harness.Start(t, harness.Setup{})
	b := w.Browser()
	for _, c := range []struct {
		name, method string
		header       http.Header
		want         string
	}{
		{"a navigation", "GET", nav, led},
		{"a navigation that only looks", "HEAD", nav, led},
		{"a form", "POST", nav, form},
		{"a form by another method", "DELETE", nav, form},
		{"a navigation that accepts anything", "GET", harness.With("Sec-Fetch-Mode", "navigate", "Accept", "*/*"), led},
		{"fetch that accepts HTML", "GET", harness.With("Sec-Fetch-Mode", "cors", "Sec-Fetch-Site", "same-origin", "Accept", chrome), told},
		{"an image", "GET", harness.With("Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image", "Accept", "image/*,*/*;q=0.8"), told},
		{"fetch by POST", "POST", harness.With("Sec-Fetch-Mode", "cors", "Accept", chrome), told},
		{"metadata without a mode", "GET", harness.With("Sec-Fetch-Site", "cross-site", "Accept", chrome), told},
		{"an older browser", "GET", harness.With("Accept", chrome), led},
		{"an older browser, looking", "HEAD", harness.With("Accept", chrome), led},
		{"an older browser's form", "POST", harness.With("Accept", chrome), form},
		{"a browser by two fields", "GET", harness.With("Accept", "text/html", "Accept", "*/*;q=0.8"), led},
		{"curl", "GET", harness.With("Accept", "*/*"), told},
		{"a program without Accept", "GET", harness.With(), told},
		{"a program", "GET", harness.With("Accept", "application/json"), told},
		{"a program that takes HTML at need", "GET", harness.With("Accept", "application/json, text/html;q=0.5"), told},
		{"a program that wants no HTML", "GET", harness.With("Accept", "text/html;q=0, */*"), told},
		{"XHR of old", "POST", harness.With("Accept", "application/json, text/javascript, */*; q=0.01", "X-Requested-With",
			"XMLHttpRequest"), told},
		{"a preflight", "OPTIONS",
			harness.With("Sec-Fetch-Mode", "cors", "Origin", "https://other.example", "Access-Control-Request-Method", "PUT"), told},
		{"a WebSocket", "GET", harness.With("Sec-Fetch-Mode", "websocket", "Connection", "Upgrade", "Upgrade", "websocket",
			"Sec-Websocket-Version", "13", "Sec-Websocket-Key", "MDEyMzQ1Njc4OWFiY2RlZg=="), told},
		{"an older browser's WebSocket", "GET", harness.With("Connection", "Upgrade", "Upgrade", "websocket"), told},
		{"server-sent events", "GET", harness.With("Accept", "text/event-stream", "Sec-Fetch-Mode", "cors"), told},
		{"an odd method", "PROPFIND", harness.With(), told},
	} {
		a := b.Do(c.method, "/a/b?c=d", nil, c.header)
		if got := a.Header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s: Cache-Control is %q", c.name, got)
		}
		if len(a.Cookies()) > 0 {
			t.Errorf("%s: sets %v", c.name, a.Cookies())
		}
		challenge := `WebSMS login="/.websms/login"`
		switch c.want {
		case led:
			if a.StatusCode != http.StatusFound || a.Header.Get("Location") != "/.websms/login?rd=%2Fa%2Fb%3Fc%3Dd" {
				t.Errorf("%s: %s to %q; want it %s", c.name, a.Status, a.Header.Get("Location"), c.want)
			}
		case told:
			if c.method == http.MethodHead {
				break
			}
			harness.WantProblem(t, c.name, a, http.StatusUnauthorized, "unverified")
			if got := a.Header.Get("Www-Authenticate"); got != challenge {
				t.Errorf("%s: WWW-Authenticate is %q", c.name, got)
			}
		case form:
			if a.StatusCode != http.StatusUnauthorized || a.Header.Get("Www-Authenticate") != challenge ||
				!strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") || !strings.Contains(a.Text, "Your form was not sent") {
				t.Errorf("%s: %s %s; want it %s", c.name, a.Status, harness.Excerpt(a.Text), c.want)
			}
		}
	}
	// A HEAD request of a program gets no body.
	if a := b.Do("HEAD", "/", nil, harness.API); a.StatusCode != http.StatusUnauthorized || a.Text != "" {
		t.Errorf("HEAD by a program: %s %q", a.Status, a.Text)
	}
	if seen := w.App.Seen(); len(seen) > 0 {
		t.Errorf("the app saw %d requests of strangers", len(seen))
	}
}

// The page for a form that was not sent links to the page of the form, if that page is on this
// site.
func TestFormNotSent(t *testing.T) {
	w := harness.Start(t, harness.Setup{})
	b := w.Browser()
	site, err := url.Parse(w.URL)
	if err != nil {
		t.Fatal(err)
	}
	for referer, want := range map[string]string{
		w.URL + "/timesheet?week=47":          "/.websms/login?rd=%2Ftimesheet%3Fweek%3D47",
		w.URL:                                 "/.websms/login?rd=%2F",
		w.URL + "/.websms/verify":             "/.websms/login?rd=%2F",
		w.URL + "/.websms?x":                  "/.websms/login?rd=%2F",
		"":                                    "/.websms/login?rd=%2F",
		"https://evil.example/timesheet":      "/.websms/login?rd=%2F",
		"http://user@" + site.Host + "//evil": "/.websms/login?rd=%2F",
		"mailto:" + site.Host:                 "/.websms/login?rd=%2F",
		"::not a url::":                       "/.websms/login?rd=%2F",
	} {
		a := b.Do("POST", "/timesheet", url.Values{"hours": {"8"}}, harness.Page, harness.With("Referer", referer))
		if !strings.Contains(a.Text, `href="`+want+`" target="_blank"`) {
			t.Errorf("from %q: %s %s; want a link to %s", referer, a.Status, harness.Excerpt(a.Text), want)
		}
	}
}
