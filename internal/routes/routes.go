package routes

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// routeView is the part of one of Caddy's routes that the risks depend on. The
// doctor makes it from a configuration in JSON, a load from the routes that
// Caddy has provisioned.
type routeView struct {
	group    string
	sets     []setView // one of them matches
	handlers []handlerView
}

// setView is a matcher set: all of its matchers match.
type setView []matcherView

type matcherView struct {
	name   string    // such as path
	values []string  // the patterns of host, path and path_regexp
	sets   []setView // the sets that not excludes
}

type handlerView struct {
	name    string      // such as reverse_proxy
	own     any         // the gate or webhook itself, if the handler is one
	routes  []routeView // of a subroute
	invokes string      // the name of a named route
}

func (h *handlerView) isGate() bool { return h.name == gateHandler && h.own != nil }

// The names of our handlers.
const (
	gateHandler    = "websms_otp"
	WebhookHandler = "websms_webhook"
)

// jsonView reads routes from a configuration. It skips malformed parts, because
// loading the configuration reports them.
type jsonView struct {
	decode func(name string, raw json.RawMessage) any
}

func (v jsonView) read(routes caddyhttp.RouteList) (views []routeView) {
	for _, route := range routes {
		view := routeView{group: route.Group}
		for _, set := range route.MatcherSetsRaw {
			view.sets = append(view.sets, readSet(set))
		}
		for _, raw := range route.HandlersRaw {
			view.handlers = append(view.handlers, v.handler(raw))
		}
		views = append(views, view)
	}
	return views
}

func readSet(set caddy.ModuleMap) (view setView) {
	for name, raw := range set {
		m := matcherView{name: name}
		switch name {
		case "not":
			sets, _ := NotSets(raw)
			for _, inner := range sets {
				m.sets = append(m.sets, readSet(inner))
			}
		case "path_regexp":
			var re caddyhttp.MatchRegexp
			_ = json.Unmarshal(raw, &re)
			m.values = []string{re.Pattern}
		case "host", "path":
			_ = json.Unmarshal(raw, &m.values)
		}
		view = append(view, m)
	}
	return view
}

func (v jsonView) handler(raw json.RawMessage) handlerView {
	var kind struct {
		Handler string              `json:"handler"`
		Routes  caddyhttp.RouteList `json:"routes"`
		Name    string              `json:"name"`
	}
	if json.Unmarshal(raw, &kind) != nil {
		return handlerView{}
	}
	view := handlerView{name: kind.Handler}
	switch kind.Handler {
	case gateHandler, WebhookHandler:
		view.own = v.decode(kind.Handler, raw)
	case "invoke":
		view.invokes = kind.Name
	default:
		view.routes = v.read(kind.Routes)
	}
	return view
}

// viewProvisioned reads routes that Caddy has provisioned. Caddy drops their JSON
// then, so it reads the modules themselves.
func viewProvisioned(routes caddyhttp.RouteList) (views []routeView) {
	for _, route := range routes {
		view := routeView{group: route.Group}
		for _, set := range route.MatcherSets {
			view.sets = append(view.sets, setProvisioned(set))
		}
		for _, handler := range route.Handlers {
			h := handlerView{name: moduleName(handler)}
			if h.name == gateHandler || h.name == WebhookHandler {
				h.own = handler
			}
			switch handler := handler.(type) {
			case *caddyhttp.Invoke:
				h.invokes = handler.Name
			case *caddyhttp.Subroute:
				h.routes = viewProvisioned(handler.Routes)
			}
			view.handlers = append(view.handlers, h)
		}
		views = append(views, view)
	}
	return views
}

func setProvisioned(set caddyhttp.MatcherSet) (view setView) {
	for _, matcher := range set {
		m := matcherView{name: moduleName(matcher)}
		switch matcher := matcher.(type) {
		case *caddyhttp.MatchHost:
			m.values = *matcher
		case *caddyhttp.MatchPath:
			m.values = *matcher
		case *caddyhttp.MatchPathRE:
			m.values = []string{matcher.Pattern}
		case *caddyhttp.MatchNot:
			for _, inner := range matcher.MatcherSets {
				m.sets = append(m.sets, setProvisioned(inner))
			}
		}
		view = append(view, m)
	}
	return view
}

func moduleName(v any) string {
	module, ok := v.(caddy.Module)
	if !ok {
		return ""
	}
	return module.CaddyModule().ID.Name()
}

// VisitJSON calls visit for each gate and webhook of a server that was read from
// JSON, with its place. It calls decode with the name and the JSON of each of
// them, and visit with what decode returns. decode returns nil for malformed
// JSON; then the handler is skipped.
func VisitJSON(s *caddyhttp.Server, at Place, decode func(name string, raw json.RawMessage) any, visit func(handler any, at Place)) {
	visitServer(s, at, jsonView{decode}.read, visit)
}

// Visit calls visit for each gate and webhook of a server that Caddy
// has provisioned, with the module and its place.
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
	invoked []string // which of them some route invokes
	stack   []string // which of them the walk is inside of: they may invoke each other
	visit   func(handler any, at Place)
}

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

// inside reports whether such returns true for one of the handlers, or for one in
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

func (v *routeVisitor) hasGate(handlers []handlerView) bool {
	return v.inside(handlers, func(h handlerView) bool { return h.isGate() })
}

// answers reports whether one of the handlers serves an application or a folder.
func (v *routeVisitor) answers(handlers []handlerView) bool {
	return v.inside(handlers, func(h handlerView) bool { return h.name == "reverse_proxy" || h.name == "file_server" })
}

// caches reports whether a handler is one that keeps answers for others:
// `cache` of github.com/caddyserver/cache-handler, or another by that name.
func caches(handler string) bool { return handler == "cache" || strings.HasSuffix(handler, "_cache") }
