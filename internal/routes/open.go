package routes

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-websms/websms/internal/risk"
)

// BypassRisks returns the risks of the matcher sets of a gate's option bypass: those
// that also let through paths which the operator may not expect.
func BypassRisks(sets caddyhttp.RawMatcherSets) (list []risk.Risk) {
	add := func(text, do string) { list = append(list, risk.Risk{Text: "bypass: " + text, Do: do}) }
	for _, set := range sets {
		for _, m := range readSet(set) {
			switch m.name {
			case "path":
				for _, pattern := range m.values {
					if strings.HasPrefix(pattern, "*") {
						add(fmt.Sprintf("the path %s begins with a wildcard, so it also opens pages that PHP and others serve "+
							"for a longer path, as /admin.php for /admin.php/x%s", pattern, strings.Trim(pattern, "*")),
							"name the folder, such as /static/*")
					}
				}
			case "path_regexp":
				for _, pattern := range m.values {
					if !strings.HasPrefix(strings.TrimPrefix(pattern, "(?i)"), "^") {
						add(fmt.Sprintf("the expression %s is not bound to the beginning of the path, so it also opens pages "+
							"that PHP and others serve for a longer path", pattern), "begin it with ^")
					}
				}
			case "not":
				for _, inner := range m.sets {
					for _, folder := range openFolders(inner) {
						add(fmt.Sprintf("it spares %s/* and not %s, which applications serve as the same page: it is open", folder, folder),
							fmt.Sprintf("write not path %s %s/*", folder, folder))
					}
				}
			}
		}
	}
	return list
}

// openFolders returns each folder, such as /x, of which a set matches /x/* and not /x.
func openFolders(set setView) (folders []string) {
	for _, m := range set {
		if m.name != "path" {
			continue
		}
		for _, pattern := range m.values {
			folder, ok := strings.CutSuffix(pattern, "/*")
			if !ok || folder == "" || slices.ContainsFunc(m.values, func(other string) bool { return takesIn(other, folder) }) {
				continue
			}
			folders = append(folders, folder)
		}
	}
	return folders
}

// takesIn reports whether a pattern of a path matcher matches the path p, as Caddy
// reads patterns.
func takesIn(pattern, p string) bool {
	pattern, p = strings.ToLower(pattern), strings.ToLower(p)
	if front, ok := strings.CutSuffix(pattern, "*"); ok && !strings.Contains(front, "*") {
		return strings.HasPrefix(p, front)
	}
	matched, _ := path.Match(pattern, p)
	return matched
}
