package request

import (
	"net/http"
	"testing"
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
