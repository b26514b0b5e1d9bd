package vaulttest

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

// Archive is a volatile session.Archive in memory. A test can make its operations
// fail, and empty it. Beside the operations in Everything, it has one that is called
// "the answer to ChangeKeys". If that fails, ChangeKeys has changed the keys and
// returns an error all the same.
type Archive struct {
	Faults
	Every time.Duration // Follow returns it

	mu      sync.Mutex
	keys    []byte
	records map[string][]byte
	journal []string // the names, as they were kept
	life    int      // another each time it is emptied
}

// NewArchive returns an empty archive that is to be followed once an hour.
func NewArchive() *Archive {
	return &Archive{Every: time.Hour, records: make(map[string][]byte)}
}

// Everything lists the operations of an archive.
var Everything = []string{"Keys", "ChangeKeys", "Records", "Record", "Keep", "Drop"}

// Empty removes the keys and all records, as a Redis does that restarts without
// its data.
func (a *Archive) Empty() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys, a.records, a.journal, a.life = nil, make(map[string][]byte), nil, a.life+1
}

// Names returns the names of the records, sorted.
func (a *Archive) Names() (names []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name := range a.records {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Ring returns the keys that are in the archive.
func (a *Archive) Ring(t testing.TB) (keys session.Keys) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := json.Unmarshal(a.keys, &keys); err != nil {
		t.Fatal(err)
	}
	return keys
}

// SetRing puts keys into the archive.
func (a *Archive) SetRing(t testing.TB, keys session.Keys) {
	t.Helper()
	data, err := json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	a.SetText(string(data))
}

// Text returns the stored form of the keys.
func (a *Archive) Text() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return string(a.keys)
}

// SetText replaces the stored form of the keys.
func (a *Archive) SetText(keys string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys = []byte(keys)
}

// Volatile implements session.Archive.
func (a *Archive) Volatile() bool { return true }

// Follow implements session.Archive.
func (a *Archive) Follow() time.Duration { return a.Every }

// Keys implements session.Archive.
func (a *Archive) Keys(ctx context.Context) ([]byte, error) {
	if err := a.Call(ctx, "Keys", ""); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return bytes.Clone(a.keys), nil
}

// ChangeKeys implements session.Archive.
func (a *Archive) ChangeKeys(ctx context.Context, next func([]byte) ([]byte, error)) error {
	for {
		a.mu.Lock()
		former := bytes.Clone(a.keys)
		a.mu.Unlock()
		keys, err := next(former)
		if err != nil {
			return err
		}
		if err := a.Call(ctx, "ChangeKeys", ""); err != nil {
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
			return a.Call(ctx, "the answer to ChangeKeys", "")
		}
	}
}

// Records implements session.Archive.
func (a *Archive) Records(ctx context.Context, mark string) (names []string, next string, emptied bool, err error) {
	if err := a.Call(ctx, "Records", ""); err != nil {
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

// Record implements session.Archive.
func (a *Archive) Record(ctx context.Context, name string) ([]byte, error) {
	if err := a.Call(ctx, "Record", name); err != nil {
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

// Keep implements session.Archive.
func (a *Archive) Keep(ctx context.Context, name string, value []byte) error {
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return fmt.Errorf("the name %q", name)
	}
	if err := a.Call(ctx, "Keep", name); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.records[name] = value
	a.journal = append(a.journal, name)
	return nil
}

// Drop implements session.Archive.
func (a *Archive) Drop(ctx context.Context, names ...string) error {
	if err := a.Call(ctx, "Drop", ""); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, name := range names {
		delete(a.records, name)
	}
	return nil
}

// Interface guard
var _ session.Archive = (*Archive)(nil)
