// Package request answers questions about one HTTP request: which host and client it
// belongs to, whether its path has two readings, what its sender accepts, and where a
// login may lead back to. It holds no state and knows no gate.
package request

import (
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Host returns the host that r was sent to, in lower case and without its port.
func Host(r *http.Request) string {
	host := r.Host
	if strings.IndexByte(host, ':') >= 0 {
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

// ClientIP returns the client's address by the rules of the server's configuration.
func ClientIP(r *http.Request) string {
	ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return ip
}

// InEarlyData reports whether r was sent before its TLS handshake was complete
// (0-RTT). Then the client's address is not proved, and an attacker who recorded
// the request can send it again (RFC 8470). A trusted proxy says so in the header
// field Early-Data, of which any value counts as 1 (RFC 8470, 5.1).
func InEarlyData(r *http.Request) bool {
	if r.TLS != nil && !r.TLS.HandshakeComplete {
		return true
	}
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return trusted && len(r.Header["Early-Data"]) > 0
}

// Network returns what the client's address counts as: itself, or of an
// IPv6 address its /64, which is the least that one customer is given
// (RFC 6177) and may change within at will.
func Network(r *http.Request) string {
	ip := ClientIP(r)
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

// IsHTTPS reports whether the browser speaks HTTPS: to us, or to a proxy that
// the server's configuration trusts to say so.
func IsHTTPS(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	proto := r.Header["X-Forwarded-Proto"]
	if len(proto) == 0 || !strings.EqualFold(proto[0], "https") {
		return false
	}
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return trusted
}

var domainName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// IsDomainName reports whether a text is a domain name in lower case, without a dot
// at its end.
func IsDomainName(text string) bool { return domainName.MatchString(text) }
