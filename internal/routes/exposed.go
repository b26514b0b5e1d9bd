package routes

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
)

// Exposed is an application that gets a request as the client sent it, because no gate
// needs to see the request first.
type Exposed struct {
	exposure
	Handler string // the handler that hands the request to the application, such as reverse_proxy
}

// exposure is the way of a request to the present route, as far as the risks depend on it.
type exposure struct {
	Where string // handle_errors or handle_response

	hosts    []string // none: all hosts
	inFront  []any    // the gates and the websms_identity in front
	removed  []string // the patterns of the request headers that handlers in front remove
	replaced []string // the request headers that handlers in front set
}

// InFront returns the gates and the websms_identity in front of the application.
func (e *Exposed) InFront() []any { return e.inFront }

// Removes reports whether a handler in front of the application removes or replaces a
// request header of the client.
func (e *Exposed) Removes(name string) bool {
	return slices.ContainsFunc(e.removed, func(pattern string) bool { return deletes(pattern, name) }) ||
		slices.ContainsFunc(e.replaced, func(field string) bool { return strings.EqualFold(field, name) })
}

// Exposed returns the applications that get requests of the gate's hosts which no gate
// has seen: those in the routes for errors, and those in a handle_response in front of
// the gate.
func (p *Place) Exposed() []Exposed {
	list := slices.Clone(p.exposed)
	for _, s := range p.trail {
		if s.exposed != nil {
			list = append(list, *s.exposed)
		}
	}
	return list
}

// findErrors finds the applications in the error routes of subroutes.
func (v *routeVisitor) findErrors(routes []routeView, hosts []string) {
	for _, r := range routes {
		hosts := narrowed(hosts, r.sets)
		for _, h := range r.handlers {
			v.handed(h.errors, hosts, exposure{Where: "handle_errors"})
			for _, part := range h.responses {
				v.findErrors(part.routes, hosts)
			}
			v.within(h, func(routes []routeView) { v.findErrors(routes, hosts) })
		}
	}
}

// handed adds the applications in routes for errors to v.exposed.
func (v *routeVisitor) handed(routes []routeView, hosts []string, e exposure) {
	e.hosts = hosts
	v.exposed = append(v.exposed, v.applications(routes, e)...)
}

// applications returns the applications in routes, each with the handlers in front of it.
func (v *routeVisitor) applications(routes []routeView, e exposure) (found []Exposed) {
	for i, r := range routes {
		here := e
		here.hosts = narrowed(e.hosts, r.sets)
		for _, earlier := range routes[:i] {
			apart := r.group != "" && earlier.group == r.group
			if !apart && (len(earlier.sets) == 0 || reflect.DeepEqual(earlier.sets, r.sets)) {
				v.guards(earlier.handlers, &here)
			}
			if !apart {
				here.inFront = append(here.inFront[:len(here.inFront):len(here.inFront)], owned(earlier.handlers)...)
			}
		}
		for _, h := range r.handlers {
			if handsOn(h.name) {
				final := here
				final.pass(h)
				found = append(found, Exposed{final, h.name})
			}
			v.within(h, func(routes []routeView) { found = append(found, v.applications(routes, here)...) })
			v.guards([]handlerView{h}, &here)
		}
	}
	return found
}

// guards adds handlers that see every request to the way of the request.
func (v *routeVisitor) guards(handlers []handlerView, e *exposure) {
	for _, h := range handlers {
		e.pass(h)
		v.within(h, func(routes []routeView) {
			for _, r := range routes {
				if len(r.sets) == 0 {
					v.guards(r.handlers, e)
				}
			}
		})
	}
}

// pass adds one handler to the way of the request: its changes of the request headers, and
// the handler itself if it is a gate or a websms_identity.
func (e *exposure) pass(h handlerView) {
	ops := h.up
	if h.headers != nil {
		ops = h.headers.Request
	}
	if ops != nil {
		e.removed = append(slices.Clip(e.removed), ops.Delete...)
		e.replaced = append(slices.Clip(e.replaced), fields(ops.Set)...)
	}
	e.inFront = append(slices.Clip(e.inFront), owned([]handlerView{h})...)
}

// owned returns the gates and the websms_identity among handlers. A gate with a matcher
// has a websms_identity beside it, which sees the requests that the gate does not.
func owned(handlers []handlerView) (list []any) {
	for _, h := range handlers {
		if h.own != nil && h.name != WebhookHandler {
			list = append(list, h.own)
		}
	}
	return list
}

// fields returns the names of headers.
func fields(h http.Header) (names []string) {
	for name := range h {
		names = append(names, name)
	}
	return names
}

// handsOn reports whether a handler hands requests to an application. It goes by the
// name: reverse_proxy, which php_fastcgi uses too, and the handlers of FrankenPHP,
// caddy-cgi and caddy-snake.
func handsOn(name string) bool {
	return slices.Contains([]string{"reverse_proxy", "php", "cgi", "python"}, name) || strings.HasSuffix(name, "_proxy")
}
