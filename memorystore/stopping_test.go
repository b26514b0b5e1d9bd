package memorystore

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/otp"
)

const logStopping = "the last configuration with the memory store stops: the pending challenges are in its file"

// A kill after the stop has begun costs no pending code. It brings back no code
// that was used or replaced since, however soon it follows.
func TestStopThenKill(t *testing.T) {
	t.Parallel()
	s := openSaved(t, t.TempDir(), storeEpoch)
	untouched, met, missed, resent, replaced, reported := s.reserve(), s.reserve(), s.reserve(), s.reserve(), s.reserve(), s.reserve()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.Settle(ctxBg, reported.ID, &otp.Settlement{
		Sending: 1, MessageID: "MSG1", Status: otp.Accepted, Taken: storeEpoch, Now: storeEpoch,
	}))
	s.count(1, storeEpoch)
	s.keep(nil)
	s.keep(nil) // the event, and the server's hook
	s.wantLog(logStopping)
	late := s.reserve()
	if !s.good(met) {
		t.Fatal("the right code, while Caddy stops")
	}
	if _, err := s.Attempt(ctxBg, missed.ID, &otp.Answer{Now: storeEpoch}); !errors.Is(err, otp.ErrWrongCode) {
		t.Fatal(err)
	}
	_, err := s.Resend(ctxBg, resent.ID, &otp.Renewal{Now: storeEpoch.Add(time.Minute), TTL: 5 * time.Minute, Cooldown: time.Minute})
	must(err)
	heir := testReservation(storeEpoch)
	heir.Replaces = replaced.ID
	must(s.Reserve(ctxBg, heir))

	for _, written := range []bool{false, true} {
		c := s.crashed(storeEpoch)
		c.wantLog()
		if n := c.counted(1); n != 1 {
			t.Errorf("%d are counted, want 1: counters are written too", n)
		}
		for name, want := range map[string]struct {
			*otp.Reservation
			left, sending int
			at            bool // once it is written
		}{
			"untouched": {untouched, 5, 1, true}, "reported": {reported, 5, 1, true},
			"missed": {missed, 4, 1, written}, "resent": {resent, 5, 2, written}, "heir": {heir, 5, 1, written}, "late": {late, 5, 1, written},
		} {
			rec, err := c.Get(ctxBg, "", want.ID, storeEpoch)
			if !want.at {
				if !errors.Is(err, otp.ErrNoChallenge) {
					t.Errorf("%s: %+v, %v before it is written", name, rec, err)
				}
				continue
			}
			if err != nil || rec.AttemptsLeft != want.left || rec.Sending != want.sending {
				t.Errorf("%s: %+v, %v; want %d attempts left and sending %d", name, rec, err, want.left, want.sending)
			}
		}
		if _, moved, err := c.Report(ctxBg, "MSG1", connexus.StateDelivered, storeEpoch); !moved || err != nil {
			t.Errorf("a report of a message that was sent before: %v, %v", moved, err)
		}
		if c.good(met) || c.good(replaced) {
			t.Error("a code that was used or replaced is good again")
		}
		if !c.good(untouched) || c.good(untouched) {
			t.Error("the pending code is not good once")
		}
		if again := c.crashed(storeEpoch); again.good(untouched) || again.good(reported) {
			t.Error("a code is good again after a second kill")
		}
		s.flush()
	}
	dir := s.dir
	s.close()
	s = openSaved(t, dir, storeEpoch)
	if n, _ := s.Live(ctxBg, storeEpoch); n != 6 {
		t.Errorf("%d are live after an ordinary stop, want 6", n)
	}
}

