package request

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// OwnURL returns the URL of r if it is under the gate's prefix, and nil otherwise. If a
// handler in front, such as try_files, has rewritten the URL, OwnURL also looks at the
// one that the browser asked for.
func OwnURL(r *http.Request, prefix string) *url.URL {
	if isOwn(r.URL.Path, prefix) {
		return r.URL
	}
	if u := Asked(r); u != r.URL && isOwn(u.Path, prefix) {
		return u
	}
	return nil
}

// isOwn reports whether a path is under the prefix. A path that is under it only after
// cleaning, such as `/x/../.websms`, counts too, so that it never reaches the
// application.
func isOwn(path, prefix string) bool {
	if underPrefix(path, prefix) {
		return true
	}
	if !strings.Contains(path, "/.") && !strings.Contains(path, "//") && !strings.Contains(path, "\\") {
		return false
	}
	return underPrefix(caddyhttp.CleanPath(strings.ReplaceAll(path, "\\", "/"), true), prefix)
}

// underPrefix reports whether a clean path is the prefix or below it. Case does not
// matter.
func underPrefix(path, prefix string) bool {
	return len(path) >= len(prefix) && strings.EqualFold(path[:len(prefix)], prefix) &&
		(len(path) == len(prefix) || path[len(prefix)] == '/')
}
