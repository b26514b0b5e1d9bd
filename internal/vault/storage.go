package vault

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-websms/websms/session"
)

// Places in Caddy's storage.
const (
	vaultFolder   = "websms"           // the name of the lock
	keysFile      = "websms/keys.json" // the keys
	revokedFolder = "websms/revoked"   // a file for each entry
)

// storageArchive is the archive in Caddy's storage. It is not volatile: a process
// that cannot read it does not start.
type storageArchive struct {
	mu      sync.Mutex
	sources []source // of the configurations that use this archive, the latest last
}

// source is the storage as one configuration has opened it. A storage module may
// close its connections when its configuration ends.
type source struct {
	certmagic.Storage
	ctx context.Context // of the configuration
}

// storageKey identifies a storage by its kind and its options, which stay the same
// when a configuration is loaded again.
func storageKey(storage certmagic.Storage) string {
	options, err := json.Marshal(storage)
	if err != nil { // then each load opens a vault of its own, with the same keys
		return fmt.Sprintf("%T %p", storage, storage)
	}
	return fmt.Sprintf("%T %x", storage, sha256.Sum256(options))
}

// use makes the archive go through the storage of one more configuration.
func (a *storageArchive) use(from source) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sources = append(a.sources, from)
}

// storage returns the storage of the latest configuration that runs.
func (a *storageArchive) storage() certmagic.Storage {
	a.mu.Lock()
	defer a.mu.Unlock()
	last := a.sources[len(a.sources)-1]
	a.sources = slices.DeleteFunc(a.sources, func(s source) bool { return s.ctx.Err() != nil })
	if len(a.sources) == 0 { // the last configuration has ended, and the vault writes for the last time
		a.sources = append(a.sources, last)
	}
	return a.sources[len(a.sources)-1].Storage
}

// Volatile implements session.Archive.
func (a *storageArchive) Volatile() bool { return false }

// Follow implements session.Archive. It is seldom, because to follow means to list a
// whole folder.
func (a *storageArchive) Follow() time.Duration { return maintainEvery }

// Keys implements session.Archive.
func (a *storageArchive) Keys(ctx context.Context) ([]byte, error) {
	return loadKeys(ctx, a.storage())
}

// loadKeys returns the content of keys.json, or nil if the file does not exist.
func loadKeys(ctx context.Context, storage certmagic.Storage) ([]byte, error) {
	data, err := storage.Load(ctx, keysFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading %s in Caddy's storage: %w", keysFile, err)
	case data == nil: // the file is empty, which means that it is damaged
		return []byte{}, nil
	}
	return data, nil
}

// ChangeKeys implements session.Archive. It holds the storage's lock meanwhile.
func (a *storageArchive) ChangeKeys(ctx context.Context, next func(keys []byte) ([]byte, error)) (err error) {
	storage := a.storage()
	if err := storage.Lock(ctx, vaultFolder); err != nil {
		return fmt.Errorf("locking Caddy's storage, which must be writable: %w", err)
	}
	defer func() {
		if unlock := storage.Unlock(context.WithoutCancel(ctx), vaultFolder); unlock != nil {
			err = errors.Join(err, fmt.Errorf("unlocking Caddy's storage: %w", unlock))
		}
	}()
	former, err := loadKeys(ctx, storage)
	if err != nil {
		return err
	}
	keys, err := next(former)
	if err != nil || keys == nil {
		return err
	}
	if err := storage.Store(ctx, keysFile, keys); err != nil {
		return fmt.Errorf("writing to Caddy's storage: %w", err)
	}
	return nil
}

// Records implements session.Archive. A folder does not tell which files are new, so
// there is no mark, and it returns all names.
//
// If a file is deleted while a file storage lists the folder, the storage's error is
// that of a folder that does not exist. So Records tries several times.
func (a *storageArchive) Records(ctx context.Context, _ string) (names []string, _ string, _ bool, err error) {
	var files []string
	for range 10 {
		files, err = a.storage().List(ctx, revokedFolder, false)
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		if !a.storage().Exists(ctx, revokedFolder) {
			return nil, "", false, nil
		}
	}
	if err != nil {
		return nil, "", false, fmt.Errorf("listing %s in Caddy's storage: %w", revokedFolder, err)
	}
	for _, file := range files {
		names = append(names, path.Base(file))
	}
	return names, "", false, nil
}

// Record implements session.Archive.
func (a *storageArchive) Record(ctx context.Context, name string) ([]byte, error) {
	file := path.Join(revokedFolder, name)
	data, err := a.storage().Load(ctx, file)
	if err != nil {
		return nil, fmt.Errorf("reading %s in Caddy's storage: %w", file, err)
	}
	return data, nil
}

// Keep implements session.Archive.
func (a *storageArchive) Keep(ctx context.Context, name string, value []byte) error {
	if err := a.storage().Store(ctx, path.Join(revokedFolder, name), value); err != nil {
		return fmt.Errorf("writing to Caddy's storage: %w", err)
	}
	return nil
}

// Drop implements session.Archive.
func (a *storageArchive) Drop(ctx context.Context, names ...string) error {
	var errs []error
	for _, name := range names {
		if err := a.storage().Delete(ctx, path.Join(revokedFolder, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("deleting from Caddy's storage: %w", err))
		}
	}
	return errors.Join(errs...)
}

// Interface guard
var _ session.Archive = (*storageArchive)(nil)
