package memorystore

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-websms/websms/otp"
)

// count takes one sending of the i-th number.
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

// used returns how many sendings count for the i-th number.
func (s *savedStore) counted(i int) int {
	s.t.Helper()
	used, err := s.Used(ctxBg, "", testCounter(i, otp.Rate{Count: 100, Window: time.Hour}), storeEpoch)
	if err != nil {
		s.t.Fatal(err)
	}
	return used[0]
}

// damage changes the file of a store that is closed.
type damage func(*testing.T, string)

func editFile(change func(tx *bbolt.Tx) error) damage {
	return func(t *testing.T, path string) {
		t.Helper()
		db, err := bbolt.Open(path, 0o600, nil)
		if err == nil {
			err = errors.Join(db.Update(change), db.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func putRow(bucket, key, value []byte) damage {
	return editFile(func(tx *bbolt.Tx) error {
		in, err := tx.CreateBucketIfNotExists(bucket)
		if err != nil {
			return err
		}
		return in.Put(key, value)
	})
}

func editBytes(change func(data []byte) []byte) damage {
	return func(t *testing.T, path string) {
		t.Helper()
		data, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, change(data), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// noisePages overwrites what a bucket has on pages of its own.
func noisePages(bucket []byte) damage {
	return func(t *testing.T, path string) {
		t.Helper()
		var root int64
		size := 0
		editFile(func(tx *bbolt.Tx) error {
			size = tx.DB().Info().PageSize
			root = int64(tx.Bucket(bucket).Root())
			return nil
		})(t, path)
		if root == 0 {
			t.Fatalf("%s has no page of its own", bucket)
		}
		editBytes(func(data []byte) []byte {
			copy(data[root*int64(size):], bytes.Repeat([]byte{0xA5}, size))
			return data
		})(t, path)
	}
}

var ofRing = func(m *memory) { m.ring = otp.Digest{1} }

// A file that cannot be ours, or that is no more what was written, is set
// aside, and a new one begun.
func TestFileUnusable(t *testing.T) {
	damages := map[string]damage{
		"another ring":           putRow(bucketMeta, metaRing, make([]byte, 32)),
		"a version of words":     putRow(bucketMeta, metaVersion, []byte("one")),
		"no version":             editFile(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Delete(metaVersion) }),
		"another program's":      editFile(func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketMeta) }),
		"not a database":         editBytes(func([]byte) []byte { return []byte("no database") }),
		"zeros":                  editBytes(func(data []byte) []byte { return make([]byte, len(data)) }),
		"noise behind the metas": editBytes(func(data []byte) []byte { return append(data[:8192], bytes.Repeat([]byte{0xA5}, len(data)-8192)...) }),
		"a page that is missing": editBytes(func(data []byte) []byte { return data[:8192+4096] }),
		"a page of another place": editBytes(func(data []byte) []byte {
			copy(data[8192:], data[:4096])
			copy(data[4*4096:], data[:4096])
			return data
		}),
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "memory.db")
			s := openSaved(t, dir, storeEpoch, ofRing)
			for i := range 500 {
				s.count(i, storeEpoch)
			}
			s.close()
			damage(t, path)
			s = openSaved(t, dir, storeEpoch, ofRing)
			s.wantLog(logUnusable)
			if n := s.counted(1); n != 0 {
				t.Errorf("%d sendings are counted out of a file that is not used", n)
			}
			s.count(1, storeEpoch)
			s.close()
			s = openSaved(t, dir, storeEpoch, ofRing)
			s.wantLog()
			if n := s.counted(1); n != 1 {
				t.Errorf("%d sendings are counted, want 1: the new file is kept", n)
			}
			if _, err := os.Stat(path + ".unusable"); err != nil {
				t.Errorf("the old file: %v", err)
			}
		})
	}
}

// fill has so many numbers counted, locked and pending, and returns the pending
// challenges.
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
			s.Attempt(ctxBg, r.ID, &otp.Answer{Run: testRun(i, 0), Now: storeEpoch})
		}
		pending = append(pending, r)
	}
	return pending
}

