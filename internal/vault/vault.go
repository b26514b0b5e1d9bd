// Package vault holds the keys that seal cookies, and the revocations of sessions.
// A request reads both in memory. An archive keeps them for other processes and
// for the next start.
//
// A revocation is one of two kinds:
//
//   - An ended session: the ID of one session. It holds until the session would have
//     ended by itself.
//   - A cutoff: a subject (a number, a user, or everyone) and a time. It ends all
//     sessions of the subject that were issued at or before that time.
//
// The archive is a session.Archive: Caddy's storage, or that of a store such as
// Redis. Each revocation is an entry in it, which session.Archive calls a record.
// In Caddy's storage, many entries are compacted into snapshots.
//
// Keys are never written to a log, and no name in an archive tells a number or a
// user.
package vault

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/internal/clock"
	"github.com/caddy-websms/websms/internal/shared"
	"github.com/caddy-websms/websms/session"
)

// Vault holds the key ring and the revocations of one archive. It outlives the
// configuration that opened it. Its methods may be called at the same time.
//
// If the archive is volatile, the vault may begin with an empty ring. While the archive
// is away, the vault works with the keys and revocations that it has. As soon as it can,
// it writes those that the archive has lost or could not take.
type Vault struct {
	// Ring seals and opens cookies. It is empty until the keys and all revocations
	// are known, and then never again.
	Ring *session.Ring

	key            string // in shared.Pool
	revoked        session.Revocations
	now            func() time.Time
	archive        session.Archive
	releaseArchive func() error
	where          string // the place of the archive, in words for an operator

	stop     context.CancelFunc // ends the loop
	ending   chan struct{}      // closed when the loop ends, and begins its last try to keep revocations
	done     chan struct{}      // closed when that try has ended
	queued   chan struct{}      // holds a value if revocations were queued
	syncSoon chan struct{}      // holds a value if the loop is to sync as soon as it can
	cleans   sync.WaitGroup     // the cleanings that run beside the loop

	cleaning  sync.Mutex // held while cleaning
	compacted time.Time  // when this process last compacted, or looked for entries to compact

	syncing    sync.Mutex   // held while syncing; it guards the fields of this paragraph
	storedKeys session.Keys // the keys that the archive had last
	storedData []byte       // the bytes that storedKeys were read from
	placedKeys session.Keys // the keys in Ring
	mark       string       // the archive's entries were read up to this mark
	caughtUp   bool         // all entries were read at least once
	unanswered bool         // the archive is volatile, and the last sync failed

	mu        sync.Mutex               // guards the fields of this paragraph
	keys      session.Keys             // as far as this process knows; changed only while syncing
	cutoffs   map[string]time.Time     // the names of the cutoffs that were read or written, with their times
	unkept    set                      // revocations that the archive has not taken, or has lost
	snapshots map[string]snapshotState // the snapshots that were read or written
	bequest   bequest                  // the keys and revocations that this vault must take over from other vaults
	heirs     []*Vault                 // vaults that are told of revocations here
	parents   []*Vault                 // vaults that tell this one of their revocations
	trouble   string                   // the last trouble that was logged
}

const (
	// storageTime bounds one call of an archive that is not volatile.
	storageTime = 10 * time.Second

	// volatileTime bounds one call of a volatile archive. It is shorter, because a
	// sign-out waits for it.
	volatileTime = 2 * time.Second

	// lastTime bounds the last try to keep revocations when the vault ends.
	lastTime = 30 * time.Second
)

// Archiver opens the archive of a store. It returns the archive, a key that
// identifies it, and a function that releases it and is called once.
type Archiver interface {
	OpenArchive(secret string) (key string, archive session.Archive, release func() error, err error)
}

// openVaults are the vaults of this process.
var openVaults shared.Live[*Vault]

// Open opens the vault in the archive of a store or, if archives is nil, in the
// storage of the configuration. If that vault is open already, Open joins it. The
// caller calls Release once.
//
// A vault that is new takes over the keys and revocations of all other vaults of
// this process. So a reload that changes the archive ends no session.
func Open(ctx caddy.Context, archives Archiver, secret string) (*Vault, error) {
	if archives != nil {
		return openArchive(ctx, archives, secret)
	}
	from := source{ctx.Storage(), ctx.Context}
	key := "vault " + storageKey(from.Storage)
	others := openVaults.All()
	value, joined, err := shared.Pool.LoadOrNew(key, func() (caddy.Destructor, error) {
		return start(ctx, key, &storageArchive{sources: []source{from}}, clock.Now, others...)
	})
	if err != nil {
		return nil, err
	}
	v := value.(*Vault)
	if joined {
		v.archive.(*storageArchive).use(from)
		v.inherit(others...)
		v.catchUp(ctx)
	}
	return v, nil
}

