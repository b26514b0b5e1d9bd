// Package request answers questions about one HTTP request: its host and its client,
// whether its path has two readings, which answers its sender accepts, and which return
// target a login may have. It holds no state and knows no gate.
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
func Host(r *http.Request) string { return hostName(r.Host) }

// hostName returns the host of an authority, such as app.example.com of
// App.Example.com:8443.
func hostName(host string) string {
	if strings.IndexByte(host, ':') >= 0 {
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

// ClientIP returns the client's address as Caddy finds it, with the server's option
// trusted_proxies.
func ClientIP(r *http.Request) string {
	ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return ip
}

// InEarlyData reports whether r was sent before its TLS handshake was complete
// (0-RTT). Then the client's address is not proved, and an attacker can send a recorded
// request again (RFC 8470). A trusted proxy says so in the header field Early-Data. Any
// value of that field counts as 1 (RFC 8470, 5.1).
func InEarlyData(r *http.Request) bool {
	if r.TLS != nil && !r.TLS.HandshakeComplete {
		return true
	}
	return fromTrustedProxy(r) && len(r.Header["Early-Data"]) > 0
}

// Network returns the name under which limits per IP count a client. The name is an IPv4
// address, or the /64 of an IPv6 address. A provider gives each customer at least a /64
// (RFC 6177), and the customer can use any address in it.
func Network(r *http.Request) string {
	ip := ClientIP(r)
	addr, err := netip.ParseAddr(ip)
	if err != nil { // a socket without addresses: all its clients count together
		return "unknown " + ip
	}
	if addr = addr.Unmap().WithZone(""); addr.Is6() {
		if network, err := addr.Prefix(64); err == nil {
			return network.String()
		}
	}
	return addr.String()
}

// IsHTTPS reports whether the browser speaks HTTPS, to Caddy or to a proxy that the
// server's option trusted_proxies names. A proxy tells so in X-Forwarded-Proto. Some, such
// as Traefik, write wss for a WebSocket.
func IsHTTPS(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	proto := forwarded(r, "X-Forwarded-Proto")
	return (strings.EqualFold(proto, "https") || strings.EqualFold(proto, "wss")) && fromTrustedProxy(r)
}

// domainName is a host name of ASCII letters, digits and hyphens in lower case.
var domainName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// IsDomainName reports whether a text is a domain name in lower case, without a dot
// at its end.
func IsDomainName(text string) bool { return domainName.MatchString(text) }
