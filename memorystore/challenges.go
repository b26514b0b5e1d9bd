package memorystore

import (
	"cmp"
	"container/heap"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-websms/websms/otp"
)

// Reserve implements otp.Store.
func (m *memory) Reserve(_ context.Context, r *otp.Reservation) error {
	m.ready()
	former := m.find(r.Replaces)
	rec := newRecord(r)
	heir, err := m.admit(r, rec, former)
	if err != nil {
		return err
	}
	if !m.cache.Put(string(r.ID[:]), rec) {
		m.mu.Lock()
		m.drop(rec)
		m.counters.undo(r.Counters, r.Now)
		if heir {
			former.claimed = false
			m.changedRecord(former)
		}
		m.mu.Unlock()
		return &otp.UnavailableError{Reason: "the memory store did not keep the challenge", RetryAfter: time.Second}
	}
	if former != nil {
		m.end(former)
	}
	return nil
}

// admit takes room for a challenge and counts the sending. It does both or neither. It
// reports whether the new challenge gets the room of former.
func (m *memory) admit(r *otp.Reservation, rec, former *record) (heir bool, err error) {
	if err := m.lockFor(former); err != nil {
		return false, err
	}
	defer m.mu.Unlock()
	defer func() {
		if err != nil { // the former code stays good after a refusal, also in the file
			m.changedRecord(former)
		}
	}()
	m.tickLocked(r.Now)
	m.expire(r.Now)
	live := len(m.live)
	heir = former != nil && former.place >= 0 && !former.claimed
	if heir {
		live-- // its room becomes the new one's
	}
	if live >= m.capacity {
		return false, &otp.UnavailableError{
			Reason:     fmt.Sprintf("all %d challenges that the memory store may hold are live", m.capacity),
			RetryAfter: max(m.live[0].expires().time().Sub(r.Now), time.Second),
		}
	}
	if err := m.take(&r.Failures, r.Counters, r.Now, nil); err != nil {
		return false, err
	}
	if heir {
		former.claimed = true
	}
	heap.Push(&m.live, rec)
	m.changedRecord(rec)
	return heir, nil
}

// take counts one sending, unless the number is locked or a limit is reached.
// limit is a refusal that the caller has found already, or nil. The caller
// holds mu.
func (m *memory) take(of *otp.Failures, list []otp.Counter, now time.Time, limit *otp.LimitError) error {
	if lock := m.failures.locked(of, now); lock != nil {
		if lock.RetryAfter == 0 { // only an operator ends it
			return lock
		}
		if limit == nil || lock.RetryAfter > limit.RetryAfter {
			limit = lock
		}
	}
	return m.counters.take(list, now, limit)
}

// Resend implements otp.Store.
func (m *memory) Resend(_ context.Context, id otp.ID, r *otp.Renewal) (otp.Record, error) {
	m.ready()
	rec := m.find(id)
	if err := m.lockFor(rec); err != nil {
		return otp.Record{}, err
	}
	defer m.mu.Unlock()
	m.tickLocked(r.Now)
	if rec == nil || rec.place < 0 {
		return otp.Record{}, otp.ErrNoChallenge
	}
	defer m.changedRecord(rec)
	renewed, err := rec.renew(r, func(cooldown *otp.LimitError) error { return m.take(&r.Failures, r.Counters, r.Now, cooldown) })
	if err != nil {
		return renewed, err
	}
	if rec.place >= 0 {
		heap.Fix(&m.live, rec.place)
	}
	m.wakes.Wake(id)
	return renewed, nil
}

// Settle implements otp.Store.
func (m *memory) Settle(_ context.Context, id otp.ID, s *otp.Settlement) error {
	m.ready()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tickLocked(s.Now)
	rec := m.find(id)
	if rec != nil && rec.settle(s) {
		m.counters.giveBack(s.Return, s.Taken, s.Now)
	}
	if s.MessageID != "" {
		m.sent.put(messageKey(s.MessageID), sentMessage{id, instantOf(s.Taken), uint8(s.Sending)}, s.Now, s.Now.Add(otp.MaxLife))
		if state, came := m.early.get(s.MessageID, s.Now); came {
			m.early.remove(s.MessageID)
			s.Early = state
			if rec != nil {
				rec.report(uint8(s.Sending), state)
			}
		}
	}
	m.changedRecord(rec)
	m.wakes.Wake(id)
	return nil
}

