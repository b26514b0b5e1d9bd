package otp

import "context"

// The methods in this file serve an operator's commands.

// Of returns the challenges of a number in a scope, newest first, at most MaxOf. The
// error is an *UnavailableError.
func (e *Engine) Of(ctx context.Context, scope, number string) ([]Challenge, error) {
	if err := e.ready(); err != nil {
		return nil, err
	}
	records, err := e.store.Of(ctx, scope, e.failuresKey(scope, number), e.now())
	list := make([]Challenge, len(records))
	for i := range records {
		list[i] = records[i].Challenge
	}
	return list, err
}

// Sent returns the number of codes that count for a number in each rate of
// p.PerNumber. The error is an *UnavailableError.
func (e *Engine) Sent(ctx context.Context, p *Policy, number string) ([]int, error) {
	if err := e.ready(); err != nil {
		return nil, err
	}
	return e.store.Used(ctx, p.Scope, Counter{Limit: "per_number", Key: e.numberKey(p.Scope, number), Rates: p.PerNumber}, e.now())
}

// Spent returns the number of codes that count in each rate of p.Budget. The error
// is an *UnavailableError.
func (e *Engine) Spent(ctx context.Context, p *Policy) ([]int, error) {
	if err := e.ready(); err != nil {
		return nil, err
	}
	return e.store.Used(ctx, p.Scope, e.budget(p), e.now())
}

// ClearBudget forgets the codes that count against the budget of a scope. It also
// forgets that a warning was logged for each of rates, so that it can be logged
// again. It reports whether any code counted.
func (e *Engine) ClearBudget(ctx context.Context, scope string, rates []Rate) (bool, error) {
	if err := e.ready(); err != nil {
		return false, err
	}
	had, err := e.store.Clear(ctx, scope, e.budget(&Policy{Scope: scope}))
	for _, r := range rates {
		if err == nil {
			err = e.store.Forget(ctx, e.ring.Digest("seen", strainedMark(scope, r)...), "")
		}
	}
	return had, err
}

// InFlight returns the number of sendings in flight, with those to unlisted numbers.
func (e *Engine) InFlight() int { return e.dispatch.inFlight() }

// Live returns the number of challenges that take up room in the store, of all
// scopes. The error is an *UnavailableError.
func (e *Engine) Live(ctx context.Context) (int, error) { return e.store.Live(ctx, e.now()) }
