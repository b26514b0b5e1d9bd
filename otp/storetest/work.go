package storetest

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/internal/testlevel"
	"github.com/caddy-websms/websms/otp"
)

var workTests = []test{
	{"in work, then done", workDone},
	{"in work, then forgotten", workForgotten},
	{"a lease to the tick", leaseEnds},
	{"renewed", leaseRenewed},
	{"taken over", workTakenOver},
	{"done without a lease", doneWithoutLease},
	{"first and done are one", firstAndDone},
	{"one of a crowd", oneInWork},
	{"a clock that was ahead", marksAhead},
}

const lease = 10 * time.Second

// begin calls Begin for a holder and checks the answer. want is 0 if the holder gets the
// key, -1 if the key is done, and otherwise the rest of another holder's lease.
func (d *desk) begin(key otp.Digest, holder string, want time.Duration) {
	d.Helper()
	err := d.store.Begin(ctx, key, otp.Lease{Holder: holder, For: lease, Now: d.now})
	if got := progress(err); got != want {
		d.Fatalf("Begin of %s: %v, want %v", holder, err, want)
	}
}

const broken time.Duration = -2

// progress returns the answer of Begin in the form of begin.
func progress(err error) time.Duration {
	var work *otp.InWorkError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, otp.ErrDone):
		return -1
	case errors.As(err, &work) && work.RetryAfter > 0:
		return work.RetryAfter
	}
	return broken
}

func (d *desk) done(key otp.Digest, ttl time.Duration) {
	d.Helper()
	if err := d.store.Done(ctx, key, ttl, d.now); err != nil {
		d.Fatalf("Done: %v", err)
	}
}

func (d *desk) forget(key otp.Digest, holder string) {
	d.Helper()
	if err := d.store.Forget(ctx, key, holder); err != nil {
		d.Fatalf("Forget: %v", err)
	}
}

func workDone(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	key, other := wrong(1), wrong(2)
	d.begin(key, "a", 0)
	d.begin(key, "b", lease)
	d.begin(other, "b", 0)
	d.now = d.now.Add(time.Second)
	d.begin(key, "b", lease-time.Second)
	d.done(key, time.Hour)
	d.begin(key, "b", -1)
	d.begin(key, "a", -1)
	d.forget(key, "a") // ends no mark
	d.begin(key, "b", -1)
	d.begin(other, "a", lease-time.Second)
	done := d.now
	d.now = done.Add(time.Hour - tick)
	d.begin(key, "b", -1)
	d.now = done.Add(time.Hour)
	d.begin(key, "b", 0)
	d.begin(key, "a", lease)
}

func workForgotten(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	key := wrong(1)
	d.forget(key, "a") // it was never begun
	d.begin(key, "a", 0)
	d.forget(key, "b") // b does not have the key
	d.begin(key, "b", lease)
	d.forget(key, "a")
	d.forget(key, "a")
	d.begin(key, "b", 0)
	d.forget(key, "a") // a has lost the key
	d.begin(key, "a", lease)
	d.done(key, time.Minute)
	d.begin(key, "a", -1)
	d.forget(key, "") // as an operator, which ends a mark too
	d.begin(key, "a", 0)
	d.forget(key, "")
	d.begin(key, "b", 0)
}

func leaseEnds(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	key := wrong(1)
	d.begin(key, "a", 0)
	d.now = epoch.Add(lease - tick)
	d.begin(key, "b", tick)
	d.now = epoch.Add(lease)
	d.begin(key, "b", 0) // the process of the first holder has died
	d.begin(key, "a", lease)
}

func leaseRenewed(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	key := wrong(1)
	d.begin(key, "a", 0)
	for i := range 10 {
		d.now = epoch.Add(time.Duration(i) * (lease - tick))
		d.begin(key, "a", 0)
		d.begin(key, "b", lease)
	}
	d.now = d.now.Add(time.Hour) // the machine slept, and nobody else has begun
	d.begin(key, "a", 0)
	d.begin(key, "b", lease)
}

