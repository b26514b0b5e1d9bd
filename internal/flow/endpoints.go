package flow

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/directory"
	"github.com/caddy-websms/websms/internal/cookies"
	"github.com/caddy-websms/websms/internal/firstfactor"
	"github.com/caddy-websms/websms/internal/pages"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/internal/telemetry"
	"github.com/caddy-websms/websms/number"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
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

func (f *Flow) getLogin(v *visit) error {
	rd := request.ReturnTarget(v.url.Query().Get("rd"), f.Prefix)
	if _, ok := v.Session(); ok && !request.PrefersJSON(v.R) {
		request.Redirect(v.W, http.StatusSeeOther, rd)
		return nil
	}
	mode := struct {
		Mode   string  `json:"mode"`
		Masked *string `json:"masked"`
	}{Mode: "number"}
	page := pages.Login{ReturnTo: rd, Example: f.Numbers.Example()}
	if f.FirstFactor != nil {
		page.Masked = number.Mask(v.number.E164)
		mode.Mode, mode.Masked = "second_factor", &page.Masked
	}
	if request.PrefersJSON(v.R) {
		return request.WriteJSON(v.W, http.StatusOK, "application/json", mode)
	}
	page.SignedOut = v.TakeNotice(cookies.NoticeSignedOut)
	return f.Pages.Write(v.W, http.StatusOK, page)
}

func (f *Flow) postSend(v *visit) error {
	a := cookies.Challenge{ReturnTo: request.ReturnTarget(v.form.Get("rd"), f.Prefix), User: v.user, Number: v.number}
	if f.FirstFactor == nil { // else it is that number, whatever the form holds
		var err error
		if a.Number, err = f.Numbers.Parse(v.form.Get("phone")); err != nil {
			return f.refuseNumber(v, a.ReturnTo, err)
		}
	}
	a.Unlisted, a.Restricted = !f.Numbers.Allowed(a.Number), f.Numbers.Restricted()
	former, _ := f.ask(v)
	issued, err := f.Engine.Issue(v.R.Context(), &f.Policy, f.sending(v, &a), former.ID)
	if err != nil {
		return f.refuseSend(v, &a, err)
	}
	a.ID = issued.ID
	f.requested(v, &a)
	return f.answerChallenge(v, &a, issued)
}

// refuseNumber shows the number form again, and says what is wrong with the number.
func (f *Flow) refuseNumber(v *visit, rd string, err error) error {
	again := pages.Login{ReturnTo: rd, Example: f.Numbers.Example()}
	if errors.Is(err, number.ErrCountry) {
		again.Problem = pages.CountryNotAllowed()
		return f.refuse(v.W, v.R, problemCountry, again)
	}
	again.Problem = pages.InvalidNumber(f.Numbers.Example())
	return f.refuse(v.W, v.R, problemInvalid, again)
}

// refusePerson refuses whom no first factor has named, or who has no number.
func (f *Flow) refusePerson(v *visit, err error) error {
	switch {
	case errors.Is(err, firstfactor.ErrNobody):
		f.FirstFactor.WarnUnnamed()
		return f.refuse(v.W, v.R, problemNoNumber, pages.NoUser(f.Company))
	case errors.Is(err, directory.ErrNoNumber):
		f.log(telemetry.EntryNoNumber, f.entry(v, &cookies.Challenge{User: v.user}))
		return f.refuse(v.W, v.R, problemNoNumber, pages.NoNumber(f.Company))
	}
	return f.refuse(v.W, v.R, f.problemOf(err), nil)
}

func (f *Flow) postResend(v *visit) error {
	a, ok := f.ask(v)
	if !ok {
		return f.refuse(v.W, v.R, problemNoChallenge, nil)
	}
	a.Unlisted = a.Unlisted || !f.Numbers.Allowed(a.Number) // taken off the list meanwhile
	renewed, err := f.Engine.Resend(v.R.Context(), &f.Policy, f.sending(v, &a), a.ID)
	if err != nil {
		return f.refuseSend(v, &a, lostError(&a, err, v.Now))
	}
	f.requested(v, &a)
	if !request.PrefersJSON(v.R) {
		v.LeaveNotice(cookies.NoticeSent)
	}
	return f.answerChallenge(v, &a, renewed)
}

// requested notes that a code is on its way, or that none will be, though
// nothing that leaves us says so.
func (f *Flow) requested(v *visit, a *cookies.Challenge) {
	f.log(telemetry.EntryRequested, f.entry(v, a))
	if a.Unlisted {
		telemetry.CountSend(telemetry.SendWithheld)
	}
}

