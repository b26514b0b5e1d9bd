package routes

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
)

// routeView is the part of one of Caddy's routes that the risks depend on. A reader
// makes it.
type routeView struct {
	group    string
	terminal bool      // no route behind it sees the requests that it takes
	sets     []setView // the route takes a request that one of them matches
	handlers []handlerView
}

// setView is a matcher set. It matches a request that all its matchers match.
type setView []matcherView

// matcherView is one matcher.
type matcherView struct {
	name   string    // such as path
	values []string  // the patterns of host, method, path and path_regexp
	sets   []setView // the sets that a matcher not excludes
}

// handlerView is one handler.
type handlerView struct {
	name      string             // such as reverse_proxy
	own       any                // the handler itself, if it is a module of this plugin; else nil
	routes    []routeView        // of a subroute
	errors    []routeView        // the routes of a subroute after an error
	responses []responseView     // of handle_response
	invokes   string             // the name of a named route
	headers   *headers.Handler   // the handler itself, if it changes headers
	rewrite   *rewrite.Rewrite   // the handler itself, if it rewrites
	up        *headers.HeaderOps // the changes of a reverse_proxy to the request
}

// responseView is a part of handle_response: the routes that answer in place of the
// handler behind.
type responseView struct {
	match  *caddyhttp.ResponseMatcher // nil matches every answer
	routes []routeView
}

func (h *handlerView) isGate() bool { return h.name == gateHandler && h.own != nil }

// isVisited reports whether the walk visits the handler.
func (h *handlerView) isVisited() bool { return h.own != nil && h.name != IdentityHandler }

// reader reads routes: in JSON before Caddy has provisioned them, and the modules
// themselves afterwards, when Caddy has dropped their JSON. While Caddy provisions a
// server, some of its routes are in one form and some in the other. The reader skips
// malformed JSON, because loading the configuration reports it.
type reader struct {
	decode func(name string, raw json.RawMessage) any // nil where no route is in JSON
}

// read reads routes.
func (v reader) read(routes caddyhttp.RouteList) (views []routeView) {
	for _, route := range routes {
		view := routeView{group: route.Group, terminal: route.Terminal}
		for _, set := range route.MatcherSetsRaw {
			view.sets = append(view.sets, readSet(set))
		}
		for _, set := range route.MatcherSets {
			view.sets = append(view.sets, setProvisioned(set))
		}
		for _, raw := range route.HandlersRaw {
			view.handlers = append(view.handlers, v.handler(raw))
		}
		for _, handler := range route.Handlers {
			view.handlers = append(view.handlers, v.provisioned(handler))
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
		case "host", "method", "path":
			_ = json.Unmarshal(raw, &m.values)
		}
		view = append(view, m)
	}
	return view
}

// handler reads a handler in JSON.
func (v reader) handler(raw json.RawMessage) handlerView {
	var kind struct {
		Handler   string                      `json:"handler"`
		Routes    caddyhttp.RouteList         `json:"routes"`
		Errors    *caddyhttp.HTTPErrorConfig  `json:"errors"`
		Responses []caddyhttp.ResponseHandler `json:"handle_response"`
		Name      string                      `json:"name"`
	}
	if json.Unmarshal(raw, &kind) != nil {
		return handlerView{}
	}
	view := handlerView{name: kind.Handler, responses: v.responses(kind.Responses)}
	switch kind.Handler {
	case gateHandler, WebhookHandler, IdentityHandler:
		if v.decode != nil {
			view.own = v.decode(kind.Handler, raw)
		}
	case "invoke":
		view.invokes = kind.Name
	case "headers":
		view.headers = decoded[headers.Handler](raw)
	case "rewrite":
		view.rewrite = decoded[rewrite.Rewrite](raw)
	case "reverse_proxy":
		if proxy := decoded[struct {
			Headers *headers.Handler `json:"headers"`
		}](raw); proxy != nil && proxy.Headers != nil {
			view.up = proxy.Headers.Request
		}
	default:
		view.routes = v.read(kind.Routes)
		if kind.Errors != nil {
			view.errors = v.read(kind.Errors.Routes)
		}
	}
	return view
}

// decoded returns the T of a JSON text, or nil if the text is malformed.
func decoded[T any](raw json.RawMessage) *T {
	value := new(T)
	if json.Unmarshal(raw, value) != nil {
		return nil
	}
	return value
}

// responses reads the parts of handle_response.
func (v reader) responses(list []caddyhttp.ResponseHandler) (views []responseView) {
	for _, part := range list {
		views = append(views, responseView{part.Match, v.read(part.Routes)})
	}
	return views
}

// provisioned reads a handler that Caddy has provisioned.
func (v reader) provisioned(handler caddyhttp.MiddlewareHandler) handlerView {
	view := handlerView{name: moduleName(handler)}
	switch handler := handler.(type) {
	case *caddyhttp.Invoke:
		view.invokes = handler.Name
	case *caddyhttp.Subroute:
		view.routes = v.read(handler.Routes)
		if handler.Errors != nil {
			view.errors = v.read(handler.Errors.Routes)
		}
	case *headers.Handler:
		view.headers = handler
	case *rewrite.Rewrite:
		view.rewrite = handler
	case *reverseproxy.Handler:
		view.responses = v.responses(handler.HandleResponse)
		if handler.Headers != nil {
			view.up = handler.Headers.Request
		}
	case *intercept.Intercept:
		view.responses = v.responses(handler.HandleResponse)
	default:
		if view.name == gateHandler || view.name == WebhookHandler || view.name == IdentityHandler {
			view.own = handler
		}
	}
	return view
}

// setProvisioned reads a matcher set that Caddy has provisioned.
func setProvisioned(set caddyhttp.MatcherSet) (view setView) {
	for _, matcher := range set {
		m := matcherView{name: moduleName(matcher)}
		switch matcher := matcher.(type) {
		case *caddyhttp.MatchHost:
			m.values = *matcher
		case *caddyhttp.MatchMethod:
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
