package websms

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
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
	return hostOf(r)
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

// hostOf returns the host that r was sent to, in lower case and without its port.
func hostOf(r *http.Request) string {
	host := r.Host
	if strings.IndexByte(host, ':') >= 0 {
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

// webOTPHost returns the host that the message for r is bound to, or "". The client
// chooses the Host header and the name in the TLS handshake, and may ask for a code
// for another person's number. So the host must be one of ours.
func (g *Gate) webOTPHost(r *http.Request) string {
	switch g.WebOTP {
	case "off":
		return ""
	case "":
		host := hostOf(r)
		if r.TLS != nil && host == strings.ToLower(r.TLS.ServerName) && g.hosts.Load().proves(host) {
			return host
		}
		return ""
	}
	return g.WebOTP
}

// clientIP returns the client's address by the rules of the server's configuration.
func clientIP(r *http.Request) string {
	ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return ip
}

// inEarlyData reports whether r was sent before its TLS handshake was complete
// (0-RTT). Then the client's address is not proved, and an attacker who recorded
// the request can send it again (RFC 8470). A trusted proxy says so in the header
// field Early-Data, of which any value counts as 1 (RFC 8470, 5.1).
func inEarlyData(r *http.Request) bool {
	if r.TLS != nil && !r.TLS.HandshakeComplete {
		return true
	}
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return trusted && len(r.Header["Early-Data"]) > 0
}

// clientNetwork returns what the client's address counts as: itself, or of an
// IPv6 address its /64, which is the least that one customer is given
// (RFC 6177) and may change within at will.
func clientNetwork(r *http.Request) string {
	ip := clientIP(r)
	addr, err := netip.ParseAddr(ip)
	if err != nil { // a socket without addresses: all of them are one
		return "unknown " + ip
	}
	if addr = addr.Unmap().WithZone(""); addr.Is6() {
		if network, err := addr.Prefix(64); err == nil {
			return network.String()
		}
	}
	return addr.String()
}

// ownURL returns the URL of r that lies under the prefix, or nil: the one it
// has, or the one the browser asked for before try_files or the like rewrote it.
func (g *Gate) ownURL(r *http.Request) *url.URL {
	if g.isOwn(r.URL.Path) {
		return r.URL
	}
	if u := asked(r); u != r.URL && g.isOwn(u.Path) {
		return u
	}
	return nil
}

// isOwn reports whether a path lies under the prefix. Paths that only lead
// there when tidied do too: nothing behind us shall see them.
func (g *Gate) isOwn(path string) bool {
	if underPrefix(path, g.Prefix) {
		return true
	}
	if !strings.Contains(path, "/.") && !strings.Contains(path, "//") && !strings.Contains(path, "\\") {
		return false
	}
	return underPrefix(caddyhttp.CleanPath(strings.ReplaceAll(path, "\\", "/"), true), g.Prefix)
}

func underPrefix(path, prefix string) bool {
	return len(path) >= len(prefix) && strings.EqualFold(path[:len(prefix)], prefix) &&
		(len(path) == len(prefix) || path[len(prefix)] == '/')
}
