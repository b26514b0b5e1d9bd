package flow

import (
	"errors"
	"time"

	"github.com/caddy-websms/websms/internal/cookies"
	"github.com/caddy-websms/websms/internal/pages"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/number"
	"github.com/caddy-websms/websms/otp"
)

// challengeJSON is a challenge as programs see it.
type challengeJSON struct {
	Status       otp.Status `json:"status"`
	Masked       string     `json:"masked"`
	CodeLength   int        `json:"code_length"`
	AttemptsLeft int        `json:"attempts_left"`
	ExpiresAt    time.Time  `json:"expires_at"`
	ResendAt     time.Time  `json:"resend_at"`
}

// view returns what the browser may know of its challenge. Where only listed
// numbers get a code, whether one was delivered would tell if a number is
// listed; so only a browser that has verified it before learns more than that
// the message is on its way.
func (f *Flow) view(v *visit, a *cookies.Challenge, c otp.Challenge) challengeJSON {
	status := c.Status
	if (a.Restricted || f.Numbers.Restricted()) && !v.Knows(a.Number.E164) {
		if status = otp.Queued; c.Settled { // nothing else: a report may be faster
			status = otp.Accepted
		}
	}
	length := c.CodeLength
	if f.Numbers.Restricted() && f.Policy.Remote { // WebSMS may have made one of another length, and none for others
		length = f.Policy.Length
	}
	return challengeJSON{
		Status: status, Masked: number.Mask(a.Number.E164), CodeLength: length, AttemptsLeft: c.AttemptsLeft,
		ExpiresAt: c.ExpiresAt.UTC().Truncate(time.Second), ResendAt: request.RoundUp(c.ResendAt).UTC(),
	}
}

// lostError returns what an error about a challenge means to the browser that holds a.
// A store forgets a code when its life is over; the cookie remembers that it was.
func lostError(a *cookies.Challenge, err error, now time.Time) error {
	if errors.Is(err, otp.ErrNoChallenge) && a.ID != (otp.ID{}) && !now.Before(a.Expires) {
		return otp.ErrExpired
	}
	return err
}

// cookies.Challenge returns the challenge that the browser has asked for, in the name of the
// person that a first factor names now.
func (f *Flow) ask(v *visit) (cookies.Challenge, bool) {
	return v.Challenge(func(a *cookies.Challenge) bool {
		return a.User == v.user && (f.FirstFactor == nil || a.Number == v.number)
	})
}

// refuseStep refuses a step on the way to a session. Its page leads back to
// the code, of who has one that cannot be checked now, or else to the number
// form, and from there to where the way was to end.
func (f *Flow) refuseStep(v *visit, a *cookies.Challenge, p problem) error {
	if p.Type == problemUnavailable(0).Type && a.ID != (otp.ID{}) {
		return f.refuse(v.W, v.R, p, pages.CodeUnavailable(request.WholeSeconds(p.retryAfter)))
	}
	page, ok := p.page.(pages.Message)
	if ok && page.Action != nil && page.Action.Href == "login" {
		page.Action = &pages.Action{Label: page.Action.Label, Href: request.LoginURL(a.ReturnTo, f.Prefix)}
		p.page = page
	}
	return f.refuse(v.W, v.R, p, nil)
}
