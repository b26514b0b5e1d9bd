// Package routes finds the gates and webhooks among Caddy's routes. It reports the paths
// that the routes and matchers around them leave open.
//
// VisitJSON walks through a configuration in JSON, for the doctor. Visit walks
// through the routes that Caddy has provisioned, for a load. Both give the same
// Place for the same configuration, and so the same risks follow. A Place comes from the
// configuration alone: it does not know of the proxies in front of Caddy.
package routes

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

const (
	gateHandler = "websms_otp"

	// WebhookHandler is the name of a webhook among Caddy's handlers.
	WebhookHandler = "websms_webhook"
)

// VisitJSON calls visit for each gate and webhook of a server that was read from
// JSON. It calls decode with the name and the JSON of a handler, and then visit with
// the result of decode and the place of the handler. It skips a handler for which
// decode returns nil. at is the part of the place that all handlers of the server share.
func VisitJSON(s *caddyhttp.Server, at Place, decode func(name string, raw json.RawMessage) any, visit func(handler any, at Place)) {
	visitServer(s, at, jsonView{decode}.read, visit)
}

// Visit calls visit for each gate and webhook of a server that Caddy has
// provisioned, with the module and its place. at is the part of the place that
// all handlers of the server share.
func Visit(s *caddyhttp.Server, at Place, visit func(handler any, at Place)) {
	visitServer(s, at, viewProvisioned, visit)
}

func visitServer(s *caddyhttp.Server, at Place, view func(caddyhttp.RouteList) []routeView, visit func(handler any, at Place)) {
	v := routeVisitor{server: s, named: map[string][]routeView{}, visit: visit}
	for name, route := range s.NamedRoutes {
		v.named[name] = view(caddyhttp.RouteList{*route})
	}
	v.routes(view(s.Routes), at)
	if s.Errors != nil {
		v.routes(view(s.Errors.Routes), at)
	}
	for name, routes := range v.named {
		if !slices.Contains(v.invoked, name) {
			v.routes(routes, at)
		}
	}
}

// routeVisitor walks through the routes of a server.
type routeVisitor struct {
	server  *caddyhttp.Server
	named   map[string][]routeView
	invoked []string // the named routes that another route invokes
	stack   []string // the named routes around the present one: they may invoke each other
	visit   func(handler any, at Place)
}

// routes visits the handlers of routes that stand at a place.
func (v *routeVisitor) routes(routes []routeView, at Place) {
	groups := map[string]string{} // for each group, the condition of its first route without a gate
	for _, route := range routes {
		here := at
		here.own = route.sets
		for _, set := range route.sets {
			for _, m := range set {
				switch m.name {
				case "host":
					here.addHosts(m.values)
				case "path":
					if paths := literals(m.values); paths != nil {
						here.paths = paths // the innermost is the most specific
					}
				}
			}
		}
		here.HTTPS = overTLS(here, v.server)
		condition, conditioned := pathCondition(route.sets)
		if inFront := groups[route.group]; route.group != "" && inFront != "" {
			here.Beside = inFront
		}
		if conditioned && !v.hasGate(route.handlers) {
			switch {
			case route.group != "" && groups[route.group] == "":
				groups[route.group] = condition
			case route.group == "" && at.Beside == "" && v.answers(route.handlers):
				at.Beside = condition
			}
		}
		for _, h := range route.handlers {
			inner := here
			if conditioned {
				inner.outer = condition
			}
			switch {
			case h.own != nil:
				v.visit(h.own, here)
			case h.invokes != "" && !slices.Contains(v.stack, h.invokes):
				v.invoked, v.stack = append(v.invoked, h.invokes), append(v.stack, h.invokes)
				v.routes(v.named[h.invokes], inner)
				v.stack = v.stack[:len(v.stack)-1]
			case h.routes != nil:
				v.routes(h.routes, inner)
			case caches(h.name):
				at.Cached, here.Cached = true, true
			}
		}
	}
}

// inside reports whether such returns true for one of the handlers or for a handler in
// their routes.
func (v *routeVisitor) inside(handlers []handlerView, such func(handlerView) bool) bool {
	return slices.ContainsFunc(handlers, func(h handlerView) bool {
		if such(h) {
			return true
		}
		routes := h.routes
		if h.invokes != "" && !slices.Contains(v.stack, h.invokes) {
			v.stack = append(v.stack, h.invokes)
			defer func() { v.stack = v.stack[:len(v.stack)-1] }()
			routes = v.named[h.invokes]
		}
		return slices.ContainsFunc(routes, func(r routeView) bool { return v.inside(r.handlers, such) })
	})
}

// hasGate reports whether one of the handlers is a gate, or has one in its routes.
func (v *routeVisitor) hasGate(handlers []handlerView) bool {
	return v.inside(handlers, func(h handlerView) bool { return h.isGate() })
}

// answers reports whether one of the handlers serves an application or a folder.
func (v *routeVisitor) answers(handlers []handlerView) bool {
	return v.inside(handlers, func(h handlerView) bool { return h.name == "reverse_proxy" || h.name == "file_server" })
}

// caches reports whether a handler caches answers and serves them to others. It goes
// by the name: `cache`, as in github.com/caddyserver/cache-handler, or `…_cache`.
func caches(handler string) bool { return handler == "cache" || strings.HasSuffix(handler, "_cache") }
