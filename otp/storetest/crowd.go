package storetest

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/testlevel"
	"github.com/caddy-websms/websms/otp"
)

var crowdTests = []test{
	{"a crowd of right codes, one wins", oneWinner},
	{"two right codes, one wins", duels},
	{"guessers", guessers},
	{"limits hold", limitsHold},
	{"one of many resends", oneResend},
	{"one of many is first", oneFirst},
	{"everything at once", everythingAtOnce},
}

var crowdedRoomTests = []test{
	{"twice the capacity", twiceCapacity},
	{"room is never exceeded", roomNeverExceeded},
	{"one room, many heirs", manyHeirs},
}

// crowd runs work in n goroutines that begin at the same moment, and waits for them.
func crowd(n int, work func(i int)) {
	var gate, done sync.WaitGroup
	gate.Add(1)
	for i := range n {
		done.Go(func() {
			gate.Wait()
			work(i)
		})
	}
	gate.Done()
	done.Wait()
}

// floodSize is how many other challenges a flood has. With -short, which comes with
// the race detector, a flood is smaller: calls meet, but they crowd nothing out.
func floodSize() int {
	if testing.Short() {
		return 100
	}
	return testlevel.Size(500, 2000)
}

// flood calls do n times, some of them at once. Each call must succeed.
func flood(t *testing.T, n int, do func(i int) error) {
	t.Helper()
	const atOnce = 8
	crowd(atOnce, func(first int) {
		for i := first; i < n; i += atOnce {
			if err := do(i); err != nil {
				t.Errorf("%d of a flood of %d: %v", i, n, err)
				return
			}
		}
	})
}

func oneWinner(t *testing.T, open Open) {
	n := testlevel.Size(200, 1000)
	d := newDesk(t, open, 10)
	for range 3 {
		id := d.reserve()
		var won atomic.Int32
		crowd(n, func(int) {
			_, err := d.store.Attempt(ctx, id, &otp.Answer{Proof: right(id), Now: d.now})
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, otp.ErrNoChallenge):
				t.Errorf("a loser got %v, want %v", err, otp.ErrNoChallenge)
			}
		})
		if won.Load() != 1 {
			t.Fatalf("%d of %d right codes won, want 1", won.Load(), n)
		}
	}
}

// duels: two goroutines answer one challenge with the right code, many times. They begin
// as close together as two processors can, while a crowd would queue up.
func duels(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	for range testlevel.Size(400, 2000) {
		id := d.reserve()
		proof := right(id)
		var ready, won atomic.Int32
		crowd(2, func(int) {
			ready.Add(1)
			for spins := 1; ready.Load() < 2; spins++ {
				if spins%10000 == 0 {
					runtime.Gosched()
				}
			}
			if _, err := d.store.Attempt(ctx, id, &otp.Answer{Proof: proof, Now: d.now}); err == nil {
				won.Add(1)
			}
		})
		if won.Load() != 1 {
			t.Fatalf("%d of two right codes won, want 1", won.Load())
		}
	}
}

// guessers answer one challenge at once. No more codes are compared than there are
// attempts. The right code may be among them by chance, and wins once at most.
func guessers(t *testing.T, open Open) {
	d := newDesk(t, open, 200)
	for range testlevel.Size(20, 100) {
		id := d.reserve()
		var compared, won, dead atomic.Int32
		crowd(64, func(i int) {
			proof := wrong(i)
			if i == 63 {
				proof = right(id)
			}
			rec, err := d.store.Attempt(ctx, id, &otp.Answer{Proof: proof, Now: d.now})
			switch {
			case err == nil:
				won.Add(1)
				compared.Add(1)
			case errors.Is(err, otp.ErrWrongCode):
				compared.Add(1)
				if rec.AttemptsLeft < 0 || rec.AttemptsLeft >= attempts {
					t.Errorf("%d attempts left after one of %d", rec.AttemptsLeft, attempts)
				}
			case errors.Is(err, otp.ErrTooManyAttempts):
				dead.Add(1)
			case !errors.Is(err, otp.ErrNoChallenge):
				t.Errorf("a guess got %v", err)
			}
		})
		if compared.Load() > attempts || won.Load() > 1 {
			t.Fatalf("%d guesses compared and %d right, want at most %d and 1", compared.Load(), won.Load(), attempts)
		}
		if won.Load() == 0 && (compared.Load() != attempts || dead.Load() != 64-attempts) {
			t.Fatalf("%d guesses compared, %d told that it is dead; want %d and %d",
				compared.Load(), dead.Load(), attempts, 64-attempts)
		}
	}
}

