package otp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

// LeaseTime is how long a thing counts as in work after its holder last renewed
// the lease. So after a crash the work can begin again within LeaseTime. A
// holder renews its lease every RenewTime, so two renewals may fail.
const (
	LeaseTime = 10 * time.Second
	RenewTime = 3 * time.Second
)

// ErrDone says that a thing was done before.
var ErrDone = errors.New("done before")

// InWorkError says that another holder has a thing in work.
type InWorkError struct {
	RetryAfter time.Duration // until its lease is over, if it is not renewed
}

func (e *InWorkError) Error() string {
	return fmt.Sprintf("in work; retry after %s", e.RetryAfter)
}

// Lease is a holder's claim to work on a thing.
type Lease struct {
	Holder string // letters and digits, unique to one Work
	For    time.Duration
	Now    time.Time
}

// Work is one thing that is being worked on. Call Renew every RenewTime until
// it ends, then Done or Forget. A nil *Work is work on nothing: its methods do
// nothing.
type Work struct {
	engine *Engine
	key    Digest
	ttl    time.Duration
	holder string
}

// Begin begins work on the thing that parts name. Done marks it as done for ttl.
// Begin returns ErrDone if the thing is marked as done, and an *InWorkError
// while another Work on it goes on, on any node. With an *UnavailableError it is
// unknown whether the thing was done before. Then Begin returns a Work all the
// same, which ends with Done or Forget; it is nil while there are no keys.
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

// Renew starts the lease anew. It returns ErrDone or an *InWorkError if the lease
// was over and another Work has done the thing or has it in work.
func (w *Work) Renew(ctx context.Context) error {
	if w == nil {
		return nil
	}
	return w.engine.store.Begin(ctx, w.key, Lease{Holder: w.holder, For: LeaseTime, Now: w.engine.now()})
}

// Done marks the thing as done. With an *UnavailableError it is marked as soon
// as the store can be asked.
func (w *Work) Done(ctx context.Context) error {
	if w == nil {
		return nil
	}
	return w.engine.store.Done(ctx, w.key, w.ttl, w.engine.now())
}

// Forget ends work that did not finish the thing: the next Begin gets it. With
// an *UnavailableError that holds as soon as the store can be asked, or when
// the lease is over.
func (w *Work) Forget(ctx context.Context) error {
	if w == nil {
		return nil
	}
	return w.engine.store.Forget(ctx, w.key, w.holder)
}
