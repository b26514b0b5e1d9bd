package storetest

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
)

// In these tests a clock was ahead and is then corrected.
var clockTests = []test{
	{"sendings", sendingsAhead},
	{"sendings, of some of them", sendingsHalfAhead},
	{"returned sendings", returnsAhead},
	{"a code's life", lifeAhead},
	{"a code's life, resent", resentAhead},
	{"room", roomAhead},
	{"a lock", lockAhead},
	{"a lock of before", lockBeforeLeap},
	{"a lock for good", lockedForGoodAhead},
	{"wrong codes", failuresAhead},
	{"a report", reportAhead},
	{"random leaps", randomLeaps},
}

// leaps are how far a clock was ahead. All of them are longer than otp.Skew, by which
// the clocks of nodes may differ.
var leaps = []time.Duration{otp.Skew + time.Minute, 24 * time.Hour, 720 * time.Hour, 20 * 365 * 24 * time.Hour}

// eachLeap calls do for each leap, with a desk that has its clock ahead and with a
// function that corrects the clock.
func eachLeap(t *testing.T, open Open, do func(d *desk, right func())) {
	t.Helper()
	for _, leap := range leaps {
		d := newDesk(t, open, 2)
		d.now = epoch.Add(leap)
		do(d, func() { d.now = d.now.Add(-leap) })
	}
}

func sendingsAhead(t *testing.T, open Open) {
	eachLeap(t, open, func(d *desk, right func()) {
		c := counter("budget", "b", otp.Rate{Count: 2, Window: time.Hour})
		d.mustMeet(d.reserve(c))
		d.mustMeet(d.reserve(c))
		right()
		begun := d.now
		for _, after := range []time.Duration{0, time.Minute, time.Hour - tick} {
			d.now = begun.Add(after)
			d.refused(d.store.Reserve(ctx, d.usual(c)), "budget", time.Hour-after)
			d.used(c, 2)
		}
		d.now = begun.Add(time.Hour)
		d.used(c, 0)
		d.mustMeet(d.reserve(c))
		d.used(c, 1)
	})
}

// sendingsHalfAhead: sendings from before the leap stop counting when their window is
// over. Sendings that are counted after the leap push no other out.
func sendingsHalfAhead(t *testing.T, open Open) {
	for _, leap := range leaps {
		d := newDesk(t, open, 2)
		c := counter("budget", "b", otp.Rate{Count: 4, Window: 24000 * time.Hour * 20})
		for range 2 {
			d.mustMeet(d.reserve(c))
			d.now = d.now.Add(leap)
			d.mustMeet(d.reserve(c))
			d.now = d.now.Add(-leap + time.Second)
		}
		d.used(c, 4)
		d.refused(d.store.Reserve(ctx, d.usual(c)), "budget", c.Rates[0].Window-2*time.Second)
		d.now = epoch.Add(c.Rates[0].Window)
		d.used(c, 3)
		d.mustMeet(d.reserve(c))
	}
}

func returnsAhead(t *testing.T, open Open) {
	eachLeap(t, open, func(d *desk, right func()) {
		c := counter("budget", "b", otp.Rate{Count: 1, Window: time.Hour})
		giveBack := func() {
			d.Helper()
			id := d.reserve(c)
			d.mustSettle(id, &otp.Settlement{Sending: 1, Status: otp.Failed, Taken: d.now, Now: d.now, Refused: true, Return: []otp.Counter{c}})
			r := d.usual()
			r.Replaces = id // frees its room
			d.mustReserve(r)
			d.mustMeet(r.ID)
		}
		giveBack()
		d.used(c, 0)
		right()
		giveBack() // the rate is used up, because the first return counts as now
		d.used(c, 1)
		d.now = d.now.Add(time.Hour)
		giveBack()
		d.used(c, 0)
	})
}

