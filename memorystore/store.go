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

// memory is the otp.Store of one process. It finds challenges through ristretto. Beside
// ristretto is the data that must never be forgotten early: the counters, and a heap of
// the live challenges, which counts the room exactly. A goroutine writes the counters to
// a file for the next process. The challenges are written when Caddy stops.
type memory struct {
	cache *cache.Cache[*record]
	wakes otp.Wakes

	// The file is opened when the store is first used, or when a configuration
	// starts. So validating a configuration creates no file.
	dir     string           // of the file; "": there is none
	version uint64           // of the file's format; tests play a later release
	ring    otp.Digest       // stands for the keys of all hashes; zero: unknown
	now     func() time.Time // tells which rows of the file have expired
	log     func() *zap.Logger
	load    sync.Once // reads the file, before the first call
	file    *dbFile   // nil: there is none
	notes   notebook  // changes that the file does not have; guarded by mu
	// keeper writes pending challenges while Caddy stops; guarded by mu.
	keeper keeper

	latest atomic.Int64 // the latest instant that a caller gave, since the clock went back

	// mu guards the fields below. The order of locks is mu, then a record's
	// mutex. A caller that holds mu must not wait for ristretto.
	mu       sync.Mutex
	capacity int
	users    []*Store // the modules of running configurations, the latest last
	live     expiries
	counters counters
	failures failureTable
	sent     fifo[tableKey, sentMessage]  // by message id, for delivery reports
	early    fifo[string, connexus.State] // reports that came before their sending was settled
	seen     fifo[otp.Digest, struct{}]   // webhook deliveries that were handled, and other marks of First
	work     fifo[otp.Digest, string]     // webhook deliveries in work, with their holders
	met      fifo[otp.ID, metCode]        // challenges that were met in the last otp.ReuseTime
	tries    fifo[tableKey, otp.Window]   // tries of strangers, apart, so that they push out no counter
}

// Bounds of the data beside challenges. If one is reached, the oldest entry is
// forgotten. Then a late delivery report does not reach its page, or a very
// late repetition of a webhook event is not recognized. Nothing else is lost.
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
		met:      fifo[otp.ID, metCode]{max: capacity},
		tries:    fifo[tableKey, otp.Window]{max: maxTries},
	}
	m.setRows(newCounters(), newFailureTable())
	return m, nil
}

// setRows replaces the counters and the failures, and notes their changes from
// now on.
func (m *memory) setRows(c counters, f failureTable) {
	m.counters, m.failures = c, f
	m.counters.notes, m.failures.notes = &m.notes, &m.notes
	m.counters.removed = func(key tableKey) { m.notes.add(noteCounter, key, 0) }
	m.failures.removed = func(key tableKey) { m.notes.add(noteFailures, key, 0) }
}

// KeyedBy tells the store the key ring of its hashes. ring is a digest that identifies
// the key ring. Only the first call counts. The store sets a file aside if its hashes are
// of another key ring, because it could find nothing in it.
func (m *memory) KeyedBy(ring otp.Digest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ring == (otp.Digest{}) {
		m.ring = ring
	}
}

// ready reads the file before the first use of the store.
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

// Destruct closes the store. The pool calls it when the last engine that used
// the store is gone.
func (m *memory) Destruct() error {
	m.load.Do(func() {}) // from now on no file is opened
	if m.file == nil {
		m.cache.Close()
		return nil
	}
	m.file.end() // first, because the file's goroutine may be putting challenges into the cache
	m.cache.Close()
	return m.file.close(m)
}

// setUsers changes the list of configurations that use the store. The latest
// one decides the capacity.
func (m *memory) setUsers(change func(users []*Store) []*Store) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.users = change(m.users); len(m.users) > 0 {
		m.setCapacity(m.users[len(m.users)-1].Capacity)
	}
}

// setCapacity changes how many live challenges the store holds. Challenges
// beyond a smaller capacity live on, and new ones are refused until there is
// room. The caller holds mu.
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
