package routes

import (
	"context"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
)

// step is one thing that can happen to a request on its way to a handler. It happens
// to a request that meets all the conditions.
type step struct {
	conditions [][]setView

	must     bool                   // a request that does not meet the conditions does not reach the handler
	takes    bool                   // another route answers the request
	rewrite  *rewrite.Rewrite       // changes the path
	headers  *headers.RespHeaderOps // changes the answer when it goes out
	replaces []responseView         // answers in place of the handler, by intercept
	exposed  *Exposed               // an application that gets the request as the client sent it
}

// condition returns the first condition on the path or the method of a request, as a
// Caddyfile has it, or "".
func (s *step) condition() string {
	for _, sets := range s.conditions {
		if condition, found := pathCondition(sets); found {
			return condition
		}
		for _, set := range sets {
			for _, m := range set {
				if m.name == "method" {
					return strings.Join(append([]string{m.name}, m.values...), " ")
				}
			}
		}
	}
	return ""
}

// verdict is whether matchers match a request of which only the method and the path
// are known.
type verdict int

const (
	no verdict = iota
	maybe
	yes
)

// probe is a request for one of a gate's own pages.
type probe struct {
	method string
	path   string // after the rewrites so far
	lost   bool   // a rewrite made the path unknown
	hosted bool   // the host of the request is one that the routes name
}

// request returns the probe as Caddy's own matchers and rewrites take it.
func (p *probe) request() (*http.Request, *caddy.Replacer) {
	repl := caddy.NewEmptyReplacer()
	u := &url.URL{Path: p.path}
	r := &http.Request{Method: p.method, URL: u, RequestURI: u.RequestURI(), Header: http.Header{}}
	return r.WithContext(context.WithValue(context.Background(), caddy.ReplacerCtxKey, repl)), repl
}

// all returns whether the probe meets all conditions.
func (p *probe) all(conditions [][]setView) verdict {
	result := yes
	for _, sets := range conditions {
		result = min(result, p.any(sets))
	}
	return result
}

// any returns whether one of the matcher sets of a route matches the probe. A route
// without matchers takes every request.
func (p *probe) any(sets []setView) verdict {
	if len(sets) == 0 {
		return yes
	}
	result := no
	for _, set := range sets {
		whole := yes
		for _, m := range set {
			whole = min(whole, p.matches(m))
		}
		result = max(result, whole)
	}
	return result
}

// matches returns whether a matcher matches the probe.
func (p *probe) matches(m matcherView) verdict {
	switch m.name {
	case "websms_doubtful": // the path of a gate's page has one reading
		return no
	case "not":
		if len(m.sets) == 0 {
			return yes
		}
		return yes - p.any(m.sets)
	case "host":
		if p.hosted {
			return yes
		}
	case "method":
		return decided(slices.ContainsFunc(m.values, func(method string) bool { return strings.EqualFold(method, p.method) }))
	case "path":
		if slices.Contains(m.values, "*") {
			return yes
		}
		return p.matchesPath(m.values)
	case "path_regexp":
		if re, err := regexp.Compile(strings.Join(m.values, "")); err == nil && !p.lost {
			return decided(re.MatchString(caddyhttp.CleanPath(p.path, true)))
		}
	}
	return maybe
}

// matchesPath asks Caddy's own matcher about patterns of the path. The value of a
// placeholder is not known.
func (p *probe) matchesPath(patterns []string) verdict {
	if p.lost {
		return maybe
	}
	var known caddyhttp.MatchPath
	for _, pattern := range patterns {
		if !strings.Contains(pattern, "{") {
			known = append(known, strings.ToLower(pattern))
		}
	}
	r, _ := p.request()
	if match, err := known.MatchWithError(r); err == nil && match {
		return yes
	}
	if len(known) < len(patterns) {
		return maybe
	}
	return no
}

// decided returns the verdict of a matcher that is sure.
func decided(match bool) verdict {
	if match {
		return yes
	}
	return no
}

