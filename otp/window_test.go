package otp

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var noon = time.Date(2030, time.January, 2, 12, 0, 0, 123456789, time.UTC)

// naive is a Window that keeps all hits and always looks at all of them.
type naive []time.Time

// full reports whether a rate allows no hit at that moment.
func (n naive) full(rates []Rate, at time.Time) bool {
	for _, r := range rates {
		within := 0
		for _, hit := range n {
			if hit.After(at.Add(-r.Window)) {
				within++
			}
		}
		if within >= r.Count {
			return true
		}
	}
	return false
}

// wait tries now and each moment at which a hit leaves a window. A hit in the future
// counts as now.
func (n naive) wait(rates []Rate, now time.Time) time.Duration {
	n = slices.Clone(n)
	for i, hit := range n {
		if hit.After(now) {
			n[i] = now
		}
	}
	waits := []time.Duration{0}
	for _, r := range rates {
		for _, hit := range n {
			waits = append(waits, max(0, hit.Add(r.Window).Sub(now)))
		}
	}
	slices.Sort(waits)
	return waits[slices.IndexFunc(waits, func(wait time.Duration) bool { return !n.full(rates, now.Add(wait)) })]
}

var drawRates = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Rate {
	return Rate{
		Count:  rapid.IntRange(1, 6).Draw(t, "count"),
		Window: time.Duration(rapid.Int64Range(1, 20).Draw(t, "window")) * 100,
	}
}), 1, 3)

func keep(rates []Rate) (most int, longest time.Duration) {
	for _, r := range rates {
		most, longest = max(most, r.Count), max(longest, r.Window)
	}
	return most, longest
}

// A Window and a naive one give the same answers while hits are added and taken back.
func TestWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rates := drawRates.Draw(t, "rates")
		most, longest := keep(rates)
		var w Window
		var n naive
		now := noon
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				if got, want := w.Wait(rates, now), n.wait(rates, now); got != want {
					t.Fatalf("Wait %v, want %v", got, want)
				}
				recent := slices.ContainsFunc(n, func(at time.Time) bool { return now.Sub(at) < longest })
				if w.Idle(now, longest) == recent {
					t.Fatalf("Idle %v, with a hit within %v: %v", !recent, longest, recent)
				}
				if len(w.moments) > most {
					t.Fatalf("%d moments kept, %d are asked for", len(w.moments), most)
				}
			},
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 500).Draw(t, "for")))
			},
			"wait as told": func(t *rapid.T) {
				wait := w.Wait(rates, now)
				if wait == 0 {
					t.Skip("no wait")
				}
				if now = now.Add(wait - 1); w.Wait(rates, now) != 1 {
					t.Fatalf("Wait %v a nanosecond before it ends", w.Wait(rates, now))
				}
				now = now.Add(1)
			},
			"add": func(t *rapid.T) {
				if w.Wait(rates, now) > 0 {
					t.Skip("full")
				}
				w.Add(now, most)
				n = append(n, now)
			},
			"remove": func(t *rapid.T) {
				within := slices.DeleteFunc(slices.Clone(n), func(at time.Time) bool { return now.Sub(at) >= longest })
				if len(within) == 0 {
					t.Skip("nothing to take back")
				}
				at := rapid.SampledFrom(within).Draw(t, "hit")
				w.Remove(at)
				i := slices.IndexFunc(n, at.Equal)
				n = slices.Delete(n, i, i+1)
			},
			"remove what is not": func(t *rapid.T) {
				at := now.Add(-time.Duration(rapid.IntRange(1, 3000).Draw(t, "ago")))
				if !slices.ContainsFunc(n, at.Equal) {
					w.Remove(at)
				}
			},
		})
	})
}

// No period as long as a window holds more than the Count of its rate.
func TestWindowNeverExceeded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rates := drawRates.Draw(t, "rates")
		most, _ := keep(rates)
		var w Window
		var passed []time.Time
		now := noon
		for _, step := range rapid.SliceOfN(rapid.IntRange(0, 700), 1, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(step))
			if w.Wait(rates, now) == 0 {
				w.Add(now, most)
				passed = append(passed, now)
			}
		}
		for _, r := range rates {
			for i := r.Count; i < len(passed); i++ {
				if stretch := passed[i].Sub(passed[i-r.Count]); stretch < r.Window {
					t.Fatalf("%d hits within %v, the limit is %v", r.Count+1, stretch, r)
				}
			}
		}
	})
}

// Hits arrive in any order, as in a window that several gates and processors share.
func TestWindowClocksDisagree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rates := drawRates.Draw(t, "rates")
		most, _ := keep(rates)
		var w Window
		var n naive
		for _, step := range rapid.SliceOfN(rapid.IntRange(0, 3000), 1, 50).Draw(t, "moments") {
			at := noon.Add(time.Duration(step))
			w.Add(at, most)
			n = append(n, at)
			for _, now := range []time.Time{noon, at, noon.Add(3000)} {
				if got, want := w.Wait(rates, now), n.wait(rates, now); got != want {
					t.Fatalf("Wait %v, want %v", got, want)
				}
			}
		}
	})
}

