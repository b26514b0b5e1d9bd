package memorystore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/otp/storetest"
)

// savedStore is a memory store with a file, and what it logs.
type savedStore struct {
	*memory
	t   testing.TB
	log *observer.ObservedLogs
}

// openSaved opens a store with its file in dir, at a time. It is closed with
// the test, unless the test closes it.
func openSaved(t testing.TB, dir string, at time.Time, change ...func(*memory)) *savedStore {
	t.Helper()
	store, err := newMemory(1000)
	if err != nil {
		t.Fatal(err)
	}
	core, log := observer.New(zap.DebugLevel)
	store.dir, store.now = dir, func() time.Time { return at }
	store.log = func() *zap.Logger { return zap.New(core) }
	for _, c := range change {
		c(store)
	}
	store.ready()
	s := &savedStore{store, t, log}
	t.Cleanup(s.close)
	return s
}

func (s *savedStore) close() {
	s.t.Helper()
	if s.memory == nil {
		return
	}
	if err := s.Destruct(); err != nil {
		s.t.Errorf("Destruct: %v", err)
	}
	s.memory = nil
}

// flush writes what has changed, as the store does by itself a little later.
func (s *savedStore) flush() {
	s.t.Helper()
	if err := s.file.flush(s.memory); err != nil {
		s.t.Fatalf("writing: %v", err)
	}
}

// crashed opens what a crash now would leave, in a folder of its own.
func (s *savedStore) crashed(at time.Time) *savedStore {
	s.t.Helper()
	dir := s.t.TempDir()
	s.file.writing.Lock() // no half of a transaction
	data, err := os.ReadFile(s.file.path)
	s.file.writing.Unlock()
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "memory.db"), data, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return openSaved(s.t, dir, at)
}

// wantLog sees that the store has logged these messages, and nothing else.
func (s *savedStore) wantLog(want ...string) {
	s.t.Helper()
	var got []string
	for _, entry := range s.log.All() {
		got = append(got, entry.Message)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		s.t.Errorf("logged %q, want %q", got, want)
	}
}

const (
	logUnusable = "the file of the memory store cannot be used: it is set aside, and what it counted is forgotten"
	logNoFile   = "the memory store has no file: what it counts ends with this process"
	logDamaged  = "the file of the memory store is damaged: it is set aside, and what could be read of it goes on in a new one"
	logLost     = "rows of the memory store's file cannot be read: what they counted is forgotten"
	logNewer    = "the file of the memory store is a later release's: it is left as it is, and this process counts in another file. Start that release again, or delete the file to forget its counters and locks"
	logFailing  = "the file of the memory store cannot be written: until it can be, a restart forgets what is counted"
	logAgain    = "the file of the memory store is written again"
)

// wantLimit sees that err is the refusal of a limit, with its wait.
func wantLimit(t testing.TB, err error, limit string, wait time.Duration) {
	t.Helper()
	var refusal *otp.LimitError
	if !errors.As(err, &refusal) || refusal.Limit != limit || refusal.RetryAfter != wait {
		t.Errorf("got %v, want limit %s and a wait of %v", err, limit, wait)
	}
}

var (
	hourly = testCounter(7, otp.Rate{Count: 2, Window: time.Hour})
	ctxBg  = context.Background()
)

// A store with a file does what every store does, also where it is closed and
// opened again.
func TestFileStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, capacity int) otp.Store {
		return openSaved(t, t.TempDir(), storeEpoch, func(m *memory) { m.capacity = capacity }).memory
	})
}

// What was counted is there after a crash: sendings, but for those given back,
// and wrong codes with their locks. Pending codes are not.
func TestFileCrash(t *testing.T) {
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
	stranger, device := testRun(1, 0), testRun(1, 5)
	device.Lockout.Max = 1
	for range 3 {
		s.Attempt(ctxBg, first.ID, &otp.Answer{Run: stranger, Now: now})
	}
	s.Attempt(ctxBg, reserve(testCounter(9, otp.Rate{Count: 9, Window: time.Hour})).ID, &otp.Answer{Run: device, Now: now})
	s.flush()

	now = now.Add(10 * time.Second)
	c := s.crashed(now)
	wantLimit(t, c.Reserve(ctxBg, testReservation(now, hourly)), "number", time.Hour-70*time.Second)
	r := testReservation(now)
	r.Run = stranger
	wantLimit(t, c.Reserve(ctxBg, r), "lockout", 50*time.Second)
	r.Run = device
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

// What was forgotten stays forgotten: failures in a row that ended, counters past their time.
func TestFileForgets(t *testing.T) {
	s := openSaved(t, t.TempDir(), storeEpoch)
	for i := range 3 {
		r := testReservation(storeEpoch, testCounter(i, otp.Rate{Count: 1, Window: time.Hour}))
		if err := s.Reserve(ctxBg, r); err != nil {
			t.Fatal(err)
		}
		s.Attempt(ctxBg, r.ID, &otp.Answer{Run: testRun(i, 0), Now: storeEpoch})
		if i == 0 {
			s.flush()
			s.Unlock(ctxBg, "", testRun(i, 0).Number)
		}
		if i == 1 {
			if _, err := s.Attempt(ctxBg, r.ID, &otp.Answer{Proof: r.Proof, Run: testRun(i, 0), Now: storeEpoch}); err != nil {
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
	if c = c.crashed(storeEpoch.Add(otp.RunLife)); len(c.failures.places) != 0 {
		t.Error("wrong codes of a year ago count")
	}
}

// A store that is closed and opened again goes on where it was.
func TestFileRestart(t *testing.T) {
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
	renewed, err := s.Resend(ctxBg, pending.ID, &otp.Renewal{Now: now, TTL: 5 * time.Minute, Cooldown: 30 * time.Second, Counters: []otp.Counter{hourly}})
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

// Who still has hold of a store that is closed changes nothing that was saved,
// and a code is good once.
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

// More are pending than there is room for: none is lost, and no new one taken.
func TestFileSmallerCapacity(t *testing.T) {
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

// Marks of what is in work do not outlive the process; marks of what is done do.
func TestWebhookMarksOverARestart(t *testing.T) {
	dir, now := t.TempDir(), storeEpoch
	s := openSaved(t, dir, now)
	done, work := testCounter(1).Key, testCounter(2).Key
	lease := otp.Lease{Holder: "a", For: otp.LeaseTime, Now: now}
	for _, key := range []otp.Digest{done, work} {
		if err := s.Begin(ctxBg, key, lease); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Done(ctxBg, done, 24*time.Hour, now); err != nil {
		t.Fatal(err)
	}
	s.close()
	s = openSaved(t, dir, now.Add(-time.Hour)) // the clock was ahead
	lease.Holder, lease.Now = "b", now.Add(-time.Hour)
	if err := s.Begin(ctxBg, work, lease); err != nil {
		t.Errorf("what was in work: %v", err)
	}
	if err := s.Begin(ctxBg, done, lease); !errors.Is(err, otp.ErrDone) {
		t.Errorf("what was done: %v", err)
	}
	lease.Now = now.Add(23*time.Hour - 1)
	if err := s.Begin(ctxBg, done, lease); !errors.Is(err, otp.ErrDone) {
		t.Errorf("what was done, a day later: %v", err)
	}
	lease.Now = now.Add(23 * time.Hour)
	if err := s.Begin(ctxBg, done, lease); err != nil {
		t.Errorf("what was done, when its life is over: %v", err)
	}
	s.close()
}
