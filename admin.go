package websms

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/directory"
	"github.com/caddy-websms/websms/internal/clock"
	"github.com/caddy-websms/websms/internal/flow"
	"github.com/caddy-websms/websms/internal/logtext"
	"github.com/caddy-websms/websms/internal/operator"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/internal/telemetry"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

func init() {
	caddy.RegisterModule(adminAPI{})
}

// adminAPI answers operators at Caddy's admin endpoint:
//
//	POST /websms/revoke {"session": "…"} or {"number": "+64…"} or {"user": "…"}
//	POST /websms/unlock {"number": "+64…"} or {"budget": true}
//	POST /websms/recovery-code {"number": "+64…"} or {"user": "…"}
//	POST /websms/challenges {"number": "+64…"}
//	GET  /websms/status
//
// Each POST also takes a "realm". Without one, revoke applies to all realms, and
// the others to the gates without a realm. A question about a number is a POST too,
// because a number must not appear in a URL.
type adminAPI struct {
	audit *zap.Logger
}

// app returns the app of the running configuration, or nil if that configuration has no
// gate and no webhook. Each request looks it up again, because Caddy keeps the admin
// endpoint of a configuration that it has refused.
func (a *adminAPI) app() *App {
	app, _ := caddy.ActiveContext().AppIfConfigured("websms")
	running, _ := app.(*App)
	return running
}

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.websms",
		New: func() caddy.Module { return new(adminAPI) },
	}
}

// Provision takes the logger.
func (a *adminAPI) Provision(ctx caddy.Context) error {
	a.audit = logtext.Escaping(ctx.Logger(telemetry.AuditLog{}))
	return nil
}

// Routes returns the routes of the admin endpoint.
func (a *adminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: operator.RevokePath, Handler: a.post(a.revoke)},
		{Pattern: operator.UnlockPath, Handler: a.post(a.unlock)},
		{Pattern: operator.RecoveryPath, Handler: a.post(a.recoveryCode)},
		{Pattern: operator.ChallengesPath, Handler: a.post(a.challenges)},
		{Pattern: operator.StatusPath, Handler: caddy.AdminHandlerFunc(a.status)},
	}
}

// post returns a handler that reads an operator's request, calls do, and sends the
// answer of do as JSON.
func (a *adminAPI) post(do func(*http.Request, *App, *operator.Request) (any, error)) caddy.AdminHandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := operator.OnlyMethod(w, r, http.MethodPost); err != nil {
			return err
		}
		app := a.app()
		if app == nil {
			return errNoApp
		}
		req, err := operator.ReadRequest(w, r, maxText)
		if err != nil {
			return err
		}
		if !app.engine.vault.Ring.Ready() {
			return operator.Error(http.StatusServiceUnavailable,
				"the keys are not known yet, because the store does not answer: nothing was done; ask again when it does")
		}
		answer, err := do(r, app, req)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/json")
		return json.NewEncoder(w).Encode(answer)
	}
}

var errE164 = operator.Error(http.StatusBadRequest, "number is not in E.164: give it with its country code, such as +6421234567")

// revoke ends one session, or all sessions that a number or a user has now.
func (a *adminAPI) revoke(_ *http.Request, app *App, req *operator.Request) (any, error) {
	v, now := app.engine.vault, clock.Now()
	id, isID := session.ParseID(req.Session)
	var err error
	switch {
	case req.Session != "" && req.Number == "" && req.User == "" && req.Realm == "":
		if !isID {
			return nil, operator.Error(http.StatusBadRequest, "session is not an id: give 32 hexadecimal digits, as the audit log has them")
		}
		err = v.Revoke(id, now.Add(session.MaxLife))
	case req.Number != "" && req.Session == "" && req.User == "":
		if !operator.IsE164(req.Number) {
			return nil, errE164
		}
		err = v.RevokeNumber(req.Realm, req.Number, now)
	case req.User != "" && req.Session == "" && req.Number == "":
		if err := directory.CheckUser(req.User); err != nil {
			return nil, operator.Error(http.StatusBadRequest, err.Error()+": give the name of a user as the first factor sets it")
		}
		err = v.RevokeUser(req.Realm, req.User, now)
	default:
		return nil, operator.Error(http.StatusBadRequest, "give one of session, number and user; a realm only beside the latter two")
	}
	if err != nil {
		a.log(telemetry.EntryRevoked, req, zap.String("session", req.Session), zap.Error(err))
		return nil, caddy.APIError{HTTPStatus: http.StatusInternalServerError, Err: fmt.Errorf(
			"ended in this process, but it could not be stored yet; it is tried again until this process ends: %w", err)}
	}
	a.log(telemetry.EntryRevoked, req, zap.String("session", req.Session))
	return struct {
		Revoked bool `json:"revoked"`
	}{true}, nil
}

