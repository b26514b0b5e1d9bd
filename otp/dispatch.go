package otp

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/caddy-websms/websms/connexus"
)

// maxInFlight bounds the sendings in flight. The API usually takes a third of a
// second for each, so this is some 1500 a second. More are refused at once: in a
// queue, they would arrive too late.
const maxInFlight = 512

// dispatcher runs sendings in the background.
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

// acquire takes a place for one sending. If none is free, it does not wait but
// returns an *UnavailableError.
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

// send sends a message. It ends with the dispatcher and not with request, the context
// of the HTTP request. From request it takes the values only, for tracing.
func (d *dispatcher) send(request context.Context, m connexus.OTP) (connexus.Receipt, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(request))
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)()
	return d.sender.SendOTP(ctx, m)
}

// inFlight returns the number of sendings in flight.
func (d *dispatcher) inFlight() int { return len(d.places) }

// pause waits for a random time from least to most, or until the dispatcher closes.
func (d *dispatcher) pause(least, most time.Duration) {
	timer := time.NewTimer(least + rand.N(most-least))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.ctx.Done():
	}
}

// close refuses new sendings and waits for those in flight. When ctx ends, it cancels
// them.
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