// sending returns what the engine is to send for a, and logs how it went.
func (f *Flow) sending(v *visit, a *cookies.Challenge) otp.Sending {
	e := f.entry(v, a)
	return otp.Sending{
		Number: a.Number.E164, Device: v.DeviceFor(a.Number.E164), IP: request.Network(v.R),
		Host: f.webOTPHost(v.R), Unlisted: a.Unlisted, Restricted: a.Restricted || f.Numbers.Restricted(),
		Done: func(id otp.ID, messageID string, err error) {
			e.Challenge = id
			telemetry.CountSend(telemetry.SendResult(err))
			if err == nil {
				f.log(telemetry.EntrySent, e, zap.String("message_id", messageID))
				f.tell(telemetry.EventSent, e, "message_id", messageID)
				return
			}
			f.log(telemetry.EntryFailed, e, zap.Error(err))
			f.tell(telemetry.EventFailed, e, "error", err.Error())
			f.complain(err)
		},
		Strained: func(used int, of otp.Rate) {
			f.Log.Warn("four fifths of the budget are used: when all is, nobody gets a code until some of it is free again",
				zap.String("realm", f.Realm), zap.Stringer("budget", of), zap.Int("used", used))
		},
	}
}

// complain tells the operator of a sending that failed for a reason that
// will make the next one fail too, until somebody acts.
func (f *Flow) complain(err error) {
	switch {
	case errors.Is(err, connexus.ErrFunds):
		f.Log.Error("WebSMS refuses to send: the account's funds are used up", zap.Error(err))
	case errors.Is(err, connexus.ErrCredentials):
		f.Log.Error("WebSMS refuses to send: check client_id and client_secret", zap.Error(err))
	default:
		f.Log.Warn("a code was not sent, or nobody knows", zap.Error(err))
	}
}

// refuseSend refuses to send a code for a.
func (f *Flow) refuseSend(v *visit, a *cookies.Challenge, err error) error {
	p := f.problemOf(err)
	switch p.Type {
	case "rate_limited":
		f.log(telemetry.EntryLimited, f.entry(v, a), zap.Error(err))
		telemetry.CountSend(telemetry.SendLimited)
	case "unavailable":
		telemetry.CountSend(telemetry.SendUnavailable)
	}
	telemetry.NoteResult(v.R.Context(), p.Type)
	return f.refuseStep(v, a, p)
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

// answerChallenge answers with a challenge that has just been sent.
func (f *Flow) answerChallenge(v *visit, a *cookies.Challenge, c otp.Challenge) error {
	a.Expires = c.ExpiresAt
	if err := v.SetChallenge(a); err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	if request.PrefersJSON(v.R) {
		return request.WriteJSON(v.W, http.StatusAccepted, "application/json", f.view(v, a, c))
	}
	request.Redirect(v.W, http.StatusSeeOther, f.Prefix+"/verify")
	return nil
}

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

func (f *Flow) getSession(v *visit) error {
	s, ok := v.Session()
	if !ok {
		v.W.Header()["Www-Authenticate"] = []string{`WebSMS login="` + f.Prefix + `/login"`}
		return request.WriteJSON(v.W, http.StatusUnauthorized, "application/problem+json", problemUnverified)
	}
	return request.WriteJSON(v.W, http.StatusOK, "application/json", struct {
		Verified   bool      `json:"verified"`
		Number     string    `json:"number,omitempty"`
		User       string    `json:"user,omitempty"`
		Means      string    `json:"means"`
		VerifiedAt time.Time `json:"verified_at"`
		ExpiresAt  time.Time `json:"expires_at"`
	}{true, telemetry.Mask(s.Number), s.User, s.Means.String(), s.Issued.UTC().Truncate(time.Second), f.Jar.Life.Expires(&s).UTC().Truncate(time.Second)})
}

func (f *Flow) postLogout(v *visit) error {
	if s, ok := v.EndSessions(); ok {
		f.log(telemetry.EntryLoggedOut, f.entry(v, &cookies.Challenge{User: s.User, Number: number.Number{E164: s.Number}}), zap.String("session", s.ID.String()))
	}
	v.DropSession()
	v.DropChallenge()
	if request.PrefersJSON(v.R) {
		v.W.Header()["Cache-Control"] = []string{"no-store"}
		v.W.WriteHeader(http.StatusNoContent)
		return nil
	}
	v.LeaveNotice(cookies.NoticeSignedOut)
	request.Redirect(v.W, http.StatusSeeOther, "/")
	return nil
}

func (f *Flow) getStatus(v *visit) error {
	a, ok := f.ask(v)
	if !ok {
		return f.refuseStatus(v, &a, otp.ErrNoChallenge)
	}
	if wantsEvents(v.R) {
		return f.stream(v, &a)
	}
	c, err := f.Engine.Get(v.R.Context(), f.Policy.Scope, a.ID)
	if err != nil {
		return f.refuseStatus(v, &a, err)
	}
	return request.WriteJSON(v.W, http.StatusOK, "application/json", f.view(v, &a, c))
}
