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
	recent []time.Duration // how long the latest sendings took
	next   int             // the oldest of them
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

func (d *dispatcher) send(m connexus.OTP) (connexus.Receipt, error) {
	begun := time.Now()
	receipt, err := d.sender.SendOTP(d.ctx, m)
	d.remember(time.Since(begun))
	return receipt, err
}

// maxRecent is how many sendings a decoy chooses its time from.
const maxRecent = 16

func (d *dispatcher) remember(took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.recent) < maxRecent {
		d.recent = append(d.recent, took)
		return
	}
	d.recent[d.next] = took
	d.next = (d.next + 1) % maxRecent
}

// pretend takes as long as one of the latest sendings took, so that the
// status of a decoy changes when that of a real one would.
func (d *dispatcher) pretend() {
	took := 200*time.Millisecond + rand.N(300*time.Millisecond) // until a real one is known
	d.mu.Lock()
	if n := len(d.recent); n > 0 {
		took = d.recent[rand.IntN(n)]
	}
	d.mu.Unlock()
	timer := time.NewTimer(took)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.ctx.Done():
	}
}

// rest waits until the answer to who asked for a sending has left. The work of
// one that is real would slow that answer, by some 0.1 ms on a machine of 2
// cores, and tell it from a decoy's.
func (d *dispatcher) rest() {
	timer := time.NewTimer(5*time.Millisecond + rand.N(20*time.Millisecond))
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
