package telemetry

import (
	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/number"
	"github.com/caddy-websms/websms/otp"
)

// AuditLog names the logger of decisions, so that a configuration can send it
// to a place of its own.
type AuditLog struct{}

// CaddyModule returns the name that the logger has.
func (AuditLog) CaddyModule() caddy.ModuleInfo { return caddy.ModuleInfo{ID: "websms.audit"} }

// The events of the audit log.
const (
	EntryRequested = "code_requested"
	EntrySent      = "code_sent"
	EntryFailed    = "send_failed"
	EntryVerified  = "verified"
	EntryWrong     = "wrong_code"
	EntryLocked    = "locked_out"
	EntryLimited   = "rate_limited"
	EntryNoNumber  = "no_number"
	EntryLoggedOut = "logged_out"
	EntryRevoked   = "session_revoked"
	EntryUnlocked  = "number_unlocked"
	EntryRecovery  = "recovery_code_made"
)

// Entry is what the audit log says of whom a decision concerns. It is made
// when a request arrives, so that what happens behind it can still be logged.
type Entry struct {
	Realm, ClientIP, Number, User string
	Challenge                     otp.ID
}

// Masked returns the number as logs and events show it, "" if there is none.
func (e *Entry) Masked() string { return Mask(e.Number) }

// Mask returns a number as logs, events and answers show it, "" if
// there is none.
func Mask(e164 string) string {
	if e164 == "" {
		return ""
	}
	return number.Mask(e164)
}

// Write writes one line to an audit log. The number is masked, and the
// challenge's id opens nothing: what a browser holds is sealed.
func (e *Entry) Write(audit *zap.Logger, event string, more ...zap.Field) {
	line := audit.Check(zap.InfoLevel, event)
	if line == nil {
		return
	}
	fields := []zap.Field{
		zap.String("event", event), zap.String("realm", e.Realm), zap.String("number", e.Masked()),
		zap.String("user", e.User), zap.String("client_ip", e.ClientIP), zap.String("challenge", ""),
	}
	if e.Challenge != (otp.ID{}) {
		fields[5] = zap.String("challenge", e.Challenge.String())
	}
	line.Write(append(fields, more...)...)
}
