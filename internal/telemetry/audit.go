package telemetry

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/number"
	"github.com/caddy-websms/websms/otp"
)

// AuditLog gives the audit log the logger name `websms.audit`, so that a configuration
// can write it to a file of its own. Use it as logtext.Escaping(ctx.Logger(AuditLog{})).
type AuditLog struct{}

// CaddyModule returns the name of the logger.
func (AuditLog) CaddyModule() caddy.ModuleInfo { return caddy.ModuleInfo{ID: "websms.audit"} }

// The entries of the audit log.
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

// Entry has the fields that all audit entries share: the subject of the decision and the
// origin of the request. A caller can keep it after the request has ended, and write
// another entry with it.
type Entry struct {
	Realm, ClientIP, Number, User string // Number is in E.164, or ""
	Challenge                     otp.ID // the zero ID if there is no challenge
}

// Note returns the entry as text, without the number and the challenge. EntryOf reads it.
func (e Entry) Note() string {
	text, err := json.Marshal(note{e.Realm, e.ClientIP, e.User})
	if err != nil {
		return "" // cannot happen: strings have a JSON form
	}
	return string(text)
}

// note is the content of Entry.Note.
type note struct{ Realm, IP, User string }

// EntryOf returns the entry of a second try.
func EntryOf(t otp.SecondTry) Entry {
	var n note
	_ = json.Unmarshal([]byte(t.Note), &n) // otherwise the entry has the number alone
	return Entry{Realm: n.Realm, ClientIP: n.IP, User: n.User, Number: t.Number, Challenge: t.Challenge}
}

// Masked returns the number as logs and events show it, or "" if there is none.
func (e *Entry) Masked() string { return Mask(e.Number) }

// Mask returns a number as logs, events and answers show it, or "" if there is none.
func Mask(e164 string) string {
	if e164 == "" {
		return ""
	}
	return number.Mask(e164)
}

// Write writes one entry to an audit log. name is one of the Entry constants. The number
// is masked. The ID of a challenge is no secret: a browser must show the sealed cookie.
func (e *Entry) Write(audit *zap.Logger, name string, more ...zap.Field) {
	line := audit.Check(zap.InfoLevel, name)
	if line == nil {
		return
	}
	challenge := ""
	if e.Challenge != (otp.ID{}) {
		challenge = e.Challenge.String()
	}
	fields := []zap.Field{
		zap.String("event", name), zap.String("realm", e.Realm), zap.String("number", e.Masked()),
		zap.String("user", e.User), zap.String("client_ip", e.ClientIP), zap.String("challenge", challenge),
	}
	line.Write(append(fields, more...)...)
}
