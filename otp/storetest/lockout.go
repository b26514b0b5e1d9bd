package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/caddy-websms/websms/otp"
)

var lockoutTests = []test{
	{"counted across challenges", countedAcross},
	{"locks to the microsecond", locksForExactly},
	{"nothing is compared while it is locked", lockedComparesNothing},
	{"nothing is taken while it is locked", lockedTakesNothing},
	{"the last locks until it is unlocked", maxLocks},
	{"which lock comes first", whichLock},
	{"after years", lockedAfterYears},
	{"what was never sent counts", neverSentCounts},
	{"what is no challenge counts nothing", unusableCountsNothing},
	{"what is no challenge is told first", unusableBeforeLock},
	{"longest wait of all", longestOfAll},
}

// countedAcross lets a guesser come again in every way there is.
func countedAcross(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	run := runOf("n", "", otp.Lockout{Count: 7, For: time.Hour, Max: 100})
	ask := func(replaces otp.ID) otp.ID {
		t.Helper()
		r := d.usual()
		r.Failures, r.Replaces, r.Attempts, r.Cooldown = run, replaces, 2, 0
		d.mustReserve(r)
		return r.ID
	}
	a := ask(otp.ID{})
	d.miss(a, run)
	again := d.renewal()
	again.Failures = run
	d.mustResend(a, again)
	d.miss(a, run) // which is dead now
	b := ask(a)    // in place of it
	d.miss(b, run)
	c := ask(b)
	d.miss(c, run)
	d.now = d.now.Add(ttl) // it expires
	d.miss(ask(c), run)
	d.miss(ask(otp.ID{}), run) // another browser's
	d.now = d.now.Add(24 * time.Hour)
	d.missAndLock(ask(otp.ID{}), run, "lockout", time.Hour)
	d.locked(run, "lockout", time.Hour)
}

// locksForExactly locks at every multiple, and each time for the same while.
func locksForExactly(t *testing.T, open Open) {
	for _, span := range []time.Duration{time.Second, time.Minute + tick, 720 * time.Hour} {
		d := newDesk(t, open, 10)
		run := runOf("n", "", otp.Lockout{Count: 3, For: span, Max: 100})
		for range 4 {
			d.fail(run, 1) // the first of them at the very end of the former lock
			d.now = d.now.Add(7*time.Second + 3*tick)
			d.fail(run, 1)
			d.open(run)
			d.failAndLock(run, "lockout", span)
			last := d.now
			d.locked(run, "lockout", span)
			d.now = last.Add((span / 2).Truncate(tick))
			d.locked(run, "lockout", span-(span/2).Truncate(tick))
			d.now = last.Add(span - tick)
			d.locked(run, "lockout", tick)
			d.now = last.Add(span)
			d.open(run)
		}
		d.succeed(run) // at the very end, too
	}
}

// lockedComparesNothing: neither the challenge nor the run learns of what is
// given while it is locked, and the right code is right thereafter.
func lockedComparesNothing(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	run := runOf("n", "", strict)
	id := d.reserve()
	d.miss(id, run)
	d.miss(id, run)
	if rec := d.missAndLock(id, run, "lockout", time.Minute); rec.AttemptsLeft != attempts-3 {
		t.Errorf("%d attempts left, want %d", rec.AttemptsLeft, attempts-3)
	}
	for i := range 30 {
		d.now = epoch.Add(time.Duration(i) * time.Second)
		for _, proof := range []otp.Digest{right(id), wrong(i)} {
			rec, err := d.answer(id, proof, run)
			d.refused(err, "lockout", time.Minute-time.Duration(i)*time.Second)
			if errors.Is(err, otp.ErrWrongCode) || rec.AttemptsLeft != 0 && rec.AttemptsLeft != attempts-3 {
				t.Fatalf("while it is locked: %v, %d attempts left", err, rec.AttemptsLeft)
			}
		}
	}
	d.now = epoch.Add(time.Minute)
	if rec := d.mustGet(id); rec.AttemptsLeft != attempts-3 {
		t.Errorf("%d attempts left after the lock, want %d", rec.AttemptsLeft, attempts-3)
	}
	if _, err := d.answer(id, right(id), run); err != nil {
		t.Fatalf("the right code after the lock: %v", err)
	}
	d.fail(run, 2)
}