// wantLife checks how long a challenge lives, and when it may be sent again, exactly.
func (d *desk) wantLife(id otp.ID, life, pause time.Duration) {
	d.Helper()
	rec := d.mustGet(id)
	if rec.ExpiresAt.Sub(d.now) != life || rec.ResendAt.Sub(d.now) != pause {
		d.Fatalf("expires in %v, sent again in %v; want %v and %v", rec.ExpiresAt.Sub(d.now), rec.ResendAt.Sub(d.now), life, pause)
	}
}

func lifeAhead(t *testing.T, open Open) {
	eachLeap(t, open, func(d *desk, right func()) {
		a, b := d.reserve(), d.reserve()
		d.now = d.now.Add(time.Second)
		right()
		d.wantLife(a, ttl, cooldown)
		d.wantLife(b, ttl, cooldown)
		begun := d.now
		d.now = begun.Add(cooldown - tick)
		_, err := d.store.Resend(ctx, a, d.renewal())
		d.refused(err, "cooldown", tick)
		d.now = begun.Add(ttl - tick)
		d.wantLife(b, tick, cooldown-ttl+tick)
		d.mustMiss(a)
		d.mustMeet(b)
		d.now = begun.Add(ttl)
		d.every(a, otp.ErrExpired, otp.ErrNoChallenge)
	})
}

func resentAhead(t *testing.T, open Open) {
	for _, leap := range leaps {
		d := newDesk(t, open, 2)
		id := d.reserve()
		d.now = d.now.Add(cooldown)
		again := d.renewal()
		again.Now = d.now.Add(ttl - cooldown - tick) // the clock is ahead by the life of the code
		d.mustResend(id, again)
		d.now = d.now.Add(time.Second)
		if life := d.mustGet(id).ExpiresAt.Sub(epoch); life > otp.MaxLife {
			t.Errorf("lives for %v", life)
		}

		d = newDesk(t, open, 2)
		d.now = epoch.Add(leap)
		id = d.reserve()
		d.now = d.now.Add(cooldown)
		d.mustResend(id, d.renewal())
		d.now = epoch
		d.mustGet(id)
		rec := d.mustGet(id)
		if life := rec.ExpiresAt.Sub(d.now); life > otp.MaxLife {
			t.Errorf("lives for %v", life)
		}
		pause := rec.ResendAt.Sub(d.now)
		if pause > 2*cooldown {
			t.Errorf("may be sent again in %v, the cooldown is %v", pause, 2*cooldown)
		}
		d.now = d.now.Add(pause)
		d.mustResend(id, d.renewal())
		d.now = epoch.Add(otp.MaxLife)
		d.every(id, otp.ErrExpired, otp.ErrNoChallenge)
	}
}

// roomAhead: a store that was filled by a clock that was ahead has room again when
// those challenges are over.
func roomAhead(t *testing.T, open Open) {
	eachLeap(t, open, func(d *desk, right func()) {
		d.reserve()
		d.reserve()
		right()
		if n, err := d.store.Live(ctx, d.now); err != nil || n > 2 {
			t.Fatalf("Live: %d, %v", n, err)
		}
		var full *otp.UnavailableError
		if err := d.store.Reserve(ctx, d.usual()); errors.As(err, &full) && full.RetryAfter > ttl {
			t.Fatalf("retry after %v", full.RetryAfter)
		}
		d.now = d.now.Add(ttl)
		d.mustMeet(d.reserve())
		d.now = d.now.Add(2*time.Minute + otp.Skew) // a store may count by the minute
		if n, err := d.store.Live(ctx, d.now); err != nil || n != 0 {
			t.Fatalf("Live: %d, %v; want none", n, err)
		}
		d.mustMeet(d.reserve())
	})
}

func lockAhead(t *testing.T, open Open) {
	eachLeap(t, open, func(d *desk, right func()) {
		for _, device := range []string{"", "d"} {
			f := failuresOf("n"+device, device, strict)
			at := d.now
			d.fail(f, 2)
			d.failAndLock(f, "lockout", time.Minute)
			right()
			begun := d.now
			d.locked(f, "lockout", time.Minute)
			d.now = begun.Add(time.Minute - tick)
			d.locked(f, "lockout", tick)
			d.now = begun.Add(time.Minute)
			d.open(f)
			d.fail(f, 2)
			d.failAndLock(f, "lockout", time.Minute)
			d.now = at
		}
	})
}

