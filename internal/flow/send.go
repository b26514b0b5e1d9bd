package flow

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/internal/cookies"
	"github.com/caddy-websms/websms/internal/pages"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/internal/telemetry"
	"github.com/caddy-websms/websms/otp"
)

// postSend sends a code to the number of the form, or of the user that the first factor
// names. If the browser's challenge is for the same number, its code is sent again.
// Otherwise the new challenge replaces it.
func (f *Flow) postSend(v *visit) error {
	if !request.PrefersJSON(v.R) && !v.KeepsCookies() {
		return f.refuseCookieless(v)
	}
	cookie := cookies.Challenge{ReturnTo: f.target(v), User: v.user, Number: v.number}
	if f.FirstFactor == nil { // otherwise the user's number, and not one from the form
		var err error
		if cookie.Number, err = f.Numbers.Parse(v.form.Get("phone")); err != nil {
			return f.refuseNumber(v, cookie.ReturnTo, err)
		}
	}
	former, _ := f.challengeOf(v)
	if former.ID != (otp.ID{}) && former.Number.E164 == cookie.Number.E164 {
		again := former
		again.ReturnTo = cookie.ReturnTo
		if err := f.askAgain(v, &again); !isOver(err) {
			return err
		}
	}
	cookie.Unlisted, cookie.Restricted = !f.Numbers.Allowed(cookie.Number), f.Numbers.Restricted()
	issued, err := f.Engine.Issue(v.R.Context(), &f.Policy, f.sending(v, &cookie), former.ID)
	if err != nil {
		return f.refuseSend(v, &cookie, &former, err)
	}
	cookie.ID = issued.ID
	f.auditRequest(v, &cookie)
	return f.answerChallenge(v, &cookie, issued)
}

// askAgain answers a request for a code to the number of the browser's challenge. Within
// the cooldown it sends nothing, and answers with the challenge as it stands, unless the
// number is locked. If the challenge is over, it answers nothing and returns an error for
// which isOver is true.
func (f *Flow) askAgain(v *visit, cookie *cookies.Challenge) error {
	renewed, err := f.renew(v, cookie)
	if limit := (*otp.LimitError)(nil); errors.As(err, &limit) && !limit.Locked() {
		standing, lost := f.Engine.Get(v.R.Context(), f.Policy.Scope, cookie.ID)
		if lost == nil && f.Now().Before(standing.ResendAt) {
			return f.answerChallenge(v, cookie, standing)
		}
	}
	if isOver(err) {
		return err
	}
	return f.answerRenewal(v, cookie, renewed, err)
}

// postResend sends the code of the browser's challenge again.
func (f *Flow) postResend(v *visit) error {
	cookie, ok := f.challengeOf(v)
	if !ok {
		return f.refuseStep(v, &cookies.Challenge{ReturnTo: f.target(v)}, problemNoChallenge)
	}
	cookie.ReturnTo = f.returnTo(v, &cookie)
	renewed, err := f.renew(v, &cookie)
	return f.answerRenewal(v, &cookie, renewed, asExpired(&cookie, err, v.Now))
}

// renew sends the code of a challenge again.
func (f *Flow) renew(v *visit, cookie *cookies.Challenge) (otp.Challenge, error) {
	cookie.Unlisted = cookie.Unlisted || !f.Numbers.Allowed(cookie.Number) // the list may have changed
	return f.Engine.Resend(v.R.Context(), &f.Policy, f.sending(v, cookie), cookie.ID)
}

// answerRenewal answers a request that has sent a code again, or failed to.
func (f *Flow) answerRenewal(v *visit, cookie *cookies.Challenge, renewed otp.Challenge, err error) error {
	if err != nil {
		return f.refuseSend(v, cookie, cookie, err)
	}
	f.auditRequest(v, cookie)
	if !request.PrefersJSON(v.R) {
		v.LeaveNotice(cookies.NoticeSent)
	}
	return f.answerChallenge(v, cookie, renewed)
}