// lockedTakesNothing: a refused sending is not counted.
func lockedTakesNothing(t *testing.T, open Open) {
	d := newDesk(t, open, 2)
	run := runOf("n", "", strict)
	c := counter("number", "n", otp.Rate{Count: 1, Window: time.Hour})
	d.fail(run, 2)
	d.failAndLock(run, "lockout", time.Minute)
	id := d.ready()
	for range 5 {
		ask, again := d.usual(c), d.renewal(c)
		ask.Failures, again.Failures = run, run
		d.refused(d.store.Reserve(ctx, ask), "lockout", time.Minute)
		_, err := d.store.Resend(ctx, id, again)
		d.refused(err, "lockout", time.Minute)
	}
	d.used(c, 0)
	d.now = d.now.Add(time.Minute)
	ask := d.usual(c)
	ask.Failures = run
	d.mustReserve(ask)
	d.used(c, 1)
}

func maxLocks(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	run := runOf("n", "", otp.Lockout{Count: 2, For: time.Minute, Max: 5})
	for range 2 {
		d.fail(run, 1)
		d.failAndLock(run, "lockout", time.Minute)
		d.now = d.now.Add(time.Minute)
	}
	d.failAndLock(run, "max_failures", 0)
	for range 3 {
		d.locked(run, "max_failures", 0)
		d.now = d.now.Add(time.Minute)
	}
	d.unlock(run, true)
	d.open(run)
	d.fail(run, 1) // it begins anew
	d.failAndLock(run, "lockout", time.Minute)
}

// whichLock: the one that no wait ends, where both begin; either may be alone.
func whichLock(t *testing.T, open Open) {
	for _, c := range []struct {
		lockout otp.Lockout
		fails   int // that do not lock, before the one that does
		limit   string
		wait    time.Duration
	}{
		{otp.Lockout{Count: 4, For: time.Hour, Max: 4}, 3, "max_failures", 0},
		{otp.Lockout{Count: 10, For: time.Hour, Max: 3}, 2, "max_failures", 0},
		{otp.Lockout{Max: 1}, 0, "max_failures", 0},
		{otp.Lockout{Max: 100}, 99, "max_failures", 0},
		{otp.Lockout{Count: 1, For: time.Hour, Max: 2}, 0, "lockout", time.Hour},
		{otp.Lockout{Count: 5, For: time.Hour}, 4, "lockout", time.Hour},
	} {
		d := newDesk(t, open, 10)
		run := runOf("n", "", c.lockout)
		d.fail(run, c.fails)
		d.failAndLock(run, c.limit, c.wait)
		d.locked(run, c.limit, c.wait)
	}
	d := newDesk(t, open, 10)
	never := runOf("n", "", otp.Lockout{})
	d.fail(never, 150)
	d.open(never)
}

// lockedAfterYears: what only an operator unlocks, no time does, nor others
// whose failures a store makes room for.
func lockedAfterYears(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	strangers := runOf("n", "", otp.Lockout{Max: 2})
	device := runOf("with a device", "d", otp.Lockout{Max: 2})
	for _, run := range []otp.Failures{strangers, device} {
		d.fail(run, 1)
		d.failAndLock(run, "max_failures", 0)
	}
	for year := range 3 {
		d.now = d.now.Add(otp.FailuresLife)
		d.failures(t, "of year "+string(rune('0'+year)), 100)
		d.locked(strangers, "max_failures", 0)
		d.locked(device, "max_failures", 0)
	}
	for _, run := range []otp.Failures{strangers, device} {
		d.unlock(run, true)
		d.succeed(run)
	}
}

// neverSentCounts: else a guesser would know a refused sending from others.
func neverSentCounts(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	run := runOf("n", "", strict)
	id := d.reserve()
	d.mustSettle(id, &otp.Settlement{Sending: 1, Status: otp.Failed, Taken: d.now, Now: d.now, Refused: true})
	d.miss(id, run)
	if _, err := d.answer(id, right(id), run); !errors.Is(err, otp.ErrWrongCode) { // which nobody can have
		t.Fatalf("a code that was never sent: %v, want %v", err, otp.ErrWrongCode)
	}
	d.missAndLock(id, run, "lockout", time.Minute)
	d.locked(run, "lockout", time.Minute)
}

