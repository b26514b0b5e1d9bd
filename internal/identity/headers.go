package identity

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Headers is the request headers by which the upstream learns who was
// verified. Nobody but the gate may set them.
type Headers struct {
	number, user string // canonical
	ByNumber     bool   // of a gate that has no first factor's word for it
}

func New(number, user string) Headers {
	id := Headers{number: "X-Verified-Number", user: "X-Verified-User"}
	if number != "" {
		id.number = http.CanonicalHeaderKey(number)
	}
	if user != "" {
		id.user = http.CanonicalHeaderKey(user)
	}
	return id
}

// reservedHeaders cannot carry an identity: HTTP itself, or a proxy, gives
// them a meaning.
var reservedHeaders = []string{"Connection", "Content-Length", "Cookie", "Host", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// IsReserved reports whether a header, of whatever case, is one of them.
func IsReserved(name string) bool {
	return slices.Contains(reservedHeaders, http.CanonicalHeaderKey(name))
}

// Clash reports whether servers could read the two headers as one.
func (id Headers) Clash() bool { return isAlias(id.number, id.user) }

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

func (id Headers) Owns(name string) bool {
	return isAlias(name, id.number) || isAlias(name, id.user)
}

// Scrub removes from r whatever a client could pass for our word: the
// headers in every spelling, their names in Connection, which would make a
// proxy drop what we set, and the trailers, which arrive when it is too late to
// look at them, and may be discarded in transit anyway (RFC 9110, 6.5.1).
func (id Headers) Scrub(r *http.Request) {
	for name := range r.Header {
		if id.Owns(name) {
			delete(r.Header, name)
		}
	}
	r.Trailer = nil
	if fields := r.Header["Connection"]; len(fields) > 0 {
		id.scrubConnection(r.Header, fields)
	}
}

func (id Headers) scrubConnection(h http.Header, fields []string) {
	var kept []string
	dropped := false
	for _, field := range fields {
		for option := range strings.SplitSeq(field, ",") {
			option = strings.TrimSpace(option)
			if id.Owns(option) {
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
func (id Headers) set(h http.Header, number, user string) {
	if number != "" {
		h[id.number] = []string{number}
	}
	if user != "" {
		h[id.user] = []string{user}
	}
}

// admittedVar is where a gate says by which headers it has named somebody.
const admittedVar = "websms.admitted"

// Admit tells the upstream who was verified, and the handlers in between by
// which headers.
func (id *Headers) Admit(r *http.Request, number, user string) {
	id.set(r.Header, number, user)
	caddyhttp.SetVar(r.Context(), admittedVar, id)
}

// AdmittedByNumber reports whether a gate without a first factor has admitted r.
func AdmittedByNumber(r *http.Request) bool {
	by, admitted := caddyhttp.GetVar(r.Context(), admittedVar).(*Headers)
	return admitted && by.ByNumber
}

// ScrubOthers removes what scrub removes, but for what a gate has just set.
func (id Headers) ScrubOthers(r *http.Request) {
	set, admitted := caddyhttp.GetVar(r.Context(), admittedVar).(*Headers)
	if !admitted {
		id.Scrub(r)
		return
	}
	number, user := r.Header[set.number], r.Header[set.user]
	id.Scrub(r)
	if number != nil {
		r.Header[set.number] = number
	}
	if user != nil {
		r.Header[set.user] = user
	}
}
