package websms

import (
	"net/http"
	"strings"

	"github.com/caddy-websms/websms/session"
)

// identity is the request headers by which the upstream learns who was
// verified. Nobody but the gate may set them.
type identity struct {
	number, user string // canonical
	byNumber     bool   // of a gate that has no first factor's word for it
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

// isAlias reports whether the servers behind us could read name as of: CGI,
// WSGI and PHP turn every character that is no letter or digit into the same
// underscore and forget the case, so X_Verified.Number is X-Verified-Number to
// them.
func isAlias(name, of string) bool {
	if len(name) != len(of) {
		return false
	}
	for i := range len(name) {
		if fold(name[i]) != fold(of[i]) {
			return false
		}
	}
	return true
}

func fold(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return c
	}
	return '_'
}

func (id identity) owns(name string) bool {
	return isAlias(name, id.number) || isAlias(name, id.user)
}

// scrub removes from r whatever a client could pass for our word: the
// headers in every spelling, their names in Connection, which would make a
// proxy drop what we set, and the trailers, which arrive when it is too late to
// look at them, and may be discarded in transit anyway (RFC 9110, 6.5.1).
func (id identity) scrub(r *http.Request) {
	for name := range r.Header {
		if id.owns(name) {
			delete(r.Header, name)
		}
	}
	r.Trailer = nil
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

// set tells the upstream who was verified. A header that would be empty is
// not set: a session can be without a number, or without a user.
func (id identity) set(h http.Header, number, user string) {
	if number != "" {
		h[id.number] = []string{number}
	}
	if user != "" {
		h[id.user] = []string{user}
	}
}

// meansValues are the values of the placeholder of the means. They are strings,
// so that expressions can compare them, made once, so that no request allocates one.
var meansValues = func() (values [1 << 8]any) {
	for m := range values {
		values[m] = session.Means(m).String()
	}
	return values
}()
