package websms

import (
	"maps"
	"slices"
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

// checkHosts returns an error if a gate of the server shares its session across a domain,
// and a host of the site is outside of it. Browsers would refuse the session cookie there,
// and nobody would get in.
//
// Gates call it while Caddy provisions them. The routes around them, which name the hosts,
// are then still in JSON. The first call looks at all gates of the server.
func (a *App) checkHosts(server *caddyhttp.Server) (err error) {
	if a.checked[server] {
		return nil
	}
	if a.checked == nil {
		a.checked = map[*caddyhttp.Server]bool{}
	}
	a.checked[server] = true
	routes.VisitJSON(server, routes.Place{}, decodeHandler, func(handler any, at routes.Place) {
		g, ok := handler.(*Gate)
		if !ok || err != nil || g.Session.Domain == "" {
			return
		}
		if host := at.Outside(g.Session.Domain); host != "" {
			err = within("session", wrongf("domain", "is %q, and the site's host %s is not below it, so browsers refuse the cookie there: "+
				"give a domain that all hosts of the site share, or give %s a site of its own", g.Session.Domain, host, host))
		}
	})
	return err
}

// placedGate is a gate at one of its places among the routes.
type placedGate struct {
	*Gate
	server string
	at     routes.Place
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
	var placed []placedGate
	fields := func(server string, at *routes.Place) []zap.Field {
		return []zap.Field{zap.String("server", server), zap.Strings("hosts", at.Hosts)}
	}
	for _, name := range slices.Sorted(maps.Keys(server.Servers)) {
		s := server.Servers[name]
		// A provisioned server no longer shows whether it trusts proxies, so a load
		// cannot tell that risk. The doctor does.
		at := routes.Place{Listen: s.Listen, HTTPPort: server.HTTPPort, Proxied: true}
		routes.Visit(s, at, func(handler any, at routes.Place) {
			switch h := handler.(type) {
			case *Gate:
				if hosts[h] == nil {
					hosts[h] = &boundHosts{certified: certified}
				}
				hosts[h].site = append(hosts[h].site, append(at.Hosts[:len(at.Hosts):len(at.Hosts)], at.Wildcards...)...)
				placed = append(placed, placedGate{h, name, at})
			case *Webhook:
				risk.Log(h.logger, h.risks(&at), fields(name, &at)...)
			}
		})
	}
	for i, g := range placed {
		risk.Log(g.logger, append(g.placeRisks(&g.at), g.risksAmong(placed[:i], placed[i+1:])...), fields(g.server, &g.at)...)
	}
	for gate, own := range hosts {
		gate.hosts.Store(own)
	}
	for _, gate := range a.gates { // the gates that routes.Visit has not found
		gate.hosts.CompareAndSwap(nil, &boundHosts{certified: certified})
	}
}
