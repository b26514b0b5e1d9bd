package storetest

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/testlevel"
	"github.com/caddy-websms/websms/otp"
)

var runTests = []test{
	{"nobody's", nobodysRun},
	{"numbers are apart", numbersApart},
	{"a success ends its own", successEndsItsOwn},
	{"a device has its own", deviceRun},
	{"unlock", unlock},
	{"one number, two gates", twoLockouts},
	{"one number, a short lockout beside a long one", shortBesideLong},
	{"one number, two limits for good", twoMaxima},
	{"many devices", manyDevices},
	{"right codes of many devices", rightOfMany},
	{"a right code ends no shared run", sharedRun},
	{"a right code where every place is taken", rightWithoutPlace},
	{"remembered for its life", runLife},
	{"a flood of others ends none", floodEndsNone},
	{"a crowd of guessers", crowdOfGuessers},
	{"a crowd, one of them right", crowdWithRight},
	{"a crowd of strangers, and the owner", crowdAndOwner},
}

func nobodysRun(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	lockout := otp.Lockout{Count: 2, For: time.Hour, Max: 5}
	nobody := otp.Failures{Lockout: lockout}
	device := otp.Failures{Lockout: lockout, Device: runOf("", "d", lockout).Device}
	for _, run := range []otp.Failures{{}, nobody, device} {
		d.fail(run, 20)
		d.open(run)
		d.unlock(run, false)
		d.succeed(run)
	}
}

func numbersApart(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	a, b := runOf("a", "", strict), runOf("b", "", strict)
	d.fail(a, 2)
	d.fail(b, 2)
	d.failAndLock(a, "lockout", time.Minute)
	d.open(b)
	d.now = d.now.Add(time.Second)
	d.failAndLock(b, "lockout", time.Minute)
	d.locked(a, "lockout", 59*time.Second)
	d.now = d.now.Add(59 * time.Second)
	d.succeed(a)
	d.locked(b, "lockout", time.Second)
}

// successEndsItsOwn has four runs one failure from their locks.
func successEndsItsOwn(t *testing.T, open Open) {
	runs := []otp.Failures{
		runOf("n", "", strict), runOf("n", "d", strict), runOf("n", "e", strict), runOf("m", "d", strict),
	}
	for winner := range runs {
		d := newDesk(t, open, 10)
		for _, run := range runs {
			d.fail(run, 2)
		}
		d.succeed(runs[winner])
		for i, run := range runs {
			if i == winner {
				d.fail(run, 2)
			}
			d.failAndLock(run, "lockout", time.Minute)
		}
	}
}

// deviceRun: strangers do not lock an owner out, nor does a device that is
// lost or lent lock out any other.
func deviceRun(t *testing.T, open Open) {
	strangers, device, other := runOf("n", "", strict), runOf("n", "d", strict), runOf("n", "e", strict)
	for _, c := range []struct {
		guesser otp.Failures
		others  []otp.Failures
	}{
		{strangers, []otp.Failures{device, other}},
		{device, []otp.Failures{strangers, other}},
	} {
		for _, lockout := range []otp.Lockout{strict, {Max: 3}} {
			d := newDesk(t, open, 10)
			limit, wait := "lockout", lockout.For
			if lockout.Max == 3 {
				limit = "max_failures"
			}
			c.guesser.Lockout = lockout
			d.fail(c.guesser, 2)
			d.failAndLock(c.guesser, limit, wait)
			for _, run := range c.others {
				d.open(run)
				d.fail(run, 2) // these are the first that count here
				d.succeed(run)
				d.open(run)
				d.fail(run, 2)
			}
			d.locked(c.guesser, limit, wait)
		}
	}
}

func unlock(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	strangers, device, other := runOf("n", "", strict), runOf("n", "d", strict), runOf("n", "e", strict)
	bystander := runOf("m", "", strict)
	d.unlock(strangers, false)
	d.fail(bystander, 2)
	for range 2 {
		for _, run := range []otp.Failures{strangers, device} {
			d.fail(run, 2)
			d.failAndLock(run, "lockout", time.Minute)
		}
		d.fail(other, 2)
		d.unlock(strangers, true)
		d.unlock(strangers, false)
		for _, run := range []otp.Failures{strangers, device, other} {
			d.open(run)
			d.fail(run, 2) // none is left of before
		}
		d.unlock(device, true) // it is the number's, whose the run is
	}
	d.fail(device, 1)
	d.unlock(strangers, true) // of a device alone
	for _, run := range []otp.Failures{strangers, device} {
		d.fail(run, 1)
		d.succeed(run)
		d.unlock(run, false)
	}
	d.failAndLock(bystander, "lockout", time.Minute)
}

