package flow

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"

	"github.com/caddy-websms/websms/internal/cookies"
	"github.com/caddy-websms/websms/internal/pages"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/number"
	"github.com/caddy-websms/websms/otp"
)

// challengeView is the JSON of a challenge: everything that its browser may know.
type challengeView struct {
	Status       otp.Status `json:"status"`
	Masked       string     `json:"masked"`
	CodeLength   int        `json:"code_length"`
	AttemptsLeft int        `json:"attempts_left"`
	ExpiresAt    time.Time  `json:"expires_at"`
	ResendAt     time.Time  `json:"resend_at"`
}

// viewOf returns the part of a challenge that its browser may know.
//
// A restricted gate sends codes to listed numbers only, so the delivery status would
// tell whether a number is listed. There the status is only "queued" or "accepted",
// except for a browser that has verified the number before.
func (f *Flow) viewOf(v *visit, cookie *cookies.Challenge, c otp.Challenge) challengeView {
	status := c.Status
	if (cookie.Restricted || f.Numbers.Restricted()) && !v.Knows(cookie.Number.E164) {
		if status = otp.Queued; c.Settled { // not c.Status: a listed number may already have a delivery report
			status = otp.Accepted
		}
	}
	length := c.CodeLength
	if f.Numbers.Restricted() && f.Policy.Remote {
		// WebSMS made the code of a listed number, perhaps of another length, and none for others.
		length = f.Policy.Length
	}
	return challengeView{
		Status: status, Masked: number.Mask(cookie.Number.E164), CodeLength: length, AttemptsLeft: c.AttemptsLeft,
		ExpiresAt: c.ExpiresAt.UTC().Truncate(time.Second), ResendAt: request.RoundUp(f.resendAt(v, cookie, c)).UTC(),
	}
}

// resendAt returns when a challenge can be sent again, as far as the gate knows: after the
// cooldown, and when no limit refuses it. It asks for the limits once in a visit: a stream
// that asked again would tell a client of a restricted gate about changes that viewOf hides.
func (f *Flow) resendAt(v *visit, cookie *cookies.Challenge, c otp.Challenge) time.Time {
	if !v.asked {
		v.asked = true
		s := otp.Sending{Number: cookie.Number.E164, Device: v.DeviceFor(cookie.Number.E164), IP: request.Network(v.R)}
		if wait, err := f.Engine.Wait(v.R.Context(), &f.Policy, s); err == nil && wait > 0 { // otherwise a resend will tell
			v.limited = f.Now().Add(wait)
		}
	}
	if v.limited.After(c.ResendAt) {
		return v.limited
	}
	return c.ResendAt
}

// returnTo returns the return target of a browser with a challenge: that of the form, or
// else that of the address, or else that of the challenge.
func (f *Flow) returnTo(v *visit, cookie *cookies.Challenge) string {
	switch query := v.url.Query(); {
	case v.form.Has("rd"):
		return request.ReturnTarget(v.form.Get("rd"), f.Prefix)
	case query.Has("rd"):
		return request.ReturnTarget(query.Get("rd"), f.Prefix)
	}
	return cookie.ReturnTo
}

// formID returns the name by which a page knows its challenge. It is a hash, because no
// page has the ID itself, by which logs name the challenge.
func formID(id otp.ID) string {
	sum := sha256.Sum256(append([]byte("websms form "), id[:]...))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// isOver reports whether err says that a challenge takes no more answers.
func isOver(err error) bool {
	return errors.Is(err, otp.ErrNoChallenge) || errors.Is(err, otp.ErrExpired) || errors.Is(err, otp.ErrTooManyAttempts)
}

// asExpired returns otp.ErrExpired if err says that there is no challenge and the
// challenge of the cookie has expired. Otherwise it returns err. The cookie knows the
// expiry time longer than the store, which deletes expired challenges.
func asExpired(cookie *cookies.Challenge, err error, now time.Time) error {
	if errors.Is(err, otp.ErrNoChallenge) && cookie.ID != (otp.ID{}) && !now.Before(cookie.Expires) {
		return otp.ErrExpired
	}
	return err
}

// challengeOf returns the challenge in the browser's cookie, and false if it has none.
// Behind a first factor, the challenge must belong to the user that it names now, and to that user's number.
func (f *Flow) challengeOf(v *visit) (cookies.Challenge, bool) {
	return v.Challenge(func(cookie *cookies.Challenge) bool {
		return cookie.User == v.user && (f.FirstFactor == nil || cookie.Number == v.number)
	})
}

// refuseStep answers with the problem of a step to a session, such as a send or a verify.
// If a code exists but the gate cannot check it now, the page leads back to the code form. Otherwise the page
// leads to the number form, and keeps the return target.
func (f *Flow) refuseStep(v *visit, cookie *cookies.Challenge, p problem) error {
	if p.Type == typeUnavailable && cookie.ID != (otp.ID{}) {
		return f.refuse(v.W, v.R, p, pages.CodeUnavailable(request.WholeSeconds(p.retryAfter)))
	}
	if page, ok := p.page.(pages.Message); ok {
		p.page = page.To(cookie.ReturnTo)
	}
	return f.refuse(v.W, v.R, p, nil)
}
