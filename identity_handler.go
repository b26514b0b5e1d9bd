package websms

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-websms/websms/internal/identity"
)

func init() {
	caddy.RegisterModule(Identity{})
}

// Identity removes the identity headers from requests. These headers tell an
// application which person was verified, and only a gate may set them. A gate
// removes them from the requests that it sees. This handler removes them from
// the requests that the gate's matcher does not match, because those requests
// reach the same application.
//
// The Caddyfile directive `websms_otp` with a matcher adds this handler.
type Identity struct {
	// The names of the headers. Give the same names as for the gate.
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
