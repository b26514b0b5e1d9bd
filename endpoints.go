package websms

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
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/internal/telemetry"
	"github.com/caddy-websms/websms/number"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/pages"
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
func (g *Gate) view(v *visit, a *cookies.Challenge, c otp.Challenge) challengeJSON {
	status := c.Status
	if (a.Restricted || g.numbers.Restricted()) && !v.Knows(a.Number.E164) {
		if status = otp.Queued; c.Settled { // nothing else: a report may be faster
			status = otp.Accepted
		}
	}
	length := c.CodeLength
	if g.numbers.Restricted() && g.policy.Remote { // WebSMS may have made one of another length, and none for others
		length = g.policy.Length
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

func (g *Gate) getLogin(v *visit) error {
	rd := request.ReturnTarget(v.url.Query().Get("rd"), g.Prefix)
	if _, ok := v.Session(); ok && !request.PrefersJSON(v.R) {
		request.Redirect(v.W, http.StatusSeeOther, rd)
		return nil
	}
	mode := struct {
		Mode   string  `json:"mode"`
		Masked *string `json:"masked"`
	}{Mode: "number"}
	page := pages.Login{ReturnTo: rd, Example: g.numbers.Example()}
	if g.second != nil {
		page.Masked = number.Mask(v.number.E164)
		mode.Mode, mode.Masked = "second_factor", &page.Masked
	}
	if request.PrefersJSON(v.R) {
		return request.WriteJSON(v.W, http.StatusOK, "application/json", mode)
	}
	page.SignedOut = v.TakeNotice(cookies.NoticeSignedOut)
	return g.pages.Write(v.W, http.StatusOK, page)
}

func (g *Gate) postSend(v *visit) error {
	a := cookies.Challenge{ReturnTo: request.ReturnTarget(v.form.Get("rd"), g.Prefix), User: v.user, Number: v.number}
	if g.second == nil { // else it is that number, whatever the form holds
		var err error
		if a.Number, err = g.numbers.Parse(v.form.Get("phone")); err != nil {
			return g.refuseNumber(v, a.ReturnTo, err)
		}
	}
	a.Unlisted, a.Restricted = !g.numbers.Allowed(a.Number), g.numbers.Restricted()
	former, _ := g.ask(v)
	issued, err := g.engine.Issue(v.R.Context(), &g.policy, g.sending(v, &a), former.ID)
	if err != nil {
		return g.refuseSend(v, &a, err)
	}
	a.ID = issued.ID
	g.requested(v, &a)
	return g.answerChallenge(v, &a, issued)
}

// refuseNumber shows the number form again, and says what is wrong with the number.
func (g *Gate) refuseNumber(v *visit, rd string, err error) error {
	again := pages.Login{ReturnTo: rd, Example: g.numbers.Example()}
	if errors.Is(err, number.ErrCountry) {
		again.Problem = pages.CountryNotAllowed()
		return g.refuse(v.W, v.R, problemCountry, again)
	}
	again.Problem = pages.InvalidNumber(g.numbers.Example())
	return g.refuse(v.W, v.R, problemInvalid, again)
}

// refusePerson refuses whom no first factor has named, or who has no number.
func (g *Gate) refusePerson(v *visit, err error) error {
	switch {
	case errors.Is(err, firstfactor.ErrNobody):
		g.second.WarnUnnamed()
		return g.refuse(v.W, v.R, problemNoNumber, pages.NoUser(g.Company))
	case errors.Is(err, directory.ErrNoNumber):
		g.log(telemetry.EntryNoNumber, g.entry(v, &cookies.Challenge{User: v.user}))
		return g.refuse(v.W, v.R, problemNoNumber, pages.NoNumber(g.Company))
	}
	return g.refuse(v.W, v.R, g.problemOf(err), nil)
}

func (g *Gate) postResend(v *visit) error {
	a, ok := g.ask(v)
	if !ok {
		return g.refuse(v.W, v.R, problemNoChallenge, nil)
	}
	a.Unlisted = a.Unlisted || !g.numbers.Allowed(a.Number) // taken off the list meanwhile
	renewed, err := g.engine.Resend(v.R.Context(), &g.policy, g.sending(v, &a), a.ID)
	if err != nil {
		return g.refuseSend(v, &a, lostError(&a, err, v.Now))
	}
	g.requested(v, &a)
	if !request.PrefersJSON(v.R) {
		v.LeaveNotice(cookies.NoticeSent)
	}
	return g.answerChallenge(v, &a, renewed)
}

// requested notes that a code is on its way, or that none will be, though
// nothing that leaves us says so.
func (g *Gate) requested(v *visit, a *cookies.Challenge) {
	g.log(telemetry.EntryRequested, g.entry(v, a))
	if a.Unlisted {
		telemetry.CountSend(telemetry.SendWithheld)
	}
}

// sending returns what the engine is to send for a, and logs how it went.
func (g *Gate) sending(v *visit, a *cookies.Challenge) otp.Sending {
	e := g.entry(v, a)
	return otp.Sending{
		Number: a.Number.E164, Device: v.DeviceFor(a.Number.E164), Client: request.Network(v.R),
		Host: g.webOTPHost(v.R), Decoy: a.Unlisted, Guarded: a.Restricted || g.numbers.Restricted(),
		Done: func(id otp.ID, messageID string, err error) {
			e.Challenge = id
			telemetry.CountSend(telemetry.SendResult(err))
			if err == nil {
				g.log(telemetry.EntrySent, e, zap.String("message_id", messageID))
				g.tell(telemetry.EventSent, e, "message_id", messageID)
				return
			}
			g.log(telemetry.EntryFailed, e, zap.Error(err))
			g.tell(telemetry.EventFailed, e, "error", err.Error())
			g.complain(err)
		},
		Strained: func(used int, of otp.Rate) {
			rate, _ := Rate(of).MarshalText() // never fails
			g.logger.Warn("four fifths of the budget are used: when all is, nobody gets a code until some of it is free again",
				zap.String("realm", g.Realm), zap.ByteString("budget", rate), zap.Int("used", used))
		},
	}
}

// complain tells the operator of a sending that failed for a reason that
// will make the next one fail too, until somebody acts.
func (g *Gate) complain(err error) {
	switch {
	case errors.Is(err, connexus.ErrFunds):
		g.logger.Error("WebSMS refuses to send: the account's funds are used up", zap.Error(err))
	case errors.Is(err, connexus.ErrCredentials):
		g.logger.Error("WebSMS refuses to send: check client_id and client_secret", zap.Error(err))
	default:
		g.logger.Warn("a code was not sent, or nobody knows", zap.Error(err))
	}
}

// refuseSend refuses to send a code for a.
func (g *Gate) refuseSend(v *visit, a *cookies.Challenge, err error) error {
	p := g.problemOf(err)
	switch p.Type {
	case "rate_limited":
		g.log(telemetry.EntryLimited, g.entry(v, a), zap.Error(err))
		telemetry.CountSend(telemetry.SendLimited)
	case "unavailable":
		telemetry.CountSend(telemetry.SendUnavailable)
	}
	telemetry.NoteResult(v.R.Context(), p.Type)
	return g.refuseStep(v, a, p)
}

// refuseStep refuses a step on the way to a session. Its page leads back to
// the code, of who has one that cannot be checked now, or else to the number
// form, and from there to where the way was to end.
func (g *Gate) refuseStep(v *visit, a *cookies.Challenge, p problem) error {
	if p.Type == problemUnavailable(0).Type && a.ID != (otp.ID{}) {
		return g.refuse(v.W, v.R, p, pages.CodeUnavailable(request.WholeSeconds(p.retryAfter)))
	}
	page, ok := p.page.(pages.Message)
	if ok && page.Action != nil && page.Action.Href == "login" {
		page.Action = &pages.Action{Label: page.Action.Label, Href: request.LoginURL(a.ReturnTo, g.Prefix)}
		p.page = page
	}
	return g.refuse(v.W, v.R, p, nil)
}

// answerChallenge answers with a challenge that has just been sent.
func (g *Gate) answerChallenge(v *visit, a *cookies.Challenge, c otp.Challenge) error {
	a.Expires = c.ExpiresAt
	if err := v.SetChallenge(a); err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	if request.PrefersJSON(v.R) {
		return request.WriteJSON(v.W, http.StatusAccepted, "application/json", g.view(v, a, c))
	}
	request.Redirect(v.W, http.StatusSeeOther, g.Prefix+"/verify")
	return nil
}

func (g *Gate) getVerify(v *visit) error {
	a, ok := g.ask(v)
	if !ok && request.PrefersJSON(v.R) {
		return g.refuse(v.W, v.R, problemNoChallenge, nil)
	}
	if !ok {
		request.Redirect(v.W, http.StatusSeeOther, g.Prefix+"/login")
		return nil
	}
	c, err := g.engine.Get(v.R.Context(), g.policy.Scope, a.ID)
	if err != nil {
		if err = lostError(&a, err, v.Now); errors.Is(err, otp.ErrNoChallenge) && !request.PrefersJSON(v.R) {
			request.Redirect(v.W, http.StatusSeeOther, request.LoginURL(a.ReturnTo, g.Prefix))
			return nil
		}
		return g.refuseStep(v, &a, g.problemOf(err))
	}
	if request.PrefersJSON(v.R) {
		return request.WriteJSON(v.W, http.StatusOK, "application/json", g.view(v, &a, c))
	}
	form := g.codeForm(v, &a, c)
	form.Sent = v.TakeNotice(cookies.NoticeSent)
	return g.pages.Write(v.W, http.StatusOK, form)
}

// codeForm returns the page that asks for the code.
func (g *Gate) codeForm(v *visit, a *cookies.Challenge, c otp.Challenge) pages.Verify {
	shown := g.view(v, a, c)
	return pages.Verify{
		Masked: shown.Masked, ReturnTo: a.ReturnTo, CodeLength: shown.CodeLength, AttemptsLeft: c.AttemptsLeft,
		SecondFactor: g.second != nil, Status: string(shown.Status), ExpiresAt: c.ExpiresAt, ResendAt: c.ResendAt, Now: v.Now, Remember: g.jar.Life.Remember,
	}
}

func (g *Gate) postVerify(v *visit) error {
	a, ok := g.ask(v)
	if !ok {
		return g.refuseVerify(v, &cookies.Challenge{ReturnTo: "/"}, otp.ErrNoChallenge)
	}
	left, err := g.engine.Verify(v.R.Context(), &g.policy, otp.Verification{
		ID: a.ID, Code: v.form.Get("code"), Number: a.Number.E164, Device: v.DeviceFor(a.Number.E164),
	})
	remember := slices.Contains([]string{"1", "true", "on"}, v.form.Get("remember"))
	if errors.Is(err, otp.ErrWrongCode) {
		return g.refuseCode(v, &a, left, err, remember)
	}
	e := g.entry(v, &a)
	if err == nil && !g.numbers.Allowed(a.Number) { // a decoy is never right, unless the list has changed since
		err = otp.ErrNoChallenge
	}
	if err != nil {
		if errors.As(err, new(*otp.LimitError)) {
			g.log(telemetry.EntryLimited, e, zap.Error(err))
		}
		return g.refuseVerify(v, &a, lostError(&a, err, v.Now))
	}
	v.EndSessions()
	s, err := v.StartSession(&a, session.SMS, remember)
	if err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	v.LearnDevice(a.Number.E164)
	g.judged(v, telemetry.CodeRight)
	g.log(telemetry.EntryVerified, e, zap.String("session", s.ID.String()), zap.Stringer("means", s.Means))
	g.tell(telemetry.EventVerified, e, "session", s.ID.String())
	return g.answerVerified(v, &a, &s)
}

// answerVerified lets on whom a session has just been given to.
func (g *Gate) answerVerified(v *visit, a *cookies.Challenge, s *session.Session) error {
	if request.PrefersJSON(v.R) {
		return request.WriteJSON(v.W, http.StatusOK, "application/json", struct {
			Verified  bool      `json:"verified"`
			Number    string    `json:"number,omitempty"`
			ExpiresAt time.Time `json:"expires_at"`
			RD        string    `json:"rd"`
		}{true, telemetry.Mask(s.Number), g.jar.Life.Expires(s).UTC().Truncate(time.Second), a.ReturnTo})
	}
	request.Redirect(v.W, http.StatusSeeOther, a.ReturnTo)
	return nil
}

// refuseCode refuses a wrong code, and says what is left: of the challenge, or
// of the lock that it led to.
func (g *Gate) refuseCode(v *visit, a *cookies.Challenge, left otp.Challenge, err error, remember bool) error {
	e := g.entry(v, a)
	g.judged(v, telemetry.CodeResult(err))
	g.log(telemetry.EntryWrong, e, zap.Int("attempts_left", left.AttemptsLeft))
	p := problemWrongCode(left.AttemptsLeft)
	if lock := (*otp.LimitError)(nil); errors.As(err, &lock) {
		g.log(telemetry.EntryLocked, e, zap.String("limit", lock.Limit), zap.Duration("for", lock.RetryAfter))
		why := g.problemOf(lock)
		p.retryAfter = why.retryAfter
		return g.refuse(v.W, v.R, p, why.page)
	}
	if left.AttemptsLeft == 0 {
		return g.refuse(v.W, v.R, p, pages.TooManyAttempts())
	}
	form := g.codeForm(v, a, left)
	form.Problem, form.Remembered = pages.WrongCode(left.AttemptsLeft), remember
	return g.refuse(v.W, v.R, p, form)
}

// judged counts what a code was worth.
func (g *Gate) judged(v *visit, result string) {
	telemetry.CountCode(result)
	telemetry.NoteResult(v.R.Context(), result)
}

// refuseVerify refuses a code that has no challenge to answer. A browser that
// is in already, because it sent its form twice, is simply let on.
func (g *Gate) refuseVerify(v *visit, a *cookies.Challenge, err error) error {
	g.judged(v, telemetry.CodeResult(err))
	if errors.Is(err, otp.ErrNoChallenge) && !request.PrefersJSON(v.R) {
		if _, verified := v.Session(); verified {
			request.Redirect(v.W, http.StatusSeeOther, a.ReturnTo)
			return nil
		}
	}
	return g.refuseStep(v, a, g.problemOf(err))
}

func (g *Gate) getSession(v *visit) error {
	s, ok := v.Session()
	if !ok {
		v.W.Header()["Www-Authenticate"] = []string{`WebSMS login="` + g.Prefix + `/login"`}
		return request.WriteJSON(v.W, http.StatusUnauthorized, "application/problem+json", problemUnverified)
	}
	return request.WriteJSON(v.W, http.StatusOK, "application/json", struct {
		Verified   bool      `json:"verified"`
		Number     string    `json:"number,omitempty"`
		User       string    `json:"user,omitempty"`
		Means      string    `json:"means"`
		VerifiedAt time.Time `json:"verified_at"`
		ExpiresAt  time.Time `json:"expires_at"`
	}{true, telemetry.Mask(s.Number), s.User, s.Means.String(), s.Issued.UTC().Truncate(time.Second), g.jar.Life.Expires(&s).UTC().Truncate(time.Second)})
}

func (g *Gate) postLogout(v *visit) error {
	if s, ok := v.EndSessions(); ok {
		g.log(telemetry.EntryLoggedOut, g.entry(v, &cookies.Challenge{User: s.User, Number: number.Number{E164: s.Number}}), zap.String("session", s.ID.String()))
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

func (g *Gate) getStatus(v *visit) error {
	a, ok := g.ask(v)
	if !ok {
		return g.refuseStatus(v, &a, otp.ErrNoChallenge)
	}
	if wantsEvents(v.R) {
		return g.stream(v, &a)
	}
	c, err := g.engine.Get(v.R.Context(), g.policy.Scope, a.ID)
	if err != nil {
		return g.refuseStatus(v, &a, err)
	}
	return request.WriteJSON(v.W, http.StatusOK, "application/json", g.view(v, &a, c))
}
