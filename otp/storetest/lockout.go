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
	{"a code that was never sent counts", neverSentCounts},
	{"without a challenge nothing counts", unusableCountsNothing},
	{"without a challenge the lock is not told", unusableBeforeLock},
	{"longest wait of all", longestOfAll},
}

// countedAcross: failures count across resends, replaced challenges, expired challenges
// and browsers.
func countedAcross(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	f := failuresOf("n", "", otp.Lockout{Count: 7, For: time.Hour, Max: 100})
	ask := func(replaces otp.ID) otp.ID {
		t.Helper()
		r := d.usual()
		r.Failures, r.Replaces, r.Attempts, r.Cooldown = f, replaces, 2, 0
		d.mustReserve(r)
		return r.ID
	}
	a := ask(otp.ID{})
	d.miss(a, f)
	again := d.renewal()
	again.Failures = f
	d.mustResend(a, again)
	d.miss(a, f) // which ends the challenge
	b := ask(a)  // replaces a
	d.miss(b, f)
	c := ask(b)
	d.miss(c, f)
	d.now = d.now.Add(ttl) // c expires
	d.miss(ask(c), f)
	d.miss(ask(otp.ID{}), f) // of another browser
	d.now = d.now.Add(24 * time.Hour)
	d.missAndLock(ask(otp.ID{}), f, "lockout", time.Hour)
	d.locked(f, "lockout", time.Hour)
}

// locksForExactly: failures lock at every multiple of Count, each time for exactly For.
func locksForExactly(t *testing.T, open Open) {
	for _, span := range []time.Duration{time.Second, time.Minute + tick, 720 * time.Hour} {
		d := newDesk(t, open, 10)
		f := failuresOf("n", "", otp.Lockout{Count: 3, For: span, Max: 100})
		for range 4 {
			d.fail(f, 1) // the first one at the exact end of the former lock
			d.now = d.now.Add(7*time.Second + 3*tick)
			d.fail(f, 1)
			d.open(f)
			d.failAndLock(f, "lockout", span)
			last := d.now
			d.locked(f, "lockout", span)
			d.now = last.Add((span / 2).Truncate(tick))
			d.locked(f, "lockout", span-(span/2).Truncate(tick))
			d.now = last.Add(span - tick)
			d.locked(f, "lockout", tick)
			d.now = last.Add(span)
			d.open(f)
		}
		d.succeed(f) // also at the exact end of the lock
	}
}

