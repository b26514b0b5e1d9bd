package memorystore

import (
	"cmp"
	"container/heap"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/internal/cache"
	"github.com/caddy-websms/websms/internal/clock"
	"github.com/caddy-websms/websms/otp"
)

// memory is the otp.Store of one process. Challenges are found through
// ristretto; what may never be forgotten early is kept beside it: which of
// them are live (a heap, so that room is counted exactly), and the counters.
// Those are also written to a file, behind whoever asks, for the process that
// follows; the challenges are when the store is closed.
type memory struct {
	cache *cache.Cache[*record]
	wakes otp.Wakes

	// The file is opened when the store is first used, or a configuration
	// starts: who only looks whether one is sound leaves no file.
	dir     string           // of the file; "": there is none
	version uint64           // of the file's format; tests play a later release
	ring    otp.Digest       // stands for the keys of what is hashed; zero: unknown
	now     func() time.Time // for what has expired when the file is read
	log     func() *zap.Logger
	load    sync.Once // reads the file, before the first call
	file    *dbFile   // nil: there is none
	notes   notebook  // for it; guarded by mu
	// How pending challenges are written while Caddy stops; guarded by mu.
	keeper keeper

	latest atomic.Int64 // the latest instant that the store was told, since the clock went back

	// mu guards what follows. It may be held while a record's own mutex is
	// taken, never the other way round, and never while ristretto is awaited.
	mu       sync.Mutex
	capacity int
	users    []*Store // the configurations in use, the latest last
	live     expiries
	counters counters
	failures failureTable
	sent     fifo[tableKey, sentMessage]  // by message id, for delivery reports
	early    fifo[string, connexus.State] // reports that came before their sending was settled
	seen     fifo[otp.Digest, struct{}]   // webhook deliveries that were handled, and other firsts
	work     fifo[otp.Digest, string]     // webhook deliveries in work, and whose work it is
	tries    fifo[tableKey, otp.Window]   // of strangers, who cannot push out what else is counted
}

// sentMessage is what a message id stands for.
type sentMessage struct {
	challenge otp.ID
	at        instant
	sending   uint8
}

// messageKey stands for a message id: of two that are not alike, none meet by
// chance, and whoever could choose them knows the webhook's secret.
func messageKey(id string) tableKey { return keyOf(sha256.Sum256([]byte(id))) }

// Bounds of what the store keeps beside challenges. Past them the oldest are
// forgotten, which costs a late delivery report its page, or a very late
// repetition of a webhook its recognition, and nothing else.
const (
	maxEarly = 4096
	maxSeen  = 1 << 20
	maxWork  = 1 << 16
	maxTries = 1 << 16
)

// newMemory returns a store for capacity live challenges.
func newMemory(capacity int) (*memory, error) {
	cache, err := cache.New[*record](capacity)
	if err != nil {
		return nil, err
	}
	m := &memory{
		cache:    cache,
		now:      clock.Now,
		log:      currentLog,
		version:  formatVersion,
		capacity: capacity,
		sent:     fifo[tableKey, sentMessage]{max: 2*capacity + 1024},
		early:    fifo[string, connexus.State]{max: maxEarly},
		seen:     fifo[otp.Digest, struct{}]{max: maxSeen},
		work:     fifo[otp.Digest, string]{max: maxWork},
		tries:    fifo[tableKey, otp.Window]{max: maxTries},
	}
	m.setRows(newCounters(), newFailureTable())
	return m, nil
}

// setRows makes these what is counted, and notes what changes in them.
func (m *memory) setRows(c counters, f failureTable) {
	m.counters, m.failures = c, f
	m.counters.notes, m.failures.notes = &m.notes, &m.notes
	m.counters.removed = func(key tableKey) { m.notes.add(noteCounter, key, 0) }
	m.failures.removed = func(key tableKey) { m.notes.add(noteFailures, key, 0) }
}

// KeyedBy tells what stands for the keys of what is hashed, once: a file that
// is keyed by others is of no use.
func (m *memory) KeyedBy(ring otp.Digest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ring == (otp.Digest{}) {
		m.ring = ring
	}
}

// ready sees that what a process before this one has counted is there.
func (m *memory) ready() {
	m.load.Do(func() {
		m.openFile()
		m.mu.Lock()
		defer m.mu.Unlock()
		if len(m.live) > 0 {
			m.settleClocks(instantOf(m.now()))
		}
	})
}

// tick notices a clock that went back. What lives by the one that was ahead
// begins its life now: else it would live on until its time comes.
func (m *memory) tick(now time.Time) {
	if at := instantOf(now); !m.told(at) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.settleClocks(at)
	}
}

// tickLocked is tick for who holds mu. Who adds a challenge calls it, so that
// none is added by a clock that has gone back since.
func (m *memory) tickLocked(now time.Time) {
	if at := instantOf(now); !m.told(at) {
		m.settleClocks(at)
	}
}

