package harness

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// HostileTargets are return targets that would lead elsewhere, or could (CVE-2024-21497
// and its siblings).
var HostileTargets = []string{
	"", "x", "evil.example", "https://evil.example/", "HTTPS:evil.example", "javascript:alert(1)", "data:text/html,x",
	"//evil.example", "///evil.example", "////evil.example/..", "/x//evil.example", "//", "/x?next=//evil.example",
	`/\evil.example`, `\/evil.example`, `\\evil.example`, `/\/evil.example`, `/x\..\..`,
	"/%2fevil.example", "/%2Fevil.example", "/%5cevil.example", "/%5Cevil.example", "/%252fevil.example", "/%25252fevil.example",
	"/%25%32%66evil.example", "/%5c%5cevil.example", "/%2f%2fevil.example", "%2f%2fevil.example", "/x%2f/evil.example",
	"/\t/evil.example", "/\n/evil.example", "/\r\nLocation: https://evil.example/", "/%09/evil.example", "/%0a", "/%0d%0aSet-Cookie:%20a=b",
	"/\x00", "/%00", "/\x7f", "/%7f", "/\u0085x", "/%c2%85x", "/\u2028", "/%e2%80%a8", "/\ufffd", "/\xff", "/%ff", "/%c0%afevil.example",
	" /x", "\t/x", "\u00a0/x", "?x", "#x", ".", "..", "./x", "../x", "@evil.example/", ":80/", ";/x",
}

// HarmlessTargets are return targets that an honest person may ask for.
var HarmlessTargets = []string{
	"/", "/x", "/a/b.php?c=d&e=f#g", "/?", "/a/../b", "/..", "/a%20b", "/%2e%2e/x", "/x?100%", "/x?%zz", "/x?%", "/a+b",
	"/māori", "/m%C4%81ori?q=%F0%9F%A5%9D",
	"/x?next=/y", "/x?q=a:b@c", "/:80/", "/@evil.example", "/javascript:alert(1)", "/;x", "/\"><script>alert(1)</script>",
	"/'", "/{http.request.host}", "/ x",
	"/.websmsx", "/x/.websms", "/x?y=/.websms/login",
}

// OwnTargets are return targets that lead to the gate's own pages. A login must not end
// there.
var OwnTargets = []string{
	"/.websms", "/.websms/", "/.websms/login", "/.websms/logout?x", "/.websms?x", "/.websms#x", "/.WEBSMS/login",
	"/%2ewebsms/login", "/%2Ewebsms",
	"/.websms%2flogin", "/x/../.websms/login", "/x/%2e%2e/.websms/login", "/./.websms", "/%2e/.websms/verify",
	"/x/..%2f.websms", "/.websms/../x",
}

// AsRequest returns a request for a raw target as Caddy has it, or nil if
// net/http would refuse it.
func AsRequest(target string) *http.Request {
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.URL, r.RequestURI = u, target
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, new(caddyhttp.Server))
}

// StaysHere reports whether a return target keeps a browser on the site. It reads the
// target as the URL standard says: it drops tabs, line ends, and white space at both ends,
// and reads a backslash as a slash.
func StaysHere(location string) bool {
	const origin = "https://app.example.com"
	s := strings.Map(func(r rune) rune {
		switch r {
		case '\t', '\n', '\r':
			return -1
		case '\\':
			return '/'
		}
		return r
	}, strings.TrimFunc(location, func(r rune) bool { return r <= ' ' }))
	if !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") {
		return false
	}
	base, err := url.Parse(origin)
	if err != nil {
		return false
	}
	clean, _, _ := strings.Cut(s, "?")
	clean, _, _ = strings.Cut(clean, "#")
	u := base.JoinPath(path.Clean(DecodeOnce(clean)))
	return u.Scheme+"://"+u.Host == origin
}

var escape = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

// DecodeOnce decodes the escapes of s, and leaves a percent sign that begins none.
func DecodeOnce(s string) string {
	return escape.ReplaceAllStringFunc(s, func(e string) string {
		c, _ := strconv.ParseUint(e[1:], 16, 8)
		return string([]byte{byte(c)})
	})
}
