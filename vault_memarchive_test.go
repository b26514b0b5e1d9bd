package websms

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-websms/websms/session"
)

// memArchive is a volatile archive in memory, which is away, or emptied, as told.
type memArchive struct {
	troubled
	every time.Duration // Follow

	mu      sync.Mutex
	keys    []byte
	records map[string][]byte
	journal []string // the names, as they were kept
	life    int      // another each time it is emptied
}

func newMemArchive() *memArchive {
	return &memArchive{every: time.Hour, records: make(map[string][]byte)}
}

// everything is what can fail.
var everything = []string{"Keys", "ChangeKeys", "Records", "Record", "Keep", "Drop"}

// failing makes operations fail; none with none.
func (a *memArchive) failing(ops ...string) { a.troubled.failing("", ops...) }

// empty loses all that is in it.
func (a *memArchive) empty() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys, a.records, a.journal, a.life = nil, make(map[string][]byte), nil, a.life+1
}

// names returns the names of the records.
func (a *memArchive) names() (names []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name := range a.records {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// ring returns the keys.
func (a *memArchive) ring(t testing.TB) (keys session.Keys) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := json.Unmarshal(a.keys, &keys); err != nil {
		t.Fatal(err)
	}
	return keys
}

func (a *memArchive) setRing(t testing.TB, keys session.Keys) {
	t.Helper()
	data, err := json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys = data
}

func (a *memArchive) Volatile() bool        { return true }
func (a *memArchive) Follow() time.Duration { return a.every }

func (a *memArchive) Keys(ctx context.Context) ([]byte, error) {
	if err := a.call(ctx, "Keys", ""); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return bytes.Clone(a.keys), nil
}

func (a *memArchive) ChangeKeys(ctx context.Context, next func([]byte) ([]byte, error)) error {
	for {
		a.mu.Lock()
		former := bytes.Clone(a.keys)
		a.mu.Unlock()
		keys, err := next(former)
		if err != nil {
			return err
		}
		if err := a.call(ctx, "ChangeKeys", ""); err != nil {
			return err
		}
		if keys == nil {
			return nil
		}
		a.mu.Lock()
		same := bytes.Equal(former, a.keys)
		if same {
			a.keys = keys
		}
		a.mu.Unlock()
		if same {
			return a.call(ctx, "the answer to ChangeKeys", "")
		}
	}
}

func (a *memArchive) Records(ctx context.Context, mark string) (names []string, next string, emptied bool, err error) {
	if err := a.call(ctx, "Records", ""); err != nil {
		return nil, "", false, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	life, from := a.life, 0
	if mark != "" {
		if _, err := fmt.Sscanf(mark, "%d-%d", &life, &from); err != nil {
			return nil, "", false, err
		}
	}
	if emptied = life != a.life; emptied {
		from = 0
	}
	return slices.Clone(a.journal[from:]), fmt.Sprintf("%d-%d", a.life, len(a.journal)), emptied, nil
}

func (a *memArchive) Record(ctx context.Context, name string) ([]byte, error) {
	if err := a.call(ctx, "Record", name); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	value, ok := a.records[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return value, nil
}

func (a *memArchive) Keep(ctx context.Context, name string, value []byte) error {
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return fmt.Errorf("the name %q", name)
	}
	if err := a.call(ctx, "Keep", name); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.records[name] = value
	a.journal = append(a.journal, name)
	return nil
}

func (a *memArchive) Drop(ctx context.Context, names ...string) error {
	if err := a.call(ctx, "Drop", ""); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, name := range names {
		delete(a.records, name)
	}
	return nil
}

// vaultIn opens a vault in a volatile archive, as a process of its own would,
// and closes it when the test ends. It follows when it is told.
func vaultIn(t testing.TB, a session.Archive, now func() time.Time) *vault {
	t.Helper()
	v, err := newVault(t.Context(), "vault of a test", a, now)
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

// mustFollow lets vaults follow an archive that nothing ails.
func mustFollow(t testing.TB, vaults ...*vault) {
	t.Helper()
	for _, v := range vaults {
		if err := v.follow(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
