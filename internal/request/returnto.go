package request

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// maxReturn bounds a return target, in bytes, so that it fits the challenge cookie.
const maxReturn = 2000

// maxDecodings bounds how often a return target is decoded. Each takes time in
// proportion to its length, and no honest one is escaped that often.
const maxDecodings = 8

// ReturnTarget returns rd if a browser may be led there after a login, else "/". It
// must be a path of this origin, and not one of the gate's own pages, which lie
// under prefix.
func ReturnTarget(rd, prefix string) string {
	rd = sameOrigin(rd)
	path := rd
	if i := strings.IndexAny(rd, "?#"); i >= 0 {
		path = rd[:i]
	}
	if isOwn(unescape(path), prefix) {
		return "/"
	}
	return rd
}

// LoginURL returns the way to the number form under prefix, and from there to rd.
func LoginURL(rd, prefix string) string {
	return prefix + "/login?rd=" + url.QueryEscape(ReturnTarget(rd, prefix))
}

// sameOrigin returns rd if it is a path of this origin, and "/" if there is
// any doubt: one slash in front, no second slash behind another, no backslash
// (which browsers take for a slash), no control character, in none of the
// decodings that something behind us could give it.
func sameOrigin(rd string) string {
	if len(rd) > maxReturn || !strings.HasPrefix(rd, "/") {
		return "/"
	}
	form := rd
	for range maxDecodings {
		if !samePath(form) {
			return "/"
		}
		decoded := unescape(form)
		if decoded == form {
			return rd
		}
		form = decoded
	}
	return "/"
}

func samePath(s string) bool {
	return !strings.Contains(s, "//") && !strings.ContainsFunc(s, func(r rune) bool {
		return r == '\\' || r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == '\ufffd'
	})
}

// unescape decodes the percent signs of s that stand for something, once.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if hi, lo := unhex(s[i+1]), unhex(s[i+2]); hi >= 0 && lo >= 0 {
				out.WriteByte(byte(hi<<4 | lo))
				i += 2
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// Asked returns the URL that the browser asked for, before any rewrite in
// front of us.
func Asked(r *http.Request) *url.URL {
	if orig, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && orig.URL != nil {
		return orig.URL
	}
	return r.URL
}

// Target returns what the browser asked for as a return target.
func Target(r *http.Request) string { return sameOrigin(Asked(r).RequestURI()) }

// RefererTarget returns the page that a form came from, if it is one of ours.
func RefererTarget(r *http.Request) string {
	ref, err := url.Parse(r.Header.Get("Referer"))
	if err != nil || !strings.EqualFold(ref.Host, r.Host) {
		return "/"
	}
	return sameOrigin(ref.RequestURI())
}