// Attempt implements otp.Store.
func (m *memory) Attempt(_ context.Context, id otp.ID, a *otp.Answer) (otp.Record, error) {
	m.ready()
	rec := m.find(id)
	if rec == nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.tickLocked(a.Now)
		return m.metBefore(id, a)
	}
	if err := m.lockFor(rec); err != nil {
		return otp.Record{}, err
	}
	m.tickLocked(a.Now)
	after, err := rec.attempt(a, &m.failures)
	switch {
	case err == nil:
		m.drop(rec)
		m.met.put(id, metCode{a.Proof, a.Exact}, a.Now, a.Now.Add(otp.ReuseTime))
	case errors.Is(err, otp.ErrNoChallenge): // another attempt was faster
		after, err = m.metBefore(id, a)
	}
	m.changedRecord(rec)
	m.mu.Unlock()
	m.wakes.Wake(id)
	return after, err
}

// metCode is a code that was right, and the time when it was.
type metCode struct {
	proof otp.Digest
	at    time.Time
}

// metBefore answers an attempt at a challenge that has ended. After a wrong proof it knows
// the right one no more, because it counts no attempts. The caller holds mu.
func (m *memory) metBefore(id otp.ID, a *otp.Answer) (otp.Record, error) {
	met, known := m.met.get(id, a.Now)
	if !known || !constantTimeEqual(&a.Proof, &met.proof) {
		m.met.remove(id)
		return otp.Record{}, otp.ErrNoChallenge
	}
	if !a.Again {
		return otp.Record{}, otp.ErrNoChallenge
	}
	return otp.Record{Challenge: otp.Challenge{ID: id, VerifiedAt: met.at}}, otp.ErrUsed
}

// Get implements otp.Store.
func (m *memory) Get(_ context.Context, _ string, id otp.ID, now time.Time) (otp.Record, error) {
	m.ready()
	m.tick(now)
	rec := m.find(id)
	if rec == nil {
		return otp.Record{}, otp.ErrNoChallenge
	}
	return rec.get(now)
}

// Of implements otp.Store. It looks at all live challenges. It copies the list
// first, so that other calls wait for the copy only.
func (m *memory) Of(_ context.Context, _ string, number otp.Digest, now time.Time) (list []otp.Record, err error) {
	m.ready()
	m.mu.Lock()
	m.tickLocked(now)
	tag := tagOf(number)
	live := slices.DeleteFunc(slices.Clone(m.live), func(rec *record) bool { return tag == 0 || rec.tag != tag })
	born := make(map[*record]instant, len(live)) // copies: settleClocks may change them during the sort
	for _, rec := range live {
		born[rec] = rec.born
	}
	m.mu.Unlock()
	slices.SortFunc(live, func(a, b *record) int { return cmp.Compare(born[b], born[a]) })
	for _, rec := range live {
		found, err := rec.get(now)
		if err != nil && !errors.Is(err, otp.ErrTooManyAttempts) {
			continue
		}
		if found.Sealed = nil; len(list) < otp.MaxOf {
			list = append(list, found)
		}
	}
	return list, nil
}

// Live implements otp.Store.
func (m *memory) Live(_ context.Context, now time.Time) (int, error) {
	m.ready()
	for {
		m.mu.Lock()
		m.tickLocked(now)
		before := len(m.live)
		m.expire(now)
		after := len(m.live)
		m.mu.Unlock()
		if after == before {
			return after, nil
		}
	}
}

// find returns the record of a challenge, or nil.
func (m *memory) find(id otp.ID) *record {
	if id == (otp.ID{}) {
		return nil
	}
	rec, _ := m.cache.Get(string(id[:]))
	if rec == nil || rec.id != id {
		return nil
	}
	return rec
}

// end removes a challenge that was verified or replaced.
func (m *memory) end(rec *record) {
	rec.finish()
	m.mu.Lock()
	m.drop(rec)
	m.mu.Unlock()
	m.wakes.Wake(rec.id)
}

// drop frees a challenge's room. The caller holds mu.
func (m *memory) drop(rec *record) {
	if rec.place >= 0 {
		heap.Remove(&m.live, rec.place)
	}
	m.cache.Remove(string(rec.id[:]))
	delete(m.keeper.unknown, rec.id)
}

// expire frees the room of up to 16 expired challenges. One call needs fewer. With more,
// a call could wait long when many have expired at once. The caller holds mu.
func (m *memory) expire(now time.Time) {
	for range 16 {
		if len(m.live) == 0 || instantOf(now) < m.live[0].expires() {
			return
		}
		rec := m.live[0]
		m.drop(rec)
		m.wakes.Wake(rec.id)
	}
}

// constantTimeEqual compares two digests. Its time does not depend on them.
func constantTimeEqual(a, b *otp.Digest) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }
