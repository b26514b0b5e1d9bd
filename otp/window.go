package otp

import (
	"slices"
	"time"
)

// Window counts hits (sendings, tries or failures) in sliding windows of time. It
// counts exactly: it keeps the moment of each of the latest hits, eight bytes each.
// The zero Window is empty. It is not safe for concurrent use.
//
// The clock may leap in both directions. A hit in the future counts as now, so no
// wait is longer than the window of a rate.
type Window struct {
	moments []int64 // nanoseconds since 1970, ascending
}

// Disorder is how far in the future a hit may be if all callers use one clock. They
// read the clock and then arrive in another order. If a hit is farther in the future,
// the clock was ahead when it was counted.
const Disorder = time.Second

// Settle moves hits that are more than Disorder in the future to now. It returns the
// moments that they had before, ascending. Wait and Add call it.
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

// Latest returns the moment of the i-th hit from the end, counted from 1.
func (w *Window) Latest(i int) time.Time { return time.Unix(0, w.moments[len(w.moments)-i]) }

// Wait returns how long after now one more hit is within every rate. It returns 0 if
// a hit is allowed now.
func (w *Window) Wait(rates []Rate, now time.Time) time.Duration {
	w.Settle(now)
	var wait time.Duration
	for _, r := range rates {
		// The hit that must have left the window is the Count-th from the end.
		i := len(w.moments) - r.Count
		if i < 0 {
			continue
		}
		free := time.Unix(0, min(w.moments[i], now.UnixNano())).Add(r.Window)
		wait = max(wait, free.Sub(now))
	}
	return wait
}

// Count returns how many of the kept hits are less than window ago, or in the
// future.
func (w *Window) Count(now time.Time, window time.Duration) int {
	since := now.Add(-window).UnixNano()
	i, _ := slices.BinarySearch(w.moments, since+1)
	return len(w.moments) - i
}

// Add counts a hit at now. It keeps the latest keep hits: pass the largest Count of
// the rates.
func (w *Window) Add(now time.Time, keep int) {
	w.Settle(now) // otherwise hits in the future stay, and this one is dropped as the oldest
	w.Insert(now, keep)
}

// Insert counts a hit at an earlier moment. Call Settle first.
func (w *Window) Insert(moment time.Time, keep int) {
	at := moment.UnixNano()
	i, _ := slices.BinarySearch(w.moments, at) // the end, unless clocks disagree
	w.moments = slices.Insert(w.moments, i, at)
	if extra := len(w.moments) - keep; extra > 0 {
		w.moments = w.moments[extra:]
	}
}

// Trim drops hits that are at least longest ago: pass the longest Window of the
// rates.
func (w *Window) Trim(now time.Time, longest time.Duration) {
	i, _ := slices.BinarySearch(w.moments, now.Add(-longest).UnixNano()+1)
	w.moments = w.moments[i:] // not copied: a budget may hold millions
}

// Remove takes back one hit that was counted at that moment. It reports whether it
// found the hit: Settle may have moved it, or Add may have dropped it.
func (w *Window) Remove(at time.Time) bool {
	i, found := slices.BinarySearch(w.moments, at.UnixNano())
	if found {
		w.moments = slices.Delete(w.moments, i, i+1)
	}
	return found
}

// Idle reports whether all hits are at least longest ago. Call Settle first:
// otherwise a hit in the future keeps the window from being idle for too long.
func (w *Window) Idle(now time.Time, longest time.Duration) bool {
	n := len(w.moments)
	return n == 0 || !now.Before(time.Unix(0, w.moments[n-1]).Add(longest))
}
