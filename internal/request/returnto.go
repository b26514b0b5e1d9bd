package request

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// maxReturn is the longest return target, in bytes, so that it fits the challenge cookie.
const maxReturn = 2000

// maxDecodings is how often sameOrigin decodes a return target. No honest target is
// escaped that often, and each decoding takes time in proportion to the length.
const maxDecodings = 8

// ReturnTarget returns rd if a browser may go there after a login, and "/" otherwise. A
// return target must be a path of this origin, and must not be under prefix, where the
// gate's own pages are.
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

// LoginURL returns the URL of the number form under prefix, with rd as its return target.
func LoginURL(rd, prefix string) string {
	return prefix + "/login?rd=" + url.QueryEscape(ReturnTarget(rd, prefix))
}

// sameOrigin returns rd if it is a path of this origin, and "/" if there is any doubt. A
// path begins with one slash. It holds no two slashes in a row, no backslash (which
// browsers read as a slash) and no control character. The same must hold however often
// a server behind the gate decodes the path.
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

// samePath reports whether s holds nothing that could lead to another origin. U+2028 and
// U+2029 end a line in some parsers, and U+FFFD stands for a byte that is not UTF-8.
func samePath(s string) bool {
	return !strings.Contains(s, "//") && !strings.ContainsFunc(s, func(r rune) bool {
		return r == '\\' || r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == '\ufffd'
	})
}

// unescape decodes each valid percent escape of s once, and leaves the rest.
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

// unhex returns the value of a hexadecimal digit, or -1.
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

// Asked returns the URL that the browser asked for, from before any rewrite in front of
// the gate.
func Asked(r *http.Request) *url.URL {
	if orig, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && orig.URL != nil {
		return orig.URL
	}
	return r.URL
}

// Target returns the URL that the browser asked for, as a return target.
func Target(r *http.Request) string { return sameOrigin(Asked(r).RequestURI()) }

// RefererTarget returns the page that a form came from, as a return target. It returns
// "/" for a page of another host.
func RefererTarget(r *http.Request) string {
	ref, err := url.Parse(r.Header.Get("Referer"))
	if err != nil || !strings.EqualFold(ref.Host, r.Host) {
		return "/"
	}
	return sameOrigin(ref.RequestURI())
}
