package memorystore

import (
	"context"
	"time"

	"github.com/caddy-websms/websms/otp"
)

// Unlock implements otp.Store.
func (m *memory) Unlock(_ context.Context, _ string, number otp.Digest) (bool, error) {
	m.ready()
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failures.unlock(number), nil
}

// Wait implements otp.Store.
func (m *memory) Wait(_ context.Context, r *otp.Renewal) (time.Duration, error) {
	m.ready()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tickLocked(r.Now)
	wait := m.counters.wait(r.Counters, r.Now)
	if lock := m.failures.locked(&r.Failures, r.Now); lock != nil {
		if lock.RetryAfter == 0 {
			return otp.LongWait, nil
		}
		wait = max(wait, lock.RetryAfter)
	}
	return wait, nil
}

// Used implements otp.Store.
func (m *memory) Used(_ context.Context, _ string, c otp.Counter, now time.Time) ([]int, error) {
	m.ready()
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counters.used(c, now), nil
}

// Clear implements otp.Store.
func (m *memory) Clear(_ context.Context, _ string, c otp.Counter) (bool, error) {
	m.ready()
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.counters.get(c.Key) != nil
	m.counters.remove(keyOf(c.Key))
	return known, nil
}

// Try implements otp.Store. Tries are not written to the file, because they
// protect this process only.
func (m *memory) Try(_ context.Context, _ string, c otp.Counter, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var need demand
	for _, r := range c.Rates {
		need.keep, need.longest = max(need.keep, r.Count), max(need.longest, r.Window)
	}
	tried, _ := m.tries.get(keyOf(c.Key), now)
	if wait := tried.Wait(c.Rates, now); wait > 0 { // if the clock was ahead, it is longer than any window
		return &otp.LimitError{Limit: c.Limit, RetryAfter: min(wait, need.longest)}
	}
	tried.Add(now, need.keep)
	tried.Trim(now, need.longest)
	m.tries.put(keyOf(c.Key), tried, now, now.Add(need.longest))
	return nil
}
