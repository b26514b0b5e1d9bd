// Package vault holds the keys that seal cookies, and the revocations of sessions.
// Both are in memory for a request, and in an archive for other processes and for
// the next start.
package vault

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/internal/clock"
	"github.com/caddy-websms/websms/internal/shared"
	"github.com/caddy-websms/websms/session"
)

// Vault holds the key ring and the revocations of one archive. Both are in
// memory for whoever asks, and in the archive for other processes and for the
// one after this. It outlives the configuration that opened it.
//
// With a volatile archive it begins with an empty ring if it must, and goes on
// with what it knows; what the archive has lost, or could not take, it puts
// there as soon as it can.
type Vault struct {
	key     string        // in pool
	Ring    *session.Ring // empty until keys and revocations are known, then never again
	revoked session.Revocations
	now     func() time.Time
	archive session.Archive
	letGo   func() error // of the archive
	where   string       // the archive is, for people

	stop    context.CancelFunc // ends the loop that tends the vault
	ending  chan struct{}      // closed when the loop is left, and unkept revocations are tried for the last time
	done    chan struct{}      // closed when that has ended
	waits   chan struct{}      // holds a value when a revocation waits to be kept
	refresh chan struct{}      // holds a value when the records are to be read soon
	cleans  sync.WaitGroup     // the cleanings that run beside the loop

	cleaning  sync.Mutex // one goroutine cleans at a time
	compacted time.Time  // when this process last looked for records to compact

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

	snapshots map[string]snapshotState // that were read or written
	bequest   bequest                  // keys and revocations to take over from other vaults
	heirs     []*Vault                 // vaults that are told of revocations here
	parents   []*Vault                 // vaults that tell this one of theirs

	ails string // the last trouble that was logged
}

const (
	// storageTime bounds one dealing with an archive that is to be relied on,
	// volatileTime with one that is not: whoever signs out waits for it.
	storageTime  = 10 * time.Second
	volatileTime = 2 * time.Second

	// listTime bounds one listing of the records. A listing shows no progress, so
	// meanwhile the storage must answer another call every storageTime.
	listTime = 10 * time.Minute

	// lastTime bounds the last try to keep revocations when the vault ends.
	lastTime = 30 * time.Second

	// retryFirst is the first pause before a revocation that could not be kept is
	// tried again. The pause doubles up to retryMost.
	retryFirst, retryMost = time.Second, time.Minute

	// cleanSoon is how long after its opening a vault cleans up for the first time,
	// so that a start does not wait for that.
	cleanSoon = time.Minute

	// tendEvery is how often the vault is tended: twice as often as
	// session.Settling counts on, so that one failure does no harm.
	tendEvery = 30 * time.Minute
)

// Archiver opens the archive of a store. It returns the archive, a key that
// identifies it, and a function that releases it and is called once.
type Archiver interface {
	OpenArchive(secret string) (key string, archive session.Archive, release func() error, err error)
}