// unlock forgets the wrong codes of a number, or the codes that count against the
// budget of a realm.
func (a *adminAPI) unlock(r *http.Request, app *App, req *operator.Request) (any, error) {
	if req.Budget {
		return a.unlockBudget(r, app, req)
	}
	if req.Session != "" || req.User != "" || req.Number == "" {
		return nil, errOneNumber
	}
	if !operator.IsE164(req.Number) {
		return nil, errE164
	}
	was := false
	for _, scope := range scopesOf(req.Realm) {
		counted, err := app.engine.Unlock(r.Context(), scope, req.Number)
		if err != nil {
			return nil, operator.Unavailable(err)
		}
		was = was || counted
	}
	if !was {
		return nil, operator.Error(http.StatusNotFound,
			"no wrong code counts for this number in this realm: give the realm of the gate, "+
				"or none if the gate has no option realm; for such a gate the audit log shows the host")
	}
	a.log(telemetry.EntryUnlocked, req)
	return struct {
		Unlocked bool `json:"unlocked"`
	}{true}, nil
}

// unlockBudget forgets the codes that count against the budget of a realm. It also makes
// the engine warn again at four fifths of each rate.
func (a *adminAPI) unlockBudget(r *http.Request, app *App, req *operator.Request) (any, error) {
	if req.Session != "" || req.User != "" || req.Number != "" {
		return nil, operator.Error(http.StatusBadRequest, "give a number or budget, not both, and the realm of the gate if that has one")
	}
	was := false
	for _, scope := range scopesOf(req.Realm) {
		var rates []otp.Rate // the engine has logged a warning for each of them
		for _, g := range app.gates {
			if g.scope() == scope {
				rates = append(rates, g.policy.Budget...)
			}
		}
		counted, err := app.engine.ClearBudget(r.Context(), scope, rates)
		if err != nil {
			return nil, operator.Unavailable(err)
		}
		was = was || counted
	}
	if !was {
		return nil, operator.Error(http.StatusNotFound,
			"no code counts against a budget in this realm: give the realm of the gate, or none if the gate has no option realm")
	}
	a.log(telemetry.EntryUnlocked, req, zap.String("limit", "budget"))
	return struct {
		Unlocked bool `json:"unlocked"`
	}{true}, nil
}

// recoveryCode makes a recovery code, which lets one person in without an SMS.
func (a *adminAPI) recoveryCode(r *http.Request, app *App, req *operator.Request) (any, error) {
	switch {
	case req.Session != "" || (req.Number == "") == (req.User == ""):
		return nil, operator.Error(http.StatusBadRequest,
			"give a number, or with second_factor a user, and the realm of the gate if that has one")
	case req.User != "":
		if err := directory.CheckUser(req.User); err != nil {
			return nil, operator.Error(http.StatusBadRequest, err.Error()+": give the name of a user as the first factor sets it")
		}
	case !operator.IsE164(req.Number):
		return nil, errE164
	}
	scope, holder := holderOf(req)
	if !app.serves(scope, req.User != "") {
		return nil, operator.Error(http.StatusNotFound,
			"no gate would take it: give a number for a gate where people type their number, "+
				"a user for a gate with second_factor, and the realm of the gate, or none if the gate has no option realm")
	}
	code, expires, err := app.engine.NewRecovery(r.Context(), scope, holder)
	if limit := (*otp.LimitError)(nil); errors.As(err, &limit) {
		a.log(telemetry.EntryLimited, req, zap.Error(err))
		return nil, operator.Error(http.StatusTooManyRequests,
			fmt.Sprintf("too many recovery codes were made for this person: make the next in %s", request.WholeSeconds(limit.RetryAfter)))
	}
	if err != nil {
		return nil, operator.Unavailable(err)
	}
	a.log(telemetry.EntryRecovery, req)
	return operator.RecoveryCode{Code: code, ExpiresAt: expires.UTC().Truncate(time.Second)}, nil
}

// holderOf returns the person that an operator makes a recovery code for, as the
// engine knows them, and the scope that the code counts under.
func holderOf(req *operator.Request) (scope, holder string) {
	if req.User == "" {
		return req.Realm, flow.NumberHolder(req.Number)
	}
	if req.Realm == "" {
		return scopeSecondFactor, flow.UserHolder(req.User)
	}
	return req.Realm, flow.UserHolder(req.User)
}

// log writes one entry to the audit log. name is one of the telemetry.Entry constants.
func (a *adminAPI) log(name string, req *operator.Request, more ...zap.Field) {
	e := telemetry.Entry{Realm: req.Realm, Number: req.Number, User: req.User}
	e.Write(a.audit, name, more...)
}

// Interface guards
var (
	_ caddy.AdminRouter = (*adminAPI)(nil)
	_ caddy.Provisioner = (*adminAPI)(nil)
)