// twoLockouts: gates share a scope, each with a lockout of its own. No wrong
// code at the one ends what those at the other brought about, and a guesser
// who goes to and fro is locked as often as the laxer of them locks.
func twoLockouts(t *testing.T, open Open) {
	lax := runOf("n", "", otp.Lockout{Count: 10, For: time.Hour, Max: 100})
	harsh := runOf("n", "", otp.Lockout{Count: 3, For: time.Hour, Max: 100})
	d := newDesk(t, open, 10)
	d.fail(harsh, 2)
	d.failAndLock(harsh, "lockout", time.Hour)
	last := d.now
	try := func(run otp.Failures) (compared bool) {
		t.Helper()
		id := d.ready()
		_, err := d.answer(id, wrong(0), run)
		d.mustMeet(id)
		compared = errors.Is(err, otp.ErrWrongCode)
		if !compared && !errors.As(err, new(*otp.LimitError)) {
			t.Fatalf("a wrong code: %v", err)
		}
		return compared
	}
	for range 5 {
		d.now = d.now.Add(time.Minute)
		try(lax)
		d.locked(harsh, "lockout", last.Add(time.Hour).Sub(d.now))
	}
	gates := []otp.Failures{lax, harsh}
	for round := range 6 {
		d.now = d.now.Add(time.Hour)
		compared := 0
		for try(gates[compared%2]) || try(gates[(compared+1)%2]) {
			if compared++; compared > 10 {
				t.Fatalf("round %d: %d wrong codes compared, and there is a gate that takes more", round, compared)
			}
		}
	}
}

// twoMaxima: each gate judges the run by its own limit, wherever the codes
// were entered.
func twoMaxima(t *testing.T, open Open) {
	d := newDesk(t, open, 100)
	lax, strict := runOf("n", "", otp.Lockout{Max: 100}), runOf("n", "", otp.Lockout{Max: 10})
	d.fail(lax, 10)
	d.locked(strict, "max_failures", 0)
	d.open(lax)
}

// manyDevices: who has kept many devices of one number has not as many runs,
// and its owner's success ends none of theirs.
func manyDevices(t *testing.T, open Open) {
	d := newDesk(t, open, 1000)
	lockout := otp.Lockout{Max: 3}
	guesses := 0
	for i := range 50 {
		run := runOf("n", fmt.Sprint("d", i), lockout)
		for range 3 {
			id := d.ready()
			_, err := d.answer(id, wrong(0), run)
			if errors.Is(err, otp.ErrWrongCode) {
				guesses++
			}
		}
		d.succeed(runOf("n", "", lockout))
	}
	if want := (otp.MaxDevices + 1) * 3; guesses != want {
		t.Errorf("%d guesses by 50 devices of one number, want %d", guesses, want)
	}
}

// places has the first devices of a number take all runs that are to be had.
func (d *desk) places(number string, lockout otp.Lockout) {
	d.Helper()
	for i := range otp.MaxDevices {
		d.fail(runOf(number, fmt.Sprint("d", i), lockout), 1)
	}
}

// rightOfMany: right codes lock nobody out, however many there are, on however
// many devices, in whatever order.
func rightOfMany(t *testing.T, open Open) {
	lockout := otp.Lockout{Count: 3, For: time.Hour, Max: 10}
	for taken := range 2 {
		d := newDesk(t, open, 10)
		if taken == 1 {
			d.places("n", lockout)
		}
		for i := range 40 {
			for _, device := range []int{i, 0, otp.MaxDevices, otp.MaxDevices + 1} {
				d.succeed(runOf("n", fmt.Sprint("d", taken*otp.MaxDevices+device), lockout))
			}
			d.succeed(runOf("n", "", lockout))
		}
		for i := range 2 * otp.MaxDevices {
			d.open(runOf("n", fmt.Sprint("d", i), lockout))
		}
		if taken == 0 {
			d.unlock(runOf("n", "", lockout), false) // right codes leave nothing
		}
	}
}

