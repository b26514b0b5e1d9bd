package otp

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-websms/websms/session"
)

func woken(changed <-chan struct{}) bool {
	select {
	case <-changed:
		return true
	default:
		return false
	}
}

func TestWakes(t *testing.T) {
	var w Wakes
	a, b := session.NewID(), session.NewID()
	w.Wake(a) // nobody watches
	first, stopFirst := w.Watch(a)
	second, stopSecond := w.Watch(a)
	other, stopOther := w.Watch(b)
	stopSecond()
	w.Wake(a)
	if !woken(first) || woken(second) || woken(other) {
		t.Errorf("woken: watcher %v, who left %v, of another %v; want only the first", woken(first), woken(second), woken(other))
	}
	w.Wake(a) // once is enough
	again, stopAgain := w.Watch(a)
	stopFirst() // is over, and stops nobody else
	w.Wake(a)
	if !woken(again) {
		t.Error("not woken the second time")
	}
	stopAgain()
	stopOther()
	stopOther()
	if len(w.watchers) != 0 {
		t.Errorf("%d challenges are watched by nobody", len(w.watchers))
	}
}

// TestWakesOrder stops watchers from the front, the middle and the end: the
// others are woken all the same.
func TestWakesOrder(t *testing.T) {
	for leaving := range 8 { // a bit for each of three
		var w Wakes
		id := session.NewID()
		var watchers [3]<-chan struct{}
		var stops [3]func()
		for i := range watchers {
			watchers[i], stops[i] = w.Watch(id)
		}
		for i, stop := range stops {
			if leaving>>i&1 == 1 {
				stop()
			}
		}
		w.Wake(id)
		for i, changed := range watchers {
			if left := leaving>>i&1 == 1; woken(changed) == left {
				t.Errorf("of three, leaving %03b: watcher %d woken %v", leaving, i, !left)
			}
		}
		if len(w.watchers) != 0 {
			t.Errorf("leaving %03b: somebody is left", leaving)
		}
	}
}

// TestWakesCrowd has watchers count to a number that others count up: who
// watches first and looks then misses none, and nobody is left.
func TestWakesCrowd(t *testing.T) {
	const end = 1000
	var w Wakes
	var count atomic.Int64
	var crowd sync.WaitGroup
	id := session.NewID()
	for range 32 {
		crowd.Go(func() {
			for {
				changed, stop := w.Watch(id)
				if count.Load() == end {
					stop()
					return
				}
				<-changed
				stop()
			}
		})
	}
	for range 4 {
		crowd.Go(func() {
			for range end / 4 {
				count.Add(1)
				w.Wake(id)
			}
		})
	}
	crowd.Wait()
	if len(w.watchers) != 0 {
		t.Errorf("%d challenges are watched by nobody", len(w.watchers))
	}
}
