package flow

import (
	"net/http"
	"strings"

	"github.com/caddy-websms/websms/internal/request"
)

// webOTPHost returns the host that the message for r is bound to, or "". The client
// chooses the Host header and the name in the TLS handshake, and may ask for a code
// for another person's number. So the host must be one of ours.
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
