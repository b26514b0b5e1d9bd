package request

import (
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// preference returns the weights of HTML and JSON in the Accept fields of a request,
// from 0 to 1, and whether the fields name HTML. The most specific range that matches
// decides (RFC 9110, 12.5.1).
func preference(fields []string) (html, json float64, named bool) {
	htmlRank, jsonRank := -1, -1
	for _, field := range fields {
		for part := range strings.SplitSeq(field, ",") {
			name, params, _ := strings.Cut(part, ";")
			q := quality(params)
			switch name = strings.ToLower(strings.TrimSpace(name)); name {
			case "text/html", "application/xhtml+xml":
				named = true
				better(&html, &htmlRank, q, 2)
			case "application/json", "application/problem+json":
				better(&json, &jsonRank, q, 2)
			case "text/*":
				better(&html, &htmlRank, q, 1)
			case "application/*":
				better(&json, &jsonRank, q, 1)
			case "*/*":
				better(&html, &htmlRank, q, 0)
				better(&json, &jsonRank, q, 0)
			}
		}
	}
	return html, json, named
}

// better stores the weight q in best if rank, which says how specific its range is, is
// higher than bestRank. At the same rank the higher weight counts.
func better(best *float64, bestRank *int, q float64, rank int) {
	if rank > *bestRank || rank == *bestRank && q > *best {
		*best, *bestRank = q, rank
	}
}

// quality returns the weight (`q=`) in the parameters of a media range. The default is 1.
func quality(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if strings.EqualFold(name, "q") {
			if q, err := strconv.ParseFloat(value, 64); err == nil && q >= 0 && q <= 1 {
				return q
			}
		}
	}
	return 1
}

// PrefersJSON reports whether the gate's endpoints answer a request in JSON. They do so
// if its Accept fields prefer JSON to HTML. If the fields prefer neither, they do so if
// the request sends JSON itself.
func PrefersJSON(r *http.Request) bool {
	html, json, _ := preference(r.Header["Accept"])
	return json > html || json == html && sendsJSON(r)
}

// sendsJSON reports whether the body of r is JSON.
func sendsJSON(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "application/json"
}

// IsNavigation reports whether a browser will show the answer to r as a page in a whole
// tab. Browsers tell this in the Fetch Metadata headers. Chromium names the destination
// "empty" if a service worker fetches the page (seen in version 156). No other script can
// make a request with the mode "navigate".
//
// Older browsers, and browsers on plain HTTP, do not send those headers, so their Accept
// fields decide. jQuery and other libraries mark the requests of scripts with
// X-Requested-With.
func IsNavigation(r *http.Request) bool {
	mode, site, dest := r.Header.Get("Sec-Fetch-Mode"), r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Sec-Fetch-Dest")
	if mode != "" || site != "" || dest != "" {
		return mode == "navigate" && (dest == "" || dest == "document" || dest == "empty")
	}
	html, json, named := preference(r.Header["Accept"])
	return named && html > 0 && html >= json && !strings.EqualFold(r.Header.Get("X-Requested-With"), "XMLHttpRequest")
}

// IsFrame reports whether a browser will show the answer to r in a frame of another page.
// Browsers tell this in the Fetch Metadata headers, on HTTPS and on localhost only.
func IsFrame(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Dest") {
	case "iframe", "frame", "embed", "object":
		return true
	}
	return false
}

// IsCrossSite reports whether a page of another site made the browser send r. Browsers send
// no SameSite=Lax cookie with such a post, so it never shows whether its sender has a
// session. A sibling host, such as www.example.com for app.example.com, is no other site.
// Browsers without Fetch Metadata tell the origin of the page alone. If the page hides it,
// the answer is false.
func IsCrossSite(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "cross-site"
	}
	from, err := url.Parse(r.Header.Get("Origin"))
	if err != nil || from.Host == "" {
		return false
	}
	for _, own := range Authorities(r) {
		if siteOf(own) == siteOf(from.Host) {
			return false
		}
	}
	return true
}

// siteOf returns the registrable domain of a host, such as example.co.nz of
// app.example.co.nz:8080. An IP address, and a host without such a domain, is a site of its
// own.
func siteOf(host string) string {
	host = hostName(host)
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return strings.Trim(host, "[]")
	}
	if domain, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return domain
	}
	return host
}

// Reads reports whether the method of r is GET or HEAD.
func Reads(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead
}
