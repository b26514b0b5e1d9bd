package websms

import (
	"net/http"
	"strings"

	"github.com/caddy-websms/websms/internal/request"
)

// realm returns what sessions of r are good for. By default that is the host
// it was sent to, so a session of one site never opens another.
func (g *Gate) realm(r *http.Request) string {
	if g.Realm != "" {
		return g.Realm
	}
	if g.Session.Domain != "" {
		return g.Session.Domain
	}
	return request.Host(r)
}

// seal returns what cookies of a realm are sealed for. A realm that was named
// is never the host of a request, whatever its Host header says: no header
// holds a NUL.
func (g *Gate) seal(realm string) string {
	if g.named != "" {
		return g.named
	}
	return realm
}

// namedSeal returns what cookies of a configured realm are sealed for, or "" if
// there is none.
func (g *Gate) namedSeal() string {
	switch {
	case g.Realm != "":
		return "\x00realm " + g.Realm
	case g.Session.Domain != "":
		return "\x00domain " + g.Session.Domain
	}
	return ""
}

// webOTPHost returns the host that the message for r is bound to, or "". The client
// chooses the Host header and the name in the TLS handshake, and may ask for a code
// for another person's number. So the host must be one of ours.
func (g *Gate) webOTPHost(r *http.Request) string {
	switch g.WebOTP {
	case "off":
		return ""
	case "":
		host := request.Host(r)
		if r.TLS != nil && host == strings.ToLower(r.TLS.ServerName) && g.hosts.Load().proves(host) {
			return host
		}
		return ""
	}
	return g.WebOTP
}