// sharedRun: what the devices beyond the limit share counts the wrong codes of
// all, and the right code of one takes none of them back and adds none.
func sharedRun(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	device := func(i int) otp.Failures { return runOf("n", fmt.Sprint("d", i), strict) }
	d.places("n", strict)
	d.fail(device(10), 1)
	for i := range 5 {
		d.succeed(device(10 + i))
	}
	d.fail(device(11), 1)
	d.succeed(device(10))
	d.failAndLock(device(12), "lockout", time.Minute)
	d.locked(device(10), "lockout", time.Minute)
	for i := range otp.MaxDevices {
		d.fail(device(i), 1) // each has its own
		d.succeed(device(i))
	}
}

// rightWithoutPlace: one right code of a device beyond the limit, one failure
// before the shared run locks.
func rightWithoutPlace(t *testing.T, open Open) {
	for _, lockout := range []otp.Lockout{strict, {Max: 3}} {
		d := newDesk(t, open, 10)
		limit, wait := "lockout", lockout.For
		if lockout.Max == 3 {
			limit, wait = "max_failures", 0
		}
		d.places("n", lockout)
		beyond := runOf("n", "beyond", lockout)
		d.fail(beyond, 2)
		d.succeed(beyond)
		d.open(beyond)
		d.failAndLock(beyond, limit, wait)
		d.locked(beyond, limit, wait)
	}
}

// shortBesideLong: who enters every fifth wrong code at the gate whose lock
// is over in a second is locked out all the same of the one that locks for a day.
func shortBesideLong(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	long := runOf("n", "", otp.Lockout{Count: 5, For: 24 * time.Hour, Max: 100})
	short := runOf("n", "", otp.Lockout{Count: 5, For: time.Second, Max: 100})
	d.fail(long, 4)
	d.failAndLock(short, "lockout", time.Second)
	d.locked(long, "lockout", 24*time.Hour)
	d.now = d.now.Add(time.Second)
	d.open(short)
	d.fail(short, 1)
	d.locked(long, "lockout", 24*time.Hour-time.Second)
}

// runLife: a run is known until its life is over, and it begins anew with
// each failure. What then becomes of it is the store's.
func runLife(t *testing.T, open Open) {
	for _, device := range []string{"", "d"} {
		d := newDesk(t, open, 10)
		run := runOf("n", device, strict)
		for i := range 2 {
			d.fail(run, 1)
			d.now = d.now.Add(otp.FailuresLife - tick)
			d.failures(t, fmt.Sprint("others", i), 100) // for which a store may want room
		}
		d.failAndLock(run, "lockout", time.Minute)
	}
}

// floodEndsNone: what a store sheds under a flood, it is no run that counts.
func floodEndsNone(t *testing.T, open Open) {
	const kept = 20
	others := floodSize()
	d := newDesk(t, open, 10)
	locked := otp.Lockout{Count: 3, For: 1000 * time.Hour, Max: 100}
	run := func(i int) otp.Failures { return runOf(fmt.Sprint("kept", i), "", locked) }
	device := func(i int) otp.Failures { return runOf(fmt.Sprint("kept", i), "d", locked) }
	for i := range kept {
		d.fail(run(i), 2)
		d.fail(device(i), 2)
		d.failAndLock(device(i), "lockout", locked.For)
	}
	for _, after := range []time.Duration{time.Minute, 900 * time.Hour} {
		d.now = epoch.Add(after)
		d.failures(t, "flood "+after.String(), others)
	}
	for i := range kept {
		d.failAndLock(run(i), "lockout", locked.For)
		d.locked(device(i), "lockout", 100*time.Hour)
	}
}

