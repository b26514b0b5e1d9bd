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

// The prefixes of a holder, which is the person that a recovery code is for. They keep a
// number apart from a user with the same text.
const (
	holderNumber = "number "
	holderUser   = "user "
)

// NumberHolder returns the holder of a recovery code for a number. It is for a gate
// where people type their number.
func NumberHolder(e164 string) string { return holderNumber + e164 }

// UserHolder returns the holder of a recovery code for a user. It is for a gate behind
// a first factor.
func UserHolder(user string) string { return holderUser + user }

// problemWrongRecovery is the problem of a wrong recovery code. Unlike the code of an SMS,
// a recovery code has no attempts left to show.
var problemWrongRecovery = problem{Type: typeWrongCode, Title: "Wrong recovery code", Status: http.StatusUnprocessableEntity}

// getRecover shows the form for a recovery code.
func (f *Flow) getRecover(v *visit) error {
	rd := request.TargetOf(v.R, f.Prefix)
	if request.PrefersJSON(v.R) {
		return request.WriteJSON(v.W, http.StatusOK, "application/json", struct {
			Mode string `json:"mode"`
		}{"recovery_code"})
	}
	return f.Pages.Write(v.W, http.StatusOK, pages.Recover{ReturnTo: rd})
}

// postRecover starts a session for a recovery code, which an operator has given to the
// person in place of an SMS. The code does not prove that the person has the phone, so
// the device cookie does not learn the number.
func (f *Flow) postRecover(v *visit) error {
	cookie := cookies.Challenge{ReturnTo: f.target(v), User: v.user, Number: v.number}
	err := f.Engine.Recover(v.R.Context(), f.Policy.Scope, request.Network(v.R), v.form.Get("code"), func(holder string) bool {
		return f.isHolder(v, &cookie, holder)
	})
	e, means := f.entry(v, &cookie), zap.Stringer("means", session.RecoveryCode)
	if err != nil {
		return f.refuseRecovery(v, &cookie, e, err)
	}
	v.EndSessions()
	s := v.NewSession(&cookie, cookies.Proof{Session: session.NewID(), At: v.Now, Means: session.RecoveryCode})
	if err := v.SetSession(&s); err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	f.countCode(v, telemetry.CodeRecovery)
	f.audit(telemetry.EntryVerified, e, zap.String("session", s.ID.String()), means)
	f.Events.EmitEntry(telemetry.EventVerified, e, "session", s.ID.String())
	return f.answerVerified(v, &cookie, &s)
}

// isHolder reports whether a recovery code is for the person of this visit. Behind a
// first factor, that is the user. Otherwise the recovery code itself names the person,
// and isHolder copies its number to the challenge.
func (f *Flow) isHolder(v *visit, cookie *cookies.Challenge, holder string) bool {
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
	cookie.Number = n
	return true
}

// refuseRecovery shows the form again after a wrong recovery code or too many of them.
func (f *Flow) refuseRecovery(v *visit, cookie *cookies.Challenge, e telemetry.Entry, err error) error {
	means := zap.Stringer("means", session.RecoveryCode)
	again := pages.Recover{ReturnTo: cookie.ReturnTo}
	var limit *otp.LimitError
	switch {
	case errors.Is(err, otp.ErrWrongCode):
		f.countCode(v, telemetry.CodeWrong)
		f.audit(telemetry.EntryWrong, e, means)
		again.Problem = pages.WrongRecovery(f.Company)
		return f.refuse(v.W, v.R, problemWrongRecovery, again)
	case errors.As(err, &limit):
		f.countCode(v, telemetry.CodeLimited)
		e.Write(f.SampledAudit, telemetry.EntryLimited, means, zap.Error(err)) // sampled: any client can cause these at no cost
		p := problem{
			Type: typeRateLimited, Title: "Too many recovery codes tried", Status: http.StatusTooManyRequests,
			retryAfter: limit.RetryAfter,
		}
		again.Problem = pages.TooManyTries(request.WholeSeconds(limit.RetryAfter))
		return f.refuse(v.W, v.R, p, again)
	}
	f.countCode(v, telemetry.CodeResult(err))
	return f.refuseStep(v, cookie, f.problemOf(err))
}
