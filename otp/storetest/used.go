package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/caddy-websms/websms/otp"
)

var usedTests = []test{
	{"to the nanosecond", usedExactly},
	{"after a return", usedAfterReturn},
	{"nothing", usedNothing},
	{"by another gate", usedByAnother},
	{"cleared", usedCleared},
	{"cleared, while a sending is under way", clearedInFlight},
	{"cleared, by a clock that was ahead", clearedAhead},
}

// used checks the answer of Used for each rate of a counter.
func (d *desk) used(c otp.Counter, want ...int) {
	d.Helper()
	got, err := d.store.Used(ctx, scope, c, d.now)
	if err != nil || !slices.Equal(got, want) {
		d.Fatalf("Used: %d, %v; want %d of %v", got, err, want, c.Rates)
	}
}

// usedExactly checks that each of four sendings leaves each of two windows exactly.
func usedExactly(t *testing.T, open Open) {
	d := newDesk(t, open, 100)
	const short, long = time.Minute, time.Hour
	c := counter("budget", "b", otp.Rate{Count: 10, Window: short}, otp.Rate{Count: 100, Window: long})
	var taken []time.Time
	for i, step := range []time.Duration{0, 0, tick, 40*time.Second + 3*tick} {
		d.now = d.now.Add(step)
		d.reserve(c)
		taken = append(taken, d.now)
		d.used(c, i+1, i+1)
	}
	check := func(at time.Time) {
		t.Helper()
		d.now = at
		var want [2]int
		for i, window := range []time.Duration{short, long} {
			for _, moment := range taken {
				if d.now.Sub(moment) < window {
					want[i]++
				}
			}
		}
		d.used(c, want[:]...)
	}
	for _, window := range []time.Duration{short, long} {
		for _, moment := range taken {
			for _, off := range []time.Duration{-tick, 0, tick} {
				check(moment.Add(window + off))
			}
		}
	}
	d.used(c, 0, 0)
}

// usedAfterReturn: a resend counts like any sending. Only sendings that were given back do
// not count.
func usedAfterReturn(t *testing.T, open Open) {
	d := newDesk(t, open, 100)
	c := counter("budget", "b", otp.Rate{Count: 5, Window: time.Hour})
	refused := func(id otp.ID, sending int, taken time.Time) {
		t.Helper()
		d.mustSettle(id, &otp.Settlement{
			Sending: sending, Status: otp.Failed, Taken: taken, Now: d.now, Refused: true, Return: []otp.Counter{c},
		})
	}
	id := d.reserve(c)
	d.now = epoch.Add(cooldown)
	d.mustResend(id, d.renewal(c))
	d.used(c, 2)
	refused(id, 2, d.now)
	d.used(c, 1)
	d.mustMeet(id)
	d.used(c, 1)
	answered := d.reserve(c)
	d.mustMiss(answered)
	refused(answered, 1, d.now)
	d.used(c, 2)
	for range 3 {
		d.reserve(c)
	}
	d.refused(d.store.Reserve(ctx, d.usual(c)), "budget", time.Hour-cooldown)
	d.used(c, 5)
	d.now = epoch.Add(time.Hour)
	d.used(c, 4)
}

// usedNothing: an unknown counter has no sendings, and Used itself counts nothing.
func usedNothing(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	rate := otp.Rate{Count: 1, Window: time.Hour}
	unknown := counter("budget", "unknown", rate, rate, rate)
	for range 3 {
		d.used(unknown, 0, 0, 0)
	}
	d.used(counter("budget", "without rates"))
	d.reserve(counter("budget", "another", rate))
	d.used(unknown, 0, 0, 0)
	d.reserve(unknown)
	d.used(unknown, 1, 1, 1)
}

// usedByAnother: gates of one scope count each other's sendings, each within its own
// rates.
func usedByAnother(t *testing.T, open Open) {
	d := newDesk(t, open, 100)
	lax := counter("budget", "shared", otp.Rate{Count: 8, Window: time.Hour})
	strict := counter("budget", "shared", otp.Rate{Count: 2, Window: time.Minute}, otp.Rate{Count: 4, Window: 2 * time.Hour})
	d.reserve(lax)
	d.now = d.now.Add(time.Minute)
	d.reserve(strict)
	d.used(lax, 2)
	d.used(strict, 1, 2)
	d.now = epoch.Add(time.Hour)
	d.used(lax, 1)
	d.used(strict, 0, 2)
}

// clear checks the answer of Clear.
func (d *desk) clear(c otp.Counter, want bool) {
	d.Helper()
	if got, err := d.store.Clear(ctx, scope, c); got != want || err != nil {
		d.Fatalf("Clear: %t, %v; want %t", got, err, want)
	}
}

// usedCleared: Clear empties one counter. It changes no other counter, no challenge and no
// failures.
func usedCleared(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	rate := otp.Rate{Count: 2, Window: time.Hour}
	c, other := counter("budget", "b", rate), counter("budget", "other", rate)
	f := failuresOf("n", "", strict)
	d.clear(c, false)
	d.fail(f, 2)
	for range 2 {
		id := d.reserve(c, other)
		again := d.renewal(c)
		d.now = d.now.Add(cooldown)
		again.Now = d.now
		_, _ = d.store.Resend(ctx, id, again)
		d.refused(d.store.Reserve(ctx, d.usual(c)), "budget", time.Hour-cooldown)
		d.clear(otp.Counter{Limit: c.Limit, Key: c.Key}, true) // Clear needs no rates
		d.clear(c, false)
		d.used(c, 0)
		d.mustMiss(id)
		d.mustMeet(id)
	}
	d.used(other, 2)
	d.reserve(c)
	d.used(c, 1)
	d.failAndLock(f, "lockout", time.Minute)
}

// clearedInFlight: if a sending from before Clear fails, it gives nothing back.
func clearedInFlight(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	c := counter("budget", "b", otp.Rate{Count: 2, Window: time.Hour})
	id := d.reserve(c)
	taken := d.now
	d.clear(c, true)
	d.now = d.now.Add(time.Second)
	d.reserve(c)
	d.mustSettle(id, &otp.Settlement{Sending: 1, Status: otp.Failed, Taken: taken, Now: d.now, Refused: true, Return: []otp.Counter{c}})
	d.used(c, 1)
}

func clearedAhead(t *testing.T, open Open) {
	eachLeap(t, open, func(d *desk, right func()) {
		c := counter("budget", "b", otp.Rate{Count: 1, Window: 24 * time.Hour})
		d.mustMeet(d.reserve(c))
		right()
		d.clear(c, true)
		d.used(c, 0)
		d.mustMeet(d.reserve(c))
		d.used(c, 1)
	})
}