// crowded makes n challenges of one run, and has as many guess at once, each
// at its own, until it is refused.
func (d *desk) crowded(t *testing.T, run otp.Failures, n int) (compared, locks int) {
	t.Helper()
	ids := make([]otp.ID, n)
	for i := range ids {
		r := d.usual()
		r.Failures = run
		d.mustReserve(r)
		ids[i] = r.ID
	}
	var misses, lockings atomic.Int32
	crowd(n, func(i int) {
		for guess := range attempts {
			_, err := d.answer(ids[i], wrong(guess), run)
			limited := errors.As(err, new(*otp.LimitError))
			if errors.Is(err, otp.ErrWrongCode) {
				misses.Add(1)
				if limited {
					lockings.Add(1)
				}
			} else if !limited {
				t.Errorf("a guess got %v", err)
			}
		}
	})
	left := 0
	for _, id := range ids {
		rec, err := d.store.Get(ctx, scope, id, d.now)
		if err != nil && !errors.Is(err, otp.ErrTooManyAttempts) {
			t.Fatalf("Get: %v", err)
		}
		if left += rec.AttemptsLeft; err == nil {
			d.mustMeet(id)
		}
	}
	if used := n*attempts - left; used != int(misses.Load()) {
		t.Errorf("%d codes compared, %d attempts used", misses.Load(), used)
	}
	return int(misses.Load()), int(lockings.Load())
}

// crowdOfGuessers has no more codes compared than one guesser would.
func crowdOfGuessers(t *testing.T, open Open) {
	d := newDesk(t, open, 100)
	run := runOf("n", "", otp.Lockout{Count: 10, For: 15 * time.Minute, Max: 35})
	for round, want := range []int{10, 10, 10, 5} {
		compared, locks := d.crowded(t, run, 64)
		if compared != want || locks != 1 {
			t.Fatalf("round %d: %d codes compared and %d locks, want %d and 1", round, compared, locks, want)
		}
		limit, wait := "lockout", 15*time.Minute
		if round == 3 {
			limit, wait = "max_failures", 0
		}
		d.locked(run, limit, wait)
		d.now = d.now.Add(15 * time.Minute)
	}
}

// crowdWithRight: the right code is taken once at most, and if it is, the run
// begins anew, once.
func crowdWithRight(t *testing.T, open Open) {
	const most = 10
	d := newDesk(t, open, 100)
	for round := range testlevel.Size(20, 100) {
		run := runOf(fmt.Sprint("n", round), "", otp.Lockout{Count: most, For: time.Hour, Max: 100})
		ids := make([]otp.ID, 8)
		for i := range ids {
			ids[i] = d.ready()
		}
		var misses, met, locks atomic.Int32
		crowd(64, func(i int) {
			id, proof := ids[i%len(ids)], wrong(i)
			if i%16 == 5 { // four of them, for one challenge
				proof = right(id)
			}
			_, err := d.answer(id, proof, run)
			limited := errors.As(err, new(*otp.LimitError))
			switch {
			case err == nil:
				met.Add(1)
			case errors.Is(err, otp.ErrWrongCode):
				misses.Add(1)
				if limited {
					locks.Add(1)
				}
			case !limited && !errors.Is(err, otp.ErrNoChallenge) && !errors.Is(err, otp.ErrTooManyAttempts):
				t.Errorf("a guess got %v", err)
			}
		})
		if met.Load() > 1 || locks.Load() > 1 || misses.Load() > most+(most-1)*met.Load() {
			t.Fatalf("%d right, %d wrong codes compared, %d locks; want at most 1, %d and 1",
				met.Load(), misses.Load(), locks.Load(), most+(most-1)*met.Load())
		}
		if locks.Load() == 1 {
			d.locked(run, "lockout", time.Hour)
		}
		for _, id := range ids {
			_, _ = d.answer(id, right(id), otp.Failures{})
		}
		d.now = d.now.Add(ttl)
	}
}

// crowdAndOwner: however many strangers guess, the owner's device is sent its
// code and its code is taken.
func crowdAndOwner(t *testing.T, open Open) {
	d := newDesk(t, open, 100)
	strangers, owner := runOf("n", "", strict), runOf("n", "d", strict)
	for range testlevel.Size(8, 20) {
		crowd(32, func(i int) {
			r := d.usual()
			if i%8 != 0 {
				if d.store.Reserve(ctx, r) == nil {
					_, _ = d.answer(r.ID, wrong(i), strangers)
					_, _ = d.answer(r.ID, right(r.ID), otp.Failures{})
				}
				return
			}
			r.Failures = owner
			if err := d.store.Reserve(ctx, r); err != nil {
				t.Errorf("the owner asks: %v", err)
			}
			if _, err := d.answer(r.ID, right(r.ID), owner); err != nil {
				t.Errorf("the owner answers: %v", err)
			}
		})
		d.now = d.now.Add(time.Minute)
	}
}
