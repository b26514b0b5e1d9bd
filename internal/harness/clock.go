package harness

import (
	"sync"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/clock"
)

// FakeClock is the time in tests that make it pass.
type FakeClock struct {
	mu  sync.Mutex
	now time.Time
}

// NewFakeClock returns one that stands in the middle of a day.
func NewFakeClock() *FakeClock { return &FakeClock{now: time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC)} }

// UseClock makes the configurations that are loaded from now on live by a fake clock.
func UseClock(t *testing.T) *FakeClock {
	c := NewFakeClock()
	clock.Now = c.Now
	t.Cleanup(func() { clock.Now = time.Now })
	return c
}

// Now returns the time of the clock.
func (c *FakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance sets the clock ahead by d.
func (c *FakeClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
