package block

import (
	"reflect"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// CutNamedRoute returns the name of the named route that a directive stands in, if Caddy
// keeps only the first directive of that route. Otherwise it returns "".
//
// Caddy 2.11 adapts a named route to its first handler if it can merge all directives
// into one route, because none has a matcher (httpcaddyfile, extractNamedRoutes). So
// `&(app) { basic_auth …  websms_otp … }` becomes basic_auth alone, and the gate is gone
// from the JSON. A directive can only tell while it is adapted. Caddy shows it no
// directives but itself, so CutNamedRoute reads them from a field that Caddy does not
// export. Without that field it returns "".
func CutNamedRoute(h httpcaddyfile.Helper) string {
	if !h.IsNamedRoute() {
		return ""
	}
	tokens := namedTokens(h)
	if len(tokens) == 0 {
		return ""
	}
	name, count, handles := tokens[0].Text, 0, 0
	d := caddyfile.NewDispenser(tokens)
	for d.Next(); d.NextBlock(0); {
		segment := d.NextSegment()
		switch directive := segment.Directive(); {
		case strings.HasPrefix(directive, "@"): // the definition of a matcher
			continue
		case hasRouteOfItsOwn(segment):
			return ""
		case directive == "handle":
			handles++
		}
		count++
	}
	if count < 2 || handles > 1 && handles < count {
		return ""
	}
	return name
}

// hasRouteOfItsOwn reports whether Caddy cannot merge a directive with those around it:
// it has a matcher, or Caddy gives it a matcher or a group.
func hasRouteOfItsOwn(segment caddyfile.Segment) bool {
	switch segment.Directive() {
	case "rewrite", "try_files", "handle_path", "php_fastcgi", "php_server":
		return true
	}
	d := caddyfile.NewDispenser(segment)
	d.Next()
	args := d.RemainingArgs()
	if len(args) == 0 || segment.Directive() == "root" && len(args) == 1 {
		return false
	}
	return strings.HasPrefix(args[0], "/") || strings.HasPrefix(args[0], "@")
}

// namedTokens returns the tokens of the named route around a directive: its name and its
// block. The tokens do not tell which of them stood in quotes.
func namedTokens(h httpcaddyfile.Helper) (tokens []caddyfile.Token) {
	around := reflect.ValueOf(h).FieldByName("parentBlock")
	if around.Kind() != reflect.Struct {
		return nil
	}
	segments := around.FieldByName("Segments")
	if segments.Kind() != reflect.Slice {
		return nil
	}
	for i := range segments.Len() {
		segment := segments.Index(i)
		for j := range segment.Len() {
			token := segment.Index(j)
			tokens = append(tokens, caddyfile.Token{
				File: token.FieldByName("File").String(),
				Line: int(token.FieldByName("Line").Int()),
				Text: token.FieldByName("Text").String(),
			})
		}
	}
	return tokens
}
