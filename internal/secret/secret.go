// Package secret replaces placeholders such as {env.NAME} and {file./path} in options.
// So a configuration can name a secret without holding it.
package secret

import (
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// Resolve replaces the placeholders in the value of an option. The value "" stays "".
// It is an error if a placeholder is unknown or empty, or if the result is blank. The
// error names the option. It also names the placeholder, unless the text in braces may
// be a part of the secret itself.
func Resolve(option, value string) (string, error) {
	if value == "" {
		return "", nil
	}
	resolved, err := caddy.NewReplacer().ReplaceOrErr(value, true, true)
	switch {
	case err != nil && (strings.HasPrefix(value, "{env.") || strings.HasPrefix(value, "{file.")):
		return "", fmt.Errorf("%s: %w: set it where Caddy runs, or correct its name", option, err)
	case err != nil:
		return "", fmt.Errorf("%s holds a placeholder that is unknown or empty: "+
			`give {env.NAME} or {file./path}, and write \{ for a brace of its own`, option)
	case strings.TrimSpace(resolved) == "":
		return "", fmt.Errorf("%s is blank", option)
	}
	return resolved, nil
}
