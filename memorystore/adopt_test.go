package memorystore

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const logAdopted = "the memory store has taken over the file of another process"

// look does one look of the store at the files of other processes.
func (s *savedStore) look(free []string) []string { return s.adoptLeft(free) }

// Two processes stop, and start in the other order, so each has the file of the
// other. No lock is lifted, no sending is forgotten, and a code is good once.
func TestFilesSwapped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := openSaved(t, dir, storeEpoch), openSaved(t, dir, storeEpoch.Add(time.Second))
	a.lock(1, 0)
	a.lock(3, 7)
	a.count(1, storeEpoch)
	b.lock(2, 0)
	b.count(1, storeEpoch.Add(-time.Second))
	b.count(2, storeEpoch)
	ofA, ofB := a.reserve(), b.reserve()
	a.close()
	b.close()
	for round := range 3 {
		b, a = openSaved(t, dir, storeEpoch), openSaved(t, dir, storeEpoch)
		if round == 0 {
			b.wantLog(logAdopted)
		}
		if got := filepath.Base(b.file.path); got != "memory.db" {
			t.Fatalf("the first to start has %s", got)
		}
		for name, s := range map[string]*savedStore{"first": b, "second": a} {
			if !s.locked(1, 0) || !s.locked(2, 0) || !s.locked(3, 7) || s.locked(3, 0) {
				t.Errorf("round %d, the %s: a lock is lifted, or one is there that was not", round, name)
			}
			if one, two := s.counted(1), s.counted(2); one != 2 || two != 1 {
				t.Errorf("round %d, the %s: %d and %d sendings are counted, want 2 and 1", round, name, one, two)
			}
		}
		if round < 2 {
			a.close()
			b.close()
		}
	}
	if b.good(ofB) || a.good(ofA) || !b.good(ofA) || !a.good(ofB) || b.good(ofA) || a.good(ofB) {
		t.Error("a code is not good once, where its file is")
	}
}

// One of two processes ends for good. The other one takes over its locks at the
// next start or the next look, and its codes when the file stays free.
func TestFileLeft(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart %v", restart), func(t *testing.T) {
			dir := t.TempDir()
			old, s := openSaved(t, dir, storeEpoch), openSaved(t, dir, storeEpoch)
			old.lock(1, 0)
			r := old.reserve()
			s.lock(2, 0)
			mine := s.reserve()
			free := s.look(nil)
			if len(free) != 0 {
				t.Fatalf("%v are free while both run", free)
			}
			old.close()
			if restart {
				s.close()
				s = openSaved(t, dir, storeEpoch)
				if !s.locked(1, 0) || !s.locked(2, 0) {
					t.Error("a lock is lifted at a restart")
				}
				if n, _ := s.Live(ctxBg, storeEpoch); n != 2 { // one that lock made, one of its own; or the other's
					t.Errorf("%d are live, want those of one file", n)
				}
			}
			free = s.look(nil)
			if len(free) != 1 {
				t.Fatalf("%v are free, want one", free)
			}
			s.look(free)
			if !s.locked(1, 0) || !s.locked(2, 0) {
				t.Error("a lock is lifted")
			}
			if !s.good(r) || s.good(r) || !s.good(mine) {
				t.Error("a code is not good once")
			}
			if free := s.look(nil); len(free) != 0 {
				t.Errorf("%v are taken over again", free)
			}
			if c := s.crashed(storeEpoch); !c.locked(1, 0) || !c.locked(2, 0) || c.good(r) {
				t.Error("what was taken over is not written, or a code is good again")
			}
			other := openSaved(t, dir, storeEpoch)
			if other.good(r) || other.good(mine) {
				t.Error("a code is good again in a process that starts later")
			}
			if !other.locked(1, 0) || !other.locked(2, 0) {
				t.Error("a process that starts later has not the locks")
			}
		})
	}
}

// A process stops while it takes over the file of another one. It loses neither
// the other one's codes nor its own.
func TestFileLeftAtStop(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var armed atomic.Bool
	reads, goOn := make(chan struct{}), make(chan struct{})
	a := openSaved(t, dir, storeEpoch, func(m *memory) {
		m.now = func() time.Time {
			if armed.CompareAndSwap(true, false) {
				close(reads)
				<-goOn
			}
			return storeEpoch
		}
	})
	b := openSaved(t, dir, storeEpoch)
	mine, left := a.reserve(), b.reserve()
	b.close()
	armed.Store(true)
	a.file.look.Reset(time.Millisecond)
	<-reads // the file of b, which is free
	stop := a.file.stop
	ended := make(chan error)
	go func() { ended <- a.Destruct() }()
	<-stop
	close(goOn)
	if err := <-ended; err != nil {
		t.Errorf("Destruct: %v", err)
	}
	a.memory = nil
	c := openSaved(t, dir, storeEpoch)
	if !c.good(mine) || !c.good(left) || c.good(left) {
		t.Error("a code is not good once in the process that follows")
	}
}

