package memorystore

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/caddy-websms/websms/otp"
)

// The clock of a process was ahead. Times in its file count as of the start of
// the next process, and a restart after that does not begin them again.
func TestFileClockAhead(t *testing.T) {
	t.Parallel()
	for _, leap := range []time.Duration{otp.Skew + time.Minute, 720 * time.Hour, 20 * 365 * 24 * time.Hour} {
		dir := t.TempDir()
		budget := testCounter(1, otp.Rate{Count: 2, Window: time.Hour})
		strangers, device := testFailures(1, 0), testFailures(1, 1)
		fail := func(s *savedStore, now time.Time, run otp.Failures) error {
			t.Helper()
			r := testReservation(now)
			if err := s.Reserve(ctxBg, r); err != nil {
				t.Fatal(err)
			}
			_, err := s.Attempt(ctxBg, r.ID, &otp.Answer{Now: now, Failures: run})
			return err
		}
		ahead := storeEpoch.Add(leap)
		s := openSaved(t, dir, ahead)
		pending := testReservation(ahead, budget)
		if err := errors.Join(s.Reserve(ctxBg, pending), s.Reserve(ctxBg, testReservation(ahead, budget))); err != nil {
			t.Fatal(err)
		}
		for _, run := range []otp.Failures{strangers, strangers, strangers, device, device} {
			if err := fail(s, ahead, run); !errors.Is(err, otp.ErrWrongCode) {
				t.Fatal(err)
			}
		}
		s.close()

		check := func(s *savedStore, after time.Duration) {
			t.Helper()
			now := storeEpoch.Add(after)
			wantLimit(t, s.Reserve(ctxBg, testReservation(now, budget)), "number", time.Hour-after)
			if after < time.Minute {
				r := testReservation(now)
				r.Failures = strangers
				wantLimit(t, s.Reserve(ctxBg, r), "lockout", time.Minute-after)
			}
			rec, err := s.Get(ctxBg, "", pending.ID, now)
			if life := rec.ExpiresAt.Sub(now); after < 5*time.Minute && (err != nil || life != 5*time.Minute-after) {
				t.Errorf("a pending code lives for %v, %v; want %v", life, err, 5*time.Minute-after)
			}
			if pause := rec.ResendAt.Sub(now); after < 5*time.Minute && pause != 30*time.Second-after {
				t.Errorf("it may be sent again in %v, want %v", pause, 30*time.Second-after)
			}
		}
		for _, after := range []time.Duration{0, 30 * time.Second, 50 * time.Minute} {
			s = openSaved(t, dir, storeEpoch.Add(after))
			check(s, after)
			s.close()
		}
		now := storeEpoch.Add(time.Hour)
		s = openSaved(t, dir, now)
		if err := s.Reserve(ctxBg, testReservation(now, budget)); err != nil {
			t.Errorf("an hour after the clock was put right: %v", err)
		}
		var lock *otp.LimitError
		if err := fail(s, now, device); !errors.As(err, &lock) || lock.RetryAfter != time.Minute {
			t.Errorf("the third wrong code of a device: %v, want its lock", err)
		}
		s.close()
	}
}

// Counters and failures from a clock that was ahead make room for others when
// their time is over, though nobody asks for them.
func TestClockAheadIdle(t *testing.T) {
	t.Parallel()
	ahead := storeEpoch.Add(720 * time.Hour)
	c, r := newCounters(), newFailureTable()
	r.max = 1
	rates := []otp.Rate{{Count: 1, Window: time.Minute}}
	take := func(i int, now time.Time) {
		t.Helper()
		if err := c.take([]otp.Counter{testCounter(i, rates...)}, now, nil); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		take(i, ahead)
	}
	run, other := testFailures(1, 0), testFailures(2, 0)
	r.fail(&run, ahead)
	for i := range 100 { // each is looked at
		take(1000+i, storeEpoch)
		if err := r.admit(&other, storeEpoch); !errors.As(err, new(*otp.UnavailableError)) {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		take(2000+i, storeEpoch.Add(time.Minute))
	}
	for i := range 100 {
		if c.get(testCounter(i).Key) != nil {
			t.Fatalf("counter %d is kept", i)
		}
	}
	if err := r.admit(&other, storeEpoch.Add(otp.FailuresLife)); err != nil {
		t.Error(err)
	}
}

// The clock was a month ahead when a challenge was made. After a start with the
// right time the challenge lives no longer than any other.
func TestStopClockAhead(t *testing.T) {
	t.Parallel()
	for _, killed := range []bool{false, true} {
		ahead := storeEpoch.Add(30 * 24 * time.Hour)
		dir := t.TempDir()
		s := openSaved(t, dir, ahead)
		r := testReservation(ahead)
		if err := s.Reserve(ctxBg, r); err != nil {
			t.Fatal(err)
		}
		c := s
		if killed {
			s.keep(nil)
			c = s.crashed(storeEpoch)
		} else {
			s.close()
			c = openSaved(t, dir, storeEpoch)
		}
		rec, err := c.Get(ctxBg, "", r.ID, storeEpoch)
		if latest := storeEpoch.Add(otp.MaxLife); err != nil || rec.ExpiresAt.After(latest) || rec.ResendAt.After(latest) {
			t.Errorf("it ends at %v and may be resent at %v: %v", rec.ExpiresAt, rec.ResendAt, err)
		}
		now := storeEpoch.Add(otp.MaxLife - time.Second)
		if _, err := c.Resend(ctxBg, r.ID, &otp.Renewal{Now: now, TTL: 5 * time.Minute}); err == nil || errors.Is(err, otp.ErrNoChallenge) {
			t.Errorf("a resend before the cooldown is over: %v", err)
		}
		if _, err := c.Get(ctxBg, "", r.ID, storeEpoch.Add(otp.MaxLife)); !errors.Is(err, otp.ErrExpired) {
			t.Errorf("after its life: %v", err)
		}
	}
}

// An operator may ask for the challenges of a number while a clock goes back.
func TestOfWhileClocksLeap(t *testing.T) {
	t.Parallel()
	m, err := newMemory(1000)
	if err != nil {
		t.Fatal(err)
	}
	run := testFailures(1, 0)
	for range 50 {
		r := testReservation(storeEpoch)
		r.Failures = run
		if err := m.Reserve(ctxBg, r); err != nil {
			t.Fatal(err)
		}
	}
	var both sync.WaitGroup
	back := func(i int) time.Time { return storeEpoch.Add(-time.Duration(i) * 2 * time.Second) }
	both.Go(func() {
		for i := range 200 {
			if _, err := m.Of(ctxBg, "", run.Number, back(i)); err != nil {
				t.Error(err)
			}
		}
	})
	both.Go(func() {
		for i := range 200 {
			if _, err := m.Live(ctxBg, back(i)); err != nil {
				t.Error(err)
			}
		}
	})
	both.Wait()
}
