package harness

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	whatwg "github.com/nlnwa/whatwg-url/url"
)

// HostileTargets are return targets that would lead elsewhere, or could (CVE-2024-21497
// and its siblings).
var HostileTargets = []string{
	"", "x", "evil.example", "https://evil.example/", "HTTPS:evil.example", "javascript:alert(1)", "data:text/html,x",
	"//evil.example", "///evil.example", "////evil.example/..", "/x//evil.example", "//",
	`/\evil.example`, `\/evil.example`, `\\evil.example`, `/\/evil.example`, `/x\..\..`,
	"/%2fevil.example", "/%2Fevil.example", "/%5cevil.example", "/%5Cevil.example", "/%252fevil.example", "/%25252fevil.example",
	"/%25%32%66evil.example", "/%5c%5cevil.example", "/%2f%2fevil.example", "%2f%2fevil.example", "/x%2f/evil.example",
	"/\t/evil.example", "/\n/evil.example", "/\r\nLocation: https://evil.example/", "/%09/evil.example", "/%0a", "/%0d%0aSet-Cookie:%20a=b",
	"/\x00", "/%00", "/\x7f", "/%7f", "/\u0085x", "/%c2%85x", "/\u2028", "/%e2%80%a8", "/%c0%afevil.example", "/\xc1\x9cevil.example",
	"/%e0%80%afevil.example", "/\xe0\x81\x9cevil.example", "/%f0%80%80%afevil.example", "/%25e0%2580%25afevil.example", "/%f8%80%80%80%af/x",
	" /x", "\t/x", "\u00a0/x", "?x", "#x", ".", "..", "./x", "../x", "@evil.example/", ":80/", ";/x",
}

// HarmlessTargets are return targets that an honest person may ask for.
var HarmlessTargets = []string{
	"/", "/x", "/a/b.php?c=d&e=f#g", "/?", "/a/../b", "/..", "/a%20b", "/%2e%2e/x", "/x?100%", "/x?%zz", "/x?%", "/a+b",
	"/māori", "/m%C4%81ori?q=%F0%9F%A5%9D",
	"/x?next=/y", "/x?next=//evil.example", "/x?q=a:b@c", "/Caf%E9?q=Caf%E9", "/\ufffd", "/%ff", "/Special:Search",
	"/authorize?client_id=a&redirect_uri=https%3A%2F%2Fapp.example.com%2Fcb%3Fx%3D1&state=%7B%22a%22%3A1%7D", "/doc?id=%2f%2fserver%2fshare",
	"/file?p=C%3A%5CTemp%5Cx.txt", "/x?q=%0d%0aSet-Cookie:%20a=b", "/x?q=a%00b", "/x?q=%25252f", "/x?a=1&a=2&&;b", "/x??a?b",
	"/x?q=%c2%85%e2%80%a8",
	"/x?q=%82%a0%83%5c", "/x?q=a+b%20c", "/x#/orders/7?tab=2", `/x#C:\Temp`, "/x?q=1#//evil.example", "/x?#", "/#",
	"/:80/", "/@evil.example", "/javascript:alert(1)", "/;x", "/\"><script>alert(1)</script>",
	"/'", "/{http.request.host}", "/ x",
	"/.websmsx", "/x/.websms", "/x?y=/.websms/login",
}

// MendedTargets are return targets of which a part is dropped or escaped, each with its result.
var MendedTargets = map[string]string{
	"/x?a b":                                "/x",
	"/x?p=C:\\Temp":                         "/x",
	"/x?a\tb":                               "/x",
	"/x?a\nb":                               "/x",
	"/x?\x00":                               "/x",
	"/x?\x7f":                               "/x",
	"/x?\u0085":                             "/x",
	"/x?a b#c":                              "/x#c",
	"/x?a#b c":                              "/x?a",
	"/x#\r\nSet-Cookie: a=b":                "/x",
	"/\xff":                                 "/%FF",
	"/x?q=Caf\xe9":                          "/x?q=Caf%E9",
	"/x#Caf\xe9":                            "/x#Caf%E9",
	"/x?" + strings.Repeat("y", 2000):       "/x",
	"/x#" + strings.Repeat("y", 2000):       "/x",
	"/x?" + strings.Repeat("\xe9", 700):     "/x",
	"/" + strings.Repeat("y", 2000):         "/",
	"/" + strings.Repeat("\xe9", 700):       "/",
	"/x/" + strings.Repeat("y", 2000) + "?": "/",
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

// StaysHere reports whether a return target keeps a browser on the site, as the URL standard
// (WHATWG) has it.
func StaysHere(location string) bool {
	u, err := whatwg.ParseRef("https://app.example.com/login", location)
	return err == nil && u.Protocol() == "https:" && u.Host() == "app.example.com"
}

var escape = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

// DecodeOnce decodes the escapes of s, and leaves a percent sign that begins none.
func DecodeOnce(s string) string {
	return escape.ReplaceAllStringFunc(s, func(e string) string {
		c, _ := strconv.ParseUint(e[1:], 16, 8)
		return string([]byte{byte(c)})
	})
}