// have returns how many of what fill made are there.
func (s *savedStore) have(pending []*otp.Reservation) (counted, locked, live int) {
	s.t.Helper()
	for i, r := range pending {
		if s.counted(i) > 0 {
			counted++
		}
		run := testRun(i, 0)
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

// One row that cannot be read costs nothing else. The log says so once.
func TestFileBadRow(t *testing.T) {
	run := func(value ...byte) damage { return putRow(bucketFailures, make([]byte, 16), value) }
	counter := counterRow(tableKey{15: 9}, noteSending, 1)
	challenge := func(value []byte) damage { return putRow(bucketChallenges, make([]byte, 16), value) }
	whole := (&record{status: otp.Queued, sealed: []byte("sealed")}).row()
	damages := map[string]damage{
		"a counter without all":      putRow(bucketCounters, counter, []byte{1, 1}),
		"a counter of too many":      putRow(bucketCounters, counter, []byte{2, 1, 1}),
		"a counter of none":          putRow(bucketCounters, counter, []byte{0, 1, 1}),
		"a counter of no time":       putRow(bucketCounters, counter, []byte{1, 1, 0}),
		"no failures":                run(),
		"failures without moments":   run(1, 0, 1, 0),
		"failures without devices":   run(0, 0, 0),
		"failures of many moments":   run(1, 0, 101, 0),
		"failures of many devices":   run(0, 0, 0, 9),
		"failures of half a device":  run(0, 0, 0, 1, 7),
		"an empty challenge":         challenge(nil),
		"half a challenge":           challenge(whole[:len(whole)/2]),
		"a challenge without an end": challenge(whole[:len(whole)-1]),
		"saved rows":                 putRow(bucketSaved, []byte("0"), []byte("no gob")),
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openSaved(t, dir, storeEpoch)
			pending := s.fill(20)
			s.close()
			damage(t, filepath.Join(dir, "memory.db"))
			for i := range 2 {
				s = openSaved(t, dir, storeEpoch)
				if i > 0 {
					s.wantLog()
				} else if s.wantLog(logLost); s.log.Len() == 1 && s.log.All()[0].ContextMap()["rows"] != int64(1) {
					t.Errorf("the warning is %v, want 1 row", s.log.All()[0].ContextMap())
				}
				counted, locked, live := s.have(pending)
				if counted != 20 || locked != 20 || live != 20 {
					t.Errorf("%d counted, %d locked, %d live, want 20 of each", counted, locked, live)
				}
				s.close()
			}
		})
	}
}

// A bucket whose pages are damaged, or that is gone, costs no other bucket.
func TestFileDamagedBucket(t *testing.T) {
	const n = 400
	gone := func(bucket []byte) damage {
		return editFile(func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucket) })
	}
	cases := map[string]struct {
		damage
		log     string
		counted bool
		locked  bool
		live    bool
	}{
		"pages of counters":     {noisePages(bucketCounters), logDamaged, false, true, true},
		"pages of failures":     {noisePages(bucketFailures), logDamaged, true, false, true},
		"pages of challenges":   {noisePages(bucketChallenges), logDamaged, true, true, false},
		"no counters":           {gone(bucketCounters), logLost, false, true, true},
		"no bucket of failures": {gone(bucketFailures), logLost, true, false, true},
		"no saved":              {gone(bucketSaved), logLost, true, true, true},
		"no challenges":         {gone(bucketChallenges), "", true, true, false}, // as in a file of an earlier release
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openSaved(t, dir, storeEpoch)
			pending := s.fill(n)
			s.close()
			c.damage(t, filepath.Join(dir, "memory.db"))
			for i := range 2 {
				s = openSaved(t, dir, storeEpoch)
				if c.log != "" && i == 0 {
					s.wantLog(c.log)
				} else {
					s.wantLog()
				}
				counted, locked, live := s.have(pending)
				if c.counted && counted != n || c.locked && locked != n || c.live && live != n {
					t.Errorf("%d counted, %d locked, %d live, want %d but for what is damaged", counted, locked, live, n)
				}
				if !c.counted && counted == n || !c.locked && locked == n || !c.live && live == n {
					t.Errorf("%d counted, %d locked, %d live: nothing is damaged", counted, locked, live)
				}
				s.count(n+1, storeEpoch)
				s.close()
			}
		})
	}
}

