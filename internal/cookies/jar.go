package cookies

import (
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/internal/vault"
	"github.com/caddy-websms/websms/number"
	"github.com/caddy-websms/websms/session"
)

// Jar reads and writes the cookies of a gate. Its fields do not change while
// requests are served.
type Jar struct {
	Names
	Realm string       // the configured realm; "" if there is none
	Vault *vault.Vault // the keys that seal cookies, and the revocations
	Life  session.Life
	Log   *zap.Logger

	// Admits reports whether the person of a session may still pass with r: the
	// number is allowed, and a first factor names the same user and number. It gets
	// no pointer to the session, because that would put each session on the heap.
	Admits func(r *http.Request, n number.Number, user string) bool
}

// Browser is the jar's view of one request: the cookies that the browser sent, and
// the answer that sets others.
type Browser struct {
	*Jar
	W     http.ResponseWriter
	R     *http.Request
	Realm string // the realm of the sessions of R
	HTTPS bool   // whether the browser speaks HTTPS, to Caddy or to a trusted proxy
	Now   time.Time
}

// Browser returns the view of a request that arrived at now.
func (j *Jar) Browser(w http.ResponseWriter, r *http.Request, now time.Time) Browser {
	return Browser{Jar: j, W: w, R: r, Realm: j.realmOf(r), HTTPS: request.IsHTTPS(r), Now: now}
}

// realmOf returns the realm of the sessions of r. By default that is the host of r, so a
// session of one site never opens another site.
func (j *Jar) realmOf(r *http.Request) string {
	if j.Realm != "" {
		return j.Realm
	}
	if j.domain != "" {
		return j.domain
	}
	return request.Host(r)
}

// audience returns the name that the browser's cookies are sealed for. No Host header
// holds a NUL. So a client that sends a configured realm as its Host reaches no cookie
// of that realm.
func (b *Browser) audience() string {
	switch {
	case b.Jar.Realm != "":
		return "\x00realm " + b.Jar.Realm
	case b.domain != "":
		return "\x00domain " + b.domain
	}
	return b.Realm
}

// Session returns the valid session of the browser, and false if it has none. A valid
// session was sealed by this gate, is alive and not revoked, and its person may still
// pass.
func (b *Browser) Session() (s session.Session, ok bool) {
	audience := b.audience()
	ok = b.find(b.R, b.session, b.HTTPS, func(value string) bool {
		opened, err := session.Open(b.Vault.Ring, audience, value)
		if err != nil || !b.Life.Alive(&opened, b.Now) || b.Vault.Ended(&opened, b.Realm) {
			return false
		}
		if !b.Admits(b.R, number.Number{E164: opened.Number, Region: opened.Region}, opened.User) {
			return false
		}
		s = opened
		return true
	})
	return s, ok
}

// Renewal returns the Set-Cookie field that renews a session's cookie and its idle
// time, or "" if the session cannot be sealed.
func (b *Browser) Renewal(s session.Session) string {
	s.Seen = b.Now
	sealed, err := s.Seal(b.Vault.Ring, b.audience())
	if err != nil {
		b.Log.Error("renewing a session", zap.Error(err))
		return ""
	}
	return b.field(b.session, sealed, b.HTTPS, 0)
}

// Proof is how and when a person proved their identity.
type Proof struct {
	Session  session.ID // the ID of the session that comes of the proof
	At       time.Time
	Means    session.Means
	Remember bool // the person ticked "trust this device"
}

// NewSession returns the session that comes of a proof. The person is that of a challenge.
func (b *Browser) NewSession(c *Challenge, p Proof) session.Session {
	s := session.Session{
		ID: p.Session, Number: c.Number.E164, Region: c.Number.Region, User: c.User,
		Remember: p.Remember && b.Life.Remember > 0, Means: p.Means,
	}
	b.Life.Begin(&s, p.At)
	return s
}

// SetSession gives the browser a session. It replaces any session and challenge that the
// browser had.
func (b *Browser) SetSession(s *session.Session) error {
	sealed, err := s.Seal(b.Vault.Ring, b.audience())
	if err != nil {
		return err
	}
	var life time.Duration
	if s.Remember {
		life = b.Life.Remember
	}
	b.set(b.W, b.session, sealed, b.HTTPS, life)
	b.DropChallenge()
	return nil
}

