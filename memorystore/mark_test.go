package memorystore

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.etcd.io/bbolt"
)

// An operator lifts a lock. The file from which it was merged does not bring it
// back.
func TestFileUnlockStays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := openSaved(t, dir, storeEpoch), openSaved(t, dir, storeEpoch)
	b.lock(1, 0)
	a.close()
	b.close()
	a = openSaved(t, dir, storeEpoch)
	if known, err := a.Unlock(ctxBg, "", testFailures(1, 0).Number); !known || err != nil {
		t.Fatalf("Unlock: %v, %v", known, err)
	}
	for range 2 {
		a.look(a.look(nil))
		if a.locked(1, 0) {
			t.Error("the lock is back")
		}
		a.close()
		a = openSaved(t, dir, storeEpoch)
	}
}

// The disk is full while a process starts with a file that another one has
// merged. Locks that the process counts in it later are merged again.
func TestFileUnmarkedLater(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := openSaved(t, dir, storeEpoch), openSaved(t, dir, storeEpoch)
	b.close()
	a.look(a.look(nil)) // memory-2.db is merged
	for i := range 3 {
		b = openSaved(t, dir, storeEpoch)
		if !b.file.marked {
			t.Errorf("round %d: the file is not marked as merged", i)
		}
		if i == 0 { // it counts nothing: there is nothing to be merged
			b.close()
			if free := a.look(nil); len(free) != 0 {
				t.Errorf("%v are to be merged again, and nothing is new there", free)
			}
			continue
		}
		b.fail(errors.New("no space left on device"))
		b.lock(i, 0)
		if b.file.flush(b.memory) == nil || !b.file.marked {
			t.Error("the mark is forgotten, and it is in the file")
		}
		b.fail(nil)
		b.close()
		a.look(a.look(nil))
		if !a.locked(i, 0) {
			t.Errorf("round %d: the lock is not merged", i)
		}
	}
}

// lift has an operator lift a number's lock, and clear a counter.
func (s *savedStore) lift(i int) {
	s.t.Helper()
	unlocked, err := s.Unlock(ctxBg, "", testFailures(i, 0).Number)
	cleared, clearing := s.Clear(ctxBg, "", testCounter(i))
	if err = errors.Join(err, clearing); !unlocked || !cleared || err != nil {
		s.t.Fatalf("number %d: unlocked %v, cleared %v, %v", i, unlocked, cleared, err)
	}
}

// wantLifted checks that of the numbers up to n all are locked and counted,
// except those that were lifted.
func (s *savedStore) wantLifted(n int, lifted ...int) {
	s.t.Helper()
	for i := 1; i <= n; i++ {
		want := !slices.Contains(lifted, i)
		if locked, counted := s.locked(i, 0), s.counted(i) > 0; locked != want || counted != want {
			s.t.Errorf("number %d: locked %v, counted %v, want %v", i, locked, counted, want)
		}
	}
}

// overlapped returns a process with memory-2.db, which has taken over the locks
// of a process with memory.db. If it lifts a lock, memory.db still has it.
func overlapped(t *testing.T, dir string, numbers int) *savedStore {
	a, b := openSaved(t, dir, storeEpoch), openSaved(t, dir, storeEpoch)
	for i := 1; i <= numbers; i++ {
		a.lock(i, 0)
		a.count(i, storeEpoch)
	}
	a.close()
	b.look(b.look(nil))
	b.wantLifted(numbers)
	return b
}

// An operator lifts a lock in the process that has taken it over. It does not
// come back in the next process, which has the file from which it was taken.
func TestFileUnlockStaysAtRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := overlapped(t, dir, 4)
	var lifted []int
	for i := 1; i <= 3; i++ {
		s.lift(i)
		lifted = append(lifted, i)
		s.close()
		for range 2 {
			s = openSaved(t, dir, storeEpoch)
			s.wantLifted(4, lifted...)
			s.look(s.look(nil))
			s.wantLifted(4, lifted...)
			s.close()
		}
		s = openSaved(t, dir, storeEpoch)
	}
}

