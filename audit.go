package websms

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/number"
	"github.com/caddy-websms/websms/otp"
)

// auditLog names the logger of decisions, so that a configuration can send it
// to a place of its own.
type auditLog struct{}

// CaddyModule returns the name that the logger has.
func (auditLog) CaddyModule() caddy.ModuleInfo { return caddy.ModuleInfo{ID: "websms.audit"} }

// The events of the audit log.
const (
	eventRequested = "code_requested"
	eventSent      = "code_sent"
	eventFailed    = "send_failed"
	eventVerified  = "verified"
	eventWrong     = "wrong_code"
	eventLimited   = "rate_limited"
	eventLoggedOut = "logged_out"
)

// entry is what the audit log says of whom a decision concerns. It is made
// when a request arrives, so that what happens behind it can still be logged.
type entry struct {
	realm, clientIP, e164 string
	challenge             otp.ID
}

func (g *Gate) entry(r *http.Request, realm, e164 string, challenge otp.ID) entry {
	return entry{realm, clientIP(r), e164, challenge}
}

// log writes one line of the audit log. The number is masked, and the
// challenge's id opens nothing: what a browser holds is sealed.
func (g *Gate) log(event string, e entry, more ...zap.Field) {
	line := g.audit.Check(zap.InfoLevel, event)
	if line == nil {
		return
	}
	fields := []zap.Field{
		zap.String("event", event), zap.String("realm", e.realm), zap.String("number", number.Mask(e.e164)),
		zap.String("user", ""), zap.String("client_ip", e.clientIP), zap.String("challenge", ""),
	}
	if e.challenge != (otp.ID{}) {
		fields[5] = zap.String("challenge", e.challenge.String())
	}
	line.Write(append(fields, more...)...)
}
