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
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

const (
	gateHandler = "websms_otp"

	// WebhookHandler is the name of a webhook among Caddy's handlers.
	WebhookHandler = "websms_webhook"

	// IdentityHandler is the name of the handler that removes the identity headers.
	IdentityHandler = "websms_identity"
)

// VisitJSON calls visit for each gate and webhook of a server that was read from
// JSON. It calls decode with the name and the JSON of a handler, and then visit with
// the result of decode and the place of the handler. It skips a handler for which
// decode returns nil. at is the part of the place that all handlers of the server share.
//
// The server may also be one that Caddy is provisioning: its routes are in JSON until
// Caddy has loaded them.
func VisitJSON(s *caddyhttp.Server, at Place, decode func(name string, raw json.RawMessage) any, visit func(handler any, at Place)) {
	visitServer(s, at, reader{decode}.read, visit)
}

// Visit calls visit for each gate and webhook of a server that Caddy has
// provisioned, with the module and its place. at is the part of the place that
// all handlers of the server share.
func Visit(s *caddyhttp.Server, at Place, visit func(handler any, at Place)) {
	visitServer(s, at, reader{}.read, visit)
}

func visitServer(s *caddyhttp.Server, at Place, view func(caddyhttp.RouteList) []routeView, visit func(handler any, at Place)) {
	v := routeVisitor{server: s, named: map[string][]routeView{}, visit: visit}
	for name, route := range s.NamedRoutes {
		v.named[name] = view(caddyhttp.RouteList{*route})
	}
	main := view(s.Routes)
	v.findErrors(main, nil)
	var errors []routeView
	if s.Errors != nil {
		errors = view(s.Errors.Routes)
		v.handed(errors, nil, exposure{Where: "handle_errors"})
	}
	v.routes(main, at)
	apart := at
	apart.apart = true
	v.routes(errors, apart)
	for _, name := range slices.Sorted(maps.Keys(v.named)) {
		if !slices.Contains(v.invoked, name) {
			v.routes(v.named[name], at)
		}
	}
}

// routeVisitor walks through the routes of a server.
type routeVisitor struct {
	server  *caddyhttp.Server
	named   map[string][]routeView
	invoked []string // the named routes that another route invokes
	stack   []string // the named routes around the present one: they may invoke each other
	exposed []Exposed
	visit   func(handler any, at Place)
}

// routes visits the handlers of routes that stand at a place.
func (v *routeVisitor) routes(routes []routeView, at Place) {
	groups := map[string]string{} // for each group, the condition of its first route without a gate
	for i, route := range routes {
		here := at
		here.own = route.sets
		here.scope = narrowed(at.scope, route.sets)
		here.trail = v.trail(at.trail, routes[:i], route)
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
			apart := inner
			apart.apart = true
			switch {
			case h.isVisited():
				v.visit(h.own, v.seen(here))
			case h.invokes != "" && !slices.Contains(v.stack, h.invokes):
				v.invoked = append(v.invoked, h.invokes)
				v.inNamed(h.invokes, func(routes []routeView) { v.routes(routes, inner) })
			case h.routes != nil:
				v.routes(h.routes, inner)
			case caches(h.name):
				at.Cached, here.Cached = true, true
			}
			v.routes(h.errors, apart)
			for _, part := range h.responses {
				v.routes(part.routes, apart)
			}
			here.trail = append(slices.Clip(here.trail), v.steps(h, nil)...)
		}
	}
}

// seen returns a place with the applications that error routes of its hosts hand
// requests to.
func (v *routeVisitor) seen(at Place) Place {
	for _, e := range v.exposed {
		if len(e.hosts) == 0 || at.SameHost(&Place{scope: e.hosts}) != "" {
			at.exposed = append(slices.Clip(at.exposed), e)
		}
	}
	return at
}

// inNamed calls do with the routes of a named route, while the route is on the stack.
func (v *routeVisitor) inNamed(name string, do func([]routeView)) {
	v.stack = append(v.stack, name)
	do(v.named[name])
	v.stack = v.stack[:len(v.stack)-1]
}

