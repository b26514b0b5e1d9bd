package websms

import (
	"context"
	"net/http"
	"time"

	"github.com/caddy-websms/websms/internal/clock"
	"github.com/caddy-websms/websms/internal/operator"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/internal/telemetry"
	"github.com/caddy-websms/websms/otp"
)

// statusTime is how long a status request waits for the stores.
const statusTime = 2 * time.Second

// balanceTime is how long a status request waits for the balance of one account.
const balanceTime = time.Second

// status answers with the state of each engine of this process. The engine of the
// running configuration comes first.
func (a *adminAPI) status(w http.ResponseWriter, r *http.Request) error {
	if err := operator.OnlyMethod(w, r, http.MethodGet); err != nil {
		return err
	}
	app := a.app()
	if app == nil {
		return errNoApp
	}
	ctx, cancel := context.WithTimeout(r.Context(), statusTime)
	defer cancel()
	list := []operator.EngineStatus{app.engine.status(ctx, app.gates)}
	for _, e := range openEngines.All() {
		if e != app.engine {
			list = append(list, e.status(ctx, nil))
		}
	}
	return request.WriteJSON(w, http.StatusOK, "application/json", operator.Status{Engines: list})
}

// boundedStore is a store that holds a limited number of live challenges.
type boundedStore interface {
	Capacity() int
}

// status returns the state of an engine and of the given gates.
func (e *engine) status(ctx context.Context, gates []*Gate) operator.EngineStatus {
	s := operator.EngineStatus{
		BaseURL: e.account.baseURL, Sandbox: e.account.sandbox, Store: operator.StoreStatus{Kind: e.kind, Up: true},
		KeysReady: e.vault.Ring.Ready(), SendsInFlight: e.InFlight(), Gates: []operator.GateStatus{},
	}
	if e.tokens != nil {
		if t, held := e.tokens.Load(); held {
			s.Token = &operator.TokenStatus{
				Held: true, AgeSeconds: int(clock.Now().Sub(t.IssuedAt) / time.Second), ExpiresAt: t.ExpiresAt.UTC().Truncate(time.Second),
			}
		}
	}
	if bounded, ok := e.store.(boundedStore); ok {
		s.Capacity = bounded.Capacity()
	}
	var err error
	if s.Challenges, err = e.Live(ctx); err != nil {
		s.Store.Up, s.Store.Error = false, err.Error()
	}
	for _, g := range gates {
		s.Gates = append(s.Gates, g.status(ctx))
	}
	s.Account = e.accountStatus(ctx)
	if f := e.failed.Load(); f != nil {
		s.LastError = &operator.FailureStatus{
			At: f.at.UTC().Truncate(time.Second), Endpoint: telemetry.EndpointLabel(f.endpoint), Message: f.err.Error(),
		}
	}
	return s
}

// accountStatus returns the balance of the account, or nil if it is unknown.
func (e *engine) accountStatus(ctx context.Context) *operator.AccountStatus {
	ctx, cancel := context.WithTimeout(ctx, balanceTime)
	defer cancel()
	b, ok := e.balance.Fresh(ctx)
	if !ok {
		return nil
	}
	return &operator.AccountStatus{Balance: b.Amount, Currency: b.Currency, At: b.At.UTC().Truncate(time.Second)}
}

// status returns the state of a gate.
func (g *Gate) status(ctx context.Context) operator.GateStatus {
	s := operator.GateStatus{Realm: g.Realm, Mode: "number", Prefix: g.Prefix, Budget: []operator.RateStatus{}}
	if g.second != nil {
		s.Mode = "second_factor"
	}
	if used, err := g.engine.Spent(ctx, &g.policy); err == nil { // the status of the store has the error
		s.Budget = rateStatuses(g.policy.Budget, used)
	}
	return s
}

// rateStatuses pairs each rate with how much of it is used.
func rateStatuses(rates []otp.Rate, used []int) []operator.RateStatus {
	list := make([]operator.RateStatus, len(rates))
	for i, rate := range rates {
		list[i] = operator.RateStatus{Rate: rate.String(), Used: used[i]}
	}
	return list
}

// challenges answers with the live challenges of a number, and how many codes count
// against its limits.
func (a *adminAPI) challenges(r *http.Request, app *App, req *operator.Request) (any, error) {
	if req.Session != "" || req.User != "" || req.Number == "" {
		return nil, errOneNumber
	}
	if !operator.IsE164(req.Number) {
		return nil, errE164
	}
	answer := operator.Challenges{Challenges: []operator.ChallengeStatus{}, Sends: []operator.RateStatus{}}
	for _, scope := range scopesOf(req.Realm) {
		found, err := app.engine.Of(r.Context(), scope, req.Number)
		if err != nil {
			return nil, operator.Unavailable(err)
		}
		for _, c := range found {
			answer.Challenges = append(answer.Challenges, operator.ChallengeStatus{
				ID: c.ID.String(), Status: c.Status, AttemptsLeft: c.AttemptsLeft,
				ExpiresAt: c.ExpiresAt.UTC().Truncate(time.Second), ResendAt: request.RoundUp(c.ResendAt).UTC(),
			})
		}
	}
	for _, g := range app.gatesOf(req.Realm) {
		used, err := app.engine.Sent(r.Context(), &g.policy, req.Number)
		if err != nil {
			return nil, operator.Unavailable(err)
		}
		answer.Sends = append(answer.Sends, rateStatuses(g.policy.PerNumber, used)...)
	}
	return answer, nil
}

// scopesOf returns the scopes that the gates of a realm count under. Gates without a
// realm have two: gates with a second factor count apart.
func scopesOf(realm string) []string {
	if realm == "" {
		return []string{realm, scopeSecondFactor}
	}
	return []string{realm}
}

// gatesOf returns one gate of each scope of a realm, because all gates of a scope
// count together.
func (a *App) gatesOf(realm string) (gates []*Gate) {
	seen := map[string]bool{}
	for _, g := range a.gates {
		if scope := g.scope(); g.Realm == realm && !seen[scope] {
			seen[scope] = true
			gates = append(gates, g)
		}
	}
	return gates
}

var (
	errNoApp     = operator.Error(http.StatusNotFound, "the running configuration has no gate")
	errOneNumber = operator.Error(http.StatusBadRequest, "give a number, and the realm of its gate if that has one")
)
