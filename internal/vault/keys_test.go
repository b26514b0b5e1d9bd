package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/vault/vaulttest"
	"github.com/caddy-websms/websms/session"
)

const day = 24 * time.Hour

// keysIn returns the keys in a storage. It parses them only if they have changed,
// because tests ask often.
func (s *memStorage) keysIn(t testing.TB) session.Keys {
	t.Helper()
	text, _ := s.get(keysFile)
	s.mu.Lock()
	defer s.mu.Unlock()
	if text != s.keysText {
		var keys session.Keys
		if err := json.Unmarshal([]byte(text), &keys); err != nil {
			t.Fatal(err)
		}
		s.keysText, s.keys = text, keys
	}
	return s.keys
}

// sealsWith returns the ID of the key that a vault seals with. A cookie begins with it.
func (v *Vault) sealsWith(t testing.TB) string {
	t.Helper()
	_, sealed := v.issue(t, "+6421234567", "")
	return sealed[:5]
}

// A new key is made after 30 days. It seals two hours later, when every process has it.
// The old key opens what it has sealed for a year.
func TestRotation(t *testing.T) {
	t.Parallel()
	now, storage := harness.NewFakeClock(), newMemStorage()
	one, two := vaultOn(t, storage, now.Now), vaultOn(t, storage, now.Now)
	index := one.keys.Index
	maintain := func() { one.mustMaintain(t); two.mustMaintain(t) }
	both := func(what, sealed string, want bool) {
		t.Helper()
		if one.good(sealed) != want || two.good(sealed) != want {
			t.Errorf("%s: opens at one: %t, at the other: %t", what, one.good(sealed), two.good(sealed))
		}
	}
	_, first := one.issue(t, "+6421234567", "")
	both("the first key's", first, true)
	now.Advance(30*day - 1)
	maintain()
	if n := len(storage.keysIn(t).Sealing); n != 1 || storage.Count("Store") != 1 {
		t.Fatalf("before 30 days there are %d keys, written %d times", n, storage.Count("Store"))
	}
	now.Advance(1)
	one.mustMaintain(t)
	if n := len(storage.keysIn(t).Sealing); n != 2 {
		t.Fatalf("after 30 days there are %d keys", n)
	}
	_, young := one.issue(t, "+6421234567", "")
	both("one sealed where the new key is, before it settles", young, true)
	now.Advance(session.Settling)
	maintain()
	_, settled := one.issue(t, "+6421234567", "")
	both("the new key's", settled, true)
	if young[:5] == settled[:5] { // a cookie begins with the ID of its key
		t.Error("the new key does not seal")
	}
	restarted := vaultOn(t, storage, now.Now)
	for what, sealed := range map[string]string{"first": first, "young": young, "settled": settled} {
		if !restarted.good(sealed) {
			t.Errorf("after a restart the %s session does not open", what)
		}
	}
	for range 365 {
		both("the first key's, within its life", young, true)
		now.Advance(day)
		maintain()
	}
	now.Advance(time.Hour)
	maintain()
	both("the first key's, a year after it stopped to seal", young, true)
	now.Advance(2 * session.Settling)
	maintain()
	both("the first key's, when all that it sealed is over", young, false)
	both("the second key's", settled, true)
	keys := storage.keysIn(t)
	if len(keys.Sealing) > 14 || !bytes.Equal(keys.Index, index) {
		t.Errorf("%d keys; the same index key: %t", len(keys.Sealing), bytes.Equal(keys.Index, index))
	}
}

// If the storage fails, a process goes on with the keys that it has. It makes the new key
// when the storage works again.
func TestRotationWithoutStorage(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"Lock", "Store", "Load", "Unlock"} {
		t.Run(op, func(t *testing.T) {
			now, storage := harness.NewFakeClock(), newMemStorage()
			v := vaultOn(t, storage, now.Now)
			_, first := v.issue(t, "+6421234567", "")
			key := v.sealsWith(t)
			now.Advance(31 * day)
			storage.FailAt("websms", op)
			for i := range 3 {
				fails := i == 0 || op != "Unlock" // Unlock fails after the keys are written
				if err := v.syncAndClean(t.Context()); errors.Is(err, vaulttest.ErrTrouble) != fails {
					t.Fatalf("the error is %v", err)
				}
				_, sealed := v.issue(t, "+6421234567", "")
				if !v.good(first) || !v.good(sealed) || v.sealsWith(t) != key {
					t.Error("the keys are not those of before")
				}
			}
			if op != "Load" { // a new process needs only to read the keys
				other := vaultOn(t, storage, now.Now)
				if !other.good(first) {
					t.Error("a process that starts meanwhile has not the keys")
				}
			}
			storage.FailAt("")
			v.mustMaintain(t)
			now.Advance(session.Settling)
			v.mustMaintain(t)
			if n := len(storage.keysIn(t).Sealing); n != 2 || v.sealsWith(t) == key || !v.good(first) {
				t.Errorf("afterwards there are %d keys; another seals: %t", n, v.sealsWith(t) != key)
			}
		})
	}
}

