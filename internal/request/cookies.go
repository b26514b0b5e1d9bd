package request

import (
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-websms/websms/session"
)

// cookiesVar is the variable of a request in which the first gate keeps the Cookie
// fields, before it removes the gate's cookies. With a doubtful path a request
// passes several gates of a site, and each of them must see the session.
const cookiesVar = "websms.cookies"

// StripCookies removes from r the cookies of a gate, which own tells by their names.
// The handlers behind the gate do not see them. CookieFields still returns them.
func StripCookies(r *http.Request, own func(name string) bool) {
	if fields := r.Header["Cookie"]; len(fields) > 0 && caddyhttp.GetVar(r.Context(), cookiesVar) == nil {
		caddyhttp.SetVar(r.Context(), cookiesVar, fields)
	}
	session.Strip(r.Header, own)
}

// CookieFields returns the Cookie fields as the client sent them.
func CookieFields(r *http.Request) []string {
	if fields, ok := caddyhttp.GetVar(r.Context(), cookiesVar).([]string); ok {
		return fields
	}
	return r.Header["Cookie"]
}