// What is in a file whose end is missing is used as far as it is there.
func TestFileCutShort(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "memory.db")
	s := openSaved(t, dir, storeEpoch)
	pending := s.fill(400)
	s.close()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := len(data) - 4096; cut > 0; cut -= 16 * 4096 {
		dir := t.TempDir()
		path := filepath.Join(dir, "memory.db")
		if err := os.WriteFile(path, data[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		s := openSaved(t, dir, storeEpoch)
		counted, locked, live := s.have(pending)
		t.Logf("%d of %d bytes: %d counted, %d locked, %d live", cut, len(data), counted, locked, live)
		s.count(1, storeEpoch)
		s.close()
		s = openSaved(t, dir, storeEpoch)
		s.wantLog()
		if again, also, _ := s.have(pending); again < counted || also != locked {
			t.Errorf("%d are counted and %d locked at the next start, want %d and %d", again, also, counted, locked)
		}
		if s.counted(1) < 1 {
			t.Error("nothing is counted in the new file")
		}
		s.close()
	}
}

// The file of a later release is left as it is, byte for byte, and the process
// counts in one beside it, over a restart too.
func TestFileNewer(t *testing.T) {
	for _, version := range []string{"2", "10", "18446744073709551615"} {
		dir := t.TempDir()
		path := filepath.Join(dir, "memory.db")
		s := openSaved(t, dir, storeEpoch)
		s.count(1, storeEpoch)
		s.close()
		putRow(bucketMeta, metaVersion, []byte(version))(t, path)
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			s = openSaved(t, dir, storeEpoch)
			s.wantLog(logNewer)
			if got := s.log.All()[0].ContextMap(); fmt.Sprint(got["version"]) != version || got["file"] != path {
				t.Errorf("the error is %v, want version %s and the file", got, version)
			}
			if n := s.counted(1); n != i {
				t.Errorf("%d sendings are counted, want %d", n, i)
			}
			s.count(1, storeEpoch)
			s.close()
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
			t.Errorf("the file of version %s has changed: %v", version, err)
		}
	}
}

// A release reads the files of the one before it, and goes on with them as its own.
func TestFileVersionBefore(t *testing.T) {
	dir := t.TempDir()
	of := func(version uint64) func(*memory) { return func(m *memory) { m.version = version } }
	s := openSaved(t, dir, storeEpoch, of(5))
	pending := s.fill(3)
	s.close()
	s = openSaved(t, dir, storeEpoch, of(6))
	s.wantLog()
	if counted, locked, live := s.have(pending); counted != 3 || locked != 3 || live != 3 {
		t.Errorf("%d counted, %d locked, %d live, want 3 of each", counted, locked, live)
	}
	s.close()
	s = openSaved(t, dir, storeEpoch, of(5))
	s.wantLog(logNewer)
	s.close()
	s = openSaved(t, dir, storeEpoch, of(8))
	s.wantLog(logUnusable) // two versions are one too many
}