// rewritten changes the path as a rewrite does. The path is lost if it then depends on
// more than the path.
func (p *probe) rewritten(by *rewrite.Rewrite, applies verdict) {
	uri, strip := by.URI, by.StripPathPrefix
	switch {
	case applies == no || p.lost:
	case uri != "" && strings.HasPrefix(uri, "?"):
	case applies == maybe, strings.Contains(uri+strip+by.StripPathSuffix, "{"), len(by.URISubstring) > 0, len(by.PathRegexp) > 0:
		p.lost = true
	default:
		r, repl := p.request()
		(rewrite.Rewrite{URI: uri, StripPathPrefix: strip, StripPathSuffix: by.StripPathSuffix}).Rewrite(r, repl)
		p.path = r.URL.Path
	}
}

// follow sends a probe along the trail, and calls passed for each step that may happen
// to it. It returns the step that keeps the probe from the handler, or nil.
func (p *probe) follow(trail []step, passed func(s *step, applies verdict)) *step {
	for i := range trail {
		s := &trail[i]
		applies := p.all(s.conditions)
		switch {
		case s.must && applies == no, s.takes && applies == yes:
			return s
		case s.rewrite != nil:
			p.rewritten(s.rewrite, applies)
		case applies != no && passed != nil:
			passed(s, applies)
		}
	}
	return nil
}

// pages are the requests that a browser sends to a gate's prefix to sign in.
func pages(prefix string) []probe {
	return []probe{{method: http.MethodGet, path: prefix + "/login"}, {method: http.MethodPost, path: prefix + "/send"}}
}

// Obstacle is the reason that a gate's own pages are out of reach.
type Obstacle struct {
	Condition string // the condition of a route, such as "path /app/*", or "" if it has none
	Taken     bool   // the route takes the request away; otherwise it does not let the request through
	Prefix    string // a prefix that can be reached, or "" if none is known
}

// Obstacle returns the reason that a browser cannot open the pages of the gate under a
// prefix. It returns nil if it can, or if that depends on more than the path and the
// method. wanted is the last part of a prefix to suggest, such as /.websms.
func (p *Place) Obstacle(prefix, wanted string) *Obstacle {
	if p.apart {
		return nil
	}
	blocked := p.blocked(prefix)
	if blocked == nil {
		return nil
	}
	found := &Obstacle{Condition: blocked.condition(), Taken: blocked.takes}
	for _, folder := range p.folders() {
		if p.blocked(folder+wanted) == nil {
			found.Prefix = folder + wanted
		}
	}
	return found
}

// blocked returns the step that keeps a request for the pages under a prefix from the
// handler, or nil.
func (p *Place) blocked(prefix string) *step {
	for _, probe := range pages(prefix) {
		if s := probe.follow(p.trail, nil); s != nil {
			return s
		}
	}
	return nil
}

// Serves reports whether every request of its hosts for the pages under a prefix reaches
// the handler.
func (p *Place) Serves(prefix string) bool {
	return !p.apart && !slices.ContainsFunc(pages(prefix), func(probe probe) bool {
		probe.hosted = true
		unsure := false
		blocked := probe.follow(p.trail, func(s *step, applies verdict) { unsure = unsure || s.must && applies != yes })
		return blocked != nil || unsure
	})
}

// folders returns the folders that the routes around the handler name, as a browser
// writes them, the outermost first.
func (p *Place) folders() (folders []string) {
	stripped := ""
	for _, s := range p.trail {
		if s.rewrite != nil && p.strips(&s) {
			stripped += "/" + strings.Trim(s.rewrite.StripPathPrefix, "/")
		}
		if !s.must {
			continue
		}
		for _, sets := range s.conditions {
			for _, set := range sets {
				for _, m := range set {
					for _, pattern := range m.values {
						if folder := strings.TrimRight(pattern, "/*"); m.name == "path" && isFolder(folder) {
							folders = append(folders, stripped+folder)
						}
					}
				}
			}
		}
	}
	return folders
}

// strips reports whether a rewrite does nothing but strip a prefix, from every request.
func (p *Place) strips(s *step) bool {
	conditional := slices.ContainsFunc(s.conditions, func(sets []setView) bool { return len(sets) > 0 })
	return s.rewrite.StripPathPrefix != "" && s.rewrite.URI == "" && !conditional
}

