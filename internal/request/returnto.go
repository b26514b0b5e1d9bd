package request

import (
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// maxReturn is the longest return target, in bytes, so that it fits the challenge cookie.
const maxReturn = 2000

// maxDecodings is how often sameOrigin decodes the path of a return target. No honest path
// is escaped that often, and each decoding takes time in proportion to the length.
const maxDecodings = 8

// ReturnTarget returns rd as a target to which a browser may go after a login. It returns
// "/" if the path of rd could lead to another origin, or is under prefix, where the gate's
// own pages are. A query stays byte for byte. One that no browser sends, with a raw space
// for example, is dropped.
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

// sameOrigin returns rd if its path keeps a browser on this origin, and "/" otherwise. The
// query cannot lead to another origin, so it may hold any escapes, such as a whole URL. A
// query or a fragment with a raw control character or space is dropped, and so is a query
// with a raw backslash. A target that is longer than maxReturn loses its query and its
// fragment.
func sameOrigin(rd string) string {
	rest, fragment, hasFragment := strings.Cut(rd, "#")
	path, query, hasQuery := strings.Cut(rest, "?")
	if len(path) > maxReturn || !isSamePath(path) {
		return "/"
	}
	path = escapeInvalid(path)
	target := path
	if hasQuery && !strings.ContainsFunc(query, mustBeEscaped) {
		target += "?" + escapeInvalid(query)
	}
	// Browsers do not escape a backslash in a fragment.
	if hasFragment && !strings.ContainsFunc(fragment, func(r rune) bool { return r != '\\' && mustBeEscaped(r) }) {
		target += "#" + escapeInvalid(fragment)
	}
	if len(target) > maxReturn {
		target = path
	}
	if len(target) > maxReturn {
		return "/"
	}
	return target
}

// mustBeEscaped reports whether r may not stand as it is in a query: a control character,
// a space or a backslash.
func mustBeEscaped(r rune) bool { return r == ' ' || r == '\\' || unicode.IsControl(r) }

// isSamePath reports whether a path begins with one slash, and holds nothing that could
// lead to another origin: no two slashes in a row, no backslash (which browsers read as a
// slash) and no control character. The same must hold however often a server behind the
// gate decodes the path.
func isSamePath(path string) bool {
	if !strings.HasPrefix(path, "/") {
		return false
	}
	for range maxDecodings {
		if !isClean(path) {
			return false
		}
		decoded := unescape(path)
		if decoded == path {
			return true
		}
		path = decoded
	}
	return false
}

// isClean reports whether a path, decoded or not, holds nothing that a server or a browser
// could read as the beginning of another origin or of another header. U+2028 and U+2029
// end a line in some parsers.
func isClean(path string) bool {
	if strings.Contains(path, "//") || isOverlong(path) {
		return false
	}
	return !strings.ContainsFunc(path, func(r rune) bool {
		return r == '\\' || unicode.IsControl(r) || r == '\u2028' || r == '\u2029'
	})
}

// isOverlong reports whether a path holds a character in more bytes than UTF-8 needs for
// it. UTF-8 has no such forms, but careless decoders read an ASCII character from them,
// such as a slash from C0 AF or E0 80 AF.
func isOverlong(path string) bool {
	for i := range len(path) {
		next := byte(0)
		if i+1 < len(path) {
			next = path[i+1]
		}
		below := byte(0) // a second byte from 0x80 to below this is overlong
		switch path[i] {
		case 0xc0, 0xc1:
			return true
		case 0xe0:
			below = 0xa0
		case 0xf0:
			below = 0x90
		case 0xf8:
			below = 0x88
		case 0xfc:
			below = 0x84
		}
		if 0x80 <= next && next < below {
			return true
		}
	}
	return false
}

// escapeInvalid escapes the bytes of s that are not UTF-8, as in old links to `?q=Caf\xe9`.
// No page and no JSON can hold such bytes as they are.
func escapeInvalid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); {
		_, size := utf8.DecodeRuneInString(s[i:])
		if size == 1 && s[i] >= utf8.RuneSelf {
			out.WriteString(EscapeNonASCII(s[i : i+1]))
		} else {
			out.WriteString(s[i : i+size])
		}
		i += size
	}
	return out.String()
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

// RefererTarget returns the page that a form came from, as a return target. For one of the
// gate's own pages under prefix, that is the return target in its address. For a page of
// another host it is "/".
func RefererTarget(r *http.Request, prefix string) string {
	ref, err := url.Parse(r.Header.Get("Referer"))
	if err != nil || !IsOwnOrigin(r, ref) {
		return "/"
	}
	if isOwn(ref.Path, prefix) {
		return ReturnTarget(ref.Query().Get("rd"), prefix)
	}
	return sameOrigin(ref.RequestURI())
}

// TargetOf returns where the sender of r wants to go, as a return target. For one of the
// gate's own pages under prefix it is in the query. Otherwise it is the page that r asks
// for, or for a post the page that it came from.
func TargetOf(r *http.Request, prefix string) string {
	own := OwnURL(r, prefix)
	switch {
	case own == nil && Reads(r):
		return ReturnTarget(Target(r), prefix)
	case own != nil && own.Query().Has("rd"):
		return ReturnTarget(own.Query().Get("rd"), prefix)
	}
	return RefererTarget(r, prefix)
}
