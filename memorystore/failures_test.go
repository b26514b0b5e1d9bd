package memorystore

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/otp"
)

// If there is no room for another number, a wrong code for it is refused and
// counts nowhere. Numbers that are counted already go on.
func TestFailuresBounded(t *testing.T) {
	t.Parallel()
	const most = 4
	store := openMemory(t, 100)
	store.failures.max = most
	now := storeEpoch
	attempt := func(id otp.ID, proof otp.Digest, run otp.Failures) (otp.Record, error) {
		return store.Attempt(context.Background(), id, &otp.Answer{Proof: proof, Failures: run, Now: now})
	}
	challenge := func(run otp.Failures) *otp.Reservation {
		t.Helper()
		r := testReservation(now)
		r.Failures = run
		if err := store.Reserve(context.Background(), r); err != nil {
			t.Fatalf("Reserve: %v", err)
		}
		return r
	}
	miss := func(run otp.Failures) {
		t.Helper()
		r := challenge(run)
		if rec, err := attempt(r.ID, otp.Digest{}, run); !errors.Is(err, otp.ErrWrongCode) || rec.AttemptsLeft != 4 {
			t.Fatalf("a wrong code: %v, %d attempts left", err, rec.AttemptsLeft)
		}
	}
	for i := range most {
		miss(testFailures(i, 0))
	}
	newcomer := challenge(testFailures(most, 0))
	for _, proof := range []otp.Digest{{}, newcomer.Proof} { // the right one too: else it is guessed for free
		for _, device := range []int{0, 7} {
			_, err := attempt(newcomer.ID, proof, testFailures(most, device))
			var full *otp.UnavailableError
			if !errors.As(err, &full) || full.RetryAfter <= 0 || errors.Is(err, otp.ErrWrongCode) {
				t.Fatalf("a number more than there is room for: %v, want an *UnavailableError", err)
			}
		}
	}
	rec, err := store.Get(context.Background(), "", newcomer.ID, now)
	if err != nil || rec.AttemptsLeft != 5 {
		t.Errorf("%v, %d attempts left after those that were refused, want 5", err, rec.AttemptsLeft)
	}
	if had, _ := store.Unlock(context.Background(), "", testFailures(most, 0).Number); had || len(store.failures.places) != most {
		t.Errorf("a refused number counts: %v; %d numbers, want %d", had, len(store.failures.places), most)
	}
	miss(testFailures(0, 1)) // a device of a known number needs no room
	miss(testFailures(0, 2))
	miss(testFailures(1, 0))
	r := challenge(testFailures(1, 0))
	var lock *otp.LimitError
	if _, err := attempt(r.ID, otp.Digest{}, testFailures(1, 0)); !errors.As(err, &lock) || lock.Limit != "lockout" {
		t.Errorf("the third wrong code of a known number: %v, want its lock", err)
	}
	r = challenge(testFailures(2, 0))
	if _, err := attempt(r.ID, r.Proof, testFailures(2, 0)); err != nil { // which makes room
		t.Fatalf("the right code of a known number: %v", err)
	}
	if _, err := attempt(newcomer.ID, newcomer.Proof, testFailures(most, 0)); err != nil {
		t.Errorf("the right code of a new number, when there is room: %v", err)
	}
	if got := len(store.failures.places); got != most-1 {
		t.Errorf("%d numbers, want %d: a success leaves nothing", got, most-1)
	}
}

// Failures that do not count any more make room for others, however full the
// table is. A lock that only an operator can end does not.
func TestFailuresIdle(t *testing.T) {
	t.Parallel()
	const most = 50
	r := newFailureTable()
	r.max = most
	fail := func(run otp.Failures, at time.Duration) error {
		err := r.admit(&run, storeEpoch.Add(at))
		if err == nil {
			r.fail(&run, storeEpoch.Add(at))
		}
		return err
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range most {
		must(fail(testFailures(i, 0), 0))
	}
	locked := testFailures(0, 3)
	locked.Lockout.Max = 1
	must(fail(locked, 0))                     // the first number, by a device
	must(fail(testFailures(1, 3), time.Hour)) // the second, later than all others
	for range most {                          // every number is looked at
		if err := fail(testFailures(-5, 0), otp.FailuresLife-1); !errors.As(err, new(*otp.UnavailableError)) {
			t.Fatalf("a number more than there is room for: %v", err)
		}
	}
	if len(r.places) != most {
		t.Fatalf("%d numbers, want all %d within their life", len(r.places), most)
	}
	for i := range most - 2 {
		must(fail(testFailures(most+i, 0), otp.FailuresLife))
	}
	for range most {
		if err := fail(testFailures(-5, 0), otp.FailuresLife); !errors.As(err, new(*otp.UnavailableError)) {
			t.Fatalf("a number more than there is room for: %v", err)
		}
	}
	for i := range most {
		number := testFailures(i, 0).Number
		if kept := r.get(number) != nil; kept != (i < 2) {
			t.Errorf("number %d is kept: %v", i, kept)
		}
	}
	for i := range 10 * most { // years later all but the locked one make room, whenever it is wanted
		must(fail(testFailures(1000+i, 0), time.Duration(3+i/(most-1)*2)*otp.FailuresLife))
	}
	if lock := r.locked(&locked, storeEpoch.Add(30*otp.FailuresLife)); lock == nil || lock.Limit != "max_failures" {
		t.Errorf("what only an operator unlocks, after years: %v", lock)
	}
}

// A number's failures take little memory.
func TestFailuresFootprint(t *testing.T) {
	const n = 200_000
	for _, c := range []struct{ devices, most int }{{0, 128}, {1, 512}} {
		before := harness.HeapInUse()
		r := newFailureTable()
		for i := range n {
			run := testFailures(i, c.devices)
			if err := r.admit(&run, storeEpoch); err != nil {
				t.Fatal(err)
			}
			r.fail(&run, storeEpoch)
		}
		each := (harness.HeapInUse() - before) / n
		t.Logf("%d bytes for each of %d numbers, of %d device", each, n, c.devices)
		if each > int64(c.most) {
			t.Errorf("%d bytes for each number of %d device, want %d at most", each, c.devices, c.most)
		}
		runtime.KeepAlive(r)
	}
}
