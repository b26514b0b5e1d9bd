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

// Strip removes cookies from the Cookie header fields of h: those with a name for which
// own returns true. All other bytes stay. If there is no such cookie, Strip changes
// nothing and does not allocate. It never writes to the slice in h, but replaces it.
func Strip(h http.Header, own func(name string) bool) { StripTo(h, own, nil) }

// StripTo is Strip with a slice for the remaining fields. It overwrites room, and
// allocates a slice only if room is too small.
func StripTo(h http.Header, own func(name string) bool, room []string) {
	fields := h["Cookie"]
	kept := room[:0]
	changed := false
	for i, field := range fields {
		stripped := strip(field, own)
		if stripped == field && !changed {
			continue
		}
		if !changed {
			kept = append(kept, fields[:i]...)
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
		h["Cookie"] = kept[:len(kept):len(kept)]
	}
}

// strip returns a header field without the cookies that own selects. It allocates
// only if it has to join text before a removed cookie with text after it.
func strip(field string, own func(string) bool) string {
	var before string       // the kept text so far, if it is one piece of field
	var out strings.Builder // the kept text so far, if it is several pieces
	kept := 0               // the start of the text that is not copied yet
	for pos := 0; pos < len(field); {
		next := len(field)
		if i := strings.IndexByte(field[pos:], ';'); i >= 0 {
			next = pos + i + 1
		}
		name, _, _ := strings.Cut(strings.TrimSuffix(field[pos:next], ";"), "=")
		if own(strings.Trim(name, " \t")) {
			switch piece := field[kept:pos]; {
			case piece == "":
			case before == "":
				before = piece
			default:
				if out.Len() == 0 {
					out.Grow(len(field))
					out.WriteString(before)
				}
				out.WriteString(piece)
			}
			kept = next
		}
		pos = next
	}
	if kept == 0 {
		return field
	}
	tail := field[kept:]
	if out.Len() > 0 {
		before = out.String()
	}
	switch {
	case before == "": // drop the space behind the removed separator
		return strings.TrimLeft(tail, " \t")
	case tail == "": // drop the separator before the removed cookie
		return strings.TrimRight(before, "; \t")
	}
	return before + tail
}
