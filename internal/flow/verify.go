package flow

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/internal/cookies"
	"github.com/caddy-websms/websms/internal/pages"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/internal/telemetry"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

func (f *Flow) getVerify(v *visit) error {
	a, ok := f.ask(v)
	if !ok && request.PrefersJSON(v.R) {
		return f.refuse(v.W, v.R, problemNoChallenge, nil)
	}
	if !ok {
		request.Redirect(v.W, http.StatusSeeOther, f.Prefix+"/login")
		return nil
	}
	c, err := f.Engine.Get(v.R.Context(), f.Policy.Scope, a.ID)
	if err != nil {
		if err = lostError(&a, err, v.Now); errors.Is(err, otp.ErrNoChallenge) && !request.PrefersJSON(v.R) {
			request.Redirect(v.W, http.StatusSeeOther, request.LoginURL(a.ReturnTo, f.Prefix))
			return nil
		}
		return f.refuseStep(v, &a, f.problemOf(err))
	}
	if request.PrefersJSON(v.R) {
		return request.WriteJSON(v.W, http.StatusOK, "application/json", f.view(v, &a, c))
	}
	form := f.codeForm(v, &a, c)
	form.Sent = v.TakeNotice(cookies.NoticeSent)
	return f.Pages.Write(v.W, http.StatusOK, form)
}

// codeForm returns the page that asks for the code.
func (f *Flow) codeForm(v *visit, a *cookies.Challenge, c otp.Challenge) pages.Verify {
	shown := f.view(v, a, c)
	return pages.Verify{
		Masked: shown.Masked, ReturnTo: a.ReturnTo, CodeLength: shown.CodeLength, AttemptsLeft: c.AttemptsLeft,
		SecondFactor: f.FirstFactor != nil, Status: string(shown.Status), ExpiresAt: c.ExpiresAt, ResendAt: c.ResendAt, Now: v.Now, Remember: f.Jar.Life.Remember,
	}
}

func (f *Flow) postVerify(v *visit) error {
	a, ok := f.ask(v)
	if !ok {
		return f.refuseVerify(v, &cookies.Challenge{ReturnTo: "/"}, otp.ErrNoChallenge)
	}
	left, err := f.Engine.Verify(v.R.Context(), &f.Policy, otp.Verification{
		ID: a.ID, Code: v.form.Get("code"), Number: a.Number.E164, Device: v.DeviceFor(a.Number.E164),
	})
	remember := slices.Contains([]string{"1", "true", "on"}, v.form.Get("remember"))
	if errors.Is(err, otp.ErrWrongCode) {
		return f.refuseCode(v, &a, left, err, remember)
	}
	e := f.entry(v, &a)
	if err == nil && !f.Numbers.Allowed(a.Number) { // a decoy is never right, unless the list has changed since
		err = otp.ErrNoChallenge
	}
	if err != nil {
		if errors.As(err, new(*otp.LimitError)) {
			f.log(telemetry.EntryLimited, e, zap.Error(err))
		}
		return f.refuseVerify(v, &a, lostError(&a, err, v.Now))
	}
	v.EndSessions()
	s, err := v.StartSession(&a, session.SMS, remember)
	if err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	v.LearnDevice(a.Number.E164)
	f.judged(v, telemetry.CodeRight)
	f.log(telemetry.EntryVerified, e, zap.String("session", s.ID.String()), zap.Stringer("means", s.Means))
	f.tell(telemetry.EventVerified, e, "session", s.ID.String())
	return f.answerVerified(v, &a, &s)
}

// answerVerified lets on whom a session has just been given to.
func (f *Flow) answerVerified(v *visit, a *cookies.Challenge, s *session.Session) error {
	if request.PrefersJSON(v.R) {
		return request.WriteJSON(v.W, http.StatusOK, "application/json", struct {
			Verified  bool      `json:"verified"`
			Number    string    `json:"number,omitempty"`
			ExpiresAt time.Time `json:"expires_at"`
			RD        string    `json:"rd"`
		}{true, telemetry.Mask(s.Number), f.Jar.Life.Expires(s).UTC().Truncate(time.Second), a.ReturnTo})
	}
	request.Redirect(v.W, http.StatusSeeOther, a.ReturnTo)
	return nil
}

// refuseCode refuses a wrong code, and says what is left: of the challenge, or
// of the lock that it led to.
func (f *Flow) refuseCode(v *visit, a *cookies.Challenge, left otp.Challenge, err error, remember bool) error {
	e := f.entry(v, a)
	f.judged(v, telemetry.CodeResult(err))
	f.log(telemetry.EntryWrong, e, zap.Int("attempts_left", left.AttemptsLeft))
	p := problemWrongCode(left.AttemptsLeft)
	if lock := (*otp.LimitError)(nil); errors.As(err, &lock) {
		f.log(telemetry.EntryLocked, e, zap.String("limit", lock.Limit), zap.Duration("for", lock.RetryAfter))
		why := f.problemOf(lock)
		p.retryAfter = why.retryAfter
		return f.refuse(v.W, v.R, p, why.page)
	}
	if left.AttemptsLeft == 0 {
		return f.refuse(v.W, v.R, p, pages.TooManyAttempts())
	}
	form := f.codeForm(v, a, left)
	form.Problem, form.Remembered = pages.WrongCode(left.AttemptsLeft), remember
	return f.refuse(v.W, v.R, p, form)
}

// judged counts what a code was worth.
func (f *Flow) judged(v *visit, result string) {
	telemetry.CountCode(result)
	telemetry.NoteResult(v.R.Context(), result)
}

// refuseVerify refuses a code that has no challenge to answer. A browser that
// is in already, because it sent its form twice, is simply let on.
func (f *Flow) refuseVerify(v *visit, a *cookies.Challenge, err error) error {
	f.judged(v, telemetry.CodeResult(err))
	if errors.Is(err, otp.ErrNoChallenge) && !request.PrefersJSON(v.R) {
		if _, verified := v.Session(); verified {
			request.Redirect(v.W, http.StatusSeeOther, a.ReturnTo)
			return nil
		}
	}
	return f.refuseStep(v, a, f.problemOf(err))
}
