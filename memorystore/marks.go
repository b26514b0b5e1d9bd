package memorystore

import (
	"context"
	"time"

	"github.com/caddy-websms/websms/otp"
)

// First implements otp.Store.
func (m *memory) First(_ context.Context, key otp.Digest, ttl time.Duration, now time.Time) (bool, error) {
	m.ready()
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, seen := m.seen.get(key, now); seen {
		return false, nil
	}
	m.work.remove(key)
	m.seen.put(key, struct{}{}, now, now.Add(ttl))
	return true, nil
}

// Begin implements otp.Store.
func (m *memory) Begin(_ context.Context, key otp.Digest, l otp.Lease) error {
	m.ready()
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, done := m.seen.get(key, l.Now); done {
		return otp.ErrDone
	}
	if holder, ends, held := m.work.find(key, l.Now); held && holder != l.Holder {
		return &otp.InWorkError{RetryAfter: ends.Sub(l.Now)}
	}
	m.seen.remove(key) // the mark has expired; if the clock goes back, it must not count again
	m.work.put(key, l.Holder, l.Now, l.Now.Add(l.For))
	return nil
}

// Done implements otp.Store.
func (m *memory) Done(_ context.Context, key otp.Digest, ttl time.Duration, now time.Time) error {
	m.ready()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.work.remove(key)
	m.seen.put(key, struct{}{}, now, now.Add(ttl))
	return nil
}

// Forget implements otp.Store.
func (m *memory) Forget(_ context.Context, key otp.Digest, holder string) error {
	m.ready()
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case holder == "":
		m.work.remove(key)
		m.seen.remove(key)
	case m.work.valueOf(key) == holder:
		m.work.remove(key)
	}
	return nil
}
