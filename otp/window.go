package otp

import (
	"slices"
	"time"
)

// Window counts events in sliding windows of time, exactly: it keeps the
// moments of the latest events, eight bytes each, as many as a rate may ask
// for. The zero Window is empty. It is not safe for concurrent use.
//
// The clock may leap, both ways. An event in the future counts as now: no wait
// is longer than the window of a rate.
type Window struct {
	moments []int64 // nanoseconds since 1970, ascending
}

// Disorder is how far in the future an event may be although all callers use one
// clock: they read the clock and then arrive in another order. If an event is
// farther in the future, the clock was ahead when it was counted.
const Disorder = time.Second

// Settle moves events that are more than Disorder in the future to now. It
// returns the moments that they had before, ascending. Wait and Add call it.
func (w *Window) Settle(now time.Time) (moved []int64) {
	bound := now.Add(Disorder).UnixNano()
	if n := len(w.moments); n == 0 || w.moments[n-1] <= bound {
		return nil
	}
	i, _ := slices.BinarySearch(w.moments, bound+1)
	moved = slices.Clone(w.moments[i:])
	for ; i < len(w.moments); i++ {
		w.moments[i] = now.UnixNano()
	}
	slices.Sort(w.moments) // some may be in the future by less
	return moved
}

// Latest returns the moment of the i-th event from the end, from 1.
func (w *Window) Latest(i int) time.Time { return time.Unix(0, w.moments[len(w.moments)-i]) }

// Wait returns how long after now one more event would be within every rate. It
// returns 0 if an event is allowed now.
func (w *Window) Wait(rates []Rate, now time.Time) time.Duration {
	w.Settle(now)
	var wait time.Duration
	for _, r := range rates {
		// The event that must have left the window is the Count-th from the end.
		i := len(w.moments) - r.Count
		if i < 0 {
			continue
		}
		free := time.Unix(0, min(w.moments[i], now.UnixNano())).Add(r.Window)
		wait = max(wait, free.Sub(now))
	}
	return wait
}

// Count returns how many of the kept events are less than window ago, or in the
// future.
func (w *Window) Count(now time.Time, window time.Duration) int {
	since := now.Add(-window).UnixNano()
	i, _ := slices.BinarySearch(w.moments, since+1)
	return len(w.moments) - i
}

// Add counts an event at now. It keeps the latest events, as many as keep:
// the largest Count that the window will be asked with.
func (w *Window) Add(now time.Time, keep int) {
	w.Settle(now) // else those in the future stay, and this one is the oldest
	at := now.UnixNano()
	i, _ := slices.BinarySearch(w.moments, at) // the end, but for clocks that disagree
	w.moments = slices.Insert(w.moments, i, at)
	if extra := len(w.moments) - keep; extra > 0 {
		w.moments = w.moments[extra:]
	}
}

// Trim forgets what is at least longest ago: no rate asks for it.
func (w *Window) Trim(now time.Time, longest time.Duration) {
	i, _ := slices.BinarySearch(w.moments, now.Add(-longest).UnixNano()+1)
	w.moments = w.moments[i:] // not moved: a budget may hold millions
}

// Remove takes back one event that was counted at that moment. It reports whether
// it found the event: Settle may have moved it, or the window has dropped it.
func (w *Window) Remove(at time.Time) bool {
	i, found := slices.BinarySearch(w.moments, at.UnixNano())
	if found {
		w.moments = slices.Delete(w.moments, i, i+1)
	}
	return found
}

// Idle reports whether every event counted is at least as long ago as longest.
// Call Settle first: otherwise an event in the future keeps the window from being
// idle for too long.
func (w *Window) Idle(now time.Time, longest time.Duration) bool {
	n := len(w.moments)
	return n == 0 || !now.Before(time.Unix(0, w.moments[n-1]).Add(longest))
}