// Open opens the vault in the archive of a store or, if archives is nil, in
// the storage of the configuration. If that vault is open already, Open joins
// it. The caller releases it.
func Open(ctx caddy.Context, archives Archiver, secret string) (*Vault, error) {
	if archives != nil {
		return openArchive(ctx, archives, secret)
	}
	from := source{ctx.Storage(), ctx.Context}
	key := "vault " + storageKey(from.Storage)
	others := openVaults.All() // not in the constructor: the pool waits for that
	value, joined, err := shared.Pool.LoadOrNew(key, func() (caddy.Destructor, error) {
		return newVault(ctx, key, &storageArchive{sources: []source{from}}, clock.Now, others...)
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
	key, archive, letGo, err := archives.OpenArchive(secret)
	if err != nil {
		return nil, fmt.Errorf("opening the archive of the store: %w", err)
	}
	key = "vault archive " + key
	others := openVaults.All()
	value, joined, err := shared.Pool.LoadOrNew(key, func() (caddy.Destructor, error) {
		v := makeVault(key, archive, clock.Now)
		v.letGo = letGo
		v.inherit(others...)
		if err := v.begin(ctx); err != nil {
			return nil, err
		}
		return v, nil
	})
	if err != nil {
		return nil, errors.Join(err, letGo())
	}
	v := value.(*Vault)
	if joined { // which has its own hold on the archive
		v.inherit(others...)
		if err := letGo(); err != nil {
			return nil, errors.Join(err, v.Release())
		}
	}
	return v, nil
}

// openVaults are the vaults of this process.
var openVaults shared.Live[*Vault]

// newVault returns a vault with its keys and revocations loaded, and with those of
// others. The vault tends itself until Destruct.
func newVault(ctx context.Context, key string, archive session.Archive, now func() time.Time, others ...*Vault) (*Vault, error) {
	v := makeVault(key, archive, now)
	v.inherit(others...)
	if err := v.begin(ctx); err != nil {
		return nil, err
	}
	return v, nil
}

func makeVault(key string, archive session.Archive, now func() time.Time) *Vault {
	v := &Vault{
		key: key, Ring: new(session.Ring), now: now, archive: archive, letGo: func() error { return nil }, where: "the store",
		records: make(map[string]time.Time), unkept: newUnkept(), snapshots: make(map[string]snapshotState),
		ending: make(chan struct{}), done: make(chan struct{}), waits: make(chan struct{}, 1), refresh: make(chan struct{}, 1),
	}
	if _, ok := archive.(*storageArchive); ok {
		v.where = "Caddy's storage"
	}
	return v
}

// begin loads the vault, and starts the loop that tends it. That loop removes
// outdated records later.
func (v *Vault) begin(ctx context.Context) error {
	if v.archive.Volatile() {
		v.takeOver()
	}
	if v.keys.Sealing != nil { // inherited, with all revocations of what they have sealed
		if err := v.place(); err != nil {
			return err
		}
	}
	err := v.follow(ctx)
	switch {
	case v.Ring.Ready() || v.archive.Volatile():
	case v.keys.Sealing == nil:
		v.disinherit()
		return fmt.Errorf("loading the keys that seal sessions: %w", err)
	default:
		v.disinherit()
		return fmt.Errorf("loading the sessions that were ended: %w", err)
	}
	v.complain(err)
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

// Release lets go of one reference.
func (v *Vault) Release() error { return shared.Release(v.key) }

// Destruct ends the loop, keeps the revocations that wait, and releases the
// archive.
func (v *Vault) Destruct() error {
	openVaults.Remove(v)
	v.disinherit()
	v.stop()
	late := func(within <-chan time.Time, what <-chan struct{}) error {
		select {
		case <-what:
			return nil
		case <-within:
			return fmt.Errorf("ending the vault: %s does not answer; what waits for it is left behind", v.where)
		}
	}
	err := late(time.After(storageTime), v.ending)
	if err == nil {
		err = late(time.After(lastTime+storageTime), v.done)
	}
	return errors.Join(err, v.letGo())
}

// run tends the vault from time to time. In between it follows the archive, and
// tries again to keep revocations that could not be kept.
func (v *Vault) run(ctx context.Context) {
	defer close(v.done)
	tend := time.NewTicker(tendEvery)
	defer tend.Stop()
	soon := time.NewTimer(cleanSoon)
	defer soon.Stop()
	var follow <-chan time.Time
	every := v.archive.Follow()
	if every > 0 && every < tendEvery {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		follow = ticker.C
	}
	var again <-chan time.Time // nil if nothing waits, or if the next follow keeps it
	wait := retryFirst
	for {
		select {
		case <-ctx.Done():
			close(v.ending)
			v.cleans.Wait()
			v.keepLast()
			return
		case <-soon.C:
			v.tendBeside(ctx)
		case <-tend.C:
			v.tendBeside(ctx)
		case <-follow:
			v.keep(ctx, v.follow)
		case <-v.refresh:
			v.keep(ctx, v.follow)
		case <-v.waits:
			if again == nil && every > retryFirst {
				wait = retryFirst
				again = time.After(wait)
			}
		case <-again:
			if again = nil; !v.retry(ctx) {
				wait = min(2*wait, retryMost)
				again = time.After(wait)
			}
		}
	}
}

// tend does what follow does, and removes what is over. Whatever fails, the
// vault goes on with what it has.
func (v *Vault) tend(ctx context.Context) error {
	listed, complete, err := v.look(ctx)
	if complete {
		v.clean(ctx, listed)
	}
	return err
}

// tendBeside is tend for the loop. It cleans in another goroutine, because that may
// last and must delay neither keys nor revocations.
func (v *Vault) tendBeside(ctx context.Context) {
	v.keep(ctx, func(ctx context.Context) error {
		listed, complete, err := v.look(ctx)
		if complete {
			v.cleans.Go(func() { v.clean(ctx, listed) })
		}
		return err
	})
}

// follow takes over what other processes have changed in the archive, makes a
// new key when it is time, and keeps what could not be kept before.
func (v *Vault) follow(ctx context.Context) error {
	_, _, err := v.look(ctx)
	return err
}

// look does what follow does. It returns the names of all records, if the archive
// lists them all, and whether all could be read.
func (v *Vault) look(ctx context.Context) (listed []string, complete bool, err error) {
	v.tending.Lock()
	defer v.tending.Unlock()
	return v.update(ctx)
}

// update is look for a caller that holds tending.
func (v *Vault) update(ctx context.Context) (listed []string, complete bool, err error) {
	defer func() { v.missed = !complete && v.archive.Volatile() }()
	if v.archive.Volatile() {
		v.takeOver()
	}
	current, err := v.tendKeys(ctx)
	if !current { // revocations that do not open would be taken for damaged
		return nil, false, err
	}
	if v.missed { // another Redis may answer now, that knows less, and has since heard of more
		if v.caughtUp { // before that, records are not read a second time: a start must end
			v.mark = ""
		}
		v.keepAllAgain()
	}
	if v.caughtUp {
		err = errors.Join(err, v.place())
	}
	listed, unread := v.readRevoked(ctx)
	if unread != nil {
		return nil, false, errors.Join(err, unread)
	}
	if !v.caughtUp { // before, those would be let in whose sessions were ended
		if broken := v.place(); broken != nil {
			return nil, false, errors.Join(err, broken)
		}
		v.caughtUp = true
	}
	return listed, true, errors.Join(err, v.keepAgain(ctx))
}

// patience is how long one call of the archive may take.
func (v *Vault) patience() time.Duration {
	if v.archive.Volatile() {
		return volatileTime
	}
	return storageTime
}

// within bounds one call of the archive.
func (v *Vault) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, v.patience())
}

// catchUp brings the keys up to date for a configuration that joins the vault. If
// that is being done already, it does not wait, so that a storage that hangs does
// not delay the configuration. The latest records are read later, in the loop; this
// process knows all others.
func (v *Vault) catchUp(ctx context.Context) {
	if !v.tending.TryLock() {
		return
	}
	current, err := v.tendKeys(ctx)
	if current && v.caughtUp {
		err = errors.Join(err, v.place())
	}
	v.tending.Unlock()
	if err != nil && ctx.Err() == nil {
		v.complain(err)
	}
	if current {
		signal(v.refresh)
	}
}

// signal puts a value into a channel with room for one, if it is empty.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// keep tends the vault, and tells the operator what fails.
func (v *Vault) keep(ctx context.Context, tend func(context.Context) error) {
	if err := tend(ctx); ctx.Err() == nil {
		v.complain(err)
	}
}

// complain tells the operator of err: each time where that is seldom, else
// when it begins, and when it has ended.
func (v *Vault) complain(err error) {
	var damaged keysError
	level, text := zap.WarnLevel, ""
	switch {
	case err == nil:
	case errors.As(err, &damaged):
		level, text = zap.ErrorLevel, "the keys in "+v.where+" cannot be used; this process goes on with those it has"
	case !v.archive.Volatile():
		text = "keys and ended sessions could not be brought up to date with Caddy's storage; trying again within half an hour"
	case !v.Ring.Ready():
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
func (v *Vault) logger() *zap.Logger { return caddy.Log().Named("websms") }
