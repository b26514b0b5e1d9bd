package request

import (
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-websms/websms/session"
)

// cookiesVar is the variable of a request in which the first gate keeps the Cookie
// fields, before it removes its own cookies. A request with a doubtful path can pass
// several gates of a site, and each of them must see the session.
const cookiesVar = "websms.cookies"

// Cookies holds the Cookie fields of a request before and after a gate's cookies
// were removed. The zero Cookies is ready for one request.
type Cookies struct {
	sent []string  // as the client sent them
	left [1]string // the rest of a single field; browsers send one field
}

// Strip removes the cookies of a gate from r, so that the handlers behind the gate do not
// see them. own reports whether a cookie of a name is the gate's. CookieFields still
// returns all cookies.
func (c *Cookies) Strip(r *http.Request, own func(name string) bool) {
	if fields := r.Header["Cookie"]; len(fields) > 0 && caddyhttp.GetVar(r.Context(), cookiesVar) == nil {
		c.sent = fields
		caddyhttp.SetVar(r.Context(), cookiesVar, c)
	}
	session.StripTo(r.Header, own, c.left[:])
}

// CookieFields returns the Cookie fields as the client sent them.
func CookieFields(r *http.Request) []string {
	if c, ok := caddyhttp.GetVar(r.Context(), cookiesVar).(*Cookies); ok {
		return c.sent
	}
	return r.Header["Cookie"]
}