// openArchive opens the vault in the archive of a store.
func openArchive(ctx context.Context, archives Archiver, secret string) (*Vault, error) {
	key, archive, release, err := archives.OpenArchive(secret)
	if err != nil {
		return nil, fmt.Errorf("opening the archive of the store: %w", err)
	}
	key = "vault archive " + key
	others := openVaults.All()
	value, joined, err := shared.Pool.LoadOrNew(key, func() (caddy.Destructor, error) {
		v := newVault(key, archive, clock.Now)
		v.releaseArchive = release
		v.inherit(others...)
		if err := v.begin(ctx); err != nil {
			return nil, err
		}
		return v, nil
	})
	if err != nil {
		return nil, errors.Join(err, release())
	}
	v := value.(*Vault)
	if joined { // the vault that is open holds the archive already
		v.inherit(others...)
		if err := release(); err != nil {
			return nil, errors.Join(err, v.Release())
		}
	}
	return v, nil
}

// start returns a vault with its loop running. It has its own keys and revocations, and
// those of others. It runs until Destruct.
func start(
	ctx context.Context, key string, archive session.Archive, now func() time.Time, others ...*Vault,
) (*Vault, error) {
	v := newVault(key, archive, now)
	v.inherit(others...)
	if err := v.begin(ctx); err != nil {
		return nil, err
	}
	return v, nil
}

// newVault returns a vault that knows nothing yet.
func newVault(key string, archive session.Archive, now func() time.Time) *Vault {
	v := &Vault{
		Ring: new(session.Ring), key: key, now: now, archive: archive, where: "the store",
		releaseArchive: func() error { return nil },
		ending:         make(chan struct{}), done: make(chan struct{}),
		queued: make(chan struct{}, 1), syncSoon: make(chan struct{}, 1),
		cutoffs: make(map[string]time.Time), unkept: newSet(), snapshots: make(map[string]snapshotState),
	}
	if _, ok := archive.(*storageArchive); ok {
		v.where = "Caddy's storage"
	}
	return v
}

// begin loads the keys and the revocations, and starts the loop. It fails if an
// archive that is not volatile cannot be read, because then nobody knows which
// sessions were revoked. It does not clean: the loop does that later.
func (v *Vault) begin(ctx context.Context) error {
	if v.archive.Volatile() {
		v.takeOver()
	}
	if v.keys.Sealing != nil { // inherited keys, with all revocations of the sessions that they have sealed
		if err := v.placeKeys(); err != nil {
			return err
		}
	}
	_, _, err := v.sync(ctx)
	switch {
	case v.Ring.Ready() || v.archive.Volatile():
	case v.keys.Sealing == nil:
		v.disinherit()
		return fmt.Errorf("loading the keys that seal sessions: %w", err)
	default:
		v.disinherit()
		return fmt.Errorf("loading the sessions that were ended: %w", err)
	}
	v.logTrouble(err)
	loop, stop := context.WithCancel(context.Background())
	v.stop = stop
	openVaults.Add(v)
	go v.run(loop)
	return nil
}

// Key identifies the archive of the vault. Two configurations with the same key
// share the vault.
func (v *Vault) Key() string { return v.key }

// Ended reports whether a session that opens in a realm was ended or revoked.
func (v *Vault) Ended(s *session.Session, realm string) bool { return v.revoked.Ended(s, realm) }

// NotBefore returns the cutoff of a number or a user in a realm. Sessions that were
// issued at or before it are revoked. It is the zero time if there is none.
func (v *Vault) NotBefore(kind session.Kind, realm, name string) time.Time {
	return v.revoked.NotBefore(kind, realm, name)
}

// Release releases one reference, which Open has returned.
func (v *Vault) Release() error { return shared.Release(v.key) }

// Destruct implements caddy.Destructor. It ends the loop, keeps the revocations that
// are queued, and releases the archive.
func (v *Vault) Destruct() error {
	openVaults.Remove(v)
	v.disinherit()
	v.stop()
	wait := func(most time.Duration, event <-chan struct{}) error {
		select {
		case <-event:
			return nil
		case <-time.After(most):
			return fmt.Errorf("ending the vault: %s does not answer, so revocations may be lost", v.where)
		}
	}
	err := wait(storageTime, v.ending)
	if err == nil {
		err = wait(lastTime+storageTime, v.done)
	}
	return errors.Join(err, v.releaseArchive())
}