func twiceCapacity(t *testing.T, open Open) {
	const goroutines, each = 64, 50
	const capacity = goroutines * each / 2
	d := newDesk(t, open, capacity)
	taken := make([][]otp.ID, goroutines)
	var refused atomic.Int32
	crowd(goroutines, func(i int) {
		for range each {
			r := d.usual()
			err := d.store.Reserve(ctx, r)
			var unavailable *otp.UnavailableError
			switch {
			case err == nil:
				taken[i] = append(taken[i], r.ID)
			case errors.As(err, &unavailable):
				refused.Add(1)
			default:
				t.Errorf("refused with %v, want an *UnavailableError", err)
			}
		}
	})
	if refused.Load() != capacity {
		t.Errorf("%d of %d refused, want %d", refused.Load(), goroutines*each, capacity)
	}
	crowd(goroutines, func(i int) {
		for _, id := range taken[i] {
			if _, err := d.store.Attempt(ctx, id, &otp.Answer{Proof: right(id), Now: d.now}); err != nil {
				t.Errorf("a challenge that was taken does not verify: %v", err)
			}
		}
	})
	if n, err := d.store.Live(ctx, d.now); n != 0 || err != nil {
		t.Errorf("Live: %d, %v; want none", n, err)
	}
	d.fill(capacity) // the whole room is free again
}

// roomNeverExceeded makes and ends many challenges at once in a small store.
func roomNeverExceeded(t *testing.T, open Open) {
	const capacity = 16
	d := newDesk(t, open, capacity)
	var held, met atomic.Int32
	crowd(64, func(int) {
		for range 50 {
			r := d.usual()
			if err := d.store.Reserve(ctx, r); err != nil {
				var unavailable *otp.UnavailableError
				if !errors.As(err, &unavailable) {
					t.Errorf("refused with %v, want an *UnavailableError", err)
				}
				continue
			}
			if n := held.Add(1); n > capacity {
				t.Errorf("%d challenges held, %d are room for", n, capacity)
			}
			held.Add(-1) // before the challenge ends, so that held is never too high
			if _, err := d.store.Attempt(ctx, r.ID, &otp.Answer{Proof: right(r.ID), Now: d.now}); err != nil {
				t.Errorf("a challenge that was taken does not verify: %v", err)
			}
			met.Add(1)
		}
	})
	if met.Load() < capacity {
		t.Errorf("%d challenges met, want %d at least", met.Load(), capacity)
	}
	d.fill(capacity)
}

// manyHeirs: of many challenges that replace the same former one, one gets its room.
func manyHeirs(t *testing.T, open Open) {
	const capacity = 3
	d := newDesk(t, open, capacity)
	ids := d.fill(capacity)
	former := ids[0]
	for range 20 {
		heirs := make([]otp.ID, 64)
		crowd(len(heirs), func(i int) {
			r := d.usual()
			r.Replaces = former
			if d.store.Reserve(ctx, r) == nil {
				heirs[i] = r.ID
			}
		})
		d.every(former, otp.ErrNoChallenge)
		heir := 0
		for _, id := range heirs {
			if id != (otp.ID{}) {
				former = id
				heir++
			}
		}
		if heir != 1 {
			t.Fatalf("%d challenges replaced the same one in a full store, want 1", heir)
		}
	}
	for _, id := range append(ids[1:], former) {
		d.mustMeet(id)
	}
}

func limitsHold(t *testing.T, open Open) {
	d := newDesk(t, open, 1000)
	for round := range testlevel.Size(4, 10) {
		d.now = epoch.Add(time.Duration(round) * time.Hour)
		number := counter("number", "crowd", otp.Rate{Count: 10, Window: time.Hour})
		budget := counter("budget", "crowd in all", otp.Rate{Count: 500, Window: time.Hour})
		var taken atomic.Int32
		crowd(64, func(int) {
			err := d.store.Reserve(ctx, d.usual(budget, number))
			var limit *otp.LimitError
			switch {
			case err == nil:
				taken.Add(1)
			case !errors.As(err, &limit) || limit.Limit != "number" || limit.RetryAfter != time.Hour:
				t.Errorf("refused with %v, want the limit per number", err)
			}
		})
		if taken.Load() != 10 {
			t.Fatalf("%d sendings taken, the limit is 10", taken.Load())
		}
	}
}