// EndSessions revokes all sessions that the browser sent. It also revokes one that was
// idle too long, and one whose number the gate does not allow today: such a session
// could become valid again. It returns the first of them, and false if there is none.
func (b *Browser) EndSessions() (first session.Session, ok bool) {
	audience := b.audience()
	b.find(b.R, b.session, b.HTTPS, func(value string) bool {
		s, err := session.Open(b.Vault.Ring, audience, value)
		if err != nil || !b.Now.Before(s.Ends) || b.Vault.Ended(&s, b.Realm) {
			return false
		}
		// Two answers to one code make one session, and may differ in Remember.
		until := s.Ends
		if trusted := s.Issued.Add(b.Life.Remember); trusted.After(until) {
			until = trusted
		}
		if err := b.Vault.Revoke(s.ID, until); err != nil {
			b.Log.Error("a session was ended in this process, but it could not be stored yet; it is tried again until this process ends",
				zap.Error(err))
		}
		if !ok {
			first, ok = s, true
		}
		return false
	})
	return first, ok
}

// DropSession deletes the session cookie.
func (b *Browser) DropSession() { b.set(b.W, b.session, "", b.HTTPS, -1) }

// Challenge returns the content of the first challenge cookie that opens and that keep
// accepts. It returns false if there is none.
func (b *Browser) Challenge(keep func(*Challenge) bool) (c Challenge, ok bool) {
	audience := b.audience()
	found := b.find(b.R, b.challenge, b.HTTPS, func(value string) (ok bool) {
		c, ok = openChallenge(b.Vault.Ring, audience, value)
		return ok && keep(&c)
	})
	if !found {
		return Challenge{}, false
	}
	return c, true
}

// SetChallenge writes the challenge cookie.
func (b *Browser) SetChallenge(c *Challenge) error {
	sealed, err := c.seal(b.Vault.Ring, b.audience())
	if err != nil {
		return err
	}
	b.set(b.W, b.challenge, sealed, b.HTTPS, challengeLife)
	return nil
}

// DropChallenge deletes the challenge cookie.
func (b *Browser) DropChallenge() { b.set(b.W, b.challenge, "", b.HTTPS, -1) }

// Knows reports whether this browser has verified a number before.
func (b *Browser) Knows(e164 string) bool { return b.DeviceFor(e164) != "" }

// DeviceFor returns the name under which this browser's failures for a number count. It
// returns "" if the browser has not verified the number, or if a cutoff has ended that.
func (b *Browser) DeviceFor(e164 string) string {
	d := b.device()
	n, known := d.knows(numberDigest(b.Vault.Ring, b.audience(), e164), b.Now)
	if !known || !n.at.After(b.Vault.NotBefore(session.ByNumber, b.Realm, e164)) {
		return ""
	}
	return string(n.id[:])
}

// LearnDevice remembers in the browser that it has verified a number.
func (b *Browser) LearnDevice(e164 string) {
	known := b.device()
	known.learn(numberDigest(b.Vault.Ring, b.audience(), e164), b.Now)
	if sealed, err := known.seal(b.Vault.Ring, b.audience()); err == nil {
		b.set(b.W, b.Names.device, sealed, b.HTTPS, deviceLife)
	}
}

// device returns the content of the device cookie.
func (b *Browser) device() device {
	var d device
	audience := b.audience()
	b.find(b.R, b.Names.device, b.HTTPS, func(value string) (ok bool) {
		d, ok = openDevice(b.Vault.Ring, audience, value)
		return ok
	})
	return d
}

// A notice tells the next page about the request before it, for example that the person
// has signed out.
const (
	NoticeSignedOut = "signed-out"
	NoticeSent      = "sent-again"
	noticeLife      = time.Minute // how long a notice waits for its page
)

// LeaveNotice leaves a notice for the next page.
func (b *Browser) LeaveNotice(notice string) {
	b.set(b.W, b.notice, notice, b.HTTPS, noticeLife)
}

// TakeNotice reports whether the browser has this notice, and deletes it.
func (b *Browser) TakeNotice(notice string) bool {
	left := b.find(b.R, b.notice, b.HTTPS, func(value string) bool { return value == notice })
	if left {
		b.set(b.W, b.notice, "", b.HTTPS, -1)
	}
	return left
}

// probeLife is how long the probe cookie lasts.
const probeLife = 30 * 24 * time.Hour

// Probe sets the probe cookie. A browser that keeps no cookies sends none of the gate with
// its next form, so the gate can say so before it sends a code.
func (b *Browser) Probe() { b.set(b.W, b.probe, "1", b.HTTPS, probeLife) }

// KeepsCookies reports whether the browser has sent any cookie of the gate.
func (b *Browser) KeepsCookies() bool {
	for _, field := range request.CookieFields(b.R) {
		for pair := range strings.SplitSeq(field, ";") {
			if name, _, _ := strings.Cut(pair, "="); b.Own(strings.TrimSpace(name)) {
				return true
			}
		}
	}
	return false
}
