package websms

import (
	"net/http"
	"strings"
)

// identity is the request headers by which the upstream learns who was
// verified. Nobody but the gate may set them.
type identity struct {
	number, user string // canonical
}

func newIdentity(h HeadersConfig) identity {
	id := identity{number: "X-Verified-Number", user: "X-Verified-User"}
	if h.Number != "" {
		id.number = http.CanonicalHeaderKey(h.Number)
	}
	if h.User != "" {
		id.user = http.CanonicalHeaderKey(h.User)
	}
	return id
}

// alias returns name as the servers behind us may read it: CGI, WSGI and PHP
// turn every character that is no letter or digit into the same underscore
// and forget the case, so X_Verified.Number is X-Verified-Number to them.
func alias(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		}
		return '_'
	}, name)
}

// isAlias reports whether name would be read as of, without allocating.
func isAlias(name, of string) bool {
	if len(name) != len(of) {
		return false
	}
	for i := range len(name) {
		a, b := name[i], of[i]
		if a == b {
			continue
		}
		if letterOrDigit(a) || letterOrDigit(b) {
			if a|0x20 != b|0x20 || !letterOrDigit(a) || !letterOrDigit(b) || a < 'A' || b < 'A' {
				return false
			}
		}
	}
	return true
}

func letterOrDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

func (id identity) owns(name string) bool {
	return isAlias(name, id.number) || isAlias(name, id.user)
}

// scrub removes from r whatever a client could pass for our word: the
// headers in every spelling, also announced as trailers, and their names in
// Connection, which would make a proxy drop what we set.
func (id identity) scrub(r *http.Request) {
	for name := range r.Header {
		if id.owns(name) {
			delete(r.Header, name)
		}
	}
	for name := range r.Trailer {
		if id.owns(name) {
			delete(r.Trailer, name)
		}
	}
	if fields := r.Header["Connection"]; len(fields) > 0 {
		id.scrubConnection(r.Header, fields)
	}
}

func (id identity) scrubConnection(h http.Header, fields []string) {
	var kept []string
	dropped := false
	for _, field := range fields {
		for option := range strings.SplitSeq(field, ",") {
			option = strings.TrimSpace(option)
			if id.owns(option) {
				dropped = true
			} else if option != "" {
				kept = append(kept, option)
			}
		}
	}
	switch {
	case !dropped:
	case len(kept) == 0:
		delete(h, "Connection")
	default:
		h["Connection"] = []string{strings.Join(kept, ", ")}
	}
}

// set tells the upstream who was verified.
func (id identity) set(h http.Header, number, user string) {
	h[id.number] = []string{number}
	if user != "" {
		h[id.user] = []string{user}
	}
}
