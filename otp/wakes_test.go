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
	w.Wake(a) // again, without effect
	again, stopAgain := w.Watch(a)
	stopFirst() // has stopped already, and leaves the others alone
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

// Watchers stop at the front, in the middle and at the end of the list. The others
// are woken.
func TestWakesOrder(t *testing.T) {
	for leaving := range 8 { // one bit for each of three watchers
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

// Many watchers wait until a shared number has its last value. A watcher that calls
// Watch before it reads the number misses no change, and no watcher is left.
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
