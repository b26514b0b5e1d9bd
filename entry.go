package websms

import (
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/internal/request"
)

func (g *Gate) entry(v *visit, a *ask) entry {
	return entry{v.realm, request.ClientIP(v.r), a.number.E164, a.user, a.id}
}

// log writes one line of the audit log.
func (g *Gate) log(event string, e entry, more ...zap.Field) { e.write(g.audit, event, more...) }

// tell tells Caddy's events app of a decision, in the words of the audit log,
// with one more fact.
func (g *Gate) tell(event string, e entry, name string, fact string) {
	g.events.emit(event, map[string]any{
		"realm": e.realm, "number": e.masked(), "user": e.user, "client_ip": e.clientIP,
		"challenge": e.challenge.String(), name: fact,
	})
}
