package memorystore

import (
	"slices"
	"time"

	"github.com/caddy-websms/websms/otp"
)

// mergeState puts in place what was read, a few rows at a time, so that nobody
// waits long.
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

// merge adds what another counter of the same key has counted.
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

// unionOf returns a window with the moments of two: one that both have is the
// same sending, as often as the one has it that has it more often.
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

// merge adds the wrong codes that another process has counted for a number.
func (t *failureTable) merge(key tableKey, other *numberFailures) {
	known := t.find(key)
	if known == nil {
		if t.room(1) {
			*t.insert(key) = *other
		}
		return
	}
	known.strangers.merge(&other.strangers)
	for device, s := range other.devices {
		if known.devices[device] == nil && len(known.devices) >= maxDevices {
			device = others
		}
		if known.devices == nil {
			known.devices = make(map[tableKey]*failures)
		}
		if known.devices[device] == nil {
			known.devices[device] = new(failures)
		}
		known.devices[device].merge(s)
	}
}

// merge makes a streak as strict as another one is too.
func (s *failures) merge(other *failures) {
	s.count, s.until = max(s.count, other.count), max(s.until, other.until)
	moments := slices.Concat(s.moments, other.moments)
	slices.Sort(moments)
	// Two wrong codes at one moment of one streak count once here, and the count
	// is what it was.
	moments = slices.Compact(moments)
	s.moments = moments[max(0, len(moments)-min(int(s.count), maxMoments)):]
}
