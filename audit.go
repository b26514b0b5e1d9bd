package websms

import (
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
	eventLocked    = "locked_out"
	eventLimited   = "rate_limited"
	eventNoNumber  = "no_number"
	eventLoggedOut = "logged_out"
	eventRevoked   = "session_revoked"
	eventUnlocked  = "number_unlocked"
	eventRecovery  = "recovery_code_made"
)

// entry is what the audit log says of whom a decision concerns. It is made
// when a request arrives, so that what happens behind it can still be logged.
type entry struct {
	realm, clientIP, e164, user string
	challenge                   otp.ID
}

// masked returns the number as logs and events show it, "" if there is none.
func (e *entry) masked() string { return maskedNumber(e.e164) }

// maskedNumber returns a number as logs, events and answers show it, "" if
// there is none.
func maskedNumber(e164 string) string {
	if e164 == "" {
		return ""
	}
	return number.Mask(e164)
}

// write writes one line to an audit log. The number is masked, and the
// challenge's id opens nothing: what a browser holds is sealed.
func (e *entry) write(audit *zap.Logger, event string, more ...zap.Field) {
	line := audit.Check(zap.InfoLevel, event)
	if line == nil {
		return
	}
	fields := []zap.Field{
		zap.String("event", event), zap.String("realm", e.realm), zap.String("number", e.masked()),
		zap.String("user", e.user), zap.String("client_ip", e.clientIP), zap.String("challenge", ""),
	}
	if e.challenge != (otp.ID{}) {
		fields[5] = zap.String("challenge", e.challenge.String())
	}
	line.Write(append(fields, more...)...)
}