// isFolder reports whether a text is the path of a folder, other than the root, without
// wildcards.
func isFolder(text string) bool {
	return strings.HasPrefix(text, "/") && path.Clean(text) == text && !strings.ContainsAny(text, "*?[{%\\")
}

// ownHeaders are the headers of a gate's own answers, and the values that do no harm in their
// place. A value does no harm if it holds the text.
var ownHeaders = []struct{ name, harmless string }{
	{"Cache-Control", "no-store"},
	{"Content-Security-Policy", ""},
	{"Content-Type", ""},
	{"Location", ""},
	{"Permissions-Policy", ""},
	{"Referrer-Policy", "no-referrer"},
	{"Retry-After", ""},
	{"Set-Cookie", ""},
	{"Www-Authenticate", ""},
	{"X-Content-Type-Options", "nosniff"},
	{"X-Frame-Options", ""},
}

// statuses are those of a gate's own answers.
var statuses = []int{200, 202, 204, 302, 303, 400, 401, 403, 404, 405, 409, 410, 413, 415, 422, 425, 429, 503}

// answersAs reports whether a response matcher can match an answer of a gate.
func answersAs(match *caddyhttp.ResponseMatcher) bool {
	return match == nil || len(match.StatusCode) == 0 || slices.ContainsFunc(statuses, func(status int) bool {
		return slices.ContainsFunc(match.StatusCode, func(code int) bool { return caddyhttp.StatusCodeMatches(status, code) })
	})
}

// Overrides returns the names of the headers of the gate's own answers that a handler in
// front changes when they go out. replaced reports whether a handler in front answers in
// place of the gate.
func (p *Place) Overrides(prefix string) (names []string, replaced bool) {
	if p.apart {
		return nil, false
	}
	for _, probe := range pages(prefix) {
		probe.follow(p.trail, func(s *step, _ verdict) {
			if s.headers != nil {
				names = append(names, overrides(s.headers)...)
			}
			replaced = replaced || slices.ContainsFunc(s.replaces, func(part responseView) bool { return answersAs(part.match) })
		})
	}
	slices.Sort(names)
	return slices.Compact(names), replaced
}

// overrides returns the names of the headers of a gate's own answers that a deferred
// change of headers changes.
func overrides(ops *headers.RespHeaderOps) (names []string) {
	if ops.HeaderOps == nil || !answersAs(ops.Require) {
		return nil
	}
	for _, header := range ownHeaders {
		if ops.Require != nil && lacks(ops.Require.Headers, header.name) {
			continue // the change applies to answers without this header
		}
		if changes(ops.HeaderOps, header.name, header.harmless) {
			names = append(names, header.name)
		}
	}
	return names
}

// lacks reports whether a condition on headers asks that one is missing.
func lacks(conditions http.Header, name string) bool {
	for field, values := range conditions {
		if strings.EqualFold(field, name) && values == nil {
			return true
		}
	}
	return false
}

// changes reports whether a change of headers changes one in a way that does harm.
func changes(ops *headers.HeaderOps, name, harmless string) bool {
	harms := func(values []string) bool {
		return harmless == "" || !strings.Contains(strings.ToLower(strings.Join(values, ",")), harmless)
	}
	for field, values := range ops.Set {
		if strings.EqualFold(field, name) && harms(values) {
			return true
		}
	}
	for field, values := range ops.Add {
		if strings.EqualFold(field, name) && name != "Set-Cookie" && harms(values) {
			return true
		}
	}
	for field := range ops.Replace {
		if field == "*" || strings.EqualFold(field, name) {
			return true
		}
	}
	return slices.ContainsFunc(ops.Delete, func(pattern string) bool { return deletes(pattern, name) })
}

// deletes reports whether a pattern of headers to delete, as Caddy reads it, means a
// header.
func deletes(pattern, name string) bool {
	pattern, name = strings.ToLower(pattern), strings.ToLower(name)
	front, back := strings.HasPrefix(pattern, "*"), strings.HasSuffix(pattern, "*")
	switch text := strings.Trim(pattern, "*"); {
	case front && back:
		return strings.Contains(name, text)
	case front:
		return strings.HasSuffix(name, text)
	case back:
		return strings.HasPrefix(name, text)
	default:
		return name == text
	}
}