// The first start needs a storage that can be written. The error says so.
func TestFirstStartWithoutStorage(t *testing.T) {
	t.Parallel()
	for op, want := range map[string]string{
		"Lock": "locking Caddy's storage, which must be writable", "Store": "writing to Caddy's storage",
		"Load": "reading websms/keys.json in Caddy's storage",
	} {
		storage := newMemStorage()
		storage.FailAt("websms", op)
		_, err := start(t.Context(), "vault", onStorage(t, storage), time.Now)
		if !errors.Is(err, vaulttest.ErrTrouble) || !strings.Contains(err.Error(), "loading the keys that seal sessions: "+want) {
			t.Errorf("%s: %v", op, err)
		}
	}
}

// If the lock of the storage cannot be released, a process starts all the same, because
// the keys are stored.
func TestFirstStartLeavesLock(t *testing.T) {
	t.Parallel()
	storage := newMemStorage()
	storage.FailAt("websms", "Unlock")
	v, err := start(t.Context(), "vault", onStorage(t, storage), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Destruct()
	if n := len(storage.keysIn(t).Sealing); n != 1 {
		t.Errorf("%d keys are stored", n)
	}
}

// If the stored keys are damaged while a process runs, it goes on with the keys that it
// has. It does not overwrite the damaged ones, because an operator may restore them.
func TestKeysDamagedWhileRunning(t *testing.T) {
	t.Parallel()
	other := newMemStorage()
	vaultOn(t, other, harness.NewFakeClock().Now)
	others, _ := other.get(keysFile)
	for name, c := range map[string]struct{ text, want string }{
		"not JSON":       {"{\"index\": \"c2VjcmV0", "is not JSON; restore it, or delete it and restart Caddy"},
		"empty":          {"", "is not JSON"},
		"no keys":        {"{}", "is damaged: index key has 0 bytes"},
		"a short key":    {strings.Replace(others, `"secret":"`, `"secret":"AAAA`, 1), "is damaged: "},
		"another ring's": {others, "holds the keys of another ring; restore it, or restart Caddy"},
		"gone":           {"-", "is gone; restore it, or restart Caddy"},
	} {
		t.Run(name, func(t *testing.T) {
			now, storage := harness.NewFakeClock(), newMemStorage()
			v := vaultOn(t, storage, now.Now)
			_, sealed := v.issue(t, "+6421234567", "")
			sound, _ := storage.get(keysFile)
			if c.text == "-" {
				storage.remove(keysFile)
			} else {
				storage.put(keysFile, c.text)
			}
			now.Advance(31 * day) // a new key is due
			for range 2 {
				err := v.syncAndClean(t.Context())
				var damaged keysError
				if !errors.As(err, &damaged) || !strings.Contains(err.Error(), keysFile) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("the error is %v", err)
				}
				if strings.Contains(err.Error(), "c2VjcmV0") {
					t.Error("the error tells a secret")
				}
			}
			if text, ok := storage.get(keysFile); ok != (c.text != "-") || ok && text != c.text {
				t.Errorf("the file was written over with %q", text)
			}
			_, later := v.issue(t, "+6421234567", "")
			if !v.good(sealed) || !v.good(later) {
				t.Error("the keys are not those of before")
			}
			storage.put(keysFile, sound)
			v.mustMaintain(t)
			if n := len(v.keys.Sealing); n != 2 || !v.good(sealed) {
				t.Errorf("when it is restored there are %d keys", n)
			}
		})
	}
}

