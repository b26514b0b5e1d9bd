package flow

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/internal/cookies"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/internal/telemetry"
	"github.com/caddy-websms/websms/otp"
)

// postSend sends a code to the number of the form, or of the user that the first factor
// names. The new challenge replaces the browser's former one.
func (f *Flow) postSend(v *visit) error {
	cookie := cookies.Challenge{ReturnTo: f.target(v), User: v.user, Number: v.number}
	if f.FirstFactor == nil { // otherwise the user's number, and not one from the form
		var err error
		if cookie.Number, err = f.Numbers.Parse(v.form.Get("phone")); err != nil {
			return f.refuseNumber(v, cookie.ReturnTo, err)
		}
	}
	cookie.Unlisted, cookie.Restricted = !f.Numbers.Allowed(cookie.Number), f.Numbers.Restricted()
	former, _ := f.challengeOf(v)
	issued, err := f.Engine.Issue(v.R.Context(), &f.Policy, f.sending(v, &cookie), former.ID)
	if err != nil {
		return f.refuseSend(v, &cookie, err)
	}
	cookie.ID = issued.ID
	f.auditRequest(v, &cookie)
	return f.answerChallenge(v, &cookie, issued)
}

// postResend sends the code of the browser's challenge again.
func (f *Flow) postResend(v *visit) error {
	cookie, ok := f.challengeOf(v)
	if !ok {
		return f.refuseStep(v, &cookies.Challenge{ReturnTo: f.target(v)}, problemNoChallenge)
	}
	cookie.Unlisted = cookie.Unlisted || !f.Numbers.Allowed(cookie.Number) // the list may have changed
	renewed, err := f.Engine.Resend(v.R.Context(), &f.Policy, f.sending(v, &cookie), cookie.ID)
	if err != nil {
		return f.refuseSend(v, &cookie, asExpired(&cookie, err, v.Now))
	}
	f.auditRequest(v, &cookie)
	if !request.PrefersJSON(v.R) {
		v.LeaveNotice(cookies.NoticeSent)
	}
	return f.answerChallenge(v, &cookie, renewed)
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
	return otp.Sending{
		Number: cookie.Number.E164, Device: v.DeviceFor(cookie.Number.E164), IP: request.Network(v.R),
		Host: f.webOTPHost(v.R), Unlisted: cookie.Unlisted, Restricted: cookie.Restricted || f.Numbers.Restricted(),
		Done: func(id otp.ID, messageID string, err error) {
			e.Challenge = id
			telemetry.CountSend(telemetry.SendResult(err))
			if err == nil {
				f.audit(telemetry.EntrySent, e, zap.String("message_id", messageID))
				f.emit(telemetry.EventSent, e, "message_id", messageID)
				return
			}
			f.audit(telemetry.EntryFailed, e, zap.Error(err))
			f.emit(telemetry.EventFailed, e, "error", err.Error())
			f.logFailure(err)
		},
		Strained: func(used int, of otp.Rate) {
			f.Log.Warn("four fifths of the budget are used: once all of it is used, no code is sent until older codes no longer count",
				zap.String("realm", f.Realm), zap.Stringer("budget", of), zap.Int("used", used))
		},
	}
}

// logFailure logs a sending that failed. It logs an error if every later sending will
// fail too until the operator acts, and a warning otherwise.
func (f *Flow) logFailure(err error) {
	switch {
	case errors.Is(err, connexus.ErrFunds):
		f.Log.Error("WebSMS refuses to send: the account's funds are used up", zap.Error(err))
	case errors.Is(err, connexus.ErrCredentials):
		f.Log.Error("WebSMS refuses to send: check client_id and client_secret", zap.Error(err))
	default:
		f.Log.Warn("WebSMS did not confirm that it sent the code", zap.Error(err))
	}
}

// refuseSend answers a request for a code that the engine refused, and counts it.
func (f *Flow) refuseSend(v *visit, cookie *cookies.Challenge, err error) error {
	p := f.problemOf(err)
	switch p.Type {
	case typeRateLimited:
		f.audit(telemetry.EntryLimited, f.entry(v, cookie), zap.Error(err))
		telemetry.CountSend(telemetry.SendLimited)
	case typeUnavailable:
		telemetry.CountSend(telemetry.SendUnavailable)
	}
	telemetry.NoteResult(v.R.Context(), p.Type)
	return f.refuseStep(v, cookie, p)
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
