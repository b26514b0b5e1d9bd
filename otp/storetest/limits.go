package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/caddy-websms/websms/otp"
)

var limitTests = []test{
	{"windows slide, to the microsecond", windowsSlide},
	{"several rates", severalRates},
	{"longest wait of several counters", longestWait},
	{"refusal counts nothing", refusalCountsNothing},
	{"counters are apart", countersApart},
	{"one counter, two gates", twoGates},
	{"a gate with a longer window", rarerGate},
	{"return gives back one", returnOne},
	{"return gives back nothing that was used", returnNone},
	{"return is bounded", returnBounded},
	{"no code is right without a sending", refusedIsNotGuessed},
	{"return of the exact sending", returnExact},
	{"return by clocks that disagree", returnDisagreeing},
	{"met and replaced still count", metStillCount},
	{"a flood of others lifts none", floodLiftsNone},
}

// windowsSlide fills a window in unequal steps, and checks that each sending leaves it
// at the exact moment.
func windowsSlide(t *testing.T, open Open) {
	d := newDesk(t, open, 100)
	c := counter("number", "slide", otp.Rate{Count: 3, Window: 10 * time.Minute})
	steps := []time.Duration{0, tick, 7*time.Minute + 3*tick}
	for round := range 3 {
		start := epoch.Add(time.Duration(round) * 10 * time.Minute)
		for _, step := range steps {
			at := start.Add(step)
			if round > 0 { // the window is full until the same sending of the last round leaves
				d.now = at.Add(-tick)
				d.refused(d.store.Reserve(ctx, d.usual(c)), "number", tick)
			}
			d.now = at
			d.reserve(c)
		}
	}
}

func severalRates(t *testing.T, open Open) {
	d := newDesk(t, open, 100)
	c := counter("number", "rates", otp.Rate{Count: 2, Window: time.Minute}, otp.Rate{Count: 3, Window: time.Hour})
	d.reserve(c)
	d.now = epoch.Add(10 * time.Second)
	d.reserve(c)
	d.refused(d.store.Reserve(ctx, d.usual(c)), "number", 50*time.Second)
	d.now = epoch.Add(time.Minute)
	d.reserve(c)
	d.refused(d.store.Reserve(ctx, d.usual(c)), "number", 59*time.Minute)
	d.now = epoch.Add(time.Hour - tick)
	d.refused(d.store.Reserve(ctx, d.usual(c)), "number", tick)
	d.now = epoch.Add(time.Hour)
	d.reserve(c)
	d.refused(d.store.Reserve(ctx, d.usual(c)), "number", 10*time.Second)
}

func longestWait(t *testing.T, open Open) {
	d := newDesk(t, open, 100)
	long := counter("number", "long", otp.Rate{Count: 1, Window: time.Hour})
	short := counter("budget", "short", otp.Rate{Count: 1, Window: time.Minute})
	d.reserve(short, long)
	for range 2 { // in both orders
		d.refused(d.store.Reserve(ctx, d.usual(short, long)), "number", time.Hour)
		d.refused(d.store.Reserve(ctx, d.usual(long, short)), "number", time.Hour)
	}
	d.refused(d.store.Reserve(ctx, d.usual(short)), "budget", time.Minute)
}

func refusalCountsNothing(t *testing.T, open Open) {
	d := newDesk(t, open, 5)
	full := counter("number", "full", otp.Rate{Count: 1, Window: time.Minute})
	other := counter("budget", "other", otp.Rate{Count: 2, Window: time.Hour})
	kept := d.reserve(full)
	before := d.mustGet(kept)
	d.now = d.now.Add(time.Second)
	for range 10 {
		ask := d.usual(other, full)
		ask.Replaces = kept
		d.refused(d.store.Reserve(ctx, ask), "number", 59*time.Second)
		d.every(ask.ID, otp.ErrNoChallenge)
	}
	if diff := same(d.mustGet(kept), before); diff != "" {
		t.Errorf("the challenge to be replaced: %s", diff)
	}
	// Refused sendings extended no wait, and took no room and nothing of other counters.
	d.now = epoch.Add(time.Minute)
	d.reserve(full)
	d.reserve(other)
	d.reserve(other)
	d.refused(d.store.Reserve(ctx, d.usual(other)), "budget", time.Hour)
}

func countersApart(t *testing.T, open Open) {
	d := newDesk(t, open, 100)
	rate := otp.Rate{Count: 1, Window: time.Hour}
	d.reserve(counter("number", "a", rate))
	d.reserve(counter("number", "b", rate))
	d.reserve()
	d.refused(d.store.Reserve(ctx, d.usual(counter("number", "a", rate))), "number", time.Hour)
}

