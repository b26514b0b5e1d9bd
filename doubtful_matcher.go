package websms

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/internal/routes"
)

func init() {
	caddy.RegisterModule(MatchDoubtful{})
}

// MatchDoubtful matches a request if servers can read its path in several ways,
// and one of these readings could match the matcher sets of a gate. Put it
// beside those sets. Then a gate for `/admin/*` also sees `/admin;/x`,
// `/x/..;/admin` and `/public/../admin`.
//
// A path is doubtful if it holds one of these, as the client sent it or after a
// rewrite:
//
//   - a `.` or `..` segment, or an empty one
//   - a backslash, a `;`, a control character, or invalid UTF-8
//   - an escaped `/ \ . ; % ? #` or control character
//   - a segment that ends in a dot or a space
//   - `::`, or `~` followed by a digit
//
// For a doubtful path all conditions on the path count as met, and the other
// matchers of a set, such as host or method, decide. If the only doubt is `;…`
// or a byte outside UTF-8, the sets are asked about each reading of the path.
//
// The Caddyfile directive `websms_otp` with a matcher adds it by itself.
type MatchDoubtful struct {
	// The matcher sets of the gate.
	SetsRaw caddyhttp.RawMatcherSets `json:"match,omitempty" caddy:"namespace=http.matchers"`

	sets caddyhttp.MatcherSets // as configured
	rest caddyhttp.MatcherSets // without their conditions on the path
}

// CaddyModule returns the Caddy module information.
func (MatchDoubtful) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.matchers.websms_doubtful",
		New: func() caddy.Module { return new(MatchDoubtful) },
	}
}

// Provision loads the matcher sets.
func (m *MatchDoubtful) Provision(ctx caddy.Context) error {
	rest := MatchDoubtful{}
	for _, set := range m.SetsRaw {
		possible, err := withoutPath(set)
		if err != nil {
			return fmt.Errorf("websms_doubtful: %w", err)
		}
		rest.SetsRaw = append(rest.SetsRaw, possible)
	}
	for _, load := range []struct {
		from *MatchDoubtful
		into *caddyhttp.MatcherSets
	}{{m, &m.sets}, {&rest, &m.rest}} {
		loaded, err := ctx.LoadModule(load.from, "SetsRaw")
		if err == nil {
			err = load.into.FromInterface(loaded)
		}
		if err != nil {
			return fmt.Errorf("websms_doubtful: %w", err)
		}
	}
	return nil
}

// MatchWithError reports whether the path is doubtful and could be one that
// the sets match.
func (m *MatchDoubtful) MatchWithError(r *http.Request) (bool, error) {
	switch request.DoubtOf(r) {
	case request.Plain:
		return false, nil
	case request.Doubtful:
		return m.rest.AnyMatchWithError(r)
	}
	paths := []string{r.URL.Path}
	if sent := request.Asked(r).Path; sent != r.URL.Path {
		paths = append(paths, sent)
	}
	for _, p := range paths {
		list, clear := request.Readings(p)
		if !clear {
			return m.rest.AnyMatchWithError(r)
		}
		for _, reading := range list {
			if match, err := m.sets.AnyMatchWithError(readAs(r, reading)); match || err != nil {
				return match, err
			}
		}
	}
	return false, nil
}

// readAs returns a copy of r with the path p, for matchers. Its placeholders of
// the URL have p too; all other placeholders are those of r.
func readAs(r *http.Request, p string) *http.Request {
	former := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	u := *r.URL
	u.Path, u.RawPath = p, ""
	read := r.WithContext(r.Context())
	read.URL, read.RequestURI = &u, u.RequestURI()
	own := caddy.NewEmptyReplacer()
	read = caddyhttp.PrepareRequest(read, own, nil, server)
	repl := caddy.NewEmptyReplacer()
	repl.Map(func(key string) (any, bool) {
		if strings.HasPrefix(key, "http.request.uri") || strings.HasPrefix(key, "http.request.orig_uri") {
			return own.Get(key)
		}
		return former.Get(key)
	})
	ctx := context.WithValue(read.Context(), caddy.ReplacerCtxKey, repl)
	return read.WithContext(context.WithValue(ctx, caddyhttp.VarsCtxKey, r.Context().Value(caddyhttp.VarsCtxKey)))
}

// judgesPath reports whether a matcher set has a condition on the path.
func judgesPath(set caddy.ModuleMap) (bool, error) {
	for name, raw := range set {
		switch {
		case routes.Pathless(name):
		case name == "not":
			inner, err := routes.NotSets(raw)
			if err != nil {
				return false, err
			}
			for _, set := range inner {
				if judges, err := judgesPath(set); judges || err != nil {
					return judges, err
				}
			}
		default:
			return true, nil
		}
	}
	return false, nil
}

// withoutPath returns a set that matches a request if the given one could
// match it for some path.
func withoutPath(set caddy.ModuleMap) (caddy.ModuleMap, error) {
	possible := caddy.ModuleMap{}
	for name, raw := range set {
		switch {
		case routes.Pathless(name):
			possible[name] = raw
		case name == "not":
			excluded, err := eachSet(raw, whateverPath)
			if err != nil {
				return nil, err
			}
			possible[name] = excluded
		}
	}
	return possible, nil
}

// whateverPath returns a set that matches a request if the given one matches
// it for every path, or nil if there is no such request.
func whateverPath(set caddy.ModuleMap) (caddy.ModuleMap, error) {
	certain := caddy.ModuleMap{}
	for name, raw := range set {
		switch {
		case routes.Pathless(name):
			certain[name] = raw
		case name == "not":
			excluded, err := eachSet(raw, withoutPath)
			if err != nil {
				return nil, err
			}
			certain[name] = excluded
		default:
			return nil, nil
		}
	}
	return certain, nil
}

// eachSet changes the sets that a `not` excludes, and drops those that become nil.
func eachSet(raw json.RawMessage, change func(caddy.ModuleMap) (caddy.ModuleMap, error)) (json.RawMessage, error) {
	sets, err := routes.NotSets(raw)
	if err != nil {
		return nil, err
	}
	changed := []caddy.ModuleMap{}
	for _, set := range sets {
		set, err := change(set)
		if err != nil {
			return nil, err
		}
		if set != nil {
			changed = append(changed, set)
		}
	}
	return json.Marshal(changed)
}

// Interface guards
var (
	_ caddy.Provisioner                 = (*MatchDoubtful)(nil)
	_ caddyhttp.RequestMatcherWithError = (*MatchDoubtful)(nil)
)
