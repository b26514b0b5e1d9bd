package websms

import (
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/internal/risk"
	"github.com/caddy-websms/websms/internal/routes"
)

// maxBoundHost is the most characters of a host that messages are bound to by default.
// Below a wildcard a client chooses the host, and a message of more than 160 characters
// is billed as two.
const maxBoundHost = 64

// boundHosts are the hosts that this Caddy can prove to be its own.
type boundHosts struct {
	site []string // the hosts of the site's address: names, or wildcards of one label
	// certified reports whether Caddy manages a certificate for a host, or has
	// loaded one, other than on demand.
	certified func(host string) bool
}

// proves reports whether messages may be bound to host. A nil *boundHosts
// proves none.
func (b *boundHosts) proves(host string) bool {
	if b == nil || len(host) > maxBoundHost || !request.IsDomainName(host) {
		return false
	}
	for _, own := range b.site {
		if own == host {
			return true
		}
		if parent, ok := strings.CutPrefix(own, "*."); ok && strings.Contains(parent, ".") {
			if _, under, found := strings.Cut(host, "."); found && under == parent {
				return true
			}
		}
	}
	return b.certified != nil && b.certified(host)
}

// placeGates finds the places of the gates and webhooks among the routes. It logs
// the risks of these places, and tells each gate which hosts it may bind
// messages to.
//
// It is called when all apps of a configuration have started. Routes and
// certificates are known only then: a gate is provisioned before the routes
// around it, and the TLS app writes to its list of certificates while the
// first listeners serve already.
func (a *App) placeGates() {
	app, err := a.ctx.AppIfConfigured("http")
	server, ok := app.(*caddyhttp.App)
	if err != nil || !ok {
		return
	}
	certified := func(string) bool { return false }
	if app, err := a.ctx.AppIfConfigured("tls"); err == nil {
		certified = app.(*caddytls.TLS).HasCertificateForSubject
	}
	hosts := map[*Gate]*boundHosts{}
	for name, s := range server.Servers {
		// A provisioned server no longer shows whether it trusts proxies, so a load
		// cannot tell that risk. The doctor does.
		at := routes.Place{Listen: s.Listen, Proxied: true}
		routes.Visit(s, at, func(handler any, at routes.Place) {
			fields := []zap.Field{zap.String("server", name), zap.Strings("hosts", at.Hosts)}
			switch h := handler.(type) {
			case *Gate:
				if hosts[h] == nil {
					hosts[h] = &boundHosts{certified: certified}
				}
				hosts[h].site = append(hosts[h].site, append(at.Hosts[:len(at.Hosts):len(at.Hosts)], at.Wildcards...)...)
				risk.Log(h.logger, h.placeRisks(&at), fields...)
			case *Webhook:
				risk.Log(h.logger, h.risks(&at), fields...)
			}
		})
	}
	for gate, own := range hosts {
		gate.hosts.Store(own)
	}
	for _, gate := range a.gates { // the gates that routes.Visit has not found
		gate.hosts.CompareAndSwap(nil, &boundHosts{certified: certified})
	}
}
