package websms

import (
	"encoding/binary"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-websms/websms/number"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

// cookies names and writes the cookies of a gate.
type cookies struct {
	session   string // the configured name; the others are made from it
	challenge string
	device    string
	notice    string // a word for the next page
	domain    string
}

const hostPrefix = "__Host-"

func newCookies(s SessionConfig) cookies {
	name := s.Cookie
	if name == "" {
		name = defaultCookie
	}
	return cookies{session: name, challenge: name + "_challenge", device: name + "_device", notice: name + "_notice", domain: s.Domain}
}

// own reports whether a cookie is ours, under either of its names.
func (c *cookies) own(name string) bool {
	base, ok := strings.CutPrefix(name, c.session)
	if !ok {
		if base, ok = strings.CutPrefix(name, hostPrefix); !ok {
			return false
		}
		if base, ok = strings.CutPrefix(base, c.session); !ok {
			return false
		}
	}
	return base == "" || base == "_challenge" || base == "_device" || base == "_notice"
}

// shared reports whether a cookie goes to every host of the domain.
func (c *cookies) shared(name string) bool {
	return c.domain != "" && (name == c.session || name == c.device)
}

// name returns the name that a cookie has in a request over that scheme. The
// prefix makes browsers refuse it from any other host and from plain HTTP.
func (c *cookies) name(base string, https bool) string {
	if https && !c.shared(base) {
		return hostPrefix + base
	}
	return base
}

// set writes a cookie. It lasts as long as the browser runs if life is 0, and
// is deleted if life is negative.
func (c *cookies) set(w http.ResponseWriter, base, value string, https bool, life time.Duration) {
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
	w.Header().Add("Set-Cookie", cookie.String())
}

// maxSame is how many cookies of one name are tried. A parent domain, or a
// stranger on it, can add some of its own; ours comes first or soon after.
const maxSame = 4

// find calls open with the values of a cookie of r until one opens.
func (c *cookies) find(r *http.Request, base string, https bool, open func(value string) bool) bool {
	tries, found := 0, false
	session.Values(r.Header["Cookie"], c.name(base, https), func(value string) bool {
		tries++
		found = open(value)
		return !found && tries < maxSame
	})
	return found
}

// isHTTPS reports whether the browser speaks HTTPS: to us, or to a proxy that
// the server's configuration trusts to say so.
func isHTTPS(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	proto := r.Header["X-Forwarded-Proto"]
	if len(proto) == 0 || !strings.EqualFold(proto[0], "https") {
		return false
	}
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return trusted
}

// ask is what the challenge cookie holds: which challenge the browser has
// asked for, and what is needed to go on with it. A store need not keep it.
type ask struct {
	id      otp.ID
	number  number.Number
	user    string    // who asked, by a first factor's word; "" in number mode
	decoy   bool      // nothing was sent: the number is not listed
	expires time.Time // of the code, when the cookie was written
	rd      string
}

const askVersion = 2

// askLife is how long the challenge cookie lasts: longer than any code, so
// that a late answer can be told that it is late.
const askLife = otp.MaxLife + 5*time.Minute

func (a *ask) seal(ring *session.Ring, realm string) (string, error) {
	decoy := byte(0)
	if a.decoy {
		decoy = 1
	}
	plain := append(make([]byte, 0, 64+len(a.rd)), askVersion, decoy)
	plain = append(plain, a.id[:]...)
	plain = binary.BigEndian.AppendUint64(plain, uint64(a.expires.Unix()))
	for _, text := range []string{a.number.E164, a.number.Region, a.user, a.rd} {
		plain = binary.BigEndian.AppendUint16(plain, uint16(len(text)))
		plain = append(plain, text...)
	}
	return ring.Seal(session.ForChallenge, realm, plain)
}

func openAsk(ring *session.Ring, realm, sealed string) (ask, bool) {
	var a ask
	plain, err := ring.Open(session.ForChallenge, realm, sealed)
	const head = 2 + 16 + 8
	if err != nil || len(plain) < head || plain[0] != askVersion {
		return a, false
	}
	a.decoy = plain[1] == 1
	copy(a.id[:], plain[2:])
	a.expires = time.Unix(int64(binary.BigEndian.Uint64(plain[18:])), 0)
	rest := plain[head:]
	for _, into := range []*string{&a.number.E164, &a.number.Region, &a.user, &a.rd} {
		if len(rest) < 2 {
			return a, false
		}
		n := int(binary.BigEndian.Uint16(rest))
		if len(rest) < 2+n {
			return a, false
		}
		*into, rest = string(rest[2:2+n]), rest[2+n:]
	}
	return a, len(rest) == 0
}
