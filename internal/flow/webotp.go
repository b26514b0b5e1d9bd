package flow

import (
	"net/http"
	"strings"

	"github.com/caddy-websms/websms/internal/request"
)

// webOTPHost returns the host that the message for r is bound to, or "" for none. The
// client chooses the Host header and the name in the TLS handshake, and it may ask for a
// code for the number of another person. So this Caddy must prove that the host is its own.
func (f *Flow) webOTPHost(r *http.Request) string {
	switch f.WebOTP {
	case "off":
		return ""
	case "":
		host := request.Host(r)
		if r.TLS != nil && host == strings.ToLower(r.TLS.ServerName) && f.Proves(host) {
			return host
		}
		return ""
	}
	return f.WebOTP
}
