package memorystore

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/otp/storetest"
)

// A store with a file passes the suite of all stores.
func TestFileStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, capacity int) otp.Store {
		return openSaved(t, t.TempDir(), storeEpoch, func(m *memory) { m.capacity = capacity }).memory
	})
}

// After a crash, sendings count, except those that were given back, and so do
// wrong codes and their locks. Pending codes are gone.
func TestFileCrash(t *testing.T) {
	t.Parallel()
	s := openSaved(t, t.TempDir(), storeEpoch)
	now := storeEpoch
	reserve := func(c otp.Counter) *otp.Reservation {
		t.Helper()
		r := testReservation(now, c)
		if err := s.Reserve(ctxBg, r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	first := reserve(hourly)
	refused := testCounter(8, otp.Rate{Count: 1, Window: time.Hour})
	back := reserve(refused)
	err := s.Settle(ctxBg, back.ID, &otp.Settlement{
		Sending: 1, Status: otp.Failed, Refused: true, Taken: now, Now: now, Return: []otp.Counter{refused},
	})
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	reserve(hourly)
	stranger, device := testFailures(1, 0), testFailures(1, 5)
	device.Lockout.Max = 1
	for range 3 {
		s.Attempt(ctxBg, first.ID, &otp.Answer{Failures: stranger, Now: now})
	}
	s.Attempt(ctxBg, reserve(testCounter(9, otp.Rate{Count: 9, Window: time.Hour})).ID, &otp.Answer{Failures: device, Now: now})
	s.flush()

	now = now.Add(10 * time.Second)
	c := s.crashed(now)
	wantLimit(t, c.Reserve(ctxBg, testReservation(now, hourly)), "number", time.Hour-70*time.Second)
	r := testReservation(now)
	r.Failures = stranger
	wantLimit(t, c.Reserve(ctxBg, r), "lockout", 50*time.Second)
	r.Failures = device
	wantLimit(t, c.Reserve(ctxBg, r), "max_failures", 0)
	if _, err := c.Get(ctxBg, "", first.ID, now); !errors.Is(err, otp.ErrNoChallenge) {
		t.Errorf("a pending code after a crash: %v", err)
	}
	r = testReservation(now, refused)
	if err := c.Reserve(ctxBg, r); err != nil {
		t.Errorf("the sending that was given back: %v", err)
	}
	again := &otp.Settlement{Sending: 1, Status: otp.Failed, Refused: true, Taken: now, Now: now, Return: []otp.Counter{refused}}
	if err := c.Settle(ctxBg, r.ID, again); err != nil {
		t.Fatal(err)
	}
	// It gives back no more than one an hour, a restart or not.
	wantLimit(t, c.Reserve(ctxBg, testReservation(now, refused)), "number", time.Hour)
	c.wantLog()
}

// Failures that a right code or an operator ended, and counters past their
// time, stay forgotten.
func TestFileForgets(t *testing.T) {
	t.Parallel()
	s := openSaved(t, t.TempDir(), storeEpoch)
	for i := range 3 {
		r := testReservation(storeEpoch, testCounter(i, otp.Rate{Count: 1, Window: time.Hour}))
		if err := s.Reserve(ctxBg, r); err != nil {
			t.Fatal(err)
		}
		s.Attempt(ctxBg, r.ID, &otp.Answer{Failures: testFailures(i, 0), Now: storeEpoch})
		if i == 0 {
			s.flush()
			s.Unlock(ctxBg, "", testFailures(i, 0).Number)
		}
		if i == 1 {
			if _, err := s.Attempt(ctxBg, r.ID, &otp.Answer{Proof: r.Proof, Failures: testFailures(i, 0), Now: storeEpoch}); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.flush()
	c := s.crashed(storeEpoch.Add(time.Hour - 1))
	if counters, numbers := len(c.counters.places), len(c.failures.places); counters != 3 || numbers != 1 {
		t.Errorf("%d counters and the failures of %d numbers are there, want 3 and 1", counters, numbers)
	}
	c = c.crashed(storeEpoch.Add(time.Hour))
	if counters, numbers := len(c.counters.places), len(c.failures.places); counters != 0 || numbers != 1 {
		t.Errorf("%d counters and the failures of %d numbers are there after their hour, want 0 and 1", counters, numbers)
	}
	c.flush()
	c = c.crashed(storeEpoch) // as if the hour were not over: the file has forgotten them too
	if n := len(c.counters.places); n != 0 {
		t.Errorf("%d counters past their time are still in the file", n)
	}
	if c = c.crashed(storeEpoch.Add(otp.FailuresLife)); len(c.failures.places) != 0 {
		t.Error("wrong codes of a year ago count")
	}
}

// A store that is closed and opened again goes on where it was.
func TestFileRestart(t *testing.T) {
	t.Parallel()
	dir, now := t.TempDir(), storeEpoch
	s := openSaved(t, dir, now)
	pending, met, expired := testReservation(now, hourly), testReservation(now), testReservation(now)
	pending.Sealed, expired.TTL = []byte("sealed"), time.Minute
	for _, r := range []*otp.Reservation{pending, met, expired} {
		if err := s.Reserve(ctxBg, r); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.Settle(ctxBg, pending.ID, &otp.Settlement{Sending: 1, MessageID: "MSG1", Status: otp.Accepted, Taken: now, Now: now}))
	if _, err := s.Attempt(ctxBg, met.ID, &otp.Answer{Proof: met.Proof, Now: now}); err != nil {
		t.Fatal(err)
	}
	s.Attempt(ctxBg, pending.ID, &otp.Answer{Now: now})
	if _, _, err := s.Report(ctxBg, "MSG2", connexus.StateDelivered, now); err != nil {
		t.Fatal(err)
	}
	var seen otp.Digest
	if first, _ := s.First(ctxBg, seen, time.Hour, now); !first {
		t.Fatal("not the first")
	}
	want, err := s.Get(ctxBg, "", pending.ID, now)
	must(err)
	s.close()

	now = now.Add(time.Minute)
	s = openSaved(t, dir, now)
	got, err := s.Get(ctxBg, "", pending.ID, now)
	must(err)
	if !got.ExpiresAt.Equal(want.ExpiresAt) || !got.ResendAt.Equal(want.ResendAt) {
		t.Errorf("it ends at %v and may be resent at %v, want %v and %v", got.ExpiresAt, got.ResendAt, want.ExpiresAt, want.ResendAt)
	}
	got.ExpiresAt, got.ResendAt = want.ExpiresAt, want.ResendAt
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("the challenge is %+v, want %+v", got, want)
	}
	for name, id := range map[string]otp.ID{"met": met.ID, "expired": expired.ID} {
		if _, err := s.Get(ctxBg, "", id, now); !errors.Is(err, otp.ErrNoChallenge) {
			t.Errorf("the challenge that was %s: %v", name, err)
		}
	}
	if n, _ := s.Live(ctxBg, now); n != 1 {
		t.Errorf("%d are live, want 1", n)
	}
	if first, _ := s.First(ctxBg, seen, time.Hour, now); first {
		t.Error("what was seen is forgotten")
	}
	if age, moved, _ := s.Report(ctxBg, "MSG1", connexus.StateDelivered, now); !moved || age != time.Minute {
		t.Errorf("a report of a message sent before: moved %v, after %v", moved, age)
	}
	renewed, err := s.Resend(ctxBg, pending.ID, &otp.Renewal{
		Now: now, TTL: 5 * time.Minute, Cooldown: 30 * time.Second, Counters: []otp.Counter{hourly},
	})
	must(err)
	if string(renewed.Sealed) != "sealed" || renewed.Sending != 2 {
		t.Errorf("sending %d of %q", renewed.Sending, renewed.Sealed)
	}
	must(s.Settle(ctxBg, pending.ID, &otp.Settlement{Sending: 2, MessageID: "MSG2", Status: otp.Accepted, Taken: now, Now: now}))
	if rec, _ := s.Get(ctxBg, "", pending.ID, now); rec.Status != otp.Delivered { // as its report said, before the restart
		t.Errorf("the second sending is %s", rec.Status)
	}
	wantLimit(t, s.Reserve(ctxBg, testReservation(now, hourly)), "number", 59*time.Minute)
	s.flush()
	if _, err := s.crashed(now).Get(ctxBg, "", pending.ID, now); !errors.Is(err, otp.ErrNoChallenge) {
		t.Errorf("the file keeps a challenge that is in use: %v", err)
	}
	if _, err := s.Attempt(ctxBg, pending.ID, &otp.Answer{Proof: pending.Proof, Now: now}); err != nil {
		t.Errorf("the right code: %v", err)
	}
	s.close()
	s = openSaved(t, dir, now)
	if _, err := s.Attempt(ctxBg, pending.ID, &otp.Answer{Proof: pending.Proof, Now: now}); !errors.Is(err, otp.ErrNoChallenge) {
		t.Errorf("the right code a second time, after a restart: %v", err)
	}
	s.wantLog()
}

// A caller that still has a closed store changes nothing that was saved, and a
// code is good once.
func TestFileClosed(t *testing.T) {
	dir := t.TempDir()
	before := goleak.IgnoreCurrent()
	s := openSaved(t, dir, storeEpoch)
	r := testReservation(storeEpoch, hourly)
	if err := s.Reserve(ctxBg, r); err != nil {
		t.Fatal(err)
	}
	store, rec := s.memory, s.find(r.ID)
	s.close()
	goleak.VerifyNone(t, before)
	if _, err := rec.attempt(&otp.Answer{Proof: r.Proof, Now: storeEpoch}, &store.failures); !errors.Is(err, otp.ErrNoChallenge) {
		t.Errorf("the right code, when the store is closed: %v", err)
	}
	if err := store.Reserve(ctxBg, testReservation(storeEpoch, hourly)); !errors.As(err, new(*otp.UnavailableError)) {
		t.Errorf("Reserve: %v, want an *UnavailableError", err)
	}
	if n := len(store.notes.notes); n != 0 {
		t.Errorf("%d changes wait for a file that is closed", n)
	}
	s = openSaved(t, dir, storeEpoch)
	if _, err := s.Attempt(ctxBg, r.ID, &otp.Answer{Proof: r.Proof, Now: storeEpoch}); err != nil {
		t.Errorf("the right code, when it is open again: %v", err)
	}
}

// If more challenges are pending than there is room for, none is lost and no
// new one is taken.
func TestFileSmallerCapacity(t *testing.T) {
	t.Parallel()
	const n = 700 // more than one row of them
	dir := t.TempDir()
	s := openSaved(t, dir, storeEpoch)
	ids, err := reserveMany(s.memory, n, storeEpoch)
	if err != nil {
		t.Fatal(err)
	}
	s.close()
	s = openSaved(t, dir, storeEpoch, func(m *memory) { m.setCapacity(1) })
	if err := s.Reserve(ctxBg, testReservation(storeEpoch)); !errors.As(err, new(*otp.UnavailableError)) {
		t.Errorf("Reserve: %v, want an *UnavailableError", err)
	}
	for _, id := range ids {
		if _, err := s.Attempt(ctxBg, id, &otp.Answer{Proof: testProof(id), Now: storeEpoch}); err != nil {
			t.Fatalf("one of %d that were pending: %v", n, err)
		}
	}
}

// The store writes by itself, within half a second of the first change, and
// not while nothing changes.
func TestFileWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openSaved(t, t.TempDir(), storeEpoch)
		defer s.close()
		state := func() time.Time {
			info, err := os.Stat(s.file.path)
			if err != nil {
				t.Fatal(err)
			}
			return info.ModTime()
		}
		var begun time.Time
		for i := range 3 {
			if err := s.Reserve(ctxBg, testReservation(storeEpoch, testCounter(i, otp.Rate{Count: 1, Window: time.Hour}))); err != nil {
				t.Fatal(err)
			}
			begun = time.Now()
			time.Sleep(writeDelay + time.Millisecond)
			synctest.Wait()
			if got := len(s.crashed(storeEpoch).counters.places); got != i+1 {
				t.Fatalf("%v after the change, %d counters are in the file, want %d", time.Since(begun), got, i+1)
			}
		}
		wrote := state()
		time.Sleep(time.Hour)
		if again := state(); !again.Equal(wrote) {
			t.Error("it is written while nothing changes")
		}
	})
	if writeDelay > 500*time.Millisecond {
		t.Errorf("%v, of the second that a crash may cost, go by before it is written", writeDelay)
	}
}