func workTakenOver(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	key := wrong(1)
	d.begin(key, "a", 0)
	d.now = d.now.Add(lease)
	d.begin(key, "b", 0)
	d.begin(key, "a", lease) // a cannot renew its lease
	d.forget(key, "a")       // nor end the lease of b
	d.begin(key, "c", lease)
	d.done(key, time.Hour) // yet work that a has finished is done
	d.begin(key, "c", -1)
	d.forget(key, "b") // even if b did not finish
	d.begin(key, "c", -1)
	d.now = d.now.Add(time.Minute)
	d.done(key, time.Hour) // b has finished too, later
	d.now = d.now.Add(time.Hour - tick)
	d.begin(key, "c", -1)
	d.now = d.now.Add(tick)
	d.begin(key, "c", 0)
}

func doneWithoutLease(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	key := wrong(1)
	d.done(key, time.Minute) // the store was away when it began
	d.begin(key, "a", -1)
	d.now = d.now.Add(time.Minute)
	d.begin(key, "a", 0)
}

func firstAndDone(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	key := wrong(1)
	d.first(key, time.Minute, true)
	d.begin(key, "a", -1)
	d.now = d.now.Add(time.Minute)
	d.begin(key, "a", 0)
	d.done(key, time.Minute)
	d.first(key, time.Minute, false)
	d.now = d.now.Add(time.Minute)
	d.first(key, time.Minute, true)
}

func oneInWork(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	for i := range testlevel.Size(15, 50) {
		var begun atomic.Int32
		crowd(64, func(n int) {
			switch got := progress(d.store.Begin(ctx, wrong(i), otp.Lease{Holder: string(rune('A' + n)), For: lease, Now: d.now})); got {
			case 0:
				begun.Add(1)
			case lease:
			default:
				t.Errorf("Begin: %v", got)
			}
		})
		if begun.Load() != 1 {
			t.Fatalf("%d of 64 have begun, want 1", begun.Load())
		}
	}
}

// The clock of a node was ahead. Its marks live from now on, for as long as any.
func marksAhead(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	first, done, work := wrong(1), wrong(2), wrong(3)
	d.now = epoch.Add(240 * time.Hour)
	d.first(first, time.Hour, true)
	d.done(done, time.Hour)
	d.begin(work, "a", 0)
	d.now = epoch
	d.first(first, time.Hour, false)
	d.begin(done, "b", -1)
	d.begin(work, "b", lease)
	d.now = epoch.Add(lease - tick)
	d.begin(work, "b", tick)
	d.now = epoch.Add(lease)
	d.begin(work, "b", 0)
	d.now = epoch.Add(time.Hour - tick)
	d.first(first, time.Hour, false)
	d.begin(done, "b", -1)
	d.now = epoch.Add(time.Hour)
	d.first(first, time.Hour, true)
	d.begin(done, "b", 0)
}

// leaping plays random marks under a clock that leaps in both directions. A mark from the
// future counts as made now, at the latest with the next call for its key. A store may
// forget a mark that was over at any time of any call.
func leaping(t *testing.T, open Open) {
	store := open(t, 10)
	serial := 0
	sequences(t, fewSequences, func(t *rapid.T) {
		serial++
		l := &markLeaper{d: &desk{reporter: t, store: store, now: epoch}, marks: map[int]*leapMark{}, serial: serial}
		t.Repeat(map[string]func(*rapid.T){
			"first": l.first, "begin": l.begin, "done": l.done, "forget": l.forget,
			"leap": func(t *rapid.T) {
				by := rapid.SampledFrom(leapsOfMarks).Draw(t, "by")
				if rapid.IntRange(0, 2).Draw(t, "back") == 0 {
					by = -by
				}
				l.d.now = l.d.now.Add(by)
				l.tell()
			},
		})
	})
}

// leapsOfMarks are how far the clock leaps at once.
var leapsOfMarks = []time.Duration{
	tick, time.Second, lease - tick, lease, time.Minute, time.Hour, 24 * time.Hour, 31 * 24 * time.Hour,
}

