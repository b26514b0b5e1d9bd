package otp

import (
	"slices"
	"time"
)

// Window counts events in sliding windows of time, exactly: it keeps the
// moments of the latest events, eight bytes each, as many as a rate may ask
// for. The zero Window is empty. It is not safe for concurrent use.
type Window struct {
	moments []int64 // nanoseconds since 1970, ascending
}

// Wait returns how long after now one more event would be within every rate;
// 0: it is now.
func (w *Window) Wait(rates []Rate, now time.Time) time.Duration {
	var wait time.Duration
	for _, r := range rates {
		// The event that must have left the window is the Count-th from the end.
		i := len(w.moments) - r.Count
		if i < 0 {
			continue
		}
		free := time.Unix(0, w.moments[i]).Add(r.Window)
		wait = max(wait, free.Sub(now))
	}
	return wait
}

// Count returns how many of the events it keeps are less than window ago.
func (w *Window) Count(now time.Time, window time.Duration) int {
	since := now.Add(-window).UnixNano()
	i, _ := slices.BinarySearch(w.moments, since+1)
	return len(w.moments) - i
}

// Add counts an event at now. It keeps the latest events, as many as keep:
// the largest Count that the window will be asked with.
func (w *Window) Add(now time.Time, keep int) {
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

// Remove takes back one event counted at that moment, if it is still known.
func (w *Window) Remove(at time.Time) {
	if i, found := slices.BinarySearch(w.moments, at.UnixNano()); found {
		w.moments = slices.Delete(w.moments, i, i+1)
	}
}

// Idle reports whether every event counted is at least as long ago as longest.
func (w *Window) Idle(now time.Time, longest time.Duration) bool {
	n := len(w.moments)
	return n == 0 || !now.Before(time.Unix(0, w.moments[n-1]).Add(longest))
}