// within returns the routes that a handler runs: those of a subroute, or the named route
// that it invokes. It calls do with them once, or not at all.
func (v *routeVisitor) within(h handlerView, do func([]routeView)) {
	switch {
	case h.invokes != "" && !slices.Contains(v.stack, h.invokes):
		v.inNamed(h.invokes, do)
	case h.routes != nil:
		do(h.routes)
	}
}

// trail returns the steps of a request on its way into a route: first outer, then the
// routes in front of it in the same list, then its own matchers. It stays short for a route
// without a gate or a webhook, because nobody asks for that trail.
func (v *routeVisitor) trail(outer []step, inFront []routeView, route routeView) []step {
	trail := slices.Clip(outer)
	if !v.hasOwn(route.handlers) {
		return trail
	}
	for _, r := range inFront {
		if r.terminal || r.group != "" && r.group == route.group {
			if !eachNamesHosts(r.sets) { // a probe has no host, so no such route takes it for sure
				trail = append(trail, step{conditions: [][]setView{r.sets}, takes: true})
			}
			continue
		}
		for _, h := range r.handlers {
			trail = append(trail, v.steps(h, [][]setView{r.sets})...)
		}
	}
	return append(trail, step{conditions: [][]setView{route.sets}, must: true})
}

// steps returns the steps of a request that meets the conditions, in a handler in front of
// others.
func (v *routeVisitor) steps(h handlerView, conditions [][]setView) (list []step) {
	s := step{conditions: conditions}
	switch {
	case h.headers != nil && h.headers.Response != nil && (h.headers.Response.Deferred || h.headers.Response.Require != nil):
		s.headers = h.headers.Response
	case h.rewrite != nil:
		s.rewrite = h.rewrite
	case h.name == "static_response", h.name == "error", h.name == WebhookHandler, h.name == "reverse_proxy" && h.responses == nil:
		s.takes = true
	case h.name == "intercept":
		s.replaces = h.responses
	}
	list = append(list, s)
	for _, part := range h.responses {
		for _, e := range v.applications(part.routes, exposure{Where: "handle_response"}) {
			list = append(list, step{conditions: conditions, exposed: &e})
		}
	}
	v.within(h, func(routes []routeView) {
		for _, r := range routes {
			met := append(slices.Clip(conditions), r.sets)
			for _, h := range r.handlers {
				list = append(list, v.steps(h, met)...)
			}
			if r.terminal {
				list = append(list, step{conditions: met, takes: true})
			}
		}
	})
	return list
}

// inside reports whether such returns true for one of the handlers or for a handler in
// their routes.
func (v *routeVisitor) inside(handlers []handlerView, such func(handlerView) bool) bool {
	return slices.ContainsFunc(handlers, func(h handlerView) bool {
		if such(h) {
			return true
		}
		found := false
		v.within(h, func(routes []routeView) {
			found = slices.ContainsFunc(routes, func(r routeView) bool { return v.inside(r.handlers, such) })
		})
		return found
	})
}

// hasGate reports whether one of the handlers is a gate, or has one in its routes.
func (v *routeVisitor) hasGate(handlers []handlerView) bool {
	return v.inside(handlers, func(h handlerView) bool { return h.isGate() })
}

// hasOwn reports whether one of the handlers is a gate or a webhook, or has one in its
// routes.
func (v *routeVisitor) hasOwn(handlers []handlerView) bool {
	return v.inside(handlers, func(h handlerView) bool { return h.isVisited() })
}

// answers reports whether one of the handlers serves an application or a folder.
func (v *routeVisitor) answers(handlers []handlerView) bool {
	return v.inside(handlers, func(h handlerView) bool { return h.name == "reverse_proxy" || h.name == "file_server" })
}

// caches reports whether a handler caches answers and serves them to others. It goes
// by the name: `cache`, as in github.com/caddyserver/cache-handler, or `…_cache`.
func caches(handler string) bool { return handler == "cache" || strings.HasSuffix(handler, "_cache") }
