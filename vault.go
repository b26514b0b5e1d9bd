package websms

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/session"
)

// vault holds the key ring and the revocations of one Caddy storage. Both are
// in memory for whoever asks, and in the storage for other processes and for
// the one after this. It outlives the configuration that opened it.
type vault struct {
	key     string // in pool
	ring    *session.Ring
	revoked session.Revocations
	now     func() time.Time

	stop context.CancelFunc // ends the loop that tends the vault
	done chan struct{}      // closed when it has ended

	tending sync.Mutex // one tends at a time
	keys    session.Keys

	mu      sync.Mutex
	sources []source             // the storage, as each configuration sees it; the latest last
	records map[string]time.Time // the records of not-before times that were read or written, with their times
}

// source is the storage as one configuration has opened it. A storage module
// may close what it has open when its configuration ends.
type source struct {
	certmagic.Storage
	ctx context.Context // of the configuration
}

// vaultFolder is where the vault is in Caddy's storage.
const vaultFolder = "websms"

const (
	// storageTime bounds one dealing with the storage.
	storageTime = 10 * time.Second

	// revokedTime bounds reading all revocations, of which there may be many.
	revokedTime = time.Minute

	// tendEvery is how often the vault is tended: twice as often as
	// session.Settling counts on, so that one failure does no harm.
	tendEvery = 30 * time.Minute
)

// openVault opens the vault in the storage of the configuration, or joins the
// one that is open. The caller releases it.
func openVault(ctx caddy.Context) (*vault, error) {
	from := source{ctx.Storage(), ctx.Context}
	key := "vault " + storageKey(from.Storage)
	value, joined, err := pool.LoadOrNew(key, func() (caddy.Destructor, error) {
		return newVault(ctx, key, from, clock)
	})
	if err != nil {
		return nil, err
	}
	v := value.(*vault)
	if joined {
		v.use(from)
		v.catchUp(ctx)
	}
	return v, nil
}

// newVault returns a vault whose keys and revocations are loaded, and that
// tends itself until Destruct.
func newVault(ctx context.Context, key string, from source, now func() time.Time) (*vault, error) {
	v := &vault{key: key, now: now, sources: []source{from}, records: make(map[string]time.Time), done: make(chan struct{})}
	if err := v.load(ctx); err != nil {
		return nil, err
	}
	loop, stop := context.WithCancel(context.Background())
	v.stop = stop
	go v.run(loop)
	return v, nil
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

// use makes the storage of one more configuration the one to go through.
func (v *vault) use(from source) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sources = append(v.sources, from)
}

// storage returns the storage as the latest configuration that runs has it.
func (v *vault) storage() certmagic.Storage {
	v.mu.Lock()
	defer v.mu.Unlock()
	last := v.sources[len(v.sources)-1]
	v.sources = slices.DeleteFunc(v.sources, func(s source) bool { return s.ctx.Err() != nil })
	if len(v.sources) == 0 { // the last reference is about to go
		v.sources = append(v.sources, last)
	}
	return v.sources[len(v.sources)-1].Storage
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

// Destruct ends the loop. All that the vault holds is in the storage.
func (v *vault) Destruct() error {
	v.stop()
	select {
	case <-v.done:
		return nil
	case <-time.After(storageTime):
		return errors.New("ending the vault: Caddy's storage does not answer; what waits for it is left behind")
	}
}

// run tends the vault from time to time.
func (v *vault) run(ctx context.Context) {
	defer close(v.done)
	ticker := time.NewTicker(tendEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			v.keep(ctx)
		}
	}
}

// load fills a new vault.
func (v *vault) load(ctx context.Context) error {
	_, err := v.tendKeys(ctx)
	if v.ring == nil {
		return fmt.Errorf("loading the keys that seal sessions: %w", err)
	}
	v.complain(err)
	if err := v.tendRevoked(ctx); err != nil {
		return fmt.Errorf("loading the sessions that were ended: %w", err)
	}
	return nil
}

// tend makes a new key and removes old ones when it is time, and takes over
// what other processes have changed in the storage. Whatever fails, the vault
// goes on with what it has.
func (v *vault) tend(ctx context.Context) error {
	v.tending.Lock()
	defer v.tending.Unlock()
	current, err := v.tendKeys(ctx)
	if !current { // revocations that do not open would be taken for damaged
		return err
	}
	return errors.Join(err, v.tendRevoked(ctx))
}

// catchUp tends the vault, unless that is being done already: a configuration
// does not wait for a storage that hangs.
func (v *vault) catchUp(ctx context.Context) {
	if v.tending.TryLock() {
		v.tending.Unlock()
		v.keep(ctx)
	}
}

// keep tends the vault, and tells the operator what fails.
func (v *vault) keep(ctx context.Context) {
	if err := v.tend(ctx); ctx.Err() == nil {
		v.complain(err)
	}
}

func (v *vault) complain(err error) {
	var damaged keysError
	switch {
	case err == nil:
	case errors.As(err, &damaged):
		v.logger().Error("the keys in Caddy's storage cannot be used; this process goes on with those it has", zap.Error(err))
	default:
		v.logger().Warn("keys and ended sessions could not be brought up to date with Caddy's storage; trying again within half an hour", zap.Error(err))
	}
}

// logger returns the logger of the configuration that runs.
func (v *vault) logger() *zap.Logger { return caddy.Log().Named("websms") }
