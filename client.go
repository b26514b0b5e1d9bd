package websms

import (
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

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

// isHTTPS reports whether the browser speaks HTTPS: to us, or to a proxy that
// the server's configuration trusts to say so.
func isHTTPS(r *http.Request) bool {
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

// isDomainName reports whether a text is a domain name in lower case, without a dot
// at its end.
func isDomainName(text string) bool { return domainName.MatchString(text) }
