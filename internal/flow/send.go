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
