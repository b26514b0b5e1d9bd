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

// floodEndsNone: under a flood of other numbers, a store forgets no failures that still
// count.
func floodEndsNone(t *testing.T, open Open) {
	const kept = 20
	others := floodSize()
	d := newDesk(t, open, 10)
	locked := otp.Lockout{Count: 3, For: 1000 * time.Hour, Max: 100}
	f := func(i int) otp.Failures { return failuresOf(fmt.Sprint("kept", i), "", locked) }
	device := func(i int) otp.Failures { return failuresOf(fmt.Sprint("kept", i), "d", locked) }
	for i := range kept {
		d.fail(f(i), 2)
		d.fail(device(i), 2)
		d.failAndLock(device(i), "lockout", locked.For)
	}
	for _, after := range []time.Duration{time.Minute, 900 * time.Hour} {
		d.now = epoch.Add(after)
		d.failures(t, "flood "+after.String(), others)
	}
	for i := range kept {
		d.failAndLock(f(i), "lockout", locked.For)
		d.locked(device(i), "lockout", 100*time.Hour)
	}
}

// crowded makes n challenges with the same failures. n goroutines
// guess at once, each at its own challenge.
func (d *desk) crowded(t *testing.T, f otp.Failures, n int) (compared, locks int) {
	t.Helper()
	ids := make([]otp.ID, n)
	for i := range ids {
		r := d.usual()
		r.Failures = f
		d.mustReserve(r)
		ids[i] = r.ID
	}
	var misses, lockings atomic.Int32
	crowd(n, func(i int) {
		for guess := range attempts {
			_, err := d.answer(ids[i], wrong(guess), f)
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

// crowdOfGuessers: of a crowd, no more codes are compared than of a single guesser.
func crowdOfGuessers(t *testing.T, open Open) {
	d := newDesk(t, open, 100)
	f := failuresOf("n", "", otp.Lockout{Count: 10, For: 15 * time.Minute, Max: 35})
	for round, want := range []int{10, 10, 10, 5} {
		compared, locks := d.crowded(t, f, 64)
		if compared != want || locks != 1 {
			t.Fatalf("round %d: %d codes compared and %d locks, want %d and 1", round, compared, locks, want)
		}
		limit, wait := "lockout", 15*time.Minute
		if round == 3 {
			limit, wait = "max_failures", 0
		}
		d.locked(f, limit, wait)
		d.now = d.now.Add(15 * time.Minute)
	}
}

// crowdWithRight: the right code is accepted once at most. If it is accepted, the
// failures begin anew, once.
func crowdWithRight(t *testing.T, open Open) {
	const most = 10
	d := newDesk(t, open, 100)
	for round := range testlevel.Size(20, 100) {
		f := failuresOf(fmt.Sprint("n", round), "", otp.Lockout{Count: most, For: time.Hour, Max: 100})
		ids := make([]otp.ID, 8)
		for i := range ids {
			ids[i] = d.ready()
		}
		var misses, met, locks atomic.Int32
		crowd(64, func(i int) {
			id, proof := ids[i%len(ids)], wrong(i)
			if i%16 == 5 { // four of them, for the same challenge
				proof = right(id)
			}
			_, err := d.answer(id, proof, f)
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
			d.locked(f, "lockout", time.Hour)
		}
		for _, id := range ids {
			_, _ = d.answer(id, right(id), otp.Failures{})
		}
		d.now = d.now.Add(ttl)
	}
}

// crowdAndOwner: many strangers guess, and the owner's device still gets codes and can
// verify them.
func crowdAndOwner(t *testing.T, open Open) {
	d := newDesk(t, open, 100)
	strangers, owner := failuresOf("n", "", strict), failuresOf("n", "d", strict)
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