// What a later release adds within a version stays: a bucket, a row of another
// kind, a field at the end of a row, a value beside the version.
func TestFileKeepsUnknown(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "memory.db")
	s := openSaved(t, dir, storeEpoch)
	s.count(1, storeEpoch)
	r := testReservation(storeEpoch)
	run := testRun(1, 2)
	miss := func(s *savedStore) {
		t.Helper()
		if _, err := s.Attempt(ctxBg, r.ID, &otp.Answer{Run: run, Now: storeEpoch}); !errors.Is(err, otp.ErrWrongCode) {
			t.Fatal(err)
		}
	}
	if err := s.Reserve(ctxBg, r); err != nil {
		t.Fatal(err)
	}
	miss(s)
	s.close()
	key := keyOf(testCounter(1).Key)
	rows := []struct{ bucket, key []byte }{
		{bucketCounters, counterRow(key, noteSending, storeEpoch.UnixNano())},
		{bucketFailures, run.Number[:16]},
		{bucketChallenges, r.ID[:]},
	}
	added := []byte("added later")
	editFile(func(tx *bbolt.Tx) error {
		for _, row := range rows {
			bucket := tx.Bucket(row.bucket)
			if err := bucket.Put(row.key, append(bytes.Clone(bucket.Get(row.key)), added...)); err != nil {
				return err
			}
		}
		return nil
	})(t, path)
	unknown := []struct{ bucket, key []byte }{
		{[]byte("passkeys"), []byte("a")},
		{bucketMeta, []byte("written by")},
		{bucketCounters, counterRow(key, 7, 1)},
		{bucketCounters, []byte("short")},
		{bucketFailures, []byte("another kind of key")},
	}
	for _, row := range unknown {
		putRow(row.bucket, row.key, added)(t, path)
	}
	s = openSaved(t, dir, storeEpoch)
	s.wantLog()
	s.count(1, storeEpoch) // at the same moment: its row is written again
	miss(s)
	s.flush()
	s.file.writing.Lock()
	err := s.file.compare(s.memory)
	s.file.writing.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if n := s.counted(1); n != 2 {
		t.Errorf("%d are counted, want 2", n)
	}
	s.close()
	editFile(func(tx *bbolt.Tx) error {
		for _, row := range append(rows, unknown...) {
			bucket := tx.Bucket(row.bucket)
			if bucket == nil || !bytes.HasSuffix(bucket.Get(row.key), added) || bytes.Count(bucket.Get(row.key), added) != 1 {
				t.Errorf("of %s the row %q has lost what was added", row.bucket, row.key)
			}
		}
		return nil
	})(t, path)
}

// A file that was just begun when the machine stopped is empty.
func TestFileEmpty(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "memory.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := openSaved(t, dir, storeEpoch)
	s.wantLog()
	s.count(1, storeEpoch)
	s.flush()
	if n := s.crashed(storeEpoch).counted(1); n != 1 {
		t.Errorf("%d sendings are counted, want 1", n)
	}
}

// Who shares a folder has a file each; who finds nine in use has none.
func TestFileLocked(t *testing.T) {
	dir := t.TempDir()
	var open []*savedStore
	for i := range maxFiles {
		s := openSaved(t, dir, storeEpoch)
		for range i + 1 {
			s.count(1, storeEpoch)
		}
		s.wantLog()
		open = append(open, s)
	}
	s := openSaved(t, dir, storeEpoch)
	s.wantLog(logNoFile)
	s.count(1, storeEpoch)
	if n := s.counted(1); n != 1 {
		t.Errorf("without a file %d sendings are counted, want 1", n)
	}
	for i, s := range open {
		if n := s.counted(1); n != i+1 {
			t.Errorf("store %d has counted %d sendings, want %d", i, n, i+1)
		}
	}
	open[1].close()
	s = openSaved(t, dir, storeEpoch)
	if got := filepath.Base(s.file.path); got != "memory-2.db" || s.counted(1) != 2 {
		t.Errorf("%s is used, with %d sendings; want the one that is free, with 2", got, s.counted(1))
	}
}

