package websms

import (
	"sync"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/clock"
)

// fakeClock is the time in tests that make it pass.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

// newFakeClock returns one that stands in the middle of a day.
func newFakeClock() *fakeClock { return &fakeClock{now: time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC)} }

// useClock makes the configurations that are loaded from now on live by a fake clock.
func useClock(t *testing.T) *fakeClock {
	c := newFakeClock()
	clock.Now = c.Now
	t.Cleanup(func() { clock.Now = time.Now })
	return c
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
