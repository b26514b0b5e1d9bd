package telemetry

import (
	"errors"

	"go.uber.org/zap"

	"github.com/caddy-websms/websms/connexus"
)

// Sends records the outcomes of sendings: in the metrics, in the audit log, as an event, and
// in the log if a sending failed.
type Sends struct {
	Audit, Log *zap.Logger
	Events     *Emitter // may be nil
}

// Record records the outcome of one sending. e names its challenge. messageID is the ID
// that WebSMS gave the message, and err is nil if WebSMS took it.
func (s Sends) Record(e Entry, messageID string, err error) {
	CountSend(SendResult(err))
	if err == nil {
		e.Write(s.Audit, EntrySent, zap.String("message_id", messageID))
		s.Events.EmitEntry(EventSent, e, "message_id", messageID)
		return
	}
	e.Write(s.Audit, EntryFailed, zap.Error(err))
	s.Events.EmitEntry(EventFailed, e, "error", err.Error())
	s.logFailure(err)
}

// logFailure logs a sending that failed. It logs an error if every later sending will
// fail too until the operator acts, and a warning otherwise.
func (s Sends) logFailure(err error) {
	switch {
	case errors.Is(err, connexus.ErrFunds):
		s.Log.Error("WebSMS refuses to send: the account's funds are used up", zap.Error(err))
	case errors.Is(err, connexus.ErrCredentials):
		s.Log.Error("WebSMS refuses to send: check client_id and client_secret", zap.Error(err))
	default:
		s.Log.Warn("WebSMS did not confirm that it sent the code", zap.Error(err))
	}
}
