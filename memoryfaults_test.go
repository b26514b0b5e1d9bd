package websms

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
	c := memoryCounter(i, otp.Rate{Count: 100, Window: time.Hour})
	r := memoryReservation(at, c)
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
	used, err := s.Used(ctxBg, "", memoryCounter(i, otp.Rate{Count: 100, Window: time.Hour}), storeEpoch)
	if err != nil {
		s.t.Fatal(err)
	}
	return used[0]
}

// A file that cannot be ours, or is no more what was written, is set aside,
// and a new one begun.
func TestMemoryFileUnusable(t *testing.T) {
	path := func(dir string) string { return filepath.Join(dir, "memory.db") }
	edit := func(change func(tx *bbolt.Tx) error) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			db, err := bbolt.Open(path(dir), 0o600, nil)
			if err == nil {
				err = errors.Join(db.Update(change), db.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	file := func(change func(data []byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			data, err := os.ReadFile(path(dir))
			if err == nil {
				err = os.WriteFile(path(dir), change(data), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	put := func(bucket, key, value []byte) func(*testing.T, string) {
		return edit(func(tx *bbolt.Tx) error { return tx.Bucket(bucket).Put(key, value) })
	}
	run := func(value ...byte) func(*testing.T, string) { return put(bucketRuns, make([]byte, 16), value) }
	counter := counterRow(tableKey{}, noteSending, 1)
	damages := map[string]func(*testing.T, string){
		"another version":        put(bucketMeta, metaVersion, []byte("2")),
		"another ring":           put(bucketMeta, metaRing, make([]byte, 32)),
		"no version":             edit(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Delete(metaVersion) }),
		"no runs":                edit(func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketRuns) }),
		"another program's":      edit(func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketMeta) }),
		"a counter's key":        put(bucketCounters, []byte("short"), []byte{1, 1, 1}),
		"a counter's kind":       put(bucketCounters, counterRow(tableKey{}, 9, 1), []byte{1, 1, 1}),
		"a counter without all":  put(bucketCounters, counter, []byte{1, 1}),
		"a counter with more":    put(bucketCounters, counter, []byte{1, 1, 1, 1}),
		"a counter of too many":  put(bucketCounters, counter, []byte{2, 1, 1}),
		"a counter of none":      put(bucketCounters, counter, []byte{0, 1, 1}),
		"a counter of no time":   put(bucketCounters, counter, []byte{1, 1, 0}),
		"a run's key":            put(bucketRuns, []byte("short"), []byte{0, 0, 0, 0}),
		"an empty run":           run(),
		"a run without moments":  run(1, 0, 1, 0),
		"a run without devices":  run(0, 0, 0),
		"a run of many moments":  run(1, 0, 101, 0),
		"a run of many devices":  run(0, 0, 0, 9),
		"a run of half a device": run(0, 0, 0, 1, 7),
		"a run with more":        run(0, 0, 0, 0, 0),
		"a challenge":            put(bucketSaved, []byte("0"), []byte("no gob")),
		"not a database":         file(func([]byte) []byte { return []byte("no database") }),
		"zeros":                  file(func(data []byte) []byte { return make([]byte, len(data)) }),
		"noise behind the metas": file(func(data []byte) []byte { return append(data[:8192], bytes.Repeat([]byte{0xA5}, len(data)-8192)...) }),
		"an end that is missing": file(func(data []byte) []byte { return data[:len(data)/2] }),
		"a page that is missing": file(func(data []byte) []byte { return data[:8192+4096] }),
		"a page of another place": file(func(data []byte) []byte {
			copy(data[8192:], data[:4096])
			copy(data[4*4096:], data[:4096])
			return data
		}),
	}
	ring := otp.Digest{1}
	ofRing := func(m *memoryStore) { m.ring = ring }
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openSaved(t, dir, storeEpoch, ofRing)
			for i := range 500 {
				s.count(i, storeEpoch)
			}
			s.close()
			damage(t, dir)
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
			if _, err := os.Stat(path(dir) + ".unusable"); err != nil {
				t.Errorf("the old file: %v", err)
			}
		})
	}
}

