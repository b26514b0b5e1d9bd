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

// getVerify shows the code form. A browser without a challenge goes to the number form.
func (f *Flow) getVerify(v *visit) error {
	cookie, ok := f.challengeOf(v)
	if !ok && request.PrefersJSON(v.R) {
		return f.refuse(v.W, v.R, problemNoChallenge, nil)
	}
	if !ok {
		location := f.Prefix + "/login"
		if rd := request.TargetOf(v.R, f.Prefix); rd != "/" {
			location = request.LoginURL(rd, f.Prefix)
		}
		request.Redirect(v.W, http.StatusSeeOther, location)
		return nil
	}
	cookie.ReturnTo = f.returnTo(v, &cookie)
	c, err := f.Engine.Get(v.R.Context(), f.Policy.Scope, cookie.ID)
	if err != nil {
		if err = asExpired(&cookie, err, v.Now); errors.Is(err, otp.ErrNoChallenge) && !request.PrefersJSON(v.R) {
			request.Redirect(v.W, http.StatusSeeOther, request.LoginURL(cookie.ReturnTo, f.Prefix))
			return nil
		}
		return f.refuseStep(v, &cookie, f.problemOf(err))
	}
	if request.PrefersJSON(v.R) {
		return request.WriteJSON(v.W, http.StatusOK, "application/json", f.viewOf(v, &cookie, c))
	}
	form := f.codeForm(v, &cookie, c)
	form.Sent = v.TakeNotice(cookies.NoticeSent)
	return f.Pages.Write(v.W, http.StatusOK, form)
}

// codeForm returns the page that asks for the code of a challenge.
func (f *Flow) codeForm(v *visit, cookie *cookies.Challenge, c otp.Challenge) pages.Verify {
	shown := f.viewOf(v, cookie, c)
	return pages.Verify{
		Challenge: formID(cookie.ID), Masked: shown.Masked, ReturnTo: cookie.ReturnTo,
		CodeLength: shown.CodeLength, AnyLength: f.Policy.Remote, AttemptsLeft: c.AttemptsLeft,
		SecondFactor: f.FirstFactor != nil, Status: string(shown.Status),
		ExpiresAt: c.ExpiresAt, ResendAt: f.resendAt(v, cookie, c), Now: v.Now, Remember: f.Jar.Life.Remember,
	}
}

// postVerify compares the posted code with the browser's challenge. The right code
// starts a new session and revokes the sessions that the browser had.
//
// A page names its challenge. If it has posted the right code twice, for example because
// the first answer was slow, the second answer has the same session.
func (f *Flow) postVerify(v *visit) error {
	cookie, ok := f.challengeOf(v)
	if !ok {
		return f.refuseVerify(v, &cookies.Challenge{ReturnTo: f.target(v)}, otp.ErrNoChallenge)
	}
	cookie.ReturnTo = f.returnTo(v, &cookie)
	page := v.form.Get("challenge")
	if page != "" && page != formID(cookie.ID) {
		return f.refuseOther(v, &cookie)
	}
	c, err := f.Engine.Verify(v.R.Context(), &f.Policy, otp.Verification{
		ID: cookie.ID, Code: v.form.Get("code"), Number: cookie.Number.E164, Device: v.DeviceFor(cookie.Number.E164),
		Again: page != "",
	})
	twice := errors.Is(err, otp.ErrUsed)
	if twice {
		err = nil
	}
	remember := slices.Contains([]string{"1", "true", "on"}, v.form.Get("remember"))
	switch {
	case errors.Is(err, otp.ErrWrongCode):
		return f.refuseCode(v, &cookie, c, err, remember)
	case errors.Is(err, otp.ErrIncomplete):
		return f.refuseIncomplete(v, &cookie, c, remember)
	case err == nil && !f.Numbers.Allowed(cookie.Number): // the list may have changed since the code was sent
		err = otp.ErrNoChallenge
	}
	e := f.entry(v, &cookie)
	if err != nil {
		if errors.As(err, new(*otp.LimitError)) {
			f.audit(telemetry.EntryLimited, e, zap.Error(err))
		}
		return f.refuseVerify(v, &cookie, asExpired(&cookie, err, v.Now))
	}
	s := v.NewSession(&cookie, cookies.Proof{Session: f.sessionOf(cookie.ID), At: c.VerifiedAt, Means: session.SMS, Remember: remember})
	switch {
	case !twice:
		v.EndSessions()
	case v.Vault.Ended(&s, v.Realm): // the person has signed out since
		return f.refuseVerify(v, &cookie, otp.ErrNoChallenge)
	}
	if err := v.SetSession(&s); err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	v.LearnDevice(cookie.Number.E164)
	if !twice {
		f.countCode(v, telemetry.CodeRight)
		f.audit(telemetry.EntryVerified, e, zap.String("session", s.ID.String()), zap.Stringer("means", s.Means))
		f.Events.EmitEntry(telemetry.EventVerified, e, "session", s.ID.String())
	}
	return f.answerVerified(v, &cookie, &s)
}

