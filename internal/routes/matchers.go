package routes

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// Pathless reports whether a matcher with this name does not look at the path. Any
// other matcher may look at it: `path`, `path_regexp`, `vars`, `expression`, `file`,
// or one of another module.
func Pathless(name string) bool { return slices.Contains(pathlessNames, name) }

var pathlessNames = []string{"client_ip", "header", "header_regexp", "host", "method", "protocol", "query", "remote_ip", "tls"}

// NotSets reads the matcher sets that a matcher `not` excludes.
func NotSets(raw json.RawMessage) (sets []caddy.ModuleMap, err error) {
	if err := json.Unmarshal(raw, &sets); err != nil {
		return nil, fmt.Errorf("reading a matcher not: %w", err)
	}
	return sets, nil
}

// pathCondition returns the first condition on the path in matcher sets, as a
// Caddyfile has it, such as "path /admin/*".
func pathCondition(sets []setView) (condition string, found bool) {
	for _, set := range sets {
		for _, m := range set {
			switch {
			case Pathless(m.name):
			case m.name == "not":
				if inner, found := pathCondition(m.sets); found {
					return "not " + inner, true
				}
			default:
				return strings.Join(append([]string{m.name}, m.values...), " "), true
			}
		}
	}
	return "", false
}
