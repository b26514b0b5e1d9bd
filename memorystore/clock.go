package memorystore

import (
	"container/heap"
	"time"
)

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