// twoGates: two gates share a scope, each with its own rates. Both count every sending.
func twoGates(t *testing.T, open Open) {
	d := newDesk(t, open, 100)
	strict := counter("number", "shared", otp.Rate{Count: 2, Window: time.Minute})
	lax := counter("number", "shared", otp.Rate{Count: 4, Window: time.Hour})
	d.reserve(lax)
	d.reserve(lax)
	d.refused(d.store.Reserve(ctx, d.usual(strict)), "number", time.Minute)
	d.now = d.now.Add(time.Minute)
	d.reserve(strict)
	d.reserve(lax)
	d.refused(d.store.Reserve(ctx, d.usual(lax)), "number", 59*time.Minute)
	d.refused(d.store.Reserve(ctx, d.usual(strict)), "number", time.Minute)
	d.now = d.now.Add(time.Minute)
	d.reserve(strict)
}

// rarerGate: a gate with a longer window counts the sendings of another gate from before
// its own first one, if the store has seen that window before.
func rarerGate(t *testing.T, open Open) {
	d := newDesk(t, open, 100)
	often := func(key string) otp.Counter {
		return counter("per_number", key, otp.Rate{Count: 3, Window: 10 * time.Minute})
	}
	rarely := func(key string) otp.Counter {
		return counter("per_number", key, otp.Rate{Count: 3, Window: 24 * time.Hour})
	}
	d.reserve(rarely("another"))
	for range 3 {
		d.reserve(often("n"))
	}
	d.now = d.now.Add(11 * time.Minute)
	for i := range 20 { // a store may forget idle counters when others come
		d.reserve(often(fmt.Sprint("other", i)))
	}
	d.refused(d.store.Reserve(ctx, d.usual(rarely("n"))), "per_number", 24*time.Hour-11*time.Minute)
}

func returnOne(t *testing.T, open Open) {
	d := newDesk(t, open, 100)
	number := counter("number", "n", otp.Rate{Count: 3, Window: time.Hour})
	budget := counter("budget", "b", otp.Rate{Count: 3, Window: time.Hour})
	var id otp.ID
	for range 3 {
		id = d.reserve(number, budget)
	}
	d.refused(d.store.Reserve(ctx, d.usual(number)), "number", time.Hour)
	d.mustSettle(id, &otp.Settlement{
		Sending: 1, Status: otp.Failed, Now: d.now.Add(time.Second), Taken: d.now, Refused: true, Return: []otp.Counter{number},
	})
	d.refused(d.store.Reserve(ctx, d.usual(budget)), "budget", time.Hour)
	d.reserve(number)
	d.refused(d.store.Reserve(ctx, d.usual(number)), "number", time.Hour)
}

// returnNone: a sending is not given back if its challenge was answered, replaced or is
// over. Otherwise guesses would cost nothing.
func returnNone(t *testing.T, open Open) {
	for name, use := range map[string]func(d *desk, r *otp.Reservation){
		"answered": func(d *desk, r *otp.Reservation) { d.mustMiss(r.ID) },
		"met":      func(d *desk, r *otp.Reservation) { d.mustMeet(r.ID) },
		"replaced": func(d *desk, r *otp.Reservation) {
			next := d.usual()
			next.Replaces = r.ID
			d.mustReserve(next)
		},
		"over": func(d *desk, r *otp.Reservation) { d.now = d.now.Add(ttl) },
	} {
		d := newDesk(t, open, 100)
		c := counter("number", name, otp.Rate{Count: 1, Window: time.Hour})
		r := d.usual(c)
		d.mustReserve(r)
		taken := d.now
		use(d, r)
		d.mustSettle(r.ID, &otp.Settlement{Sending: 1, Status: otp.Failed, Taken: taken, Now: d.now, Refused: true, Return: []otp.Counter{c}})
		d.refused(d.store.Reserve(ctx, d.usual(c)), "number", taken.Add(time.Hour).Sub(d.now))
	}
}

// returnBounded: refused sendings are given back only as often as the rate allows
// sendings. So a limit also stops a person from causing refusals without end.
func returnBounded(t *testing.T, open Open) {
	d := newDesk(t, open, 100)
	c := counter("number", "bounded", otp.Rate{Count: 3, Window: time.Hour})
	sent := 0
	for ; sent < 100; sent++ {
		r := d.usual(c)
		if err := d.store.Reserve(ctx, r); err != nil {
			d.refused(err, "number", time.Hour)
			break
		}
		d.mustSettle(r.ID, &otp.Settlement{Sending: 1, Status: otp.Failed, Taken: d.now, Now: d.now, Refused: true, Return: []otp.Counter{c}})
	}
	if sent != 6 {
		t.Errorf("%d sendings were taken that were all refused, want the 3 given back and 3 more", sent)
	}
}

