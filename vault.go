package websms

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/session"
)

// vault holds the key ring and the revocations of one archive. Both are in
// memory for whoever asks, and in the archive for other processes and for the
// one after this. It outlives the configuration that opened it.
//
// With a volatile archive it begins with an empty ring if it must, and goes on
// with what it knows; what the archive has lost, or could not take, it puts
// there as soon as it can.
type vault struct {
	key     string        // in pool
	ring    *session.Ring // empty until keys and revocations are known, then never again
	revoked session.Revocations
	now     func() time.Time
	archive session.Archive
	letGo   func() error // of the archive
	where   string       // the archive is, for people

	stop context.CancelFunc // ends the loop that tends the vault
	done chan struct{}      // closed when it has ended

	tending  sync.Mutex   // one tends at a time; what follows is theirs
	read     session.Keys // as the archive had them last,
	data     []byte       // in these bytes
	placed   session.Keys // in the ring
	mark     string       // up to which the archive's records were read
	caughtUp bool         // all of them were, once
	missed   bool         // the archive did not answer when it was last asked

	mu      sync.Mutex
	keys    session.Keys         // as far as we know; whoever tends changes them
	records map[string]time.Time // the records of not-before times that were read or written, with their times
	unkept  unkept
	ails    string // what the operator was told last
}

const (
	// storageTime bounds one dealing with an archive that is to be relied on,
	// volatileTime with one that is not: whoever signs out waits for it.
	storageTime  = 10 * time.Second
	volatileTime = 2 * time.Second

	// revokedTime bounds reading all revocations, of which there may be many.
	revokedTime = time.Minute

	// tendEvery is how often the vault is tended: twice as often as
	// session.Settling counts on, so that one failure does no harm.
	tendEvery = 30 * time.Minute
)

// openVault opens the vault in the store's archive, if it has one, else in the
// storage of the configuration, or joins the one that is open. The caller
// releases it.
func openVault(ctx caddy.Context, store StoreModule, secret string) (*vault, error) {
	if module, ok := store.(ArchiveModule); ok {
		return openArchive(ctx, module, secret)
	}
	from := source{ctx.Storage(), ctx.Context}
	key := "vault " + storageKey(from.Storage)
	value, joined, err := pool.LoadOrNew(key, func() (caddy.Destructor, error) {
		return newVault(ctx, key, &storageArchive{sources: []source{from}}, clock)
	})
	if err != nil {
		return nil, err
	}
	v := value.(*vault)
	if joined {
		v.archive.(*storageArchive).use(from)
		v.catchUp(ctx)
	}
	return v, nil
}

// openArchive opens the vault in the archive of a store.
func openArchive(ctx context.Context, module ArchiveModule, secret string) (*vault, error) {
	key, archive, letGo, err := module.OpenArchive(secret)
	if err != nil {
		return nil, fmt.Errorf("opening the archive of the store: %w", err)
	}
	key = "vault archive " + key
	others := openVaults.all()
	value, joined, err := pool.LoadOrNew(key, func() (caddy.Destructor, error) {
		v := makeVault(key, archive, clock)
		v.letGo = letGo
		for _, other := range others {
			v.inherit(other)
		}
		if err := v.begin(ctx); err != nil {
			return nil, err
		}
		return v, nil
	})
	if err != nil {
		return nil, errors.Join(err, letGo())
	}
	v := value.(*vault)
	if joined { // which has its own hold on the archive
		if err := letGo(); err != nil {
			return nil, errors.Join(err, v.release())
		}
	}
	return v, nil
}

// openVaults are the vaults of this process.
var openVaults live[*vault]

// newVault returns a vault whose keys and revocations are loaded, and that
// tends itself until Destruct.
func newVault(ctx context.Context, key string, archive session.Archive, now func() time.Time) (*vault, error) {
	v := makeVault(key, archive, now)
	if err := v.begin(ctx); err != nil {
		return nil, err
	}
	return v, nil
}

func makeVault(key string, archive session.Archive, now func() time.Time) *vault {
	v := &vault{
		key: key, ring: new(session.Ring), now: now, archive: archive, letGo: func() error { return nil }, where: "the store",
		records: make(map[string]time.Time), unkept: newUnkept(), done: make(chan struct{}),
	}
	if _, ok := archive.(*storageArchive); ok {
		v.where = "Caddy's storage"
	}
	return v
}

// inherit lets a vault on a volatile archive begin with what another one
// knows, so that a reload that changes the archive logs nobody out.
func (v *vault) inherit(other *vault) {
	if !v.archive.Volatile() || !other.ring.Ready() {
		return
	}
	v.setKeys(v.keys.Merge(other.knownKeys()))
	ids, notBefore := other.revoked.All()
	for id, until := range ids {
		v.revoked.Add(id, until)
	}
	v.revoked.Revoke(notBefore)
	v.keepLater(ids, notBefore)
}

