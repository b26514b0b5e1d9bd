package routes

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// routeView is the part of one of Caddy's routes that the risks depend on. jsonView
// makes it from a configuration in JSON, and viewProvisioned from the routes that
// Caddy has provisioned.
type routeView struct {
	group    string
	sets     []setView // the route takes a request that one of them matches
	handlers []handlerView
}

// setView is a matcher set. It matches a request that all its matchers match.
type setView []matcherView

// matcherView is one matcher.
type matcherView struct {
	name   string    // such as path
	values []string  // the patterns of host, path and path_regexp
	sets   []setView // the sets that a matcher not excludes
}

// handlerView is one handler.
type handlerView struct {
	name    string      // such as reverse_proxy
	own     any         // the handler itself, if it is a gate or a webhook; else nil
	routes  []routeView // of a subroute
	invokes string      // the name of a named route
}

func (h *handlerView) isGate() bool { return h.name == gateHandler && h.own != nil }

// jsonView reads routes in JSON. It skips malformed parts, because loading the
// configuration reports them.
type jsonView struct {
	decode func(name string, raw json.RawMessage) any
}

// read reads routes.
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

// readSet reads a matcher set in JSON.
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

// handler reads a handler.
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

// viewProvisioned reads routes that Caddy has provisioned. Caddy has dropped their
// JSON by then, so it reads the modules themselves.
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

// setProvisioned reads a matcher set that Caddy has provisioned.
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

// moduleName returns the last part of a module's id, such as reverse_proxy.
func moduleName(v any) string {
	module, ok := v.(caddy.Module)
	if !ok {
		return ""
	}
	return module.CaddyModule().ID.Name()
}
