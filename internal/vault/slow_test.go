package vault

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/testlevel"
	"github.com/caddy-websms/websms/internal/vault/vaulttest"
	"github.com/caddy-websms/websms/session"
)

// slowStorage is a storage in which each operation takes some time.
type slowStorage struct {
	*memStorage
	takes func(op, key string) time.Duration
	most  atomic.Int32 // operations at once
	now   atomic.Int32
}

// slow makes each operation take that long.
func slow(storage *memStorage, takes time.Duration) *slowStorage {
	return &slowStorage{memStorage: storage, takes: func(string, string) time.Duration { return takes }}
}

func (s *slowStorage) wait(ctx context.Context, op, key string) error {
	defer s.now.Add(-1)
	for n := s.now.Add(1); n > s.most.Load(); {
		s.most.Store(n)
	}
	select {
	case <-time.After(s.takes(op, key)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *slowStorage) Load(ctx context.Context, key string) ([]byte, error) {
	if err := s.wait(ctx, "Load", key); err != nil {
		return nil, err
	}
	return s.memStorage.Load(ctx, key)
}

func (s *slowStorage) Store(ctx context.Context, key string, value []byte) error {
	if err := s.wait(ctx, "Store", key); err != nil {
		return err
	}
	return s.memStorage.Store(ctx, key, value)
}

func (s *slowStorage) Delete(ctx context.Context, key string) error {
	if err := s.wait(ctx, "Delete", key); err != nil {
		return err
	}
	return s.memStorage.Delete(ctx, key)
}

func (s *slowStorage) List(ctx context.Context, prefix string, recursive bool) ([]string, error) {
	if err := s.wait(ctx, "List", prefix); err != nil {
		return nil, err
	}
	return s.memStorage.List(ctx, prefix, recursive)
}

func (s *slowStorage) Lock(ctx context.Context, name string) error {
	if err := s.wait(ctx, "Lock", name); err != nil {
		return err
	}
	return s.memStorage.Lock(ctx, name)
}

// fill puts cutoffs of numbers and ended sessions into a storage. It returns the cookies of
// a revoked session, an ended one, and a good one.
func fill(t testing.TB, storage *memStorage, now func() time.Time, numbers, sessions int) (revoked, ended, good string) {
	t.Helper()
	v, err := start(t.Context(), "vault", onStorage(t, storage), now)
	if err != nil {
		t.Fatal(err)
	}
	number := func(i int) string { return fmt.Sprintf("+6421%07d", i) }
	_, revoked = v.issue(t, number(numbers-1), "")
	s, ended := v.issue(t, "+6427000000", "")
	_, good = v.issue(t, "+6427000000", "")
	for i := range numbers {
		name, sealed, err := sealCutoff(v.Ring, session.Subject{Kind: session.ByNumber, Name: number(i)}, now())
		if err != nil {
			t.Fatal(err)
		}
		storage.put(path.Join(revokedFolder, name), string(sealed))
	}
	storage.put(path.Join(revokedFolder, endedName(s.ID, s.Ends)), string(ended))
	for range sessions - 1 {
		storage.put(path.Join(revokedFolder, endedName(session.NewID(), s.Ends)), "ended\n")
	}
	if err := v.Destruct(); err != nil {
		t.Fatal(err)
	}
	return revoked, ended, good
}

// A process starts on a slow storage with many revocations. A reload does not wait for what
// the process knows already. With snapshots, a start reads a few files.
func TestManyRevocationsOnSlowStorage(t *testing.T) {
	t.Parallel()
	const numbers, takes = 2000, 50 * time.Millisecond
	sessions := testlevel.Size(20_000, 300_000)
	synctest.Test(t, func(t *testing.T) {
		memory := newMemStorage()
		revoked, ended, good := fill(t, memory, time.Now, numbers, sessions)
		storage := slow(memory, takes)
		open := func(when string, most time.Duration) *Vault {
			t.Helper()
			begun := time.Now()
			v, err := start(t.Context(), "vault", &storageArchive{sources: []source{{storage, t.Context()}}}, time.Now)
			if err != nil {
				t.Fatalf("%s: %v", when, err)
			}
			if took := time.Since(begun); took > most {
				t.Errorf("%s took %s", when, took)
			}
			if v.good(revoked) || v.good(ended) || !v.good(good) {
				t.Errorf("%s: revoked %t, ended %t, good %t", when, v.good(revoked), v.good(ended), v.good(good))
			}
			return v
		}
		v := open("a start", 5*time.Second)
		begun, loads := time.Now(), memory.Count("Load")
		v.catchUp(t.Context())
		if took := time.Since(begun); took > 2*takes {
			t.Errorf("a reload took %s", took)
		}
		time.Sleep(time.Second)
		if n := memory.Count("Load") - loads; n > 3 {
			t.Errorf("a reload read %d files", n)
		}
		if n := storage.most.Load(); n > atOnce {
			t.Errorf("%d operations were under way at once", n)
		}
		v.mustMaintain(t)
		if err := v.Destruct(); err != nil {
			t.Error(err)
		}
		var snapshots int
		for _, file := range memory.list(revokedFolder) {
			if strings.HasPrefix(path.Base(file), snapshotPrefix) {
				snapshots++
			} else {
				memory.remove(file)
			}
		}
		if err := open("a start with snapshots", time.Second).Destruct(); err != nil || snapshots > 100 {
			t.Errorf("%d snapshots, %v", snapshots, err)
		}
	})
}

// A vault waits as long as there is progress. One operation may take nine seconds, and all
// of them hours.
func TestSlowProgressIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		memory := newMemStorage()
		revoked, ended, good := fill(t, memory, time.Now, 500, 2)
		storage := slow(memory, 9*time.Second)
		storage.takes = func(op, _ string) time.Duration {
			if op == "List" {
				return 8 * time.Minute
			}
			return 9 * time.Second
		}
		begun := time.Now()
		v, err := start(t.Context(), "vault", &storageArchive{sources: []source{{storage, t.Context()}}}, time.Now)
		if err != nil {
			t.Fatalf("after %s: %v", time.Since(begun), err)
		}
		if v.good(revoked) || v.good(ended) || !v.good(good) {
			t.Errorf("revoked %t, ended %t, good %t", v.good(revoked), v.good(ended), v.good(good))
		}
		if err := v.Destruct(); err != nil {
			t.Error(err)
		}
	})
}