// told notes what time it is, and reports whether that is no leap back.
func (m *memory) told(at instant) bool {
	for {
		latest := m.latest.Load()
		if at <= instant(latest) {
			return instant(latest)-at <= disorder
		}
		if m.latest.CompareAndSwap(latest, int64(at)) {
			return true
		}
	}
}

// settleClocks looks at all challenges. The caller holds mu.
func (m *memory) settleClocks(at instant) {
	for _, rec := range m.live {
		rec.settleClock(at)
	}
	heap.Init(&m.live)
	m.latest.Store(int64(at))
}

// Destruct closes the store, when the last engine that used it is gone.
func (m *memory) Destruct() error {
	m.load.Do(func() {}) // from now on no file is opened
	if m.file == nil {
		m.cache.Close()
		return nil
	}
	m.file.end() // first: what it takes over goes into the cache
	m.cache.Close()
	return m.file.close(m)
}

// setUsers changes which configurations use the store.
func (m *memory) setUsers(change func(users []*Store) []*Store) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.users = change(m.users); len(m.users) > 0 {
		m.setCapacity(m.users[len(m.users)-1].Capacity)
	}
}

// setCapacity changes how many live challenges are held. Those beyond a smaller
// capacity live on; new ones are refused until there is room. The caller holds mu.
func (m *memory) setCapacity(capacity int) {
	m.capacity = capacity
	m.sent.max = 2*capacity + 1024
	m.cache.Resize(max(capacity, len(m.live)))
}

// Capacity returns how many live challenges the store may hold.
func (m *memory) Capacity() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.capacity
}

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

// admit takes room and the sending, both or neither. It reports whether the
// room is former's.
func (m *memory) admit(r *otp.Reservation, rec, former *record) (heir bool, err error) {
	if err := m.lockFor(former); err != nil {
		return false, err
	}
	defer m.mu.Unlock()
	defer func() {
		if err != nil { // a refused ask leaves the former code good, also in the file
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
	if err := m.take(&r.Run, r.Counters, r.Now, nil); err != nil {
		return false, err
	}
	if heir {
		former.claimed = true
	}
	heap.Push(&m.live, rec)
	m.changedRecord(rec)
	return heir, nil
}

// take counts one sending, unless the run is locked or a limit reached; limit
// is one that refuses already, or nil. The caller holds mu.
func (m *memory) take(run *otp.Run, list []otp.Counter, now time.Time, limit *otp.LimitError) error {
	if lock := m.failures.locked(run, now); lock != nil {
		if lock.RetryAfter == 0 { // no wait ends it
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
	renewed, err := rec.renew(r, func(cooldown *otp.LimitError) error { return m.take(&r.Run, r.Counters, r.Now, cooldown) })
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
		return otp.Record{}, otp.ErrNoChallenge
	}
	if err := m.lockFor(rec); err != nil {
		return otp.Record{}, err
	}
	m.tickLocked(a.Now)
	after, err := rec.attempt(a, &m.failures)
	if err == nil {
		m.drop(rec)
	}
	m.changedRecord(rec)
	m.mu.Unlock()
	m.wakes.Wake(id)
	return after, err
}

// Unlock implements otp.Store.
func (m *memory) Unlock(_ context.Context, _ string, number otp.Digest) (bool, error) {
	m.ready()
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failures.unlock(number), nil
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

// Of implements otp.Store. It looks at all that are live, and keeps nobody
// waiting meanwhile.
func (m *memory) Of(_ context.Context, _ string, number otp.Digest, now time.Time) (list []otp.Record, err error) {
	m.ready()
	m.mu.Lock()
	m.tickLocked(now)
	tag := tagOf(number)
	live := slices.DeleteFunc(slices.Clone(m.live), func(rec *record) bool { return tag == 0 || rec.tag != tag })
	born := make(map[*record]instant, len(live)) // as it is while no clock is settled
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

// Watch implements otp.Store.
func (m *memory) Watch(id otp.ID) (<-chan struct{}, func()) { return m.wakes.Watch(id) }

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
	m.seen.remove(key) // a mark that is over, which a clock that goes back would revive
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

// Try implements otp.Store. The tries are not saved: they spare this process.
func (m *memory) Try(_ context.Context, _ string, c otp.Counter, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var need demand
	for _, r := range c.Rates {
		need.keep, need.longest = max(need.keep, r.Count), max(need.longest, r.Window)
	}
	tried, _ := m.tries.get(keyOf(c.Key), now)
	if wait := tried.Wait(c.Rates, now); wait > 0 { // longer than any window where the clock was ahead
		return &otp.LimitError{Limit: c.Limit, RetryAfter: min(wait, need.longest)}
	}
	tried.Add(now, need.keep)
	tried.Trim(now, need.longest)
	m.tries.put(keyOf(c.Key), tried, now, now.Add(need.longest))
	return nil
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

// end removes a challenge that was met or replaced.
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

// expire frees the room of challenges whose codes' lives are over, a few at a
// time: more than who asks needs, and so few that nobody waits for a flood to
// be cleared away. The caller holds mu.
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

// constantTimeEqual compares two digests in a time that tells nothing of them.
func constantTimeEqual(a, b *otp.Digest) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }
