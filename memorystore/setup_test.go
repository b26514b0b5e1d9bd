package memorystore

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/internal/testlevel"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

// openMemory returns a store that is closed with the test.
func openMemory(t testing.TB, capacity int) *memory {
	t.Helper()
	store, err := newMemory(capacity)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Destruct(); err != nil {
			t.Errorf("Destruct: %v", err)
		}
	})
	return store
}

var storeEpoch = time.Date(2030, time.January, 2, 3, 4, 5, 6000, time.UTC)

// testReservation returns a reservation whose proof is its own ID, repeated.
func testReservation(now time.Time, counters ...otp.Counter) *otp.Reservation {
	r := &otp.Reservation{
		ID: session.NewID(), Length: 6, Attempts: 5, Now: now,
		TTL: 5 * time.Minute, Cooldown: 30 * time.Second, Counters: counters,
	}
	r.Proof = testProof(r.ID)
	return r
}

func testProof(id otp.ID) (proof otp.Digest) {
	copy(proof[copy(proof[:], id[:]):], id[:])
	return proof
}

// testCounter returns the counter of the i-th number.
func testCounter(i int, rates ...otp.Rate) otp.Counter {
	c := otp.Counter{Limit: "number", Rates: rates}
	binary.BigEndian.PutUint64(c.Key[:], uint64(i))
	return c
}

// reserveMany makes n challenges and returns them, up to the first refusal.
func reserveMany(store *memory, n int, now time.Time) (ids []otp.ID, err error) {
	for range n {
		r := testReservation(now)
		if err := store.Reserve(context.Background(), r); err != nil {
			return ids, err
		}
		ids = append(ids, r.ID)
	}
	return ids, nil
}

// savedStore is a store with a file, and the entries of its log.
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
	if _, ok := t.(*testing.T); ok && store.file != nil {
		store.file.writing.Lock()
		store.file.db.NoSync = true // tests read the file, and the machine does not stop meanwhile
		store.file.writing.Unlock()
	}
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

// flush writes the changes, as the store does by itself a little later.
func (s *savedStore) flush() {
	s.t.Helper()
	if err := s.file.flush(s.memory); err != nil {
		s.t.Fatalf("writing: %v", err)
	}
}

// crashed opens the file that a crash now would leave, in a folder of its own.
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

// wantLog checks that the store has logged these messages, and no others.
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
	logUnusable = "the file of the memory store cannot be used: it is renamed, and its counters and locks are forgotten"
	logNoFile   = "the memory store has no file: its counters and locks end with this process"
	logDamaged  = "the file of the memory store is damaged: it is renamed, and the rows that can be read are in a new file"
	logLost     = "rows of the memory store's file cannot be read and are forgotten"
	logNewer    = "the file of the memory store belongs to a later release: it is left as it is, and this process counts in another file. " +
		"Start that release again, or delete the file to forget its counters and locks"
	logFailing = "the file of the memory store cannot be written: until it can be, a restart forgets the latest sendings and wrong codes"
	logAgain   = "the file of the memory store can be written again"
)

// wantLimit checks that err is the refusal of a limit, with its wait.
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

// count counts one sending of the i-th number.
func (s *savedStore) count(i int, at time.Time) {
	s.t.Helper()
	c := testCounter(i, otp.Rate{Count: 100, Window: time.Hour})
	r := testReservation(at, c)
	if err := s.Reserve(ctxBg, r); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.Attempt(ctxBg, r.ID, &otp.Answer{Proof: r.Proof, Now: at}); err != nil {
		s.t.Fatal(err)
	}
}

// counted returns how many sendings count for the i-th number.
func (s *savedStore) counted(i int) int {
	s.t.Helper()
	used, err := s.Used(ctxBg, "", testCounter(i, otp.Rate{Count: 100, Window: time.Hour}), storeEpoch)
	if err != nil {
		s.t.Fatal(err)
	}
	return used[0]
}

var ofRing = func(m *memory) { m.ring = otp.Digest{1} }

// fill counts sendings of n numbers, locks them, and returns a pending
// challenge of each.
func (s *savedStore) fill(n int) (pending []*otp.Reservation) {
	s.t.Helper()
	for i := range n {
		s.count(i, storeEpoch)
		r := testReservation(storeEpoch)
		r.Attempts = 200
		if err := s.Reserve(ctxBg, r); err != nil {
			s.t.Fatal(err)
		}
		for range 3 {
			s.Attempt(ctxBg, r.ID, &otp.Answer{Failures: testFailures(i, 0), Now: storeEpoch})
		}
		pending = append(pending, r)
	}
	return pending
}

// have returns how many numbers that fill has made are counted, locked and
// pending.
func (s *savedStore) have(pending []*otp.Reservation) (counted, locked, live int) {
	s.t.Helper()
	for i, r := range pending {
		if s.counted(i) > 0 {
			counted++
		}
		run := testFailures(i, 0)
		s.mu.Lock()
		if s.failures.locked(&run, storeEpoch) != nil {
			locked++
		}
		s.mu.Unlock()
		if _, err := s.Get(ctxBg, "", r.ID, storeEpoch); err == nil {
			live++
		}
	}
	return counted, locked, live
}

// lock locks a number by wrong codes.
func (s *savedStore) lock(i, device int) {
	s.t.Helper()
	r := s.reserve()
	for range 3 {
		s.Attempt(ctxBg, r.ID, &otp.Answer{Failures: testFailures(i, device), Now: storeEpoch})
	}
	if !s.locked(i, device) {
		s.t.Fatalf("number %d is not locked", i)
	}
}

func (s *savedStore) locked(i, device int) bool {
	run := testFailures(i, device)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failures.locked(&run, storeEpoch) != nil
}

// fail makes writes of the store's file fail with err, or succeed again if err
// is nil.
func (s *savedStore) fail(err error) {
	s.file.writing.Lock()
	defer s.file.writing.Unlock()
	if s.file.update = s.file.db.Update; err != nil {
		s.file.update = func(func(*bbolt.Tx) error) error { return err }
	}
}

// reserve makes a pending challenge.
func (s *savedStore) reserve() *otp.Reservation {
	s.t.Helper()
	r := testReservation(storeEpoch)
	r.Sealed = []byte("sealed")
	if err := s.Reserve(ctxBg, r); err != nil {
		s.t.Fatal(err)
	}
	return r
}

// good reports whether the right code of a challenge is taken.
func (s *savedStore) good(r *otp.Reservation) bool {
	s.t.Helper()
	_, err := s.Attempt(ctxBg, r.ID, &otp.Answer{Proof: r.Proof, Now: storeEpoch})
	if err != nil && !errors.Is(err, otp.ErrNoChallenge) {
		s.t.Fatal(err)
	}
	return err == nil
}

// testFailures returns the failures of the i-th number; device 0 is all strangers.
func testFailures(i, device int) otp.Failures {
	r := otp.Failures{Lockout: otp.Lockout{Count: 3, For: time.Minute, Max: 100}}
	binary.BigEndian.PutUint64(r.Number[:], uint64(i)+1)
	binary.BigEndian.PutUint64(r.Device[:], uint64(device))
	return r
}

// check runs a property test: with a quarter of rapid's cases, or with all of them
// where the environment asks for whole tests. It sets a flag, so its tests are not
// parallel.
func check(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	checks := flag.Lookup("rapid.checks")
	all := checks.Value.String()
	n, err := strconv.Atoi(all)
	if err == nil {
		err = checks.Value.Set(strconv.Itoa(testlevel.Size(max(1, n/4), n)))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer checks.Value.Set(all)
	rapid.Check(t, property)
}