// lockBeforeLeap: a clock that leaps ahead and back lifts no lock.
func lockBeforeLeap(t *testing.T, open Open) {
	for _, leap := range leaps {
		d := newDesk(t, open, 10)
		f := failuresOf("n", "", otp.Lockout{Count: 2, For: 24 * time.Hour, Max: 100})
		d.fail(f, 1)
		d.failAndLock(f, "lockout", 24*time.Hour)
		d.now = epoch.Add(leap)
		id := d.ready()
		if leap < 24*time.Hour {
			d.locked(f, "lockout", 24*time.Hour-leap)
		} else {
			d.miss(id, f)
		}
		d.now = epoch.Add(time.Hour)
		d.locked(f, "lockout", 23*time.Hour)
		d.now = epoch.Add(24 * time.Hour)
		d.open(f)
	}
}

func lockedForGoodAhead(t *testing.T, open Open) {
	eachLeap(t, open, func(d *desk, right func()) {
		f := failuresOf("n", "", otp.Lockout{Count: 2, For: time.Minute, Max: 3})
		d.fail(f, 1)
		d.failAndLock(f, "lockout", time.Minute)
		d.now = d.now.Add(time.Minute)
		d.failAndLock(f, "max_failures", 0)
		right()
		d.locked(f, "max_failures", 0)
		d.unlock(f, true)
		d.open(f)
	})
}

// failuresAhead: wrong codes count even if a clock was ahead when they came. The lock
// that the last of them causes is as long as any other.
func failuresAhead(t *testing.T, open Open) {
	eachLeap(t, open, func(d *desk, right func()) {
		f := failuresOf("n", "", strict)
		other := failuresOf("n", "", otp.Lockout{Count: 3, For: 2 * time.Minute, Max: 100})
		d.fail(f, 2)
		right()
		d.failAndLock(f, "lockout", time.Minute)
		d.locked(other, "lockout", 2*time.Minute)
		d.now = d.now.Add(2 * time.Minute)
		d.open(other)
	})
}

// reportAhead: the age of a sending is 0 if a clock was ahead when it was counted.
func reportAhead(t *testing.T, open Open) {
	eachLeap(t, open, func(d *desk, right func()) {
		id := d.reserve()
		d.mustSettle(id, &otp.Settlement{Sending: 1, MessageID: "ahead", Status: otp.Accepted, Taken: d.now, Now: d.now})
		right()
		age, moved, err := d.store.Report(ctx, "ahead", connexus.StateDelivered, d.now)
		if age != 0 || !moved || err != nil {
			t.Fatalf("Report: %v after the sending, moved %t, %v; want none, and that it moved", age, moved, err)
		}
	})
}

// leaper calls one store under a clock that leaps in both directions.
type leaper struct {
	d        *desk
	elapsed  time.Duration // by a clock that does not leap
	c        otp.Counter
	failures otp.Failures
	passed   []time.Duration // the sendings since the clock leapt ahead
	lock     time.Duration
	locked   bool
	id       otp.ID
	sendings int
}

const (
	lockedFor = 20 * time.Minute
	longest   = 2 * time.Hour
)

// randomLeaps plays random calls under a clock that leaps. No refusal lasts longer than
// it would without leaps. After that time everything is allowed again. While the clock
// does not leap ahead, no limit allows more than its count.
func randomLeaps(t *testing.T, open Open) {
	store := open(t, 100_000)
	serial := 0
	sequences(t, fewSequences, func(t *rapid.T) {
		serial++
		name := "leaps " + string(rune(serial))
		l := &leaper{
			d: &desk{reporter: t, store: store, now: epoch}, failures: failuresOf(name, "", otp.Lockout{Count: 3, For: lockedFor}),
			c: counter("budget", name, otp.Rate{Count: 3, Window: 10 * time.Minute}, otp.Rate{Count: 5, Window: longest}),
		}
		t.Repeat(map[string]func(*rapid.T){
			"reserve": l.reserve, "resend": l.resend, "miss": l.miss, "wait": l.wait, "get": l.get, "leap": l.leap,
		})
		l.reserve(t) // from now on, times in the future count as now
		l.pass(longest + otp.Skew)
		l.d.mustMeet(l.d.reserve(l.c))
		l.d.open(l.failures)
	})
}

