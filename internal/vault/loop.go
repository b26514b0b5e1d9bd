package vault

import (
	"context"
	"errors"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/internal/logtext"
)

// The steps of the loop, from the smallest to the largest:
//
//   - syncKeys brings the keys of the vault and the archive up to date.
//   - sync does that, reads the revocations of other processes, and writes those that
//     are queued.
//   - syncAndLog is sync for the loop, which logs the error.
//   - maintain is syncAndLog, and then cleans: it removes the entries that no session
//     needs any more, and compacts the rest.
//
// Beside the loop, catchUp is syncKeys for a configuration that joins the vault.

const (
	// maintainEvery is how often the loop maintains the vault. It is half of the time
	// that session.Settling counts on, so that one failure does no harm.
	maintainEvery = 30 * time.Minute

	// cleanSoon is how long after its start a vault cleans for the first time. A start
	// does not wait for that.
	cleanSoon = time.Minute

	// retryFirst is the first pause before the loop tries again to keep a revocation.
	// The pause doubles up to retryMost.
	retryFirst, retryMost = time.Second, time.Minute
)

// run is the loop. It maintains the vault from time to time, and in between syncs it
// as often as the archive asks for. If revocations are queued, it tries to keep them.
func (v *Vault) run(ctx context.Context) {
	defer close(v.done)
	maintain := time.NewTicker(maintainEvery)
	defer maintain.Stop()
	first := time.NewTimer(cleanSoon)
	defer first.Stop()
	var follow <-chan time.Time
	every := v.archive.Follow()
	if every > 0 && every < maintainEvery {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		follow = ticker.C
	}
	var retry <-chan time.Time // nil if nothing is queued, or if the next sync keeps it soon enough
	pause := retryFirst
	for {
		select {
		case <-ctx.Done():
			close(v.ending)
			v.cleans.Wait()
			v.keepAtEnd()
			return
		case <-first.C:
			v.maintain(ctx)
		case <-maintain.C:
			v.maintain(ctx)
		case <-follow:
			v.syncAndLog(ctx)
		case <-v.syncSoon:
			v.syncAndLog(ctx)
		case <-v.queued:
			if retry == nil && every > retryFirst {
				pause = retryFirst
				retry = time.After(pause)
			}
		case <-retry:
			if retry = nil; !v.retry(ctx) {
				pause = min(2*pause, retryMost)
				retry = time.After(pause)
			}
		}
	}
}

// maintain syncs and then cleans. It cleans in another goroutine, because cleaning
// may take long, and must delay neither keys nor revocations.
func (v *Vault) maintain(ctx context.Context) {
	names, complete := v.syncAndLog(ctx)
	if complete {
		v.cleans.Go(func() { v.clean(ctx, names) })
	}
}

// syncAndLog calls sync, and logs its error.
func (v *Vault) syncAndLog(ctx context.Context) (names []string, complete bool) {
	names, complete, err := v.sync(ctx)
	if ctx.Err() == nil {
		v.logTrouble(err)
	}
	return names, complete
}

// sync brings the vault and the archive up to date with each other. It takes over
// the keys and revocations of other processes, makes a new key when one is due, and
// writes revocations that are queued. If it fails, the vault goes on with the
// keys and revocations that it has.
//
// It reports whether all entries of the archive could be read. Then names are the
// names of all entries, if the archive lists them all.
func (v *Vault) sync(ctx context.Context) (names []string, complete bool, err error) {
	v.syncing.Lock()
	defer v.syncing.Unlock()
	defer func() { v.unanswered = !complete && v.archive.Volatile() }()
	if v.archive.Volatile() {
		v.takeOver()
	}
	current, err := v.syncKeys(ctx)
	if !current { // without current keys, good cutoffs would not open, and seem damaged
		return nil, false, err
	}
	if v.unanswered {
		// A Redis that answers again may be another one. It may have lost entries, and
		// have new ones, so all are read and written once more. During a start, entries
		// are not read a second time, so that the start ends.
		if v.caughtUp {
			v.mark = ""
		}
		v.queueAll()
	}
	if v.caughtUp {
		err = errors.Join(err, v.placeKeys())
	}
	names, unread := v.readRevoked(ctx)
	if unread != nil {
		return nil, false, errors.Join(err, unread)
	}
	if !v.caughtUp {
		// The keys go into the ring only now. Before, a session that was revoked would open.
		if broken := v.placeKeys(); broken != nil {
			return nil, false, errors.Join(err, broken)
		}
		v.caughtUp = true
	}
	return names, true, errors.Join(err, v.keepSome(ctx))
}

// catchUp brings the keys up to date for a configuration that joins the vault. If a
// sync is under way, it does not wait for that, so that a storage that hangs does
// not delay the configuration. It leaves new revocations of other processes to the
// loop, which syncs soon. This process knows all others.
func (v *Vault) catchUp(ctx context.Context) {
	if !v.syncing.TryLock() {
		return
	}
	current, err := v.syncKeys(ctx)
	if current && v.caughtUp {
		err = errors.Join(err, v.placeKeys())
	}
	v.syncing.Unlock()
	if err != nil && ctx.Err() == nil {
		v.logTrouble(err)
	}
	if current {
		signal(v.syncSoon)
	}
}

// signal puts a value into a channel with room for one, if it is empty.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
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

// logTrouble logs the error of a sync, or that there is none any more. A storage is
// synced seldom, so each of its errors is logged. A volatile archive is synced
// often, so only the beginning and the end of its trouble are logged.
func (v *Vault) logTrouble(err error) {
	var damaged keysError
	level, text := zap.WarnLevel, ""
	switch {
	case err == nil:
	case errors.As(err, &damaged):
		level, text = zap.ErrorLevel, "the keys in "+v.where+" cannot be used; this process goes on with those it has"
	case !v.archive.Volatile():
		text = "keys and ended sessions could not be brought up to date with Caddy's storage; " +
			"trying again within half an hour"
	case !v.Ring.Ready():
		text = "the keys that seal sessions are not known, because the store does not answer; " +
			"until it does, everybody is told that the site is unavailable for now"
	default:
		text = "keys and ended sessions cannot be brought up to date with the store; " +
			"this process goes on with those it knows, and tries again"
	}
	v.mu.Lock()
	former := v.trouble
	v.trouble = text
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
func (v *Vault) logger() *zap.Logger { return logtext.Escaping(caddy.Log().Named("websms")) }