// The same, with a file that was merged into a file that was merged into a
// third.
func TestFileUnlockStaysInChain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := overlapped(t, dir, 3)
	hold := openSaved(t, dir, storeEpoch) // memory.db, so that c has another
	c := openSaved(t, dir, storeEpoch)
	hold.close() // it has counted nothing: the file is still a copy
	b.lift(1)
	b.close()
	c.look(c.look(nil)) // memory-2.db is merged into memory-3.db
	c.lift(2)
	c.close()
	d := openSaved(t, dir, storeEpoch)
	if got := filepath.Base(d.file.path); got != "memory.db" {
		t.Fatalf("the process has %s", got)
	}
	d.wantLifted(3, 1, 2)
}

// A process starts beside the one in which a lock was lifted, with a file that
// still has it. It has the lock too, counts nothing, and does not hand the lock
// back.
func TestFileUnlockNotHandedBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := overlapped(t, dir, 2)
	s.lift(1)
	other := openSaved(t, dir, storeEpoch)
	r := testReservation(storeEpoch)
	r.Failures = testFailures(1, 0)
	if err := other.Reserve(ctxBg, r); err == nil {
		t.Error("a lock that another process has lifted is not there: this test shows nothing")
	}
	other.close()
	s.look(s.look(nil))
	s.wantLifted(2, 1)
}

// If nobody can tell whether a lock was lifted, it stays.
func TestFileLockKept(t *testing.T) {
	t.Parallel()
	editMeta := func(path string, change func(meta *bbolt.Bucket) error) func(*testing.T) {
		return func(t *testing.T) {
			editFile(func(tx *bbolt.Tx) error { return change(tx.Bucket(bucketMeta)) })(t, path)
		}
	}
	for name, between := range map[string]func(t *testing.T, dir string, b *savedStore){
		"the successor runs": func(*testing.T, string, *savedStore) {},
		"another file is free": func(t *testing.T, dir string, b *savedStore) {
			hold := openSaved(t, dir, storeEpoch)
			other := openSaved(t, dir, storeEpoch)
			hold.close()
			other.Unlock(ctxBg, "", testFailures(1, 0).Number)
			other.count(9, storeEpoch)
			other.close()
		},
		"it is gone": func(t *testing.T, dir string, b *savedStore) {
			path := b.file.path
			b.close()
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
		"it is an older copy": func(t *testing.T, dir string, b *savedStore) {
			b.close()
			editMeta(filepath.Join(dir, "memory.db"), func(meta *bbolt.Bucket) error {
				name := string(meta.Get(metaMerged)[8:])
				return meta.Put(metaMerged, mark{name, 1 << 40}.bytes())
			})(t)
		},
		"an earlier release merged it": func(t *testing.T, dir string, b *savedStore) {
			b.close()
			editMeta(filepath.Join(dir, "memory.db"), func(meta *bbolt.Bucket) error { return meta.Put(metaMerged, []byte("1")) })(t)
		},
		"it has lost rows": func(t *testing.T, dir string, b *savedStore) {
			path := b.file.path
			b.close()
			editFile(func(tx *bbolt.Tx) error {
				key := testFailures(2, 0).Number
				return tx.Bucket(bucketFailures).Put(key[:len(tableKey{})], []byte{0xff})
			})(t, path)
		},
		"it has lost a bucket": func(t *testing.T, dir string, b *savedStore) {
			path := b.file.path
			b.close()
			editFile(func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketFailures) })(t, path)
		},
		"two have its name": func(t *testing.T, dir string, b *savedStore) {
			path := b.file.path
			b.close()
			whole, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, "memory-4.db"), whole, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		},
		"it has lost rows, and was opened since": func(t *testing.T, dir string, b *savedStore) {
			path := b.file.path
			b.close()
			editFile(func(tx *bbolt.Tx) error {
				key := testFailures(2, 0).Number
				return tx.Bucket(bucketFailures).Put(key[:len(tableKey{})], []byte{0xff})
			})(t, path)
			aside := filepath.Join(dir, "memory.db")
			if err := os.Rename(aside, aside+".aside"); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path, aside); err != nil {
				t.Fatal(err)
			}
			openSaved(t, dir, storeEpoch).close()
			if err := errors.Join(os.Rename(aside, path), os.Rename(aside+".aside", aside)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			b := overlapped(t, dir, 3)
			b.lift(1)
			between(t, dir, b)
			d := openSaved(t, dir, storeEpoch)
			if got := filepath.Base(d.file.path); got != "memory.db" {
				t.Fatalf("the process has %s", got)
			}
			d.wantLifted(3)
		})
	}
}
