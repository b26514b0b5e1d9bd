package memorystore

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
)

// sentMessage is the sending that a message id belongs to.
type sentMessage struct {
	challenge otp.ID
	at        instant
	sending   uint8
}

// messageKey returns the key of a message id: half of its SHA-256. Two ids do
// not get the same key by chance, and only a client that knows the webhook's
// secret can choose ids.
func messageKey(id string) tableKey { return keyOf(sha256.Sum256([]byte(id))) }

// Report implements otp.Store.
func (m *memory) Report(_ context.Context, messageID string, state connexus.State, now time.Time) (time.Duration, bool, error) {
	m.ready()
	m.mu.Lock()
	defer m.mu.Unlock()
	sent, known := m.sent.get(messageKey(messageID), now)
	if !known {
		if was, twice := m.early.get(messageID, now); !twice || state.Supersedes(was) {
			m.early.put(messageID, state, now, now.Add(otp.MaxLife))
		}
		return 0, false, nil
	}
	rec := m.find(sent.challenge)
	if rec == nil || !rec.report(sent.sending, state) {
		return max(0, now.Sub(sent.at.time())), false, nil
	}
	m.changedRecord(rec)
	m.wakes.Wake(sent.challenge)
	return max(0, now.Sub(sent.at.time())), true, nil
}

// Second implements otp.Store.
func (m *memory) Second(
	_ context.Context, messageID string, now time.Time, renewal func(otp.Record) (otp.Renewal, error),
) (otp.Record, error) {
	m.ready()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tickLocked(now)
	sent, known := m.sent.get(messageKey(messageID), now)
	if !known {
		return otp.Record{}, otp.ErrNoChallenge
	}
	rec := m.find(sent.challenge)
	if rec == nil {
		return otp.Record{}, otp.ErrNoChallenge
	}
	return rec.claimSecond(sent.sending, now, func(found otp.Record) error {
		r, err := renewal(found)
		if err != nil {
			return err
		}
		if lock := m.failures.locked(&r.Failures, now); lock != nil {
			return lock
		}
		return m.counters.take(r.Counters, now, nil)
	})
}
