package websms

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-websms/websms/internal/identity"
	"github.com/caddy-websms/websms/session"
)

func init() {
	caddy.RegisterModule(Identity{})
}

// Identity removes the identity headers from requests. These headers tell an
// application which person was verified, and only a gate may set them. A gate
// removes them from the requests that it sees. This handler does so for the
// requests that the gate's matcher passes over, because they reach the same
// application.
//
// The Caddyfile directive `websms_otp` with a matcher adds this handler.
type Identity struct {
	// The names of the headers. Give the same as for the gate.
	Headers HeadersConfig `json:"headers,omitzero"`

	identity identity.Headers
}

// CaddyModule returns the Caddy module information.
func (Identity) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.websms_identity",
		New: func() caddy.Module { return new(Identity) },
	}
}

// Provision sets up the handler.
func (h *Identity) Provision(caddy.Context) error {
	h.identity = h.Headers.identity()
	return within("websms_identity", h.Headers.check())
}

// cookiesVar is the variable of a request in which the first gate keeps the Cookie
// fields, before it removes the gate's cookies. With a doubtful path a request
// passes several gates of a site, and each of them must see the session.
const cookiesVar = "websms.cookies"

// stripCookies removes the gate's cookies from what the handlers behind it see.
func (g *Gate) stripCookies(r *http.Request) {
	if fields := r.Header["Cookie"]; len(fields) > 0 && caddyhttp.GetVar(r.Context(), cookiesVar) == nil {
		caddyhttp.SetVar(r.Context(), cookiesVar, fields)
	}
	session.Strip(r.Header, g.cookies.own)
}

// cookieFields returns the Cookie fields as the client sent them.
func cookieFields(r *http.Request) []string {
	if fields, ok := caddyhttp.GetVar(r.Context(), cookiesVar).([]string); ok {
		return fields
	}
	return r.Header["Cookie"]
}

// ServeHTTP removes the headers, except those that a gate has set.
func (h *Identity) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	h.identity.ScrubOthers(r)
	return next.ServeHTTP(w, r)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Identity)(nil)
	_ caddyhttp.MiddlewareHandler = (*Identity)(nil)
)
