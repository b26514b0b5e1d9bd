package storetest

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
)

// A clock was ahead, and is put right.
var clockTests = []test{
	{"sendings", sendingsAhead},
	{"sendings, of some of them", sendingsHalfAhead},
	{"what was given back", returnsAhead},
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

// leaps are how far a clock was ahead: farther than those of nodes may differ.
var leaps = []time.Duration{otp.Skew + time.Minute, 24 * time.Hour, 720 * time.Hour, 20 * 365 * 24 * time.Hour}

// eachLeap calls do with a desk whose clock is ahead, and what puts it right.
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

// sendingsHalfAhead: those of before the leap go when their time is over, and
// none that is counted after it pushes another out.
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
			r.Replaces = id // for its room
			d.mustReserve(r)
			d.mustMeet(r.ID)
		}
		giveBack()
		d.used(c, 0)
		right()
		giveBack() // no more than the rate: the former counts as now
		d.used(c, 1)
		d.now = d.now.Add(time.Hour)
		giveBack()
		d.used(c, 0)
	})
}

// wantLife checks that a challenge lives for so long, to the tick.
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
		again.Now = d.now.Add(ttl - cooldown - tick) // the clock is ahead by as much as the code lives
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

// roomAhead: what a clock that was ahead has filled has room again when those
// lives are over.
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
			run := runOf("n"+device, device, strict)
			at := d.now
			d.fail(run, 2)
			d.failAndLock(run, "lockout", time.Minute)
			right()
			begun := d.now
			d.locked(run, "lockout", time.Minute)
			d.now = begun.Add(time.Minute - tick)
			d.locked(run, "lockout", tick)
			d.now = begun.Add(time.Minute)
			d.open(run)
			d.fail(run, 2)
			d.failAndLock(run, "lockout", time.Minute)
			d.now = at
		}
	})
}

// lockBeforeLeap: a leap and its way back lift no lock.
func lockBeforeLeap(t *testing.T, open Open) {
	for _, leap := range leaps {
		d := newDesk(t, open, 10)
		run := runOf("n", "", otp.Lockout{Count: 2, For: 24 * time.Hour, Max: 100})
		d.fail(run, 1)
		d.failAndLock(run, "lockout", 24*time.Hour)
		d.now = epoch.Add(leap)
		id := d.ready()
		if leap < 24*time.Hour {
			d.locked(run, "lockout", 24*time.Hour-leap)
		} else {
			d.miss(id, run)
		}
		d.now = epoch.Add(time.Hour)
		d.locked(run, "lockout", 23*time.Hour)
		d.now = epoch.Add(24 * time.Hour)
		d.open(run)
	}
}

func lockedForGoodAhead(t *testing.T, open Open) {
	eachLeap(t, open, func(d *desk, right func()) {
		run := runOf("n", "", otp.Lockout{Count: 2, For: time.Minute, Max: 3})
		d.fail(run, 1)
		d.failAndLock(run, "lockout", time.Minute)
		d.now = d.now.Add(time.Minute)
		d.failAndLock(run, "max_failures", 0)
		right()
		d.locked(run, "max_failures", 0)
		d.unlock(run, true)
		d.open(run)
	})
}

// failuresAhead: wrong codes count that a clock which was ahead has seen, and
// the lock that the last of them brings about is as long as any.
func failuresAhead(t *testing.T, open Open) {
	eachLeap(t, open, func(d *desk, right func()) {
		run := runOf("n", "", strict)
		other := runOf("n", "", otp.Lockout{Count: 3, For: 2 * time.Minute, Max: 100})
		d.fail(run, 2)
		right()
		d.failAndLock(run, "lockout", time.Minute)
		d.locked(other, "lockout", 2*time.Minute)
		d.now = d.now.Add(2 * time.Minute)
		d.open(other)
	})
}

// reportAhead: no sending was in the future.
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

// leaper asks one store, by a clock that leaps both ways.
type leaper struct {
	d        *desk
	elapsed  time.Duration // by a clock that does not leap
	c        otp.Counter
	run      otp.Failures
	passed   []time.Duration // sendings, and the latest lock's begin, since the clock leapt ahead
	lock     time.Duration
	locked   bool
	id       otp.ID
	sendings int
}

const (
	lockedFor = 20 * time.Minute
	longest   = 2 * time.Hour
)

// randomLeaps: whatever the clock did, no refusal is for longer than it would
// be without, all is well when that time is over, and while the clock does not
// leap ahead no limit lets through more than it should.
func randomLeaps(t *testing.T, open Open) {
	store := open(t, 100_000)
	serial := 0
	sequences(t, fewSequences, func(t *rapid.T) {
		serial++
		name := "leaps " + string(rune(serial))
		l := &leaper{
			d: &desk{reporter: t, store: store, now: epoch}, run: runOf(name, "", otp.Lockout{Count: 3, For: lockedFor}),
			c: counter("budget", name, otp.Rate{Count: 3, Window: 10 * time.Minute}, otp.Rate{Count: 5, Window: longest}),
		}
		t.Repeat(map[string]func(*rapid.T){
			"reserve": l.reserve, "resend": l.resend, "miss": l.miss, "wait": l.wait, "get": l.get, "leap": l.leap,
		})
		l.reserve(t) // from now on, what is in the future counts as now
		l.pass(longest + otp.Skew)
		l.d.mustMeet(l.d.reserve(l.c))
		l.d.open(l.run)
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

// bounded checks a refusal, and that there was none that should have been.
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
	r.Failures = l.run
	err := l.d.store.Reserve(ctx, r)
	if l.bounded(t, err, 0); err == nil {
		l.sent(t)
		l.id, l.sendings = r.ID, 1
	}
}

func (l *leaper) resend(t *rapid.T) {
	r := l.d.renewal(l.c)
	r.Failures = l.run
	_, err := l.d.store.Resend(ctx, l.id, r)
	if l.bounded(t, err, cooldown<<max(0, l.sendings-1)); err == nil {
		l.sent(t)
		l.sendings++
	}
}

func (l *leaper) miss(t *rapid.T) {
	_, err := l.d.answer(l.id, wrong(0), l.run)
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