// begin loads the vault, and has it tended from then on.
func (v *vault) begin(ctx context.Context) error {
	if v.keys.Sealing != nil { // inherited, with all revocations of what they have sealed
		if err := v.place(); err != nil {
			return err
		}
	}
	err := v.tend(ctx)
	switch {
	case v.ring.Ready() || v.archive.Volatile():
	case v.keys.Sealing == nil:
		return fmt.Errorf("loading the keys that seal sessions: %w", err)
	default:
		return fmt.Errorf("loading the sessions that were ended: %w", err)
	}
	v.complain(err)
	loop, stop := context.WithCancel(context.Background())
	v.stop = stop
	openVaults.add(v)
	go v.run(loop)
	return nil
}

// release lets go of one reference.
func (v *vault) release() error { return releaseShared(v.key) }

// Destruct ends the loop, and lets go of the archive, which has all that the
// vault holds.
func (v *vault) Destruct() error {
	openVaults.remove(v)
	v.stop()
	var late error
	select {
	case <-v.done:
	case <-time.After(storageTime):
		late = fmt.Errorf("ending the vault: %s does not answer; what waits for it is left behind", v.where)
	}
	return errors.Join(late, v.letGo())
}

// run tends the vault from time to time, and in between follows its archive.
func (v *vault) run(ctx context.Context) {
	defer close(v.done)
	tend := time.NewTicker(tendEvery)
	defer tend.Stop()
	var follow <-chan time.Time
	if every := v.archive.Follow(); every > 0 && every < tendEvery {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		follow = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			v.keepLast()
			return
		case <-tend.C:
			v.keep(ctx, v.tend)
		case <-follow:
			v.keep(ctx, v.follow)
		}
	}
}

// tend does what follow does, and removes what is over. Whatever fails, the
// vault goes on with what it has.
func (v *vault) tend(ctx context.Context) error {
	v.tending.Lock()
	defer v.tending.Unlock()
	complete, err := v.update(ctx)
	if complete {
		v.sweep(ctx)
	}
	return err
}

// follow takes over what other processes have changed in the archive, makes a
// new key when it is time, and keeps what could not be kept before.
func (v *vault) follow(ctx context.Context) error {
	v.tending.Lock()
	defer v.tending.Unlock()
	_, err := v.update(ctx)
	return err
}

// update reports whether all could be read.
func (v *vault) update(ctx context.Context) (complete bool, err error) {
	defer func() { v.missed = !complete && v.archive.Volatile() }()
	current, err := v.tendKeys(ctx)
	if !current { // revocations that do not open would be taken for damaged
		return false, err
	}
	if v.missed { // another Redis may answer now, that knows less, and has since heard of more
		v.mark = ""
		v.keepAllAgain()
	}
	if v.caughtUp {
		err = errors.Join(err, v.place())
	}
	if unread := v.readRevoked(ctx); unread != nil {
		return false, errors.Join(err, unread)
	}
	if !v.caughtUp { // before, those would be let in whose sessions were ended
		if broken := v.place(); broken != nil {
			return false, errors.Join(err, broken)
		}
		v.caughtUp = true
	}
	return true, errors.Join(err, v.keepAgain(ctx))
}

// within bounds one dealing with the archive.
func (v *vault) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if v.archive.Volatile() {
		return context.WithTimeout(ctx, volatileTime)
	}
	return context.WithTimeout(ctx, storageTime)
}

// catchUp tends the vault, unless that is being done already: a configuration
// does not wait for a storage that hangs.
func (v *vault) catchUp(ctx context.Context) {
	if v.tending.TryLock() {
		v.tending.Unlock()
		v.keep(ctx, v.tend)
	}
}

// keep tends the vault, and tells the operator what fails.
func (v *vault) keep(ctx context.Context, tend func(context.Context) error) {
	if err := tend(ctx); ctx.Err() == nil {
		v.complain(err)
	}
}

// complain tells the operator of err: each time where that is seldom, else
// when it begins, and when it has ended.
func (v *vault) complain(err error) {
	var damaged keysError
	level, text := zap.WarnLevel, ""
	switch {
	case err == nil:
	case errors.As(err, &damaged):
		level, text = zap.ErrorLevel, "the keys in "+v.where+" cannot be used; this process goes on with those it has"
	case !v.archive.Volatile():
		text = "keys and ended sessions could not be brought up to date with Caddy's storage; trying again within half an hour"
	case !v.ring.Ready():
		text = "the keys that seal sessions are not known, because the store does not answer; until it does, everybody is told that the site is unavailable for now"
	default:
		text = "keys and ended sessions cannot be brought up to date with the store; this process goes on with those it knows, and tries again"
	}
	v.mu.Lock()
	former := v.ails
	v.ails = text
	v.mu.Unlock()
	switch {
	case text == former && (text == "" || v.archive.Volatile()):
	case text != "":
		v.logger().Log(level, text, zap.Error(err))
	case v.archive.Volatile():
		v.logger().Info("keys and ended sessions are up to date with the store again")
	}
}

// logger returns the logger of the configuration that runs.
func (v *vault) logger() *zap.Logger { return caddy.Log().Named("websms") }
