package memorystore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/otp"
)

const logAdopted = "the memory store goes on with what another process has left"

// lock has a number locked.
func (s *savedStore) lock(i, device int) {
	s.t.Helper()
	r := s.reserve()
	for range 3 {
		s.Attempt(ctxBg, r.ID, &otp.Answer{Run: testRun(i, device), Now: storeEpoch})
	}
	if !s.locked(i, device) {
		s.t.Fatalf("number %d is not locked", i)
	}
}

func (s *savedStore) locked(i, device int) bool {
	run := testRun(i, device)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failures.locked(&run, storeEpoch) != nil
}

// look does what the store does every adoptEvery.
func (s *savedStore) look(free []string) []string { return s.adoptLeft(free) }

// Two processes stop, and start in the other order: each has the file of the
// other. No lock is lifted, no sending forgotten, and a code is good once.
func TestFilesSwapped(t *testing.T) {
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

// One of two processes ends for good. The other one takes over what it left:
// its locks at the next start or the next look, its codes when the file stays free.
func TestFileLeft(t *testing.T) {
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

// A process stops while it takes over what another one has left. The codes of
// that one are lost no more than its own.
func TestFileLeftAtStop(t *testing.T) {
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

// An operator lifts a lock. The file that it was merged from does not bring it back.
func TestFileUnlockStays(t *testing.T) {
	dir := t.TempDir()
	a, b := openSaved(t, dir, storeEpoch), openSaved(t, dir, storeEpoch)
	b.lock(1, 0)
	a.close()
	b.close()
	a = openSaved(t, dir, storeEpoch)
	if known, err := a.Unlock(ctxBg, "", testRun(1, 0).Number); !known || err != nil {
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

// A file that is damaged is merged as far as it can be read, and set aside.
func TestFileLeftDamaged(t *testing.T) {
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

// A release that was rolled back counts beside the file of the later one, which
// has all of it when it starts again.
func TestFileRolledBack(t *testing.T) {
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

// Many start at the same time, as when a machine boots. Each has every lock.
func TestFilesStartTogether(t *testing.T) {
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

// What is merged is as strict as each part, merged twice it is the same, and so
// it is in the other order.
func TestMergeRows(t *testing.T) {
	moments := rapid.SliceOfN(rapid.Int64Range(1, 30), 0, 12)
	drawFailures := rapid.Custom(func(t *rapid.T) failures {
		s := failures{moments: moments.Draw(t, "moments"), until: rapid.Int64Range(0, 50).Draw(t, "until")}
		slices.Sort(s.moments)
		s.moments = slices.Compact(s.moments)
		s.count = int32(len(s.moments))
		if s.count == maxMoments {
			s.count += rapid.Int32Range(0, 5).Draw(t, "more")
		}
		return s
	})
	clone := func(s failures) failures {
		s.moments = slices.Clone(s.moments)
		return s
	}
	window := func(moments []int64) (w otp.Window) {
		for _, at := range moments {
			w.Add(time.Unix(0, at), 100)
		}
		return w
	}
	text := func(w otp.Window) (s string) {
		for i := countAll(&w); i > 0; i-- {
			s += fmt.Sprint(momentAt(&w, i), " ")
		}
		return s
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawFailures.Draw(t, "a"), drawFailures.Draw(t, "b")
		ab, ba := clone(a), clone(b)
		ab.merge(&b)
		ba.merge(&a)
		if fmt.Sprint(ab) != fmt.Sprint(ba) {
			t.Fatalf("%v and %v are %v, and the other way %v", a, b, ab, ba)
		}
		again := clone(ab)
		again.merge(&b)
		again.merge(&a)
		if fmt.Sprint(again) != fmt.Sprint(ab) {
			t.Fatalf("merged again, %v is %v", ab, again)
		}
		if ab.count < max(a.count, b.count) || ab.until < max(a.until, b.until) || ab.last() < max(a.last(), b.last()) {
			t.Fatalf("%v is less strict than %v or %v", ab, a, b)
		}

		x, y := window(moments.Draw(t, "x")), window(moments.Draw(t, "y"))
		keep := rapid.IntRange(1, 30).Draw(t, "keep")
		xy, yx := unionOf(&x, &y, keep), unionOf(&y, &x, keep)
		if text(xy) != text(yx) {
			t.Fatalf("the union is %s, and the other way %s", text(xy), text(yx))
		}
		if twice := unionOf(&xy, &y, keep); text(twice) != text(xy) {
			t.Fatalf("the union with one of its parts is %s, want %s", text(twice), text(xy))
		}
		for at := int64(1); at <= 30; at++ {
			if want := max(countAt(&x, at), countAt(&y, at)); keep == 30 && countAt(&xy, at) != want {
				t.Fatalf("%d events at %d, want %d", countAt(&xy, at), at, want)
			}
		}
		for _, window := range []time.Duration{5, 20} {
			rate := []otp.Rate{{Count: rapid.IntRange(1, keep).Draw(t, "count"), Window: window}}
			now := time.Unix(0, 31)
			if union, each := xy.Wait(rate, now), max(x.Wait(rate, now), y.Wait(rate, now)); union < each {
				t.Fatalf("the union waits %v, and one of its parts %v", union, each)
			}
		}
	})
}

// fail has the store's file fail to be written, or no more.
func (s *savedStore) fail(err error) {
	s.file.writing.Lock()
	defer s.file.writing.Unlock()
	if s.file.update = s.file.db.Update; err != nil {
		s.file.update = func(func(*bbolt.Tx) error) error { return err }
	}
}

// The disk is full while a process starts with a file that another one has
// merged. What it counts in it since is merged again.
func TestFileUnmarkedLater(t *testing.T) {
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
	unlocked, err := s.Unlock(ctxBg, "", testRun(i, 0).Number)
	cleared, clearing := s.Clear(ctxBg, "", testCounter(i))
	if err = errors.Join(err, clearing); !unlocked || !cleared || err != nil {
		s.t.Fatalf("number %d: unlocked %v, cleared %v, %v", i, unlocked, cleared, err)
	}
}

// wantLifted looks whether of all numbers up to n those are locked and counted,
// and no others, that were not lifted.
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
// of the one with memory.db. What it lifts is back after a restart with
// memory.db, unless that goes on with what memory-2.db says.
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
// come back in the next one, which has the file that it was taken from.
func TestFileUnlockStaysAtRestart(t *testing.T) {
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

// It was taken from a file that was taken from another one.
func TestFileUnlockStaysInChain(t *testing.T) {
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

// A process starts beside the one that has lifted a lock, with a file that still
// has it. It has that lock, counts nothing, and does not hand it back.
func TestFileUnlockNotHandedBack(t *testing.T) {
	dir := t.TempDir()
	s := overlapped(t, dir, 2)
	s.lift(1)
	other := openSaved(t, dir, storeEpoch)
	r := testReservation(storeEpoch)
	r.Run = testRun(1, 0)
	if err := other.Reserve(ctxBg, r); err == nil {
		t.Error("a lock that another process has lifted is not there: this test shows nothing")
	}
	other.close()
	s.look(s.look(nil))
	s.wantLifted(2, 1)
}

// Where nobody can tell that a lock was lifted, it stays.
func TestFileLockKept(t *testing.T) {
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
			other.Unlock(ctxBg, "", testRun(1, 0).Number)
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
				key := testRun(2, 0).Number
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
				key := testRun(2, 0).Number
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

// The disk is full while a process takes over what another one has left. It does
// so once: what is lifted before there is room again is not merged again, and
// what the other one has counted since is.
func TestFileLeftOnFullDisk(t *testing.T) {
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
				if known, err := a.Unlock(ctxBg, "", testRun(i, 0).Number); known != (i == 1 || spoil != nil) || err != nil {
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
				b.Unlock(ctxBg, "", testRun(1, 0).Number)
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
