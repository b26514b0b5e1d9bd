// Package secret resolves what a configuration names and does not hold.
package secret

import (
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// Resolve replaces the placeholders of an option's value, which is resolved to
// "" only if it is "". It returns an error if a placeholder is unknown or
// empty, or if what comes out is blank. The error names the placeholder, unless
// that may be a part of the secret itself.
func Resolve(option, value string) (string, error) {
	if value == "" {
		return "", nil
	}
	resolved, err := caddy.NewReplacer().ReplaceOrErr(value, true, true)
	switch {
	case err != nil && (strings.HasPrefix(value, "{env.") || strings.HasPrefix(value, "{file.")):
		return "", fmt.Errorf("%s: %w: set it where Caddy runs, or correct its name", option, err)
	case err != nil:
		return "", fmt.Errorf(`%s holds a placeholder that is unknown or empty: give {env.NAME} or {file./path}, and write \{ for a brace of its own`, option)
	case strings.TrimSpace(resolved) == "":
		return "", fmt.Errorf("%s is blank", option)
	}
	return resolved, nil
}