// A start fails if the storage hangs, in the middle of reading or while it lists.
func TestHangingReadIsGivenUp(t *testing.T) {
	t.Parallel()
	const forever = 1000 * time.Hour
	for what, takes := range map[string]func() func(op, key string) time.Duration{
		"it hangs after some records": func() func(op, key string) time.Duration {
			var reads atomic.Int32
			return func(op, key string) time.Duration {
				if op == "Load" && strings.HasPrefix(key, revokedFolder) && reads.Add(1) > 100 {
					return forever
				}
				return time.Millisecond
			}
		},
		"it hangs while it lists": func() func(op, key string) time.Duration {
			var listing atomic.Bool
			return func(op, _ string) time.Duration {
				if op == "List" {
					listing.Store(true)
				}
				if listing.Load() {
					return forever
				}
				return time.Millisecond
			}
		},
		"only the listing hangs": func() func(op, key string) time.Duration {
			return func(op, _ string) time.Duration {
				if op == "List" {
					return forever
				}
				return time.Millisecond
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				memory := newMemStorage()
				fill(t, memory, time.Now, 300, 1)
				storage := &slowStorage{memStorage: memory, takes: takes()}
				begun := time.Now()
				_, err := start(t.Context(), "vault", &storageArchive{sources: []source{{storage, t.Context()}}}, time.Now)
				most := time.Minute
				if what == "only the listing hangs" {
					most = listTime + time.Second
				}
				took := time.Since(begun)
				if err == nil || !strings.Contains(err.Error(), "loading the sessions that were ended") || took > most {
					t.Errorf("after %s: %v", took, err)
				}
				time.Sleep(time.Hour) // the goroutine that watched it ends
			})
		})
	}
}

// An entry that fails once, while others are read, is read again. Entries that were read
// before everything failed are not read again.
func TestReadingGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	now, storage := harness.NewFakeClock(), newMemStorage()
	running := vaultOn(t, storage, now.Now)
	revoked, _, good := fill(t, storage, now.Now, 400, 1)
	var mu sync.Mutex
	tried := make(map[string]int)
	fails := func(fail func(key string, tries int) bool) {
		storage.FailIf(func(op, key string) error {
			mu.Lock()
			defer mu.Unlock()
			if op == "Load" && strings.HasPrefix(key, revokedFolder) {
				if tried[key]++; fail(key, tried[key]) {
					return vaulttest.ErrTrouble
				}
			}
			return nil
		})
	}
	fails(func(_ string, tries int) bool { return tries == 1 && len(tried)%2 == 0 })
	if v := vaultOn(t, storage, now.Now); v.good(revoked) || !v.good(good) {
		t.Error("with failures, not all is read")
	}
	tried = make(map[string]int)
	fails(func(string, int) bool { return len(tried) > 150 })
	if err := running.syncOnly(t.Context()); !errors.Is(err, vaulttest.ErrTrouble) {
		t.Fatalf("the error is %v", err)
	}
	mu.Lock()
	read := len(tried) - len(running.unread(storage))
	tried = make(map[string]int)
	mu.Unlock()
	fails(func(string, int) bool { return false })
	mustSync(t, running)
	if len(tried) > 260 || len(tried) < 200 {
		t.Errorf("%d were read at first, and then %d", read, len(tried))
	}
	if running.good(revoked) || !running.good(good) {
		t.Error("not all is read in the end")
	}
}

// unread returns the cutoffs in a storage that the vault has not read.
func (v *Vault) unread(storage *memStorage) (names []string) {
	for _, file := range storage.list(revokedFolder) {
		if name := path.Base(file); strings.HasPrefix(name, cutoffPrefix) && !v.hasCutoff(name) {
			names = append(names, name)
		}
	}
	return names
}