// Count is exact for windows of any length, also at their edges, if clocks disagree,
// and while hits are taken back.
func TestWindowCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 12).Draw(t, "most")
		var w Window
		var kept naive // the latest hits, as many as Add keeps
		moment := rapid.Int64Range(0, 1000)
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			at := noon.Add(time.Duration(moment.Draw(t, "at")))
			if len(kept) > 0 && rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
				i := rapid.IntRange(0, len(kept)-1).Draw(t, "which")
				w.Remove(kept[i])
				kept = slices.Delete(kept, i, i+1)
			} else {
				w.Add(at, most)
				kept = append(kept, at)
				slices.SortFunc(kept, time.Time.Compare)
				kept = kept[max(0, len(kept)-most):]
			}
			for range 4 {
				window := time.Duration(rapid.Int64Range(1, 1000).Draw(t, "window"))
				now := noon.Add(time.Duration(moment.Draw(t, "now")))
				if len(kept) > 0 && rapid.Bool().Draw(t, "at an edge") {
					hit := rapid.SampledFrom(kept).Draw(t, "hit")
					now = hit.Add(window + time.Duration(rapid.IntRange(-1, 1).Draw(t, "off by")))
				}
				want := 0
				for _, hit := range kept {
					if now.Sub(hit) < window {
						want++
					}
				}
				if got := w.Count(now, window); got != want {
					t.Fatalf("Count %d within %v of %v, want %d", got, window, now.Sub(noon), want)
				}
			}
		}
	})
}

// The clock leaps in both directions. At any time, no wait is longer than the longest
// window, and a hit is allowed after the wait. While the clock does not leap ahead, no
// window holds more than its Count.
func TestWindowClockLeaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rates := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Rate {
			return Rate{
				Count:  rapid.IntRange(1, 4).Draw(t, "count"),
				Window: time.Duration(rapid.Int64Range(1, int64(72*time.Hour)).Draw(t, "window")),
			}
		}), 1, 3).Draw(t, "rates")
		most, longest := keep(rates)
		var w Window
		var passed []time.Duration // the moments of the hits, by a clock that does not leap
		var elapsed time.Duration
		now := noon
		add := func() {
			if w.Wait(rates, now) == 0 {
				w.Add(now, most)
				passed = append(passed, elapsed)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				wait := w.Wait(rates, now)
				if wait > longest {
					t.Fatalf("Wait %v, the longest window is %v", wait, longest)
				}
				later := Window{slices.Clone(w.moments)}
				if wait := later.Wait(rates, now.Add(longest+Disorder)); wait != 0 {
					t.Fatalf("Wait %v when all windows are over", wait)
				}
				if got := w.Count(now, longest); got > most {
					t.Fatalf("%d count, %d are kept", got, most)
				}
				for _, r := range rates {
					for i := r.Count; i < len(passed); i++ {
						if stretch := passed[i] - passed[i-r.Count]; stretch < r.Window-Disorder {
							t.Fatalf("%d hits within %v, the limit is %v", r.Count+1, stretch, r)
						}
					}
				}
			},
			"add": func(*rapid.T) { add() },
			"wait": func(t *rapid.T) {
				step := time.Duration(rapid.Int64Range(0, int64(longest)).Draw(t, "for"))
				now, elapsed = now.Add(step), elapsed+step
			},
			"wait as told": func(*rapid.T) {
				step := w.Wait(rates, now)
				now, elapsed = now.Add(step), elapsed+step
				if wait := w.Wait(rates, now); wait > Disorder {
					t.Fatalf("Wait %v after the wait", wait)
				}
			},
			"leap back": func(t *rapid.T) {
				now = now.Add(-time.Duration(rapid.Int64Range(0, int64(1000*time.Hour)).Draw(t, "by")))
			},
			"leap ahead": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.Int64Range(0, int64(1000*time.Hour)).Draw(t, "by")))
				passed = nil // more hits than allowed may pass: a leap cannot be told from time that has passed
			},
			"idle": func(t *rapid.T) {
				w.Settle(now)
				if later := now.Add(longest + Disorder); !w.Idle(later, longest) {
					t.Fatalf("not idle %v later", longest)
				}
			},
		})
	})
}

// Settle returns the moments that it has moved, so that a store can write them.
func TestWindowSettle(t *testing.T) {
	var w Window
	for _, at := range []time.Duration{-time.Hour, 0, Disorder, Disorder + 1, time.Hour, 720 * time.Hour} {
		w.moments = append(w.moments, noon.Add(at).UnixNano())
	}
	before := slices.Clone(w.moments)
	if moved := w.Settle(noon); !slices.Equal(moved, before[3:]) {
		t.Errorf("moved %v, want %v", moved, before[3:])
	}
	at := noon.UnixNano()
	if want := []int64{before[0], at, at, at, at, before[2]}; !slices.Equal(w.moments, want) {
		t.Errorf("%v, want %v", w.moments, want)
	}
	if moved := w.Settle(noon); moved != nil {
		t.Errorf("moved %v again", moved)
	}
}

func TestWindowRemoveOneOfMany(t *testing.T) {
	rates := []Rate{{Count: 3, Window: time.Hour}}
	var w Window
	for range 3 {
		w.Add(noon, 3)
	}
	w.Remove(noon)
	if got := w.Wait(rates, noon); got != 0 {
		t.Errorf("Wait %v after one of three was taken back", got)
	}
	w.Add(noon, 3)
	if got := w.Wait(rates, noon); got != time.Hour {
		t.Errorf("Wait %v, want an hour: one was taken back, not more", got)
	}
}

func BenchmarkWindow(b *testing.B) {
	rates := []Rate{{Count: 10, Window: 10 * time.Minute}, {Count: 500, Window: time.Hour}}
	var w Window
	now := noon
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Minute)
		if w.Wait(rates, now) == 0 {
			w.Add(now, 500)
		}
	}
}
