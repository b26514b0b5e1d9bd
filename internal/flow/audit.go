package flow

import (
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/internal/cookies"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/internal/telemetry"
)

// entry returns the audit entry for a visit and its challenge.
func (f *Flow) entry(v *visit, cookie *cookies.Challenge) telemetry.Entry {
	return telemetry.Entry{
		Realm: v.Realm, ClientIP: request.ClientIP(v.R), Number: cookie.Number.E164, User: cookie.User, Challenge: cookie.ID,
	}
}

// audit writes one entry to the audit log. name is one of the telemetry.Entry constants.
func (f *Flow) audit(name string, e telemetry.Entry, more ...zap.Field) {
	e.Write(f.Audit, name, more...)
}
