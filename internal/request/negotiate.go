package request

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// preference returns how much the Accept fields of a request want HTML and
// JSON, from 0 to 1 (RFC 9110, 12.5.1: the most specific range that matches
// decides), and whether they name HTML at all.
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

func better(best *float64, bestRank *int, q float64, rank int) {
	if rank > *bestRank || rank == *bestRank && q > *best {
		*best, *bestRank = q, rank
	}
}

// quality returns the weight among the parameters of a media range.
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

// PrefersJSON reports whether a request to our own endpoints is to be
// answered in JSON: it says so, or it leaves the matter open and sends JSON itself.
func PrefersJSON(r *http.Request) bool {
	html, json, _ := preference(r.Header["Accept"])
	return json > html || json == html && sendsJSON(r)
}

// sendsJSON reports whether the body of r is JSON.
func sendsJSON(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "application/json"
}

// IsNavigation reports whether a browser is about to show the answer to r as
// a page. Browsers say so in Fetch Metadata; older ones, and browsers on plain
// HTTP, only by what they accept.
func IsNavigation(r *http.Request) bool {
	if mode, site := r.Header.Get("Sec-Fetch-Mode"), r.Header.Get("Sec-Fetch-Site"); mode != "" || site != "" || r.Header.Get("Sec-Fetch-Dest") != "" {
		return mode == "navigate"
	}
	html, json, named := preference(r.Header["Accept"])
	return named && html > 0 && html >= json
}

// Reads reports whether r only asks for something.
func Reads(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead
}