// lockedComparesNothing: codes during a lock change neither the challenge nor the
// failures. Afterwards the right code is still right.
func lockedComparesNothing(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	f := failuresOf("n", "", strict)
	id := d.reserve()
	d.miss(id, f)
	d.miss(id, f)
	if rec := d.missAndLock(id, f, "lockout", time.Minute); rec.AttemptsLeft != attempts-3 {
		t.Errorf("%d attempts left, want %d", rec.AttemptsLeft, attempts-3)
	}
	for i := range 30 {
		d.now = epoch.Add(time.Duration(i) * time.Second)
		for _, proof := range []otp.Digest{right(id), wrong(i)} {
			rec, err := d.answer(id, proof, f)
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
	if _, err := d.answer(id, right(id), f); err != nil {
		t.Fatalf("the right code after the lock: %v", err)
	}
	d.fail(f, 2)
}

// lockedTakesNothing: a refused sending is not counted.
func lockedTakesNothing(t *testing.T, open Open) {
	d := newDesk(t, open, 2)
	f := failuresOf("n", "", strict)
	c := counter("number", "n", otp.Rate{Count: 1, Window: time.Hour})
	d.fail(f, 2)
	d.failAndLock(f, "lockout", time.Minute)
	id := d.ready()
	for range 5 {
		ask, again := d.usual(c), d.renewal(c)
		ask.Failures, again.Failures = f, f
		d.refused(d.store.Reserve(ctx, ask), "lockout", time.Minute)
		_, err := d.store.Resend(ctx, id, again)
		d.refused(err, "lockout", time.Minute)
	}
	d.used(c, 0)
	d.now = d.now.Add(time.Minute)
	ask := d.usual(c)
	ask.Failures = f
	d.mustReserve(ask)
	d.used(c, 1)
}

func maxLocks(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	f := failuresOf("n", "", otp.Lockout{Count: 2, For: time.Minute, Max: 5})
	for range 2 {
		d.fail(f, 1)
		d.failAndLock(f, "lockout", time.Minute)
		d.now = d.now.Add(time.Minute)
	}
	d.failAndLock(f, "max_failures", 0)
	for range 3 {
		d.locked(f, "max_failures", 0)
		d.now = d.now.Add(time.Minute)
	}
	d.unlock(f, true)
	d.open(f)
	d.fail(f, 1) // counting begins anew
	d.failAndLock(f, "lockout", time.Minute)
}

// whichLock: if both locks begin at once, the error names the one that no wait ends.
// Either lock can be configured alone.
func whichLock(t *testing.T, open Open) {
	for _, c := range []struct {
		lockout otp.Lockout
		fails   int // failures before the one that locks
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
		f := failuresOf("n", "", c.lockout)
		d.fail(f, c.fails)
		d.failAndLock(f, c.limit, c.wait)
		d.locked(f, c.limit, c.wait)
	}
	d := newDesk(t, open, 10)
	never := failuresOf("n", "", otp.Lockout{})
	d.fail(never, 150)
	d.open(never)
}

// lockedAfterYears: a lock that only an operator can end stays for years, even if the
// store needs room for the failures of others.
func lockedAfterYears(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	strangers := failuresOf("n", "", otp.Lockout{Max: 2})
	device := failuresOf("with a device", "d", otp.Lockout{Max: 2})
	for _, f := range []otp.Failures{strangers, device} {
		d.fail(f, 1)
		d.failAndLock(f, "max_failures", 0)
	}
	for year := range 3 {
		d.now = d.now.Add(otp.FailuresLife)
		d.failures(t, "of year "+string(rune('0'+year)), 100)
		d.locked(strangers, "max_failures", 0)
		d.locked(device, "max_failures", 0)
	}
	for _, f := range []otp.Failures{strangers, device} {
		d.unlock(f, true)
		d.succeed(f)
	}
}

// neverSentCounts: a wrong code counts even if WebSMS refused every sending. Otherwise a
// guesser could recognize a refused sending.
func neverSentCounts(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	f := failuresOf("n", "", strict)
	id := d.reserve()
	d.mustSettle(id, &otp.Settlement{Sending: 1, Status: otp.Failed, Taken: d.now, Now: d.now, Refused: true})
	d.miss(id, f)
	if _, err := d.answer(id, right(id), f); !errors.Is(err, otp.ErrWrongCode) { // WebSMS has refused the sending
		t.Fatalf("a code that was never sent: %v, want %v", err, otp.ErrWrongCode)
	}
	d.missAndLock(id, f, "lockout", time.Minute)
	d.locked(f, "lockout", time.Minute)
}

// unusable returns challenges that cannot be answered, and the errors for each.
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
	f := failuresOf("n", "", strict)
	for id, want := range d.unusable() {
		for i := range 10 {
			if _, err := d.answer(id, wrong(i), f); !oneOf(err, want) || errors.As(err, new(*otp.LimitError)) {
				t.Fatalf("got %v, want %v", err, want)
			}
		}
	}
	d.unlock(f, false)
	d.fail(f, 2)
	d.failAndLock(f, "lockout", time.Minute)
}

func unusableBeforeLock(t *testing.T, open Open) {
	for _, max := range []int{3, 100} {
		d := newDesk(t, open, 20)
		f := failuresOf("n", "", otp.Lockout{Count: 3, For: time.Hour, Max: max})
		unusable := d.unusable()
		d.fail(f, 2)
		id := d.ready()
		if _, err := d.answer(id, wrong(0), f); !errors.As(err, new(*otp.LimitError)) {
			t.Fatalf("the third wrong code: %v, want a lock", err)
		}
		for id, want := range unusable {
			_, attempt := d.answer(id, right(id), f)
			again := d.renewal()
			again.Failures = f
			_, resend := d.store.Resend(ctx, id, again)
			for _, err := range []error{attempt, resend} {
				if !oneOf(err, want) || errors.As(err, new(*otp.LimitError)) {
					t.Errorf("locked, and no challenge: %v, want %v", err, want)
				}
			}
		}
	}
}

// longestOfAll: if a cooldown, a counter and a lock all refuse, the error names the one
// that ends last. A lock that only an operator can end comes before all of them.
func longestOfAll(t *testing.T, open Open) {
	const short, middle, long = time.Minute, 2 * time.Minute, 3 * time.Minute
	for _, c := range []struct {
		cooldown, window, lock time.Duration
		max                    int
		limit                  string // of a resend
		anew                   string // of a new challenge, which has no cooldown
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
		f := failuresOf("n", "", otp.Lockout{Count: 3, For: c.lock, Max: c.max})
		number := counter("number", "n", otp.Rate{Count: 1, Window: c.window})
		r := d.usual(number)
		r.Failures, r.Cooldown = f, c.cooldown
		d.mustReserve(r)
		d.miss(r.ID, f)
		d.miss(r.ID, f)
		if _, err := d.answer(r.ID, wrong(0), f); !errors.As(err, new(*otp.LimitError)) {
			t.Fatalf("the third wrong code: %v, want a lock", err)
		}
		d.now = d.now.Add(time.Second)
		waits := map[string]time.Duration{"cooldown": c.cooldown, "number": c.window, "lockout": c.lock, "max_failures": time.Second}
		for range 2 {
			again, ask := d.renewal(number), d.usual(number)
			again.Failures, ask.Failures = f, f
			_, err := d.store.Resend(ctx, r.ID, again)
			d.refused(err, c.limit, waits[c.limit]-time.Second)
			d.refused(d.store.Reserve(ctx, ask), c.anew, waits[c.anew]-time.Second)
		}
	}
}