func oneResend(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	c := counter("number", "resends", otp.Rate{Count: 2, Window: time.Hour})
	id := d.reserve()
	d.now = d.now.Add(cooldown)
	var resent atomic.Int32
	crowd(64, func(int) {
		_, err := d.store.Resend(ctx, id, d.renewal(c))
		var limit *otp.LimitError
		switch {
		case err == nil:
			resent.Add(1)
		case !errors.As(err, &limit) || limit.Limit != "cooldown":
			t.Errorf("refused with %v, want the cooldown", err)
		}
	})
	if rec := d.mustGet(id); resent.Load() != 1 || rec.Sending != 2 {
		t.Fatalf("%d resent, sending %d; want 1 and 2", resent.Load(), rec.Sending)
	}
	d.reserve(c)
	d.refused(d.store.Reserve(ctx, d.usual(c)), "number", time.Hour)
}

func oneFirst(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	for i := range testlevel.Size(20, 100) {
		var first atomic.Int32
		crowd(64, func(int) {
			yes, err := d.store.First(ctx, wrong(i), time.Hour, d.now)
			if err != nil {
				t.Errorf("First: %v", err)
			}
			if yes {
				first.Add(1)
			}
		})
		if first.Load() != 1 {
			t.Fatalf("%d of 64 were first, want 1", first.Load())
		}
	}
}

// everythingAtOnce mixes all calls on few challenges. Each challenge accepts its code
// once at most, and afterwards the room and the counters are right.
func everythingAtOnce(t *testing.T, open Open) {
	const capacity = 8
	rounds := testlevel.Size(15, 50)
	d := newDesk(t, open, capacity)
	lax := counter("budget", "all", otp.Rate{Count: 2 * rounds, Window: time.Hour})
	for round := range rounds {
		d.now = epoch.Add(time.Duration(round) * time.Hour)
		id, next := d.reserve(lax), d.usual(lax)
		next.Replaces = id
		taken := d.now
		at := d.now.Add(cooldown)
		message := "m" + id.String()
		var met, replaced atomic.Int32
		crowd(32, func(i int) {
			switch i % 8 {
			case 0, 1:
				if _, err := d.store.Attempt(ctx, id, &otp.Answer{Proof: right(id), Now: at}); err == nil {
					met.Add(1)
				}
			case 2:
				_, _ = d.store.Attempt(ctx, id, &otp.Answer{Proof: wrong(i), Now: at})
			case 3:
				_, _ = d.store.Resend(ctx, id, &otp.Renewal{Now: at, TTL: ttl, Cooldown: time.Hour})
			case 4:
				_ = d.store.Settle(ctx, id, &otp.Settlement{
					Sending: 1, MessageID: message, Status: otp.Accepted, Taken: taken, Now: at,
				})
			case 5:
				_, _, _ = d.store.Report(ctx, message, delivered, at)
			case 6:
				changed, stop := d.store.Watch(id)
				if rec, err := d.store.Get(ctx, scope, id, at); err == nil && rec.AttemptsLeft == attempts {
					select {
					case <-changed:
					case <-time.After(patience):
						t.Errorf("%v: not woken by the changes of others", id)
					}
				}
				stop()
			case 7:
				if i == 7 && d.store.Reserve(ctx, next) == nil {
					replaced.Add(1)
				}
			}
		})
		if met.Load() > 1 || replaced.Load() != 1 {
			t.Fatalf("met %d times, replaced %d times; want at most and exactly 1", met.Load(), replaced.Load())
		}
		d.every(id, otp.ErrNoChallenge)
		d.mustMeet(next.ID)
		if n, err := d.store.Live(ctx, d.now); n != 0 || err != nil {
			t.Fatalf("Live: %d, %v; want none", n, err)
		}
	}
}