// A damaged file is merged as far as it can be read, and set aside.
func TestFileLeftDamaged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := openSaved(t, dir, storeEpoch), openSaved(t, dir, storeEpoch)
	pending := b.fill(400)
	path := b.file.path
	a.close()
	b.close()
	noisePages(bucketCounters)(t, path)
	for range 2 {
		a = openSaved(t, dir, storeEpoch)
		if counted, locked, _ := a.have(pending); counted != 0 || locked != 400 {
			t.Errorf("%d counted, %d locked, want 0 and 400", counted, locked)
		}
		if err := filepathExists(path + ".unusable"); err != nil {
			t.Error(err)
		}
		a.close()
	}
}

func filepathExists(path string) error {
	found, err := filepath.Glob(path)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("there is no %s", path)
	}
	return err
}

// A release that was rolled back counts beside the file of the later one. When
// the later one starts again it has everything.
func TestFileRolledBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	later := func(m *memory) { m.version++ }
	s := openSaved(t, dir, storeEpoch, later)
	s.lock(1, 0)
	s.close()
	s = openSaved(t, dir, storeEpoch)
	s.wantLog(logNewer)
	s.lock(2, 0)
	s.look(s.look(nil))
	s.wantLog(logNewer)
	s.close()
	s = openSaved(t, dir, storeEpoch, later)
	if s.wantLog(logAdopted); !s.locked(1, 0) || !s.locked(2, 0) {
		t.Error("a lock is lifted")
	}
}

// Many processes start at the same time, as when a machine boots. Each has
// every lock.
func TestFilesStartTogether(t *testing.T) {
	t.Parallel()
	const n = 4
	dir := t.TempDir()
	var stores []*savedStore
	for i := range n {
		s := openSaved(t, dir, storeEpoch)
		s.lock(i, 0)
		stores = append(stores, s)
	}
	for round := range 3 {
		for _, s := range stores {
			s.close()
		}
		stores = make([]*savedStore, n)
		var starting sync.WaitGroup
		for i := range n {
			starting.Go(func() { stores[i] = openSaved(t, dir, storeEpoch) })
		}
		starting.Wait()
		for _, s := range stores {
			for i := range n {
				if !s.locked(i, 0) {
					t.Errorf("round %d: number %d is not locked in %s", round, i, filepath.Base(s.file.path))
				}
			}
		}
	}
}

// The disk is full while a process takes over the file of another one. It
// merges the file once: a lock that is lifted before there is room again does
// not come back. A lock that the other one counts later is merged.
func TestFileLeftOnFullDisk(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]damage{"whole": nil, "damaged": noisePages(bucketCounters)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			a, b := openSaved(t, dir, storeEpoch), openSaved(t, dir, storeEpoch)
			if path := b.file.path; spoil == nil {
				b.lock(1, 0)
				b.close()
			} else {
				b.fill(400)
				b.close()
				spoil(t, path)
			}
			a.fail(errors.New("no space left on device"))
			a.look(a.look(nil))
			for i := 1; i <= 2; i++ {
				if known, err := a.Unlock(ctxBg, "", testFailures(i, 0).Number); known != (i == 1 || spoil != nil) || err != nil {
					t.Fatalf("Unlock: %v, %v", known, err)
				}
			}
			for range 2 {
				a.look(a.look(nil))
				if a.locked(1, 0) || a.locked(2, 0) {
					t.Error("the lock is back")
				}
			}
			if spoil == nil {
				b = openSaved(t, dir, storeEpoch)
				b.Unlock(ctxBg, "", testFailures(1, 0).Number)
				b.lock(2, 0)
				b.close()
				a.look(a.look(nil))
				if a.locked(1, 0) || !a.locked(2, 0) {
					t.Error("the lock is back, or one that came since is not taken over")
				}
			}
			a.fail(nil)
			a.look(a.look(nil))
			if free := a.look(nil); len(free) != 0 {
				t.Errorf("%v are still to be taken over", free)
			}
			a.close()
			a = openSaved(t, dir, storeEpoch)
			if a.locked(1, 0) || a.locked(2, 0) != (spoil == nil) {
				t.Error("after a restart the lock is back, or another one is not there")
			}
		})
	}
}
