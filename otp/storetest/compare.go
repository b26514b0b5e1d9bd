package storetest

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
)

// Compare plays the same random calls to two stores that have room for a thousand
// challenges or more. It compares the answers of the stores with each other and with
// those of the model. Answers may differ where otp.Store allows it.
func Compare(t *testing.T, one, other func(t *testing.T) otp.Store) {
	randomSequences(t, func(t *testing.T, _ int) otp.Store {
		return &pair{t: t, one: one(t), other: other(t)}
	}, []int{math.MaxInt}, math.MaxInt)
}

// pair is a store that asks two stores, reports answers that differ, and returns those
// of the first.
type pair struct {
	t          *testing.T
	one, other otp.Store
	now        time.Time // of the latest call that may count a sending
}

// gone are the errors for a challenge that is over. A store may return any of them.
var gone = []error{otp.ErrNoChallenge, otp.ErrExpired, otp.ErrTooManyAttempts}

// alike reports answers that differ. It reports to testing.T, because it has no
// rapid.T. So rapid does not shorten the sequence, but logs it.
func (p *pair) alike(call string, one, other error) {
	var a, b *otp.LimitError
	errors.As(one, &a)
	errors.As(other, &b)
	switch {
	case (one == nil) != (other == nil), (a == nil) != (b == nil), a != nil && a.RetryAfter != b.RetryAfter,
		errors.Is(one, otp.ErrWrongCode) != errors.Is(other, otp.ErrWrongCode), oneOf(one, gone) != oneOf(other, gone):
		p.t.Errorf("%s: one store answers %v, the other %v", call, one, other)
	}
}

func (p *pair) records(call string, one, other otp.Record, err, otherErr error) {
	p.alike(call, err, otherErr)
	if oneOf(err, gone) || errors.As(err, new(*otp.LimitError)) && !errors.Is(err, otp.ErrWrongCode) {
		return // otp.Store promises no record with these errors
	}
	if diff := same(one, other); diff != "" {
		p.t.Errorf("%s: the stores differ: %s", call, diff)
	}
}

func (p *pair) Reserve(ctx context.Context, r *otp.Reservation) error {
	p.now = r.Now
	one, other := p.one.Reserve(ctx, r), p.other.Reserve(ctx, r)
	p.alike("Reserve", one, other)
	return one
}

func (p *pair) Resend(ctx context.Context, id otp.ID, r *otp.Renewal) (otp.Record, error) {
	p.now = r.Now
	one, err := p.one.Resend(ctx, id, r)
	other, otherErr := p.other.Resend(ctx, id, r)
	p.records("Resend", one, other, err, otherErr)
	return one, err
}

func (p *pair) Wait(ctx context.Context, r *otp.Renewal) (time.Duration, error) {
	one, err := p.one.Wait(ctx, r)
	other, otherErr := p.other.Wait(ctx, r)
	p.alike("Wait", err, otherErr)
	if one != other {
		p.t.Errorf("Wait: %s and %s", one, other)
	}
	return one, err
}

func (p *pair) Settle(ctx context.Context, id otp.ID, s *otp.Settlement) error {
	one, other := p.one.Settle(ctx, id, s), p.other.Settle(ctx, id, s)
	p.alike("Settle", one, other)
	return one
}

func (p *pair) Attempt(ctx context.Context, id otp.ID, a *otp.Answer) (otp.Record, error) {
	one, err := p.one.Attempt(ctx, id, a)
	other, otherErr := p.other.Attempt(ctx, id, a)
	if p.alike("Attempt", err, otherErr); err != nil {
		p.records("Attempt", one, other, err, otherErr)
	}
	return one, err
}

func (p *pair) Unlock(ctx context.Context, scope string, number otp.Digest) (bool, error) {
	one, err := p.one.Unlock(ctx, scope, number)
	other, otherErr := p.other.Unlock(ctx, scope, number)
	if p.alike("Unlock", err, otherErr); one != other {
		p.t.Errorf("Unlock: %t, and %t", one, other)
	}
	return one, err
}

func (p *pair) Get(ctx context.Context, scope string, id otp.ID, now time.Time) (otp.Record, error) {
	one, err := p.one.Get(ctx, scope, id, now)
	other, otherErr := p.other.Get(ctx, scope, id, now)
	p.records("Get", one, other, err, otherErr)
	return one, err
}

func (p *pair) Of(ctx context.Context, scope string, number otp.Digest, now time.Time) ([]otp.Record, error) {
	one, err := p.one.Of(ctx, scope, number, now)
	other, otherErr := p.other.Of(ctx, scope, number, now)
	if p.alike("Of", err, otherErr); len(one) != len(other) {
		p.t.Errorf("Of: %d, and %d", len(one), len(other))
	}
	return one, err
}

