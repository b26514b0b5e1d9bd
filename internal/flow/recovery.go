package flow

import (
	"errors"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/internal/cookies"
	"github.com/caddy-websms/websms/internal/pages"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/internal/telemetry"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

const (
	holderNumber = "number "
	holderUser   = "user "
)

// NumberHolder returns the holder of a recovery code for a number, at a gate where
// people type theirs.
func NumberHolder(e164 string) string { return holderNumber + e164 }

// UserHolder returns the holder of a recovery code for a user, at a gate with a first
// factor in front.
func UserHolder(user string) string { return holderUser + user }

var problemWrongRecovery = problem{Type: "wrong_code", Title: "Wrong recovery code", Status: http.StatusUnprocessableEntity}

func (f *Flow) getRecover(v *visit) error {
	rd := request.ReturnTarget(v.url.Query().Get("rd"), f.Prefix)
	if request.PrefersJSON(v.R) {
		return request.WriteJSON(v.W, http.StatusOK, "application/json", struct {
			Mode string `json:"mode"`
		}{"recovery_code"})
	}
	return f.Pages.Write(v.W, http.StatusOK, pages.Recover{ReturnTo: rd})
}

// postRecover lets in whom an operator has given a recovery code, without an
// SMS. It says nothing of who holds the phone: the browser stays unknown to
// the number.
func (f *Flow) postRecover(v *visit) error {
	a := cookies.Challenge{ReturnTo: request.ReturnTarget(v.form.Get("rd"), f.Prefix), User: v.user, Number: v.number}
	err := f.Engine.Recover(v.R.Context(), f.Policy.Scope, request.Network(v.R), v.form.Get("code"), func(holder string) bool {
		return f.holderIs(v, &a, holder)
	})
	e, means := f.entry(v, &a), zap.Stringer("means", session.RecoveryCode)
	if err != nil {
		return f.refuseRecovery(v, &a, e, err)
	}
	v.EndSessions()
	s, err := v.StartSession(&a, session.RecoveryCode, false)
	if err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	f.judged(v, telemetry.CodeRecovery)
	f.log(telemetry.EntryVerified, e, zap.String("session", s.ID.String()), means)
	f.tell(telemetry.EventVerified, e, "session", s.ID.String())
	return f.answerVerified(v, &a, &s)
}

// holderIs reports whether a recovery code is for who has come, and in number
// mode takes from it who that is.
func (f *Flow) holderIs(v *visit, a *cookies.Challenge, holder string) bool {
	if f.FirstFactor != nil {
		return holder == UserHolder(v.user)
	}
	e164, ok := strings.CutPrefix(holder, holderNumber)
	if !ok {
		return false
	}
	n, err := f.Numbers.Parse(e164)
	if err != nil || !f.Numbers.Allowed(n) {
		return false
	}
	a.Number = n
	return true
}

// refuseRecovery shows the form again, and says what to do.
func (f *Flow) refuseRecovery(v *visit, a *cookies.Challenge, e telemetry.Entry, err error) error {
	means := zap.Stringer("means", session.RecoveryCode)
	again := pages.Recover{ReturnTo: a.ReturnTo}
	var limit *otp.LimitError
	switch {
	case errors.Is(err, otp.ErrWrongCode):
		f.judged(v, telemetry.CodeWrong)
		f.log(telemetry.EntryWrong, e, means)
		again.Problem = pages.WrongRecovery(f.Company)
		return f.refuse(v.W, v.R, problemWrongRecovery, again)
	case errors.As(err, &limit):
		f.judged(v, telemetry.CodeLimited)
		e.Write(f.Crowded, telemetry.EntryLimited, means, zap.Error(err)) // anybody can bring these about, at no cost
		p := problem{Type: "rate_limited", Title: "Too many recovery codes tried", Status: http.StatusTooManyRequests, retryAfter: limit.RetryAfter}
		again.Problem = pages.TooManyTries(request.WholeSeconds(limit.RetryAfter))
		return f.refuse(v.W, v.R, p, again)
	}
	f.judged(v, telemetry.CodeResult(err))
	return f.refuseStep(v, a, f.problemOf(err))
}