// unusable returns challenges that cannot be answered, and why.
func (d *desk) unusable() map[otp.ID][]error {
	d.Helper()
	met, replaced, expired := d.reserve(), d.reserve(), d.usual()
	expired.TTL = 30 * time.Second
	d.mustReserve(expired)
	d.mustMeet(met)
	heir := d.usual()
	heir.Replaces = replaced
	d.mustReserve(heir)
	d.now = d.now.Add(30 * time.Second)
	dead := d.reserve()
	d.kill(dead)
	return map[otp.ID][]error{
		{}:           {otp.ErrNoChallenge},
		d.usual().ID: {otp.ErrNoChallenge},
		met:          {otp.ErrNoChallenge},
		replaced:     {otp.ErrNoChallenge},
		expired.ID:   {otp.ErrExpired, otp.ErrNoChallenge},
		dead:         {otp.ErrTooManyAttempts},
	}
}

func unusableCountsNothing(t *testing.T, open Open) {
	d := newDesk(t, open, 20)
	run := runOf("n", "", strict)
	for id, want := range d.unusable() {
		for i := range 10 {
			if _, err := d.answer(id, wrong(i), run); !oneOf(err, want) || errors.As(err, new(*otp.LimitError)) {
				t.Fatalf("got %v, want %v", err, want)
			}
		}
	}
	d.unlock(run, false)
	d.fail(run, 2)
	d.failAndLock(run, "lockout", time.Minute)
}

func unusableBeforeLock(t *testing.T, open Open) {
	for _, max := range []int{3, 100} {
		d := newDesk(t, open, 20)
		run := runOf("n", "", otp.Lockout{Count: 3, For: time.Hour, Max: max})
		unusable := d.unusable()
		d.fail(run, 2)
		id := d.ready()
		if _, err := d.answer(id, wrong(0), run); !errors.As(err, new(*otp.LimitError)) {
			t.Fatalf("the third wrong code: %v, want a lock", err)
		}
		for id, want := range unusable {
			_, attempt := d.answer(id, right(id), run)
			again := d.renewal()
			again.Failures = run
			_, resend := d.store.Resend(ctx, id, again)
			for _, err := range []error{attempt, resend} {
				if !oneOf(err, want) || errors.As(err, new(*otp.LimitError)) {
					t.Errorf("locked, and no challenge: %v, want %v", err, want)
				}
			}
		}
	}
}

// longestOfAll: of a cooldown, a counter and a lock, the one that ends last
// answers; and before them all the lock that never ends.
func longestOfAll(t *testing.T, open Open) {
	const short, middle, long = time.Minute, 2 * time.Minute, 3 * time.Minute
	for _, c := range []struct {
		cooldown, window, lock time.Duration
		max                    int
		limit                  string // of a resend
		anew                   string // of a new challenge, which knows no cooldown
	}{
		{short, middle, long, 100, "lockout", "lockout"},
		{middle, short, long, 100, "lockout", "lockout"},
		{long, short, middle, 100, "cooldown", "lockout"},
		{long, middle, short, 100, "cooldown", "number"},
		{short, long, middle, 100, "number", "number"},
		{middle, long, short, 100, "number", "number"},
		{long, middle, short, 3, "max_failures", "max_failures"},
		{short, long, middle, 3, "max_failures", "max_failures"},
		{short, middle, long, 3, "max_failures", "max_failures"},
	} {
		d := newDesk(t, open, 10)
		run := runOf("n", "", otp.Lockout{Count: 3, For: c.lock, Max: c.max})
		number := counter("number", "n", otp.Rate{Count: 1, Window: c.window})
		r := d.usual(number)
		r.Failures, r.Cooldown = run, c.cooldown
		d.mustReserve(r)
		d.miss(r.ID, run)
		d.miss(r.ID, run)
		if _, err := d.answer(r.ID, wrong(0), run); !errors.As(err, new(*otp.LimitError)) {
			t.Fatalf("the third wrong code: %v, want a lock", err)
		}
		d.now = d.now.Add(time.Second)
		waits := map[string]time.Duration{"cooldown": c.cooldown, "number": c.window, "lockout": c.lock, "max_failures": time.Second}
		for range 2 {
			again, ask := d.renewal(number), d.usual(number)
			again.Failures, ask.Failures = run, run
			_, err := d.store.Resend(ctx, r.ID, again)
			d.refused(err, c.limit, waits[c.limit]-time.Second)
			d.refused(d.store.Reserve(ctx, ask), c.anew, waits[c.anew]-time.Second)
		}
	}
}
