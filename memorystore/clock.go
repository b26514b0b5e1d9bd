package memorystore

import (
	"container/heap"
	"time"
)

// tick handles a clock that went back. A challenge that was made while the clock was
// ahead begins its life now. Otherwise it would live until the clock reaches that time
// again.
func (m *memory) tick(now time.Time) {
	if at := instantOf(now); !m.told(at) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.settleClocks(at)
	}
}

// tickLocked is tick for a caller that holds mu. Each call that adds a
// challenge uses it, so that no challenge gets a time from before the clock went back.
func (m *memory) tickLocked(now time.Time) {
	if at := instantOf(now); !m.told(at) {
		m.settleClocks(at)
	}
}

// told notes the caller's time. It reports false if the clock went back by more
// than otp.Disorder.
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

// settleClocks shortens the life of every challenge with times in the future. The caller holds mu.
func (m *memory) settleClocks(at instant) {
	for _, rec := range m.live {
		rec.settleClock(at)
	}
	heap.Init(&m.live)
	m.latest.Store(int64(at))
}
