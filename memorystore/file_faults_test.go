package memorystore

import (
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

// A file is empty if the machine stopped when it was just made.
func TestFileEmpty(t *testing.T) {
	t.Parallel()
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

// Processes that share a folder have a file each. If nine files are in use, the
// tenth process has none.
func TestFileLocked(t *testing.T) {
	t.Parallel()
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

// If no file can be made, the store is in memory alone, and says so once.
func TestFileNowhere(t *testing.T) {
	t.Parallel()
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

// While the disk is full the store goes on. When there is room, it writes the
// changes since: one by one if they are few, and by comparing everything if
// they are many.
func TestFileDiskFull(t *testing.T) {
	t.Parallel()
	for _, many := range []bool{false, true} {
		t.Run(fmt.Sprintf("many %v", many), func(t *testing.T) {
			s := openSaved(t, t.TempDir(), storeEpoch)
			miss := func(i int) {
				t.Helper()
				r := testReservation(storeEpoch)
				if err := s.Reserve(ctxBg, r); err != nil {
					t.Fatal(err)
				}
				s.Attempt(ctxBg, r.ID, &otp.Answer{Failures: testFailures(i, 0), Now: storeEpoch})
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
			s.Unlock(ctxBg, "", testFailures(2, 0).Number)
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
	t.Parallel()
	s := openSaved(t, t.TempDir(), storeEpoch)
	s.count(1, storeEpoch)
	s.file.update = func(func(*bbolt.Tx) error) error { return errors.New("no space left on device") }
	store := s.memory
	s.memory = nil
	if err := store.Destruct(); err == nil {
		t.Error("closing a store that cannot write says nothing")
	}
}

// The file has everything that many callers change at the same time.
func TestFileTraffic(t *testing.T) {
	t.Parallel()
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
				s.Attempt(ctxBg, r.ID, &otp.Answer{Failures: testFailures(i%7, worker), Now: r.Now})
				if i%3 == 0 {
					s.Attempt(ctxBg, r.ID, &otp.Answer{Proof: r.Proof, Failures: testFailures(i%7, worker), Now: r.Now})
				}
				if i%50 == 0 {
					s.Unlock(ctxBg, "", testFailures(i%7, 0).Number)
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
