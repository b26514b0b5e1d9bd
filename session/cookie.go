package session

import (
	"net/http"
	"strings"
)

// Values calls yield with each value of the named cookie in the given Cookie
// header fields, in order, until yield returns false. Quotes around a value are
// removed. Values does not allocate.
//
// A browser sends several cookies of one name if a parent domain has set one too.
// So the first value may be foreign, and the caller should try all.
func Values(fields []string, name string, yield func(value string) bool) {
	for _, field := range fields {
		for len(field) > 0 {
			pair := field
			if i := strings.IndexByte(field, ';'); i >= 0 {
				pair, field = field[:i], field[i+1:]
			} else {
				field = ""
			}
			pair = strings.TrimLeft(pair, " \t")
			if len(pair) <= len(name) || pair[len(name)] != '=' || pair[:len(name)] != name {
				continue
			}
			value := strings.TrimRight(pair[len(name)+1:], " \t")
			if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
				value = value[1 : len(value)-1]
			}
			if !yield(value) {
				return
			}
		}
	}
}

// Strip removes every cookie for whose name own returns true from the Cookie
// header fields of h. It leaves all other bytes as they are. If there is none to
// remove, Strip changes nothing and does not allocate.
func Strip(h http.Header, own func(name string) bool) {
	fields := h["Cookie"]
	var kept []string
	changed := false
	for i, field := range fields {
		stripped := strip(field, own)
		if stripped == field && !changed {
			continue
		}
		if !changed {
			kept = append(make([]string, 0, len(fields)), fields[:i]...)
			changed = true
		}
		if stripped != "" {
			kept = append(kept, stripped)
		}
	}
	switch {
	case !changed:
	case len(kept) == 0:
		delete(h, "Cookie")
	default:
		h["Cookie"] = kept
	}
}

// strip returns a header field without the cookies that own selects.
func strip(field string, own func(string) bool) string {
	var out strings.Builder
	kept := 0 // the start of the text that is not copied yet
	for pos := 0; pos < len(field); {
		next := len(field)
		if i := strings.IndexByte(field[pos:], ';'); i >= 0 {
			next = pos + i + 1
		}
		name, _, _ := strings.Cut(strings.TrimSuffix(field[pos:next], ";"), "=")
		if own(strings.Trim(name, " \t")) {
			out.WriteString(field[kept:pos])
			kept = next
		}
		pos = next
	}
	if kept == 0 {
		return field
	}
	tail := field[kept:]
	if out.Len() == 0 { // drop the space behind the removed separator
		return strings.TrimLeft(tail, " \t")
	}
	if tail == "" { // drop the separator before the removed cookie
		return strings.TrimRight(out.String(), "; \t")
	}
	return out.String() + tail
}