// Report compares the age only if the status changed in both stores: a store may forget
// a challenge that is over.
func (p *pair) Report(ctx context.Context, messageID string, state connexus.State, now time.Time) (time.Duration, bool, error) {
	age, moved, err := p.one.Report(ctx, messageID, state, now)
	otherAge, otherMoved, otherErr := p.other.Report(ctx, messageID, state, now)
	if p.alike("Report", err, otherErr); moved && otherMoved && age != otherAge {
		p.t.Errorf("Report: %v after the sending, and %v", age, otherAge)
	}
	return age, moved, err
}

// Watch receives the changes of the first store only.
func (p *pair) Second(
	ctx context.Context, messageID string, now time.Time, renewal func(otp.Record) (otp.Renewal, error),
) (otp.Record, error) {
	one, err := p.one.Second(ctx, messageID, now, renewal)
	other, otherErr := p.other.Second(ctx, messageID, now, renewal)
	p.records("Second", one, other, err, otherErr)
	return one, err
}

func (p *pair) Watch(id otp.ID) (<-chan struct{}, func()) { return p.one.Watch(id) }

func (p *pair) First(ctx context.Context, key otp.Digest, ttl time.Duration, now time.Time) (bool, error) {
	one, err := p.one.First(ctx, key, ttl, now)
	other, otherErr := p.other.First(ctx, key, ttl, now)
	if p.alike("First", err, otherErr); one != other {
		p.t.Errorf("First: %t, and %t", one, other)
	}
	return one, err
}

func (p *pair) Begin(ctx context.Context, key otp.Digest, l otp.Lease) error {
	one, other := p.one.Begin(ctx, key, l), p.other.Begin(ctx, key, l)
	if p.alike("Begin", one, other); errors.Is(one, otp.ErrDone) != errors.Is(other, otp.ErrDone) {
		p.t.Errorf("Begin: %v, and %v", one, other)
	}
	return one
}

func (p *pair) Done(ctx context.Context, key otp.Digest, ttl time.Duration, now time.Time) error {
	one, other := p.one.Done(ctx, key, ttl, now), p.other.Done(ctx, key, ttl, now)
	p.alike("Done", one, other)
	return one
}

func (p *pair) Forget(ctx context.Context, key otp.Digest, holder string) error {
	one, other := p.one.Forget(ctx, key, holder), p.other.Forget(ctx, key, holder)
	p.alike("Forget", one, other)
	return one
}

func (p *pair) Try(ctx context.Context, scope string, c otp.Counter, now time.Time) error {
	one, other := p.one.Try(ctx, scope, c, now), p.other.Try(ctx, scope, c, now)
	p.alike("Try", one, other)
	return one
}

func (p *pair) Used(ctx context.Context, scope string, c otp.Counter, now time.Time) ([]int, error) {
	one, err := p.one.Used(ctx, scope, c, now)
	other, otherErr := p.other.Used(ctx, scope, c, now)
	if p.alike("Used", err, otherErr); !slices.Equal(one, other) {
		p.t.Errorf("Used: %d, and %d", one, other)
	}
	return one, err
}

// Clear compares the answers only while a sending counts in one of the stores. When none
// counts any more, a store may forget the counter with the next sending of any counter,
// or keep it for a while, so one store may know the counter and the other may not.
func (p *pair) Clear(ctx context.Context, scope string, c otp.Counter) (bool, error) {
	counts := p.counts(ctx, p.one, scope, c) || p.counts(ctx, p.other, scope, c)
	one, err := p.one.Clear(ctx, scope, c)
	other, otherErr := p.other.Clear(ctx, scope, c)
	if p.alike("Clear", err, otherErr); one != other && counts {
		p.t.Errorf("Clear: %t, and %t", one, other)
	}
	return one, err
}

// counts reports whether a sending counts within a rate of c, at the time of the latest
// call that may have made a store forget a counter.
func (p *pair) counts(ctx context.Context, store otp.Store, scope string, c otp.Counter) bool {
	used, err := store.Used(ctx, scope, c, p.now)
	if err != nil {
		p.t.Errorf("Used: %v", err)
	}
	return slices.ContainsFunc(used, func(n int) bool { return n > 0 })
}

// Live does not compare the counts, because a store may count expired challenges for a
// while.
func (p *pair) Live(ctx context.Context, now time.Time) (int, error) {
	if _, err := p.other.Live(ctx, now); err != nil {
		return 0, err
	}
	return p.one.Live(ctx, now)
}

var _ otp.Store = (*pair)(nil)
