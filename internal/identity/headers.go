// Package identity owns the request headers that tell the upstream which person
// was verified, by default X-Verified-Number and X-Verified-User.
//
// Only a gate may set these headers. A gate removes them from every request
// first, in each spelling that a server behind it could understand. So the
// upstream can trust the value that it gets.
package identity

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Headers are the names of the two identity headers of one gate.
type Headers struct {
	number, user string // canonical

	// ByNumber says that the gate has no first factor: people type their
	// number. Such a gate sets the placeholders of an authenticated user
	// itself, so no later gate may take them for a first factor's answer.
	ByNumber bool
}

// New returns the headers with these names. An empty name means the default.
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

// Names returns the names of the two headers.
func (id Headers) Names() (number, user string) { return id.number, id.user }

// reservedHeaders cannot carry an identity, because HTTP itself or a proxy
// gives them a meaning.
var reservedHeaders = []string{
	"Connection", "Content-Length", "Cookie", "Host", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// IsReserved reports whether a header, in any case, cannot carry an identity.
func IsReserved(name string) bool {
	return slices.Contains(reservedHeaders, http.CanonicalHeaderKey(name))
}

// Clash reports whether an upstream could read the two headers as one.
func (id Headers) Clash() bool { return isAlias(id.number, id.user) }

// isAlias reports whether an upstream could read the header name as the header
// of. CGI, WSGI and PHP ignore the case, and turn every character that is not a
// letter or a digit into an underscore. To them X_Verified.Number is
// X-Verified-Number.
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

// fold returns the character that CGI makes of c, in lower case.
func fold(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return c
	}
	return '_'
}

// Owns reports whether an upstream could read the header name as one of the
// two.
func (id Headers) Owns(name string) bool {
	return isAlias(name, id.number) || isAlias(name, id.user)
}

// Scrub removes from r everything that an upstream could read as an identity:
//
//   - the two headers, in every spelling;
//   - their names in Connection, which would make a proxy drop the headers that
//     a gate sets;
//   - all trailers. They arrive after the decision, and any recipient may
//     discard them (RFC 9110, 6.5.1).
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

// scrubConnection removes the names of the two headers from the Connection
// fields of h. Without such a name the fields stay as they are.
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

// Values holds the values of the headers of one request. The zero Values is ready
// for Admit.
type Values struct{ number, user [1]string }

// set sets the headers, with values that it puts into v. It leaves out an empty one,
// because a session can be without a number or without a user.
func (id *Headers) set(h http.Header, v *Values, number, user string) {
	if number != "" {
		v.number[0] = number
		h[id.number] = v.number[:]
	}
	if user != "" {
		v.user[0] = user
		h[id.user] = v.user[:]
	}
}

// admittedVar is the variable of a request that holds the *Headers which a gate
// has set.
const admittedVar = "websms.admitted"

// Admit sets the headers of a verified request. It also records them in a
// variable of the request, for ScrubOthers and AdmittedByNumber of the handlers
// behind the gate. The headers of r hold on to v, which must be of this call alone.
func (id *Headers) Admit(r *http.Request, v *Values, number, user string) {
	id.set(r.Header, v, number, user)
	caddyhttp.SetVar(r.Context(), admittedVar, id)
}

// AdmittedByNumber reports whether the last gate that admitted r has no first
// factor.
func AdmittedByNumber(r *http.Request) bool {
	by, admitted := caddyhttp.GetVar(r.Context(), admittedVar).(*Headers)
	return admitted && by.ByNumber
}

// ScrubOthers does what Scrub does, and keeps the headers that a gate has set
// with Admit.
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
