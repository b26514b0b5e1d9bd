package websms

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"

	"github.com/caddy-websms/websms/session"
)

// vault holds the key ring and the revocations of one Caddy storage. Both are
// in memory for whoever asks, and in the storage for the process after this.
type vault struct {
	key     string // in pool
	ring    *session.Ring
	revoked session.Revocations
	storage certmagic.Storage

	mu    sync.Mutex
	swept time.Time // when old revocations were last removed from the storage
}

// Where the vault is in Caddy's storage.
const (
	vaultFolder   = "websms"
	keysFile      = "websms/keys.json"
	revokedFolder = "websms/revoked"
)

// storageTime bounds one dealing with the storage.
const storageTime = 10 * time.Second

// openVault opens the vault in the storage of the configuration, or joins the
// one that is open. The caller releases it.
func openVault(ctx caddy.Context) (*vault, error) {
	storage := ctx.Storage()
	key := "vault " + storageKey(storage)
	value, _, err := pool.LoadOrNew(key, func() (caddy.Destructor, error) {
		v := &vault{key: key, storage: storage, swept: clock()}
		within, cancel := context.WithTimeout(ctx, storageTime)
		defer cancel()
		if err := v.load(within); err != nil {
			return nil, err
		}
		return v, nil
	})
	if err != nil {
		return nil, err
	}
	return value.(*vault), nil
}

// storageKey identifies a storage by its kind and its options, which stay the
// same when a configuration is loaded again.
func storageKey(storage certmagic.Storage) string {
	options, err := json.Marshal(storage)
	if err != nil { // then every load has a vault of its own, with the same keys
		return fmt.Sprintf("%T %p", storage, storage)
	}
	return fmt.Sprintf("%T %x", storage, sha256.Sum256(options))
}

// join takes another reference to an open vault.
func (v *vault) join() error {
	_, _, err := pool.LoadOrNew(v.key, func() (caddy.Destructor, error) {
		return nil, errors.New("joining a vault that is closed")
	})
	return err
}

// release lets go of one reference.
func (v *vault) release() error { return releaseShared(v.key) }

// Destruct does nothing: all that the vault holds is in the storage.
func (v *vault) Destruct() error { return nil }

func (v *vault) load(ctx context.Context) error {
	keys, err := v.loadKeys(ctx)
	if err != nil {
		return fmt.Errorf("loading the keys that seal sessions: %w", err)
	}
	if v.ring, err = session.NewRing(keys); err != nil {
		return fmt.Errorf("%s in Caddy's storage is damaged: %w; restore it, or delete it to end all sessions and begin anew", keysFile, err)
	}
	if err := v.loadRevoked(ctx); err != nil {
		return fmt.Errorf("loading the sessions that were ended: %w", err)
	}
	return nil
}

// loadKeys reads the key ring. The first process to ask makes it, under the
// storage's lock, so that all who share the storage share it.
func (v *vault) loadKeys(ctx context.Context) (keys session.Keys, err error) {
	if err := v.storage.Lock(ctx, vaultFolder); err != nil {
		return keys, fmt.Errorf("locking Caddy's storage, which must be writable: %w", err)
	}
	defer func() { err = errors.Join(err, v.storage.Unlock(context.WithoutCancel(ctx), vaultFolder)) }()
	data, err := v.storage.Load(ctx, keysFile)
	if errors.Is(err, fs.ErrNotExist) {
		keys = session.NewKeys(clock())
		if data, err = json.Marshal(keys); err != nil {
			return keys, err
		}
		if err := v.storage.Store(ctx, keysFile, data); err != nil {
			return keys, fmt.Errorf("writing to Caddy's storage: %w", err)
		}
		return keys, nil
	}
	if err != nil {
		return keys, err
	}
	if err := json.Unmarshal(data, &keys); err != nil {
		return keys, fmt.Errorf("%s in Caddy's storage is not JSON; restore it, or delete it to end all sessions and begin anew", keysFile)
	}
	return keys, nil
}

func (v *vault) loadRevoked(ctx context.Context) error {
	names, err := v.storage.List(ctx, revokedFolder, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		if id, until, ours := parseRevoked(path.Base(name)); ours {
			v.revoked.Add(id, until)
		}
	}
	v.sweep(ctx, clock())
	return nil
}

// revokedName is the name of the file that says that a session was ended. It
// says it all, so that a start lists the folder and opens nothing.
func revokedName(id session.ID, until time.Time) string {
	return fmt.Sprintf("%s/%s-%d", revokedFolder, id, until.Unix())
}

func parseRevoked(name string) (id session.ID, until time.Time, ours bool) {
	text, end, _ := strings.Cut(name, "-")
	seconds, err := strconv.ParseInt(end, 10, 64)
	id, ours = session.ParseID(text)
	return id, time.Unix(seconds, 0), ours && err == nil
}

// revoke ends a session for good: at once in this process, and before it
// returns in the storage too. The error says that the latter failed.
func (v *vault) revoke(id session.ID, until time.Time) error {
	v.revoked.Add(id, until)
	ctx, cancel := context.WithTimeout(context.Background(), storageTime)
	defer cancel()
	err := v.storage.Store(ctx, revokedName(id, until), []byte("ended\n"))
	v.mu.Lock()
	now := clock()
	due := now.Sub(v.swept) > time.Hour
	if due {
		v.swept = now
	}
	v.mu.Unlock()
	if due {
		v.sweep(ctx, now)
	}
	if err != nil {
		return fmt.Errorf("keeping an ended session in Caddy's storage: %w", err)
	}
	return nil
}

// sweep forgets the revocations of sessions that are over anyway. One that
// the storage will not delete is read, and swept, by the next process.
func (v *vault) sweep(ctx context.Context, now time.Time) {
	for id, until := range v.revoked.Sweep(now) {
		_ = v.storage.Delete(ctx, revokedName(id, until))
	}
}