func (l *leaper) pass(d time.Duration) { l.d.now, l.elapsed = l.d.now.Add(d), l.elapsed+d }

func (l *leaper) wait(t *rapid.T) {
	l.pass(time.Duration(rapid.Int64Range(0, int64(time.Hour/tick)).Draw(t, "for")) * tick)
}

func (l *leaper) leap(t *rapid.T) {
	by := time.Duration(rapid.Int64Range(-int64(2000*time.Hour/tick), int64(2000*time.Hour/tick)).Draw(t, "by")) * tick
	if l.d.now = l.d.now.Add(by); by > 0 {
		l.passed, l.locked = nil, false
	}
}

// bounded checks that a refusal is no longer than it may be, and that a lock refuses.
func (l *leaper) bounded(t *rapid.T, err error, cooldown time.Duration) {
	if l.locked && l.elapsed-l.lock < lockedFor && !errors.As(err, new(*otp.LimitError)) && !oneOf(err, gone) {
		t.Fatalf("%v after a lock: %v", l.elapsed-l.lock, err)
	}
	var limit *otp.LimitError
	if errors.As(err, &limit) {
		most := map[string]time.Duration{"budget": longest, "lockout": lockedFor + otp.Skew, "cooldown": cooldown + otp.Skew}[limit.Limit]
		if limit.RetryAfter <= 0 || limit.RetryAfter > most {
			t.Fatalf("limit %s: retry after %v, want %v at most", limit.Limit, limit.RetryAfter, most)
		}
	}
}

func (l *leaper) sent(t *rapid.T) {
	l.passed = append(l.passed, l.elapsed)
	for _, r := range l.c.Rates {
		for i := r.Count; i < len(l.passed); i++ {
			if stretch := l.passed[i] - l.passed[i-r.Count]; stretch < r.Window {
				t.Fatalf("%d sendings within %v, the limit is %v", r.Count+1, stretch, r)
			}
		}
	}
}

func (l *leaper) reserve(t *rapid.T) {
	r := l.d.usual(l.c)
	r.Failures = l.failures
	err := l.d.store.Reserve(ctx, r)
	if l.bounded(t, err, 0); err == nil {
		l.sent(t)
		l.id, l.sendings = r.ID, 1
	}
}

func (l *leaper) resend(t *rapid.T) {
	r := l.d.renewal(l.c)
	r.Failures = l.failures
	_, err := l.d.store.Resend(ctx, l.id, r)
	if l.bounded(t, err, cooldown<<max(0, l.sendings-1)); err == nil {
		l.sent(t)
		l.sendings++
	}
}

func (l *leaper) miss(t *rapid.T) {
	_, err := l.d.answer(l.id, wrong(0), l.failures)
	l.bounded(t, err, 0)
	if errors.Is(err, otp.ErrWrongCode) && errors.As(err, new(*otp.LimitError)) {
		l.lock, l.locked = l.elapsed, true
	}
}

func (l *leaper) get(t *rapid.T) {
	rec, err := l.d.store.Get(ctx, scope, l.id, l.d.now)
	if err != nil {
		return
	}
	if life := rec.ExpiresAt.Sub(l.d.now); life > otp.MaxLife+otp.Skew {
		t.Fatalf("lives for %v", life)
	}
	if pause := rec.ResendAt.Sub(l.d.now); pause > cooldown<<max(0, l.sendings-1)+otp.Skew {
		t.Fatalf("may be sent again in %v, after %d sendings", pause, l.sendings)
	}
}
