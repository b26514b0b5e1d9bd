package otp

import "context"

// What an operator may ask.

// Of returns the challenges of a number in a scope, newest first, no more than
// MaxOf. It returns an *UnavailableError when the store cannot say.
func (e *Engine) Of(ctx context.Context, scope, number string) ([]Challenge, error) {
	if err := e.ready(); err != nil {
		return nil, err
	}
	records, err := e.store.Of(ctx, scope, e.failures(scope, number), e.now())
	list := make([]Challenge, len(records))
	for i := range records {
		list[i] = records[i].Challenge
	}
	return list, err
}

// Sent returns how many codes count for a number within each rate of
// p.PerNumber.
func (e *Engine) Sent(ctx context.Context, p *Policy, number string) ([]int, error) {
	if err := e.ready(); err != nil {
		return nil, err
	}
	return e.store.Used(ctx, p.Scope, Counter{"per_number", e.ring.Digest("number", p.Scope, number), p.PerNumber}, e.now())
}

// Spent returns how many codes count within each rate of p.Budget.
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
			err = e.store.Forget(ctx, e.ring.Digest("seen", "budget", scope, r.String()), "")
		}
	}
	return had, err
}

// InFlight returns how many sendings are under way, decoys among them.
func (e *Engine) InFlight() int { return e.dispatch.inFlight() }

// Live returns how many challenges await their answer.
func (e *Engine) Live(ctx context.Context) (int, error) { return e.store.Live(ctx, e.now()) }