// A file that was just begun when the machine stopped is empty.
func TestMemoryFileEmpty(t *testing.T) {
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
func TestMemoryFileLocked(t *testing.T) {
	dir := t.TempDir()
	var open []*savedStore
	for i := range maxMemoryFiles {
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
func TestMemoryFileNowhere(t *testing.T) {
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
func TestMemoryFileDiskFull(t *testing.T) {
	for _, many := range []bool{false, true} {
		t.Run(fmt.Sprintf("many %v", many), func(t *testing.T) {
			s := openSaved(t, t.TempDir(), storeEpoch)
			miss := func(i int) {
				t.Helper()
				r := memoryReservation(storeEpoch)
				if err := s.Reserve(ctxBg, r); err != nil {
					t.Fatal(err)
				}
				s.Attempt(ctxBg, r.ID, &otp.Answer{Run: memoryRun(i, 0), Now: storeEpoch})
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
					s.notes.add(noteRun, tableKey{}, 0) // no room for more
				}
				s.mu.Unlock()
			}
			s.count(1, storeEpoch)
			budget := memoryCounter(9_999, otp.Rate{Count: 4 * changesAtOnce, Window: time.Hour})
			s.mu.Lock()
			for i := range 3 * changesAtOnce {
				if err := s.counters.take([]otp.Counter{budget}, storeEpoch.Add(time.Duration(i)*time.Microsecond), nil); err != nil {
					t.Fatal(err)
				}
			}
			s.mu.Unlock()
			miss(3)
			s.Unlock(ctxBg, "", memoryRun(2, 0).Number)
			for i := range n { // looks at all, and forgets the one that is idle
				s.count(1000+i, storeEpoch)
			}
			if s.counters.get(memoryCounter(2).Key) != nil {
				t.Fatal("it is not forgotten")
			}
			for try := range 4 {
				err := s.file.flush(s.memoryStore)
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
			wantSameRows(t, s.crashed(storeEpoch.Add(-time.Hour)).memoryStore, s.memoryStore, storeEpoch.Add(-time.Hour))
		})
	}
}

// A store that cannot write to the end says so when it is closed.
func TestMemoryFileCloseFails(t *testing.T) {
	s := openSaved(t, t.TempDir(), storeEpoch)
	s.count(1, storeEpoch)
	s.file.update = func(func(*bbolt.Tx) error) error { return errors.New("no space left on device") }
	store := s.memoryStore
	s.memoryStore = nil
	if err := store.Destruct(); err == nil {
		t.Error("closing a store that cannot write says nothing")
	}
}

// What is written is read again while everybody goes on asking.
func TestMemoryFileTraffic(t *testing.T) {
	s := openSaved(t, t.TempDir(), storeEpoch, func(m *memoryStore) { m.setCapacity(10_000) })
	var asking sync.WaitGroup
	for worker := range 4 {
		asking.Go(func() {
			for i := range 300 {
				r := memoryReservation(storeEpoch.Add(time.Duration(i)*time.Second), memoryCounter(i%20, otp.Rate{Count: 5000, Window: time.Hour}))
				if err := s.Reserve(ctxBg, r); err != nil {
					t.Error(err)
					return
				}
				s.Attempt(ctxBg, r.ID, &otp.Answer{Run: memoryRun(i%7, worker), Now: r.Now})
				if i%3 == 0 {
					s.Attempt(ctxBg, r.ID, &otp.Answer{Proof: r.Proof, Run: memoryRun(i%7, worker), Now: r.Now})
				}
				if i%50 == 0 {
					s.Unlock(ctxBg, "", memoryRun(i%7, 0).Number)
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
			if err := s.file.flush(s.memoryStore); err != nil {
				t.Error(err)
			}
			s.file.writing.Lock()
			if err := s.file.compare(s.memoryStore); err != nil {
				t.Error(err)
			}
			s.file.writing.Unlock()
		}
	}()
	asking.Wait()
	close(stop)
	<-flushed
	s.flush()
	wantSameRows(t, s.crashed(storeEpoch).memoryStore, s.memoryStore, storeEpoch)
}