// auditRequest writes the audit entry of a request for a code. For an unlisted number
// it counts that no code is sent. Nothing that the client sees tells the two apart.
func (f *Flow) auditRequest(v *visit, cookie *cookies.Challenge) {
	f.audit(telemetry.EntryRequested, f.entry(v, cookie))
	if cookie.Unlisted {
		telemetry.CountSend(telemetry.SendWithheld)
	}
}

// sending returns the sending of a challenge for the engine. Its functions count, audit
// and log the outcome, possibly after the request has ended.
func (f *Flow) sending(v *visit, cookie *cookies.Challenge) otp.Sending {
	e := f.entry(v, cookie)
	sends := telemetry.Sends{Audit: f.Audit, Log: f.Log, Events: f.Events}
	return otp.Sending{
		Number: cookie.Number.E164, Device: v.DeviceFor(cookie.Number.E164), IP: request.Network(v.R),
		Host: f.webOTPHost(v.R), Unlisted: cookie.Unlisted, Restricted: cookie.Restricted || f.Numbers.Restricted(),
		Note: e.Note(),
		Done: func(id otp.ID, messageID string, err error) {
			e.Challenge = id
			sends.Record(e, messageID, err)
		},
		Retried: func(t otp.SecondTry) { sends.Record(telemetry.EntryOf(t), t.MessageID, t.Err) },
		Strained: func(used int, of otp.Rate) {
			f.Log.Warn("four fifths of the budget are used: once all of it is used, no code is sent until older codes no longer count",
				zap.String("realm", f.Realm), zap.Stringer("budget", of), zap.Int("used", used))
		},
	}
}

// refuseSend answers a request for a code that the engine refused, and counts it. pending
// is the browser's challenge, or one without an ID. If its code still works, the answer is
// the code form.
func (f *Flow) refuseSend(v *visit, cookie, pending *cookies.Challenge, err error) error {
	p := f.problemOf(err)
	switch p.Type {
	case typeRateLimited:
		f.audit(telemetry.EntryLimited, f.entry(v, cookie), zap.Error(err))
		telemetry.CountSend(telemetry.SendLimited)
	case typeUnavailable:
		telemetry.CountSend(telemetry.SendUnavailable)
	}
	telemetry.NoteResult(v.R.Context(), p.Type)
	limit := (*otp.LimitError)(nil)
	locked := errors.As(err, &limit) && limit.Locked()
	if !isOver(err) && !locked && pending.ID != (otp.ID{}) && !request.PrefersJSON(v.R) {
		if c, lost := f.Engine.Get(v.R.Context(), f.Policy.Scope, pending.ID); lost == nil {
			pending.ReturnTo = cookie.ReturnTo
			form := f.codeForm(v, pending, c)
			form.Problem = pages.NotSent(p.Type, request.WholeSeconds(p.retryAfter))
			return f.refuse(v.W, v.R, p, form)
		}
	}
	return f.refuseStep(v, cookie, p)
}

// refuseCookieless answers a form of a browser that sent no cookie of the gate. Without
// cookies it could not use a code, so none is sent. The page holds the number. It sets the
// probe cookie, so that one press sends the code if the browser does keep cookies.
func (f *Flow) refuseCookieless(v *visit) error {
	v.Probe()
	page := f.loginForm(v, f.target(v))
	page.Phone, page.Problem = v.form.Get("phone"), pages.CookiesOff()
	telemetry.NoteResult(v.R.Context(), problemCookiesOff.Type)
	return f.refuse(v.W, v.R, problemCookiesOff, page)
}

// answerChallenge sets the challenge cookie and answers a request for a code. Programs
// get status 202 and the challenge; browsers go to the code form.
func (f *Flow) answerChallenge(v *visit, cookie *cookies.Challenge, c otp.Challenge) error {
	cookie.Expires = c.ExpiresAt
	if err := v.SetChallenge(cookie); err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	if request.PrefersJSON(v.R) {
		return request.WriteJSON(v.W, http.StatusAccepted, "application/json", f.viewOf(v, cookie, c))
	}
	request.Redirect(v.W, http.StatusSeeOther, f.Prefix+"/verify")
	return nil
}
