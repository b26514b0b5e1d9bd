package otp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

// LeaseTime is the length of a lease: how long a thing counts as in work after the
// latest renewal. So after a crash, the work can begin again within LeaseTime. A
// holder renews its lease every RenewTime, so two renewals may fail.
const (
	LeaseTime = 10 * time.Second
	RenewTime = 3 * time.Second
)

// ErrDone says that a thing is marked as done.
var ErrDone = errors.New("done before")

// InWorkError says that another holder has a thing in work.
type InWorkError struct {
	RetryAfter time.Duration // until its lease is over, if it is not renewed
}

// Error returns the wait until the lease ends.
func (e *InWorkError) Error() string {
	return fmt.Sprintf("in work; retry after %s", e.RetryAfter)
}

// Lease is a claim to work on a thing, for Store.Begin.
type Lease struct {
	Holder string // letters and digits, unique to one Work
	For    time.Duration
	Now    time.Time
}

// Work is a thing in work, such as one webhook event. The holder calls Renew every
// RenewTime, and at the end Done or Forget. The methods of a nil *Work do nothing.
type Work struct {
	engine *Engine
	key    Digest
	ttl    time.Duration
	holder string
}

// Begin begins work on the thing that parts name. Done will mark it as done for ttl.
//
// Begin returns ErrDone if the thing is marked as done, and an *InWorkError if it is
// in work on any node. After an *UnavailableError, it is unknown whether the thing
// was done. The caller may do it nevertheless: Begin then returns a Work too, unless
// the ring has no keys.
func (e *Engine) Begin(ctx context.Context, ttl time.Duration, parts ...string) (*Work, error) {
	if err := e.ready(); err != nil {
		return nil, err
	}
	w := &Work{engine: e, key: e.ring.Digest("seen", parts...), ttl: ttl, holder: rand.Text()}
	err := w.Renew(ctx)
	if errors.Is(err, ErrDone) || errors.As(err, new(*InWorkError)) {
		return nil, err
	}
	return w, err
}

// Renew starts the lease again. If the lease was over and another holder has taken
// the thing, Renew returns ErrDone or an *InWorkError.
func (w *Work) Renew(ctx context.Context) error {
	if w == nil {
		return nil
	}
	return w.engine.store.Begin(ctx, w.key, Lease{Holder: w.holder, For: LeaseTime, Now: w.engine.now()})
}

// Done marks the thing as done. After an *UnavailableError, it is marked as soon as
// the store is back.
func (w *Work) Done(ctx context.Context) error {
	if w == nil {
		return nil
	}
	return w.engine.store.Done(ctx, w.key, w.ttl, w.engine.now())
}

// Forget ends the lease without marking the thing as done, so that the next Begin
// gets it. After an *UnavailableError, the lease ends as soon as the store is back,
// or by itself.
func (w *Work) Forget(ctx context.Context) error {
	if w == nil {
		return nil
	}
	return w.engine.store.Forget(ctx, w.key, w.holder)
}
