package websms

import (
	"errors"
	"net/http"
	"strings"

	"go.uber.org/zap"

	"github.com/caddy-websms/websms/internal/cookies"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/internal/telemetry"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/pages"
	"github.com/caddy-websms/websms/session"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Whom a recovery code is for: a number where people type theirs, a user where
// a first factor names one.
const (
	holderNumber = "number "
	holderUser   = "user "
)

var problemWrongRecovery = problem{Type: "wrong_code", Title: "Wrong recovery code", Status: http.StatusUnprocessableEntity}

func (g *Gate) getRecover(v *visit) error {
	rd := request.ReturnTarget(v.url.Query().Get("rd"), g.Prefix)
	if request.PrefersJSON(v.R) {
		return request.WriteJSON(v.W, http.StatusOK, "application/json", struct {
			Mode string `json:"mode"`
		}{"recovery_code"})
	}
	return g.pages.Write(v.W, http.StatusOK, pages.Recover{ReturnTo: rd})
}

// postRecover lets in whom an operator has given a recovery code, without an
// SMS. It says nothing of who holds the phone: the browser stays unknown to
// the number.
func (g *Gate) postRecover(v *visit) error {
	a := cookies.Challenge{ReturnTo: request.ReturnTarget(v.form.Get("rd"), g.Prefix), User: v.user, Number: v.number}
	err := g.engine.Recover(v.R.Context(), g.policy.Scope, request.Network(v.R), v.form.Get("code"), func(holder string) bool {
		return g.holderIs(v, &a, holder)
	})
	e, means := g.entry(v, &a), zap.Stringer("means", session.RecoveryCode)
	if err != nil {
		return g.refuseRecovery(v, &a, e, err)
	}
	v.EndSessions()
	s, err := v.StartSession(&a, session.RecoveryCode, false)
	if err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	g.judged(v, telemetry.CodeRecovery)
	g.log(telemetry.EntryVerified, e, zap.String("session", s.ID.String()), means)
	g.tell(telemetry.EventVerified, e, "session", s.ID.String())
	return g.answerVerified(v, &a, &s)
}

// holderIs reports whether a recovery code is for who has come, and in number
// mode takes from it who that is.
func (g *Gate) holderIs(v *visit, a *cookies.Challenge, holder string) bool {
	if g.second != nil {
		return holder == holderUser+v.user
	}
	e164, ok := strings.CutPrefix(holder, holderNumber)
	if !ok {
		return false
	}
	n, err := g.numbers.Parse(e164)
	if err != nil || !g.numbers.Allowed(n) {
		return false
	}
	a.Number = n
	return true
}

// refuseRecovery shows the form again, and says what to do.
func (g *Gate) refuseRecovery(v *visit, a *cookies.Challenge, e telemetry.Entry, err error) error {
	means := zap.Stringer("means", session.RecoveryCode)
	again := pages.Recover{ReturnTo: a.ReturnTo}
	var limit *otp.LimitError
	switch {
	case errors.Is(err, otp.ErrWrongCode):
		g.judged(v, telemetry.CodeWrong)
		g.log(telemetry.EntryWrong, e, means)
		again.Problem = pages.WrongRecovery(g.Company)
		return g.refuse(v.W, v.R, problemWrongRecovery, again)
	case errors.As(err, &limit):
		g.judged(v, telemetry.CodeLimited)
		e.Write(g.crowded, telemetry.EntryLimited, means, zap.Error(err)) // anybody can bring these about, at no cost
		p := problem{Type: "rate_limited", Title: "Too many recovery codes tried", Status: http.StatusTooManyRequests, retryAfter: limit.RetryAfter}
		again.Problem = pages.TooManyTries(request.WholeSeconds(limit.RetryAfter))
		return g.refuse(v.W, v.R, p, again)
	}
	g.judged(v, telemetry.CodeResult(err))
	return g.refuseStep(v, a, g.problemOf(err))
}
