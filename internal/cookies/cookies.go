// Package cookies holds the state that a browser keeps for a gate: its session, its
// challenge, the numbers that it has verified, a notice for the next page, and a probe that
// shows whether it keeps cookies. All but the last two are sealed, so a client can neither
// read nor forge them.
package cookies

import (
	"net/http"
	"strings"
	"time"

	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/session"
)

// Names names and writes the cookies of a gate.
type Names struct {
	session   string // the configured name; the other names begin with it
	challenge string
	device    string
	notice    string
	probe     string
	domain    string // the domain that shares sessions, or ""
}

// hostPrefix makes browsers refuse a cookie from another host or over plain HTTP.
const hostPrefix = "__Host-"

// New returns the cookies of a gate. name is the configured name of the session cookie.
// domain is the domain that shares sessions, or "".
func New(name, domain string) Names {
	return Names{
		session: name, challenge: name + "_challenge", device: name + "_device", notice: name + "_notice", probe: name + "_probe",
		domain: domain,
	}
}

// Own reports whether a cookie belongs to this gate, with or without the prefix
// `__Host-`.
func (c *Names) Own(name string) bool {
	base, ok := strings.CutPrefix(name, c.session)
	if !ok {
		if base, ok = strings.CutPrefix(name, hostPrefix); !ok {
			return false
		}
		if base, ok = strings.CutPrefix(base, c.session); !ok {
			return false
		}
	}
	switch base {
	case "", "_challenge", "_device", "_notice", "_probe":
		return true
	}
	return false
}

// shared reports whether a cookie goes to every host of the domain.
func (c *Names) shared(name string) bool {
	return c.domain != "" && (name == c.session || name == c.device)
}

// name returns the name that a cookie has in a request. Over HTTPS a cookie that is not
// shared has the prefix `__Host-`.
func (c *Names) name(base string, https bool) string {
	if https && !c.shared(base) {
		return hostPrefix + base
	}
	return base
}

// set writes a cookie. If life is 0, the cookie lasts until the browser ends. If life is
// negative, the browser deletes the cookie.
func (c *Names) set(w http.ResponseWriter, base, value string, https bool, life time.Duration) {
	w.Header().Add("Set-Cookie", c.field(base, value, https, life))
}

// field returns the Set-Cookie field of a cookie. Its parameters are those of set.
func (c *Names) field(base, value string, https bool, life time.Duration) string {
	cookie := http.Cookie{
		Name: c.name(base, https), Value: value, Path: "/", Secure: https, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	if c.shared(base) {
		cookie.Domain = c.domain
	}
	switch {
	case life < 0:
		cookie.MaxAge = -1
	case life > 0:
		cookie.MaxAge = int(life / time.Second)
	}
	return cookie.String()
}

// maxSame is how many cookies of one name the gate tries to open. A site on a parent
// domain can add cookies of the same name, but the gate's own comes first or soon after.
const maxSame = 16

// find calls open with the values of a cookie of r until one opens.
func (c *Names) find(r *http.Request, base string, https bool, open func(value string) bool) bool {
	tries, found := 0, false
	session.Values(request.CookieFields(r), c.name(base, https), func(value string) bool {
		tries++
		found = open(value)
		return !found && tries < maxSame
	})
	return found
}
