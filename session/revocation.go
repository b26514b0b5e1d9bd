package session

import (
	"sync"
	"sync/atomic"
	"time"
)

// Revocations remembers, in memory, which sessions were ended before their
// time. Looking one up takes no lock. Each is kept until its session would
// have ended by itself.
type Revocations struct {
	until sync.Map // ID → time.Time
	count atomic.Int64
}

// Add ends the session id; until is when it would have ended by itself.
func (r *Revocations) Add(id ID, until time.Time) {
	if _, known := r.until.Swap(id, until); !known {
		r.count.Add(1)
	}
}

// Has reports whether the session id was ended.
func (r *Revocations) Has(id ID) bool {
	if r.count.Load() == 0 {
		return false
	}
	_, revoked := r.until.Load(id)
	return revoked
}

// Sweep forgets the revocations of sessions that have ended by now, and
// returns them.
func (r *Revocations) Sweep(now time.Time) map[ID]time.Time {
	gone := make(map[ID]time.Time)
	r.until.Range(func(key, until any) bool {
		if !now.Before(until.(time.Time)) {
			id := key.(ID)
			if _, known := r.until.LoadAndDelete(id); known {
				r.count.Add(-1)
				gone[id] = until.(time.Time)
			}
		}
		return true
	})
	return gone
}