// Many processes find that a key is due, and one key is made. Sealing and opening go on
// meanwhile.
func TestRotationConcurrently(t *testing.T) {
	t.Parallel()
	now, storage := harness.NewFakeClock(), newMemStorage()
	var vaults []*Vault
	for range 8 {
		vaults = append(vaults, vaultOn(t, storage, now.Now))
	}
	_, sealed := vaults[0].issue(t, "+6421234567", "")
	for round := range 3 {
		now.Advance(30 * day)
		var group sync.WaitGroup
		for _, v := range vaults {
			group.Go(func() {
				if err := v.syncAndClean(t.Context()); err != nil {
					t.Error(err)
				}
			})
			group.Go(func() {
				for range 100 {
					_, fresh := v.issue(t, "+6421234567", "")
					if !v.good(sealed) || !v.good(fresh) {
						t.Error("what was sealed does not open")
						return
					}
				}
			})
		}
		group.Wait()
		if n := len(storage.keysIn(t).Sealing); n != round+2 {
			t.Fatalf("after %d rotations there are %d keys", round+1, n)
		}
	}
}

// The vault maintains itself until it is released.
func TestVaultMaintainsItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		storage := newMemStorage()
		v, err := start(t.Context(), "vault", onStorage(t, storage), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		first := v.sealsWith(t)
		time.Sleep(time.Hour)
		if n := storage.Count("Load"); n < 3 { // at the start, and twice an hour
			t.Errorf("in an hour the keys were read %d times", n)
		}
		time.Sleep(30 * day)
		synctest.Wait()
		if n := len(storage.keysIn(t).Sealing); n != 2 {
			t.Errorf("after 30 days there are %d keys", n)
		}
		time.Sleep(session.Settling)
		synctest.Wait()
		if v.sealsWith(t) == first {
			t.Error("the new key does not seal")
		}
		if err := v.Destruct(); err != nil {
			t.Error(err)
		}
		reads := storage.Count("Load")
		time.Sleep(day)
		if storage.Count("Load") != reads {
			t.Error("it goes on after it was let go of")
		}
	})
}

// A storage that hangs does not stop the loop, and hardly delays its end.
func TestVaultEndsWhenStorageHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		storage := &hanging{memStorage: newMemStorage()}
		v, err := start(t.Context(), "vault", onStorage(t, storage), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		storage.hangs.Store(true)
		time.Sleep(day)
		if n := storage.waits.Load(); n < 40 {
			t.Errorf("in a day it was asked %d times", n)
		}
		time.Sleep(maintainEvery - storageTime)
		begun := time.Now()
		if err := v.Destruct(); err != nil || time.Since(begun) > storageTime {
			t.Errorf("ending took %s: %v", time.Since(begun), err)
		}
	})
}

// hanging is a storage that does not answer before the caller gives up.
type hanging struct {
	*memStorage
	hangs atomic.Bool
	waits atomic.Int32
}

func (s *hanging) Load(ctx context.Context, key string) ([]byte, error) {
	if !s.hangs.Load() {
		return s.memStorage.Load(ctx, key)
	}
	s.waits.Add(1)
	<-ctx.Done()
	return nil, ctx.Err()
}

// The vault uses the storage of a configuration that runs, because a storage module may
// have closed the storage of an earlier one.
func TestVaultUsesALivingStorage(t *testing.T) {
	t.Parallel()
	now := harness.NewFakeClock()
	first, second, refused := newMemStorage(), newMemStorage(), newMemStorage()
	context1, end1 := context.WithCancel(t.Context())
	context2, end2 := context.WithCancel(t.Context())
	context3, end3 := context.WithCancel(t.Context())
	defer end3()
	archive := &storageArchive{sources: []source{{first, context1}}}
	v, err := start(context1, "vault", archive, now.Now)
	if err != nil {
		t.Fatal(err)
	}
	wants := func(what string, storage *memStorage) {
		t.Helper()
		if archive.storage() != storage {
			t.Errorf("%s: another storage is used", what)
		}
	}
	wants("one", first)
	archive.use(source{refused, context3})
	wants("one that is being provisioned", refused)
	end3()
	wants("it was refused", first)
	archive.use(source{second, context2})
	wants("a reload", second)
	end1()
	wants("the old one is gone", second)
	end2()
	wants("all are gone", second)
	if err := v.Destruct(); err != nil {
		t.Error(err)
	}
}