type markLeaper struct {
	d      *desk
	serial int
	marks  map[int]*leapMark
}

// leapMark is a mark that is done or in work.
type leapMark struct {
	holder  string // "": the key is done
	life    time.Duration
	made    time.Time // as in a store that corrects a mark only when its key is asked for
	soonest time.Time // as in a store that corrects all marks with each call
	lost    bool      // a store may have forgotten it
}

// tell corrects the marks of a store that looks at all of them with each call.
func (l *markLeaper) tell() {
	for _, m := range l.marks {
		if m.soonest.After(l.d.now) {
			m.soonest = l.d.now
		}
		if !l.d.now.Before(m.soonest.Add(m.life)) {
			m.lost = true
		}
	}
}

func (l *markLeaper) draw(t *rapid.T) (int, otp.Digest) {
	i := rapid.IntRange(0, 3).Draw(t, "key")
	return i, wrong(1000*l.serial + i)
}

// look returns the mark of a key, whether a store must know it, and whether it may.
func (l *markLeaper) look(i int) (m *leapMark, certain, possible bool) {
	if m = l.marks[i]; m == nil {
		return nil, false, false
	}
	if m.made.After(l.d.now) {
		m.made = l.d.now
	}
	live := l.d.now.Before(m.made.Add(m.life))
	return m, live && !m.lost, live
}

func (l *markLeaper) mark(i int, holder string, life time.Duration) {
	l.marks[i] = &leapMark{holder: holder, life: life, made: l.d.now, soonest: l.d.now}
	l.tell()
}

func (l *markLeaper) first(t *rapid.T) {
	i, key := l.draw(t)
	ttl := rapid.SampledFrom([]time.Duration{time.Second, time.Hour, 24 * time.Hour}).Draw(t, "ttl")
	m, certain, possible := l.look(i)
	done := m != nil && m.holder == ""
	got, err := l.d.store.First(ctx, key, ttl, l.d.now)
	if err != nil || got && certain && done || !got && !(possible && done) {
		t.Fatalf("First: %v, %v; done: certainly %v, perhaps %v", got, err, certain && done, possible && done)
	}
	if got {
		l.mark(i, "", ttl)
	}
}

func (l *markLeaper) begin(t *rapid.T) {
	i, key := l.draw(t)
	holder := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "holder")
	m, certain, possible := l.look(i)
	got := progress(l.d.store.Begin(ctx, key, otp.Lease{Holder: holder, For: lease, Now: l.d.now}))
	switch {
	case got == broken:
		t.Fatal("Begin fails")
	case got == 0:
		if certain && m.holder != holder {
			t.Fatalf("%s has begun a key that %q has", holder, m.holder)
		}
		l.mark(i, holder, lease)
	case got == -1:
		if !possible || m.holder != "" {
			t.Fatal("done, and it was not")
		}
	case !possible || m.holder == "" || m.holder == holder:
		t.Fatal("in work, and it is not")
	case got > m.made.Add(m.life).Sub(l.d.now):
		t.Fatalf("in work for another %v, want %v", got, m.made.Add(m.life).Sub(l.d.now))
	}
}

func (l *markLeaper) done(t *rapid.T) {
	i, key := l.draw(t)
	ttl := rapid.SampledFrom([]time.Duration{time.Second, time.Hour, 24 * time.Hour}).Draw(t, "ttl")
	if m := l.marks[i]; m != nil && m.holder == "" && l.d.now.Before(m.made.Add(m.life)) {
		t.Skip("done") // a store may choose which of two marks counts
	}
	if err := l.d.store.Done(ctx, key, ttl, l.d.now); err != nil {
		t.Fatal(err)
	}
	l.mark(i, "", ttl)
}

func (l *markLeaper) forget(t *rapid.T) {
	i, key := l.draw(t)
	holder := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "holder")
	if err := l.d.store.Forget(ctx, key, holder); err != nil {
		t.Fatal(err)
	}
	if m := l.marks[i]; m != nil && m.holder == holder {
		delete(l.marks, i)
	}
}
