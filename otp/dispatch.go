package otp

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/caddy-websms/websms/connexus"
)

// maxInFlight bounds the sendings under way at once. At the API's usual third
// of a second for each that is some 1500 a second; past it a send is refused
// at once rather than queued behind a code that people wait for.
const maxInFlight = 512

// dispatcher runs sendings behind the requests that asked for them.
type dispatcher struct {
	sender Sender
	places chan struct{}
	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool
	flying sync.WaitGroup
}

func newDispatcher(sender Sender) *dispatcher {
	ctx, cancel := context.WithCancel(context.Background())
	return &dispatcher{sender: sender, places: make(chan struct{}, maxInFlight), ctx: ctx, cancel: cancel}
}

// acquire takes a place for one sending, and never waits for it.
func (d *dispatcher) acquire() (release func(), err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, &UnavailableError{Reason: "shutting down", RetryAfter: 5 * time.Second}
	}
	select {
	case d.places <- struct{}{}:
		d.flying.Add(1)
		return func() { <-d.places; d.flying.Done() }, nil
	default:
		return nil, &UnavailableError{Reason: "too many sends in flight", RetryAfter: 2 * time.Second}
	}
}

// send ends with the dispatcher, and not with asked, the request that asked
// for it: of that it has the values alone, by which it can be traced.
func (d *dispatcher) send(asked context.Context, m connexus.OTP) (connexus.Receipt, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(asked))
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)()
	return d.sender.SendOTP(ctx, m)
}

// inFlight returns how many sendings are under way.
func (d *dispatcher) inFlight() int { return len(d.places) }

// pause waits for some time between two, or until the dispatcher closes.
func (d *dispatcher) pause(least, most time.Duration) {
	timer := time.NewTimer(least + rand.N(most-least))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.ctx.Done():
	}
}

// close refuses new sendings and waits for those in flight until ctx ends,
// then breaks them off.
func (d *dispatcher) close(ctx context.Context) {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	done := make(chan struct{})
	go func() {
		d.flying.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	d.cancel()
	<-done
}
