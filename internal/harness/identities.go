package harness

import (
	"net/http"
	"slices"
	"strings"
)

// Identities returns the headers of h that an upstream could read as one of names.
func Identities(h http.Header, names ...string) map[string][]string {
	found := make(map[string][]string)
	for name, values := range h {
		if slices.ContainsFunc(names, func(of string) bool { return CGIName(name) == CGIName(of) }) {
			found[name] = values
		}
	}
	return found
}

// UnescapeHTML returns the text that stands in a page as s.
func UnescapeHTML(s string) string {
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&#34;", `"`, "&#39;", "'", "&#43;", "+", "&amp;", "&").Replace(s)
}