// sessionOf returns the ID of the session that comes of a challenge. It is the same for
// each answer to the challenge, on all nodes.
func (f *Flow) sessionOf(id otp.ID) session.ID {
	digest := f.Jar.Vault.Ring.Digest("session of a challenge", string(id[:]))
	return session.ID(digest[:len(session.ID{})])
}

// answerVerified answers a request that has just started a session. Browsers go to
// their return target.
func (f *Flow) answerVerified(v *visit, cookie *cookies.Challenge, s *session.Session) error {
	if request.PrefersJSON(v.R) {
		return request.WriteJSON(v.W, http.StatusOK, "application/json", struct {
			Verified  bool      `json:"verified"`
			Number    string    `json:"number,omitempty"`
			ExpiresAt time.Time `json:"expires_at"`
			RD        string    `json:"rd"`
		}{true, telemetry.Mask(s.Number), f.Jar.Life.Expires(s).UTC().Truncate(time.Second), cookie.ReturnTo})
	}
	request.Redirect(v.W, http.StatusSeeOther, cookie.ReturnTo)
	return nil
}

// refuseCode answers a wrong code. The answer has the number of attempts left, or, if
// the code has locked the number, how long the lock lasts.
func (f *Flow) refuseCode(v *visit, cookie *cookies.Challenge, left otp.Challenge, err error, remember bool) error {
	e := f.entry(v, cookie)
	f.countCode(v, telemetry.CodeResult(err))
	f.audit(telemetry.EntryWrong, e, zap.Int("attempts_left", left.AttemptsLeft))
	p := problemWrongCode(left.AttemptsLeft)
	if lock := (*otp.LimitError)(nil); errors.As(err, &lock) {
		f.audit(telemetry.EntryLocked, e, zap.String("limit", lock.Limit), zap.Duration("for", lock.RetryAfter))
		why := f.problemOf(lock)
		p.retryAfter, p.page = why.retryAfter, why.page
		return f.refuseStep(v, cookie, p)
	}
	if left.AttemptsLeft == 0 {
		p.page = pages.TooManyAttempts()
		return f.refuseStep(v, cookie, p)
	}
	form := f.codeForm(v, cookie, left)
	form.Problem, form.Remembered = pages.WrongCode(left.AttemptsLeft), remember
	return f.refuse(v.W, v.R, p, form)
}

// refuseIncomplete answers a text that cannot be the code. No attempt was counted.
func (f *Flow) refuseIncomplete(v *visit, cookie *cookies.Challenge, c otp.Challenge, remember bool) error {
	f.countCode(v, telemetry.CodeIncomplete)
	form := f.codeForm(v, cookie, c)
	form.Problem, form.Remembered = pages.IncompleteCode(form.CodeLength, form.AnyLength), remember
	return f.refuse(v.W, v.R, problemIncomplete(c.AttemptsLeft), form)
}

// refuseOther answers the form of a page whose challenge is not the browser's latest one,
// for example of an older tab. The answer is the form for the latest one.
func (f *Flow) refuseOther(v *visit, cookie *cookies.Challenge) error {
	f.countCode(v, telemetry.CodeOther)
	c, err := f.Engine.Get(v.R.Context(), f.Policy.Scope, cookie.ID)
	if err != nil {
		return f.refuseStep(v, cookie, problemOther)
	}
	form := f.codeForm(v, cookie, c)
	form.Problem = pages.OtherChallenge(form.Masked)
	return f.refuse(v.W, v.R, problemOther, form)
}

// countCode counts the result of a code, in the metrics and on the span of the request.
func (f *Flow) countCode(v *visit, result string) {
	telemetry.CountCode(result)
	telemetry.NoteResult(v.R.Context(), result)
}

// refuseVerify answers a code that could not be compared, for example because there is
// no challenge. A browser that sent the form twice has its session already, so it goes
// to its return target.
func (f *Flow) refuseVerify(v *visit, cookie *cookies.Challenge, err error) error {
	f.countCode(v, telemetry.CodeResult(err))
	if errors.Is(err, otp.ErrNoChallenge) && !request.PrefersJSON(v.R) {
		if _, verified := v.Session(); verified {
			request.Redirect(v.W, http.StatusSeeOther, cookie.ReturnTo)
			return nil
		}
	}
	return f.refuseStep(v, cookie, f.problemOf(err))
}
