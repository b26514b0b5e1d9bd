package flow

import (
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/internal/cookies"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/internal/telemetry"
)

func (f *Flow) entry(v *visit, a *cookies.Challenge) telemetry.Entry {
	return telemetry.Entry{Realm: v.Realm, ClientIP: request.ClientIP(v.R), Number: a.Number.E164, User: a.User, Challenge: a.ID}
}

// log writes one line of the audit log.
func (f *Flow) log(event string, e telemetry.Entry, more ...zap.Field) {
	e.Write(f.Audit, event, more...)
}

// tell tells Caddy's events app of a decision, in the words of the audit log,
// with one more fact.
func (f *Flow) tell(event string, e telemetry.Entry, name string, fact string) {
	f.Events.Emit(event, map[string]any{
		"realm": e.Realm, "number": e.Masked(), "user": e.User, "client_ip": e.ClientIP,
		"challenge": e.Challenge.String(), name: fact,
	})
}