// refusedIsNotGuessed: no code is right while WebSMS has refused every sending.
func refusedIsNotGuessed(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	r := d.usual()
	d.mustReserve(r)
	d.mustSettle(r.ID, &otp.Settlement{Sending: 1, Status: otp.Failed, Taken: d.now, Now: d.now, Refused: true})
	if _, err := d.store.Attempt(ctx, r.ID, &otp.Answer{Proof: r.Proof, Now: d.now}); !errors.Is(err, otp.ErrWrongCode) {
		t.Fatalf("a code that was never sent: %v, want %v", err, otp.ErrWrongCode)
	}
	d.now = d.now.Add(cooldown)
	d.mustResend(r.ID, d.renewal())
	d.mustMeet(r.ID)
	// A code that may have arrived stays right when a resend is refused.
	r = d.usual()
	d.mustReserve(r)
	d.mustSettle(r.ID, &otp.Settlement{Sending: 1, Status: otp.Failed, Taken: d.now, Now: d.now})
	d.now = d.now.Add(cooldown)
	d.mustResend(r.ID, d.renewal())
	d.mustSettle(r.ID, &otp.Settlement{Sending: 2, Status: otp.Failed, Taken: d.now, Now: d.now, Refused: true})
	d.mustMeet(r.ID)
}

// returnExact: exactly the sending of the given moment is given back.
func returnExact(t *testing.T, open Open) {
	d := newDesk(t, open, 100)
	c := counter("number", "exact", otp.Rate{Count: 3, Window: time.Hour})
	ids := make([]otp.ID, 3)
	for i := range ids {
		d.now = epoch.Add(time.Duration(i) * time.Minute)
		ids[i] = d.reserve(c)
	}
	failed := &otp.Settlement{Sending: 1, Status: otp.Failed, Now: d.now, Refused: true, Return: []otp.Counter{c}}
	failed.Taken = epoch.Add(time.Second) // no sending was counted at that moment
	d.mustSettle(ids[0], failed)
	d.refused(d.store.Reserve(ctx, d.usual(c)), "number", 58*time.Minute)
	failed.Taken = epoch.Add(time.Minute)
	d.mustSettle(ids[1], failed)
	d.reserve(c) // the window: 0, 2 and 2 minutes
	d.now = epoch.Add(time.Hour - tick)
	d.refused(d.store.Reserve(ctx, d.usual(c)), "number", tick)
	d.now = epoch.Add(time.Hour)
	d.reserve(c)
	d.refused(d.store.Reserve(ctx, d.usual(c)), "number", 2*time.Minute)
}

// returnDisagreeing counts sendings by two clocks, one behind the other, as two nodes or
// two goroutines may have them.
func returnDisagreeing(t *testing.T, open Open) {
	d := newDesk(t, open, 100)
	c := counter("budget", "clocks", otp.Rate{Count: 2, Window: time.Hour})
	d.now = epoch.Add(time.Microsecond)
	ahead := d.reserve(c)
	d.now = epoch
	behind := d.reserve(c)
	for _, s := range []struct {
		id    otp.ID
		taken time.Time
	}{{behind, epoch}, {ahead, epoch.Add(time.Microsecond)}} {
		d.mustSettle(s.id, &otp.Settlement{
			Sending: 1, Status: otp.Failed, Now: epoch.Add(time.Second), Taken: s.taken, Refused: true, Return: []otp.Counter{c},
		})
	}
	d.now = epoch.Add(time.Second)
	d.reserve(c)
	d.reserve(c)
	d.refused(d.store.Reserve(ctx, d.usual(c)), "budget", time.Hour)
}

// metStillCount: limits count sendings, so the end of a challenge lifts none.
func metStillCount(t *testing.T, open Open) {
	d := newDesk(t, open, 100)
	c := counter("number", "met", otp.Rate{Count: 4, Window: time.Hour})
	d.mustMeet(d.reserve(c))
	d.kill(d.reserve(c))
	replaced := d.usual(c)
	replaced.Replaces = d.reserve(c)
	d.mustReserve(replaced)
	d.refused(d.store.Reserve(ctx, d.usual(c)), "number", time.Hour)
	d.now = d.now.Add(otp.MaxLife) // the challenge has expired, and its sending still counts
	d.refused(d.store.Reserve(ctx, d.usual(c)), "number", time.Hour-otp.MaxLife)
}

// floodLiftsNone: under a flood of other counters, a store forgets no counter that a
// window still needs.
func floodLiftsNone(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	const kept = 20
	others := floodSize()
	rate := otp.Rate{Count: 1, Window: time.Hour}
	name := func(kind string, i int) otp.Counter { return counter("number", fmt.Sprint(kind, i), rate) }
	for i := range kept {
		d.now = epoch.Add(time.Duration(i) * time.Second)
		d.mustMeet(d.reserve(name("kept", i)))
	}
	for _, at := range []time.Duration{time.Minute, 59 * time.Minute} {
		d.now = epoch.Add(at)
		flood(t, others, func(i int) error {
			r := d.usual(name("flood "+at.String(), i))
			if err := d.store.Reserve(ctx, r); err != nil {
				return err
			}
			_, err := d.store.Attempt(ctx, r.ID, &otp.Answer{Proof: right(r.ID), Now: d.now})
			return err
		})
	}
	for i := range kept {
		due := epoch.Add(time.Hour + time.Duration(i)*time.Second)
		d.now = due.Add(-tick)
		d.refused(d.store.Reserve(ctx, d.usual(name("kept", i))), "number", tick)
		d.now = due
		d.mustMeet(d.reserve(name("kept", i)))
	}
}
