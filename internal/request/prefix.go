package request

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// OwnURL returns the URL of r that lies under the prefix, or nil: the one it
// has, or the one the browser asked for before try_files or the like rewrote it.
func OwnURL(r *http.Request, prefix string) *url.URL {
	if isOwn(r.URL.Path, prefix) {
		return r.URL
	}
	if u := Asked(r); u != r.URL && isOwn(u.Path, prefix) {
		return u
	}
	return nil
}

// isOwn reports whether a path lies under the prefix. Paths that only lead
// there when tidied do too: nothing behind us shall see them.
func isOwn(path, prefix string) bool {
	if underPrefix(path, prefix) {
		return true
	}
	if !strings.Contains(path, "/.") && !strings.Contains(path, "//") && !strings.Contains(path, "\\") {
		return false
	}
	return underPrefix(caddyhttp.CleanPath(strings.ReplaceAll(path, "\\", "/"), true), prefix)
}

func underPrefix(path, prefix string) bool {
	return len(path) >= len(prefix) && strings.EqualFold(path[:len(prefix)], prefix) &&
		(len(path) == len(prefix) || path[len(prefix)] == '/')
}
