package memorystore

import (
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

// Watch implements otp.Store.
func (m *memory) Watch(id otp.ID) (<-chan struct{}, func()) { return m.wakes.Watch(id) }