// After a kill during the stop, the next process knows which webhook deliveries
// were handled. One that was in work is handled again.
func TestStopKeepsSeen(t *testing.T) {
	t.Parallel()
	s := openSaved(t, t.TempDir(), storeEpoch)
	done, begun := otp.Digest{1}, otp.Digest{2}
	lease := otp.Lease{Holder: "a", For: time.Minute, Now: storeEpoch}
	for _, key := range []otp.Digest{done, begun} {
		if err := s.Begin(ctxBg, key, lease); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Done(ctxBg, done, time.Hour, storeEpoch); err != nil {
		t.Fatal(err)
	}
	s.keep(nil)
	c := s.crashed(storeEpoch)
	lease.Holder = "b"
	if err := c.Begin(ctxBg, done, lease); !errors.Is(err, otp.ErrDone) {
		t.Errorf("the handled delivery comes again: %v, want %v", err, otp.ErrDone)
	}
	if err := c.Begin(ctxBg, begun, lease); err != nil {
		t.Errorf("the other one comes again: %v", err)
	}
}

// The writer writes changes by itself.
func TestStopWritesBehind(t *testing.T) {
	s := openSaved(t, t.TempDir(), storeEpoch)
	s.keep(nil)
	r := s.reserve()
	harness.Eventually(t, "the challenge is in the file", func() bool {
		found := false
		s.file.writing.Lock()
		defer s.file.writing.Unlock()
		err := s.file.db.View(func(tx *bbolt.Tx) error {
			if bucket := tx.Bucket(bucketChallenges); bucket != nil {
				found = bucket.Get(r.ID[:]) != nil
			}
			return nil
		})
		return err == nil && found
	})
}

// A reload tells the store that the old configuration stops. The next one has
// started by then, and nothing is written.
func TestStopAtReload(t *testing.T) {
	t.Parallel()
	s := openSaved(t, t.TempDir(), storeEpoch)
	before, after := &Store{Capacity: 100}, &Store{Capacity: 100}
	before.Start(s.memory)
	r := s.reserve()
	after.Start(s.memory)
	before.Stopping(s.memory)
	before.Stop(s.memory)
	before.Stopping(s.memory) // the server's hook may come late
	if c := s.crashed(storeEpoch); c.good(r) {
		t.Error("a reload has written a pending code, and a crash brings it back")
	}
	s.wantLog()

	// All configurations end, and another starts before the store is closed.
	after.Stopping(s.memory)
	after.Stop(s.memory)
	s.wantLog(logStopping)
	before.Start(s.memory)
	if c := s.crashed(storeEpoch); c.good(r) {
		t.Error("a configuration runs again, and a crash brings a code back")
	}
	if !s.good(r) {
		t.Error("the pending code is not good any more")
	}
	before.Stopping(s.memory)
	if c := s.crashed(storeEpoch); c.good(r) {
		t.Error("the code is good again after the second stop")
	}
}

// While the file cannot be written, an answer that the file could undo is
// refused and counts nothing. When the file can be written again, the answer is
// taken.
func TestStopFullDisk(t *testing.T) {
	t.Parallel()
	s := openSaved(t, t.TempDir(), storeEpoch)
	r, other := s.reserve(), s.reserve()
	s.keep(nil)
	full := errors.New("no space left on device")
	s.file.writing.Lock()
	s.file.update = func(func(*bbolt.Tx) error) error { return full }
	s.file.writing.Unlock()
	run := testFailures(1, 0)
	for range 2 {
		_, err := s.Attempt(ctxBg, r.ID, &otp.Answer{Proof: r.Proof, Failures: run, Now: storeEpoch})
		if !errors.Is(err, full) || !errors.As(err, new(*otp.UnavailableError)) {
			t.Errorf("the right code: %v, want an *UnavailableError", err)
		}
		if _, err := s.Attempt(ctxBg, r.ID, &otp.Answer{Failures: run, Now: storeEpoch}); !errors.As(err, new(*otp.UnavailableError)) {
			t.Errorf("a wrong code: %v, want an *UnavailableError", err)
		}
		_, err = s.Resend(ctxBg, r.ID, &otp.Renewal{Now: storeEpoch.Add(time.Minute), TTL: time.Minute})
		if !errors.As(err, new(*otp.UnavailableError)) {
			t.Errorf("a resend: %v, want an *UnavailableError", err)
		}
		heir := testReservation(storeEpoch, hourly)
		heir.Replaces = r.ID
		if err := s.Reserve(ctxBg, heir); !errors.As(err, new(*otp.UnavailableError)) {
			t.Errorf("a replacement: %v, want an *UnavailableError", err)
		}
	}
	if rec, err := s.Get(ctxBg, "", r.ID, storeEpoch); err != nil || rec.AttemptsLeft != 5 || rec.Sending != 1 {
		t.Errorf("the challenge is %+v, %v, want it unchanged", rec, err)
	}
	if s.failures.get(run.Number) != nil || s.counters.get(hourly.Key) != nil {
		t.Error("something is counted")
	}
	late := s.reserve() // the file does not have it, so it is answered
	if !s.good(late) {
		t.Error("the right code of a challenge that the file never had")
	}
	s.file.writing.Lock()
	s.file.update = s.file.db.Update
	s.file.writing.Unlock()
	if !s.good(r) {
		t.Error("the right code, when the file can be written again")
	}
	c := s.crashed(storeEpoch)
	if c.good(r) || c.good(late) || !c.good(other) {
		t.Error("after a kill a used code is good, or a pending one is not")
	}
}

// The disk is full when the stop begins. Pending challenges are written when
// there is room.
func TestStopBeginsOnFullDisk(t *testing.T) {
	t.Parallel()
	s := openSaved(t, t.TempDir(), storeEpoch)
	r := s.reserve()
	s.file.writing.Lock()
	s.file.update = func(func(*bbolt.Tx) error) error { return errors.New("no space left on device") }
	s.file.writing.Unlock()
	s.keep(nil)
	s.wantLog(logFailing)
	s.file.writing.Lock()
	s.file.update = s.file.db.Update
	s.file.writing.Unlock()
	s.flush()
	if c := s.crashed(storeEpoch); !c.good(r) {
		t.Error("the pending code is not good")
	}
}

// Many codes are used at once while the stop begins. A kill at any moment
// brings back no code whose use was acknowledged.
func TestStopWhileCodesAreUsed(t *testing.T) {
	t.Parallel()
	const n, workers = 400, 8
	s := openSaved(t, t.TempDir(), storeEpoch)
	var asked []*otp.Reservation
	for range n {
		asked = append(asked, s.reserve())
	}
	var used [n]atomic.Bool
	var asking sync.WaitGroup
	begin := make(chan struct{})
	for worker := range workers {
		asking.Go(func() {
			<-begin
			for i := worker; i < n; i += workers {
				if i%4 == 0 {
					continue // stays pending
				}
				if s.good(asked[i]) {
					used[i].Store(true)
				} else {
					t.Error("a pending code is not good")
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		asking.Wait()
	}()
	close(begin)
	s.keep(nil)
	for looks := 0; ; looks++ {
		var over [n]bool
		for i := range over {
			over[i] = used[i].Load()
		}
		c := s.crashed(storeEpoch)
		for i, r := range asked {
			if live := c.find(r.ID) != nil; live && over[i] || !live && i%4 == 0 {
				t.Fatalf("look %d: challenge %d is in the file: %v, used: %v", looks, i, live, over[i])
			}
		}
		c.close()
		select {
		case <-done:
			if looks > 0 && used[1].Load() {
				return
			}
		default:
		}
	}
}

// A send that is refused while Caddy stops leaves the code before it good, also
// after a kill.
func TestStopRefusedAsk(t *testing.T) {
	s := openSaved(t, t.TempDir(), storeEpoch)
	budget := testCounter(1, otp.Rate{Count: 1, Window: time.Hour})
	first := testReservation(storeEpoch, budget)
	if err := s.Reserve(ctxBg, first); err != nil {
		t.Fatal(err)
	}
	s.keep(nil)
	heir := testReservation(storeEpoch, budget)
	heir.Replaces = first.ID
	if err := s.Reserve(ctxBg, heir); !errors.As(err, new(*otp.LimitError)) {
		t.Fatalf("the budget holds one: %v", err)
	}
	var c *savedStore
	harness.Eventually(t, "the code before is in the file again", func() bool {
		if err := s.file.flush(s.memory); err != nil {
			t.Fatal(err)
		}
		c = s.crashed(storeEpoch)
		return c.good(first)
	})
}
