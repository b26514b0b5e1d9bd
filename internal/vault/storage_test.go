package vault

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-websms/websms/internal/vault/vaulttest"
	"github.com/caddy-websms/websms/session"
)

// memStorage is a storage in memory. A test can make its operations fail.
type memStorage struct {
	vaulttest.Faults
	lock chan struct{}

	mu       sync.Mutex
	files    map[string]string
	keysText string       // the text of the keys that keysIn has parsed last
	keys     session.Keys // parsed
}

func newMemStorage() *memStorage {
	return &memStorage{lock: make(chan struct{}, 1), files: make(map[string]string)}
}

func (s *memStorage) Lock(ctx context.Context, name string) error {
	if err := s.Call(ctx, "Lock", name); err != nil {
		return err
	}
	select {
	case s.lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *memStorage) Unlock(ctx context.Context, name string) error {
	<-s.lock
	return s.Call(ctx, "Unlock", name)
}

func (s *memStorage) Store(ctx context.Context, key string, value []byte) error {
	if err := s.Call(ctx, "Store", key); err != nil {
		return err
	}
	s.put(key, string(value))
	return nil
}

func (s *memStorage) Load(ctx context.Context, key string) ([]byte, error) {
	if err := s.Call(ctx, "Load", key); err != nil {
		return nil, err
	}
	value, ok := s.get(key)
	if !ok {
		return nil, fs.ErrNotExist
	}
	return []byte(value), nil
}

func (s *memStorage) Delete(ctx context.Context, key string) error {
	if err := s.Call(ctx, "Delete", key); err != nil {
		return err
	}
	s.remove(key)
	return nil
}

func (s *memStorage) Exists(ctx context.Context, key string) bool {
	return s.Call(ctx, "Exists", key) == nil && len(s.list(key)) > 0
}

func (s *memStorage) List(ctx context.Context, prefix string, _ bool) ([]string, error) {
	if err := s.Call(ctx, "List", prefix); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name := range s.files { // in no order, as a storage may
		if strings.HasPrefix(name, prefix+"/") && path.Dir(name) == prefix {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, fs.ErrNotExist
	}
	return names, nil
}

func (s *memStorage) Stat(context.Context, string) (certmagic.KeyInfo, error) {
	return certmagic.KeyInfo{}, errors.ErrUnsupported
}

func (s *memStorage) put(key, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[key] = value
}

func (s *memStorage) get(key string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, ok := s.files[key]
	return value, ok
}

func (s *memStorage) remove(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.files, key)
}

// list returns the files in a folder, sorted.
func (s *memStorage) list(folder string) (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		if path.Dir(name) == folder {
			names = append(names, name)
		}
	}
	return names
}

// onStorage returns the archive in a storage.
func onStorage(t testing.TB, storage certmagic.Storage) *storageArchive {
	return &storageArchive{sources: []source{{storage, t.Context()}}}
}

// vaultOn opens a vault, as a process of its own would, and closes it when the test ends.
func vaultOn(t testing.TB, storage certmagic.Storage, now func() time.Time) *Vault {
	t.Helper()
	v, err := start(t.Context(), "vault of a test", onStorage(t, storage), now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Destruct(); err != nil {
			t.Error(err)
		}
	})
	return v
}

// syncOnly is sync without its results.
func (v *Vault) syncOnly(ctx context.Context) error {
	_, _, err := v.sync(ctx)
	return err
}

// syncAndClean is maintain without a second goroutine.
func (v *Vault) syncAndClean(ctx context.Context) error {
	names, complete, err := v.sync(ctx)
	if complete {
		v.clean(ctx, names)
	}
	return err
}

// mustMaintain syncs and cleans a vault whose storage works.
func (v *Vault) mustMaintain(t testing.TB) {
	t.Helper()
	if err := v.syncAndClean(t.Context()); err != nil {
		t.Fatal(err)
	}
}

const testRealm = "app.example.com"

// issue returns a session that begins now, and its cookie.
func (v *Vault) issue(t testing.TB, number, user string) (session.Session, string) {
	t.Helper()
	s := session.Session{ID: session.NewID(), Number: number, Region: "NZ", User: user, Remember: true}
	session.Life{TTL: time.Hour, Remember: session.MaxLife}.Begin(&s, v.now())
	sealed, err := s.Seal(v.Ring, testRealm)
	if err != nil {
		t.Fatal(err)
	}
	return s, sealed
}

// good reports whether a cookie opens, and its session was not revoked.
func (v *Vault) good(sealed string) bool {
	s, err := session.Open(v.Ring, testRealm, sealed)
	return err == nil && !v.revoked.Ended(&s, testRealm)
}
