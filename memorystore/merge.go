package memorystore

import (
	"slices"
	"time"

	"github.com/caddy-websms/websms/otp"
)

// mergeState merges the rows that were read into the store, a few at a time, so
// that no call waits long.
func (m *memory) mergeState(state *fileState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rows := 0
	pause := func() {
		if rows++; rows%notesAtOnce == 0 {
			m.mu.Unlock()
			m.mu.Lock()
		}
	}
	for key, place := range state.counters.places {
		m.counters.merge(key, &state.counters.at(int(place)).value)
		pause()
	}
	for key, place := range state.failures.places {
		m.failures.merge(key, &state.failures.at(int(place)).value)
		pause()
	}
	for pending := range slices.Chunk(state.pending, 1) {
		m.restore(&fileState{pending: pending})
		pause()
	}
	m.restore(&fileState{saved: state.saved})
}

// merge adds the sendings that another process has counted under the same key.
func (c *counters) merge(key tableKey, other *counter) {
	known := c.find(key)
	if known == nil {
		if c.room(1) {
			*c.insert(key) = counter{window: other.window, returns: other.returns, demand: c.shared(*other.demand)}
		}
		return
	}
	known.demand = c.shared(demand{
		keep: max(known.demand.keep, other.demand.keep), longest: max(known.demand.longest, other.demand.longest),
	})
	known.window = unionOf(&known.window, &other.window, known.demand.keep)
	if other.returns != nil {
		returns := unionOf(known.windowOf(noteReturn), other.returns, known.demand.keep)
		known.returns = &returns
	}
}

// unionOf returns a window with the moments of two. A moment that both have is
// the same sending. If it occurs several times, the larger of both numbers
// counts.
func unionOf(a, b *otp.Window, keep int) (union otp.Window) {
	i, j := countAll(a), countAll(b)
	for i > 0 || j > 0 {
		var at int64
		switch {
		case j == 0:
			at = momentAt(a, i)
		case i == 0:
			at = momentAt(b, j)
		default:
			at = min(momentAt(a, i), momentAt(b, j))
		}
		if i > 0 && momentAt(a, i) == at {
			i--
			if j > 0 && momentAt(b, j) == at {
				j--
			}
		} else {
			j--
		}
		union.Add(time.Unix(0, at), keep)
	}
	return union
}

// merge adds the failures that another process has counted for a number.
func (t *failureTable) merge(key tableKey, other *numberFailures) {
	known := t.find(key)
	if known == nil {
		if t.room(1) {
			*t.insert(key) = *other
		}
		return
	}
	known.strangers.merge(&other.strangers)
	for device, f := range other.devices {
		if known.devices[device] == nil && len(known.devices) >= maxDevices {
			device = others
		}
		if known.devices == nil {
			known.devices = make(map[tableKey]*failures)
		}
		if known.devices[device] == nil {
			known.devices[device] = new(failures)
		}
		known.devices[device].merge(f)
	}
}

// merge makes failures at least as strict as other.
func (f *failures) merge(other *failures) {
	f.count, f.until = max(f.count, other.count), max(f.until, other.until)
	moments := slices.Concat(f.moments, other.moments)
	slices.Sort(moments)
	// Compact makes two failures at the same moment one moment. The count stays.
	moments = slices.Compact(moments)
	f.moments = moments[max(0, len(moments)-min(int(f.count), maxMoments)):]
}