// Where no file can be, the store is in memory alone, and says so once.
func TestFileNowhere(t *testing.T) {
	dir := t.TempDir()
	occupied := filepath.Join(dir, "file")
	if err := os.WriteFile(occupied, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "memory.db"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, where := range []string{occupied, filepath.Join(occupied, "below"), dir} {
		s := openSaved(t, where, storeEpoch)
		s.wantLog(logNoFile)
		for range 2 {
			s.count(1, storeEpoch)
		}
		if n := s.counted(1); n != 2 {
			t.Errorf("%d sendings are counted, want 2", n)
		}
	}
}

// While the disk is full all goes on, and what could not be written is written
// when there is room: of few changes themselves, of many what they came to.
func TestFileDiskFull(t *testing.T) {
	for _, many := range []bool{false, true} {
		t.Run(fmt.Sprintf("many %v", many), func(t *testing.T) {
			s := openSaved(t, t.TempDir(), storeEpoch)
			miss := func(i int) {
				t.Helper()
				r := testReservation(storeEpoch)
				if err := s.Reserve(ctxBg, r); err != nil {
					t.Fatal(err)
				}
				s.Attempt(ctxBg, r.ID, &otp.Answer{Run: testRun(i, 0), Now: storeEpoch})
			}
			s.count(1, storeEpoch)
			s.count(2, storeEpoch.Add(-time.Hour))
			miss(1)
			miss(2)
			s.flush()
			s.file.db.MaxSize = 1 // from here on it may not grow
			const n = 5000
			for i := range n {
				s.count(1000+i, storeEpoch)
			}
			if many {
				s.mu.Lock()
				s.notes.notes = s.notes.notes[:0]
				for range maxNotes + 1 {
					s.notes.add(noteFailures, tableKey{}, 0) // no room for more
				}
				s.mu.Unlock()
			}
			s.count(1, storeEpoch)
			budget := testCounter(9_999, otp.Rate{Count: 4 * changesAtOnce, Window: time.Hour})
			s.mu.Lock()
			for i := range 3 * changesAtOnce {
				if err := s.counters.take([]otp.Counter{budget}, storeEpoch.Add(time.Duration(i)*time.Microsecond), nil); err != nil {
					t.Fatal(err)
				}
			}
			s.mu.Unlock()
			miss(3)
			s.Unlock(ctxBg, "", testRun(2, 0).Number)
			for i := range n { // looks at all, and forgets the one that is idle
				s.count(1000+i, storeEpoch)
			}
			if s.counters.get(testCounter(2).Key) != nil {
				t.Fatal("it is not forgotten")
			}
			for try := range 4 {
				err := s.file.flush(s.memory)
				if many && try == 0 {
					continue // while too much comes in, all is not compared
				}
				if err == nil {
					t.Fatal("a file that may not grow has grown")
				}
			}
			s.wantLog(logFailing)
			s.file.writing.Lock()
			if pending := len(s.file.pending); pending > maxNotes || s.file.all != many {
				t.Errorf("%d changes are pending, all: %v", pending, s.file.all)
			}
			s.file.db.MaxSize = 0
			s.file.writing.Unlock()
			s.flush()
			s.flush()
			s.wantLog(logFailing, logAgain)
			wantSameRows(t, s.crashed(storeEpoch.Add(-time.Hour)).memory, s.memory, storeEpoch.Add(-time.Hour))
		})
	}
}

// A store that cannot write to the end says so when it is closed.
func TestFileCloseFails(t *testing.T) {
	s := openSaved(t, t.TempDir(), storeEpoch)
	s.count(1, storeEpoch)
	s.file.update = func(func(*bbolt.Tx) error) error { return errors.New("no space left on device") }
	store := s.memory
	s.memory = nil
	if err := store.Destruct(); err == nil {
		t.Error("closing a store that cannot write says nothing")
	}
}

// What is written is read again while everybody goes on asking.
func TestFileTraffic(t *testing.T) {
	s := openSaved(t, t.TempDir(), storeEpoch, func(m *memory) { m.setCapacity(10_000) })
	var asking sync.WaitGroup
	for worker := range 4 {
		asking.Go(func() {
			for i := range 300 {
				r := testReservation(storeEpoch.Add(time.Duration(i)*time.Second), testCounter(i%20, otp.Rate{Count: 5000, Window: time.Hour}))
				if err := s.Reserve(ctxBg, r); err != nil {
					t.Error(err)
					return
				}
				s.Attempt(ctxBg, r.ID, &otp.Answer{Run: testRun(i%7, worker), Now: r.Now})
				if i%3 == 0 {
					s.Attempt(ctxBg, r.ID, &otp.Answer{Proof: r.Proof, Run: testRun(i%7, worker), Now: r.Now})
				}
				if i%50 == 0 {
					s.Unlock(ctxBg, "", testRun(i%7, 0).Number)
				}
			}
		})
	}
	stop, flushed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(flushed)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := s.file.flush(s.memory); err != nil {
				t.Error(err)
			}
			s.file.writing.Lock()
			if err := s.file.compare(s.memory); err != nil {
				t.Error(err)
			}
			s.file.writing.Unlock()
		}
	}()
	asking.Wait()
	close(stop)
	<-flushed
	s.flush()
	wantSameRows(t, s.crashed(storeEpoch).memory, s.memory, storeEpoch)
}
