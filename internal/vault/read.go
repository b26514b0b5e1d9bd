package vault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-websms/websms/session"
)

// readRevoked takes over the revocations in the archive that this vault does not
// know. It returns the names of all records, if the archive lists them all. If a
// record does not open, its subject is unknown, so all sessions are ended that
// were issued until the record's time.
//
// If it fails, it keeps the records that it has read, and the next call does not
// read them again.
func (v *Vault) readRevoked(ctx context.Context) (listed []string, err error) {
	r := &revokedReader{Vault: v, found: make(map[session.Subject]time.Time)}
	defer r.conclude() // also after an error: it takes over the records found before
	for range 3 {      // when a record is gone before it is read, a later one may have come
		names, mark, emptied, err := v.list(ctx, v.mark)
		if emptied {
			v.keepAllAgain()
		}
		complete, unread := r.read(ctx, names)
		if unread == nil && (err == nil || mark != "") {
			v.mark = mark
		}
		if err := errors.Join(err, unread); err != nil {
			return nil, err
		}
		if complete {
			if mark == "" {
				v.forgetSnapshotsBut(names)
				return names, nil
			}
			return nil, nil
		}
	}
	return nil, nil
}

// list lists the records that were kept since a mark. A storage may need long for
// that, so list waits up to listTime, as long as the storage answers other calls.
func (v *Vault) list(ctx context.Context, since string) (names []string, mark string, emptied bool, err error) {
	if v.archive.Volatile() {
		ctx, cancel := v.within(ctx)
		defer cancel()
		return v.archive.Records(ctx, since)
	}
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	go v.watch(ctx, giveUp)
	names, mark, emptied, err = v.archive.Records(ctx, since)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return names, mark, emptied, err
}

// watch calls giveUp when the archive does not answer, and returns then or when ctx
// ends. It is for a long call of the archive.
func (v *Vault) watch(ctx context.Context, giveUp context.CancelCauseFunc) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(v.patience()):
		}
		one, cancel := v.within(ctx)
		_, err := v.archive.Keys(one)
		cancel()
		if err != nil {
			giveUp(fmt.Errorf("meanwhile it did not answer: %w", err))
			return
		}
	}
}

// revokedReader reads records.
type revokedReader struct {
	*Vault
	found   map[session.Subject]time.Time
	damaged int           // records that do not open
	newer   error         // a *session.VersionError, if a later release wrote a record
	renewed bool          // the keys were read once more
	today   *session.Ring // today's keys, used until the vault's ring has them
}

func (r *revokedReader) conclude() {
	r.revoked.Revoke(r.found)
	if r.damaged == 0 {
		return
	}
	until := zap.Time("until", r.found[session.Subject{Kind: session.Everyone}])
	if r.newer != nil {
		r.logger().Error("records of ended or revoked sessions in "+r.where+" were written by a later release, and this one cannot read them; because it cannot tell whose they are, all sessions that were issued until then are ended",
			zap.Int("records", r.damaged), until, zap.Error(r.newer))
		return
	}
	r.logger().Error("records of ended or revoked sessions in "+r.where+" do not open; because nobody can tell whose they are, all sessions that were issued until then are ended",
		zap.Int("records", r.damaged), until)
}

// unreadable ends all sessions that were issued until a time.
func (r *revokedReader) unreadable(until time.Time, err error) {
	r.damaged++
	if newer := new(session.VersionError); errors.As(err, &newer) {
		r.newer = err
	}
	r.revoke(session.Subject{Kind: session.Everyone}, until)
}

func (r *revokedReader) revoke(subject session.Subject, notBefore time.Time) {
	if notBefore.After(r.found[subject]) {
		r.found[subject] = notBefore
	}
}

// read reports whether no record was gone.
func (r *revokedReader) read(ctx context.Context, names []string) (complete bool, err error) {
	var snapshots, records []string
	for _, name := range names {
		if id, until, ours := parseRevoked(name); ours {
			r.revoked.Add(id, until)
			r.isKept(id, until)
			continue
		}
		switch {
		case strings.HasPrefix(name, snapshotPrefix):
			if _, ours := parseSnapshot(name); ours && !r.knowsSnapshot(name) {
				snapshots = append(snapshots, name)
			}
		case !strings.HasPrefix(name, recordPrefix) || r.knows(name):
			// Not ours, such as a temporary file of a storage, or known.
		default:
			if _, ours := parseRecord(name); !ours {
				r.logger().Error("a record of a revoked number or user in "+r.where+" has lost its name, and does nothing: restore it or delete it", zap.String("record", name))
				continue
			}
			records = append(records, name)
		}
	}
	gone, err := r.readSnapshots(ctx, snapshots)
	if err != nil {
		return false, err
	}
	records = slices.DeleteFunc(records, r.knows) // some were in a snapshot
	goneToo, err := r.fetch(ctx, records, r.take)
	return !gone && !goneToo, err
}

// fetch reads records, several at once, and calls take for each, one after another.
// It reports whether one of the records was gone.
func (v *Vault) fetch(ctx context.Context, names []string, take func(ctx context.Context, name string, value []byte) error) (gone bool, err error) {
	var mu sync.Mutex
	err = inParallel(ctx, v.patience(), names, func(ctx context.Context, name string) error {
		value, err := v.archive.Record(ctx, name)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case errors.Is(err, fs.ErrNotExist):
			gone = true
			return nil
		case err != nil:
			return err
		}
		return take(ctx, name, value)
	})
	return gone, err
}

// take takes over one record.
func (r *revokedReader) take(ctx context.Context, name string, sealed []byte) error {
	notBefore, _ := parseRecord(name)
	subject, err := r.open(ctx, name, string(sealed))
	switch newer := new(session.VersionError); {
	case errors.Is(err, session.ErrSealed), errors.As(err, &newer):
		r.unreadable(notBefore, err)
	case err != nil:
		return err
	default:
		r.revoke(subject, notBefore)
		r.subjectIsKept(subject, notBefore)
	}
	r.know(name, notBefore)
	return nil
}

// open returns the subject of a record. Its error is one of session.OpenSubject, or
// of reading the keys again.
func (r *revokedReader) open(ctx context.Context, name, sealed string) (session.Subject, error) {
	subject, err := r.unseal(name, sealed)
	if err == nil || !r.archive.Volatile() || r.renewed {
		return subject, err
	}
	// It may be of a ring that another process has begun since we read ours.
	r.renewed, r.today = true, nil
	if current, err := r.tendKeys(ctx); !current {
		return subject, err
	}
	if r.caughtUp {
		if err := r.place(); err != nil {
			return subject, err
		}
	}
	return r.unseal(name, sealed)
}

// unseal opens a record with today's keys: those in the ring, once it may have them.
func (r *revokedReader) unseal(name, sealed string) (session.Subject, error) {
	if r.caughtUp {
		return session.OpenSubject(r.Ring, name, sealed)
	}
	if r.today == nil {
		ring, err := session.NewRing(r.keys.At(r.now()))
		if err != nil {
			return session.Subject{}, err
		}
		r.today = ring
	}
	return session.OpenSubject(r.today, name, sealed)
}

// unkept are revocations that the archive has not taken, or has lost.
type unkept struct {
	ids       map[session.ID]time.Time
	notBefore map[session.Subject]time.Time
}

func newUnkept() unkept {
	return unkept{make(map[session.ID]time.Time), make(map[session.Subject]time.Time)}
}

func (u unkept) len() int { return len(u.ids) + len(u.notBefore) }

// keepLater queues revocations, to be kept in the archive as soon as possible.
func (v *Vault) keepLater(ids map[session.ID]time.Time, notBefore map[session.Subject]time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	maps.Copy(v.unkept.ids, ids)
	for subject, t := range notBefore {
		if t.After(v.unkept.notBefore[subject]) {
			v.unkept.notBefore[subject] = t
		}
	}
	if v.unkept.len() > 0 {
		signal(v.waits)
	}
}

// keepAllAgain has all revocations kept that are known: the archive has none
// of them, or only what others have put there since.
func (v *Vault) keepAllAgain() {
	v.mu.Lock()
	v.records = make(map[string]time.Time)
	v.mu.Unlock()
	v.keepLater(v.revoked.All())
}

// isKept says that the end of a session is in the archive.
func (v *Vault) isKept(id session.ID, until time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.unkept.ids[id].After(until) {
		delete(v.unkept.ids, id)
	}
}

// subjectIsKept says that a not-before time is in the archive.
func (v *Vault) subjectIsKept(subject session.Subject, notBefore time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.unkept.notBefore[subject].After(notBefore) {
		delete(v.unkept.notBefore, subject)
	}
}

// keepAtOnce bounds how many revocations are kept before others are read again.
const keepAtOnce = 1000

// keepAgain keeps revocations that wait in memory, except those that are over. If
// the archive refuses one, it still keeps the others.
func (v *Vault) keepAgain(ctx context.Context) error {
	horizon := v.knownKeys().Horizon(v.now())
	todo := v.someUnkept(keepAtOnce)
	var tasks []func(ctx context.Context) error
	for id, until := range todo.ids {
		tasks = append(tasks, func(ctx context.Context) error {
			if horizon.Before(until) {
				if err := v.keepRecord(ctx, revokedName(id, until), ended); err != nil {
					return fmt.Errorf("keeping ended sessions: %w", err)
				}
			}
			v.isKept(id, until)
			return nil
		})
	}
	for subject, notBefore := range todo.notBefore {
		tasks = append(tasks, func(ctx context.Context) error {
			name, sealed, err := v.sealRecord(subject, notBefore)
			if err == nil && !v.knows(name) && horizon.Before(notBefore.Add(session.MaxLife)) {
				err = v.keepSubject(ctx, name, sealed, notBefore)
			}
			if err != nil {
				return fmt.Errorf("keeping revoked sessions: %w", err)
			}
			v.subjectIsKept(subject, notBefore)
			return nil
		})
	}
	return inParallel(ctx, v.patience(), tasks, func(ctx context.Context, task func(context.Context) error) error { return task(ctx) })
}

// waiting reports whether revocations wait to be kept.
func (v *Vault) waiting() bool { return v.unkeptCount() > 0 }

// unkeptCount returns how many revocations wait to be kept.
func (v *Vault) unkeptCount() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.unkept.len()
}

// someUnkept returns so many of what is to be kept.
func (v *Vault) someUnkept(n int) unkept {
	v.mu.Lock()
	defer v.mu.Unlock()
	some := newUnkept()
	for id, until := range v.unkept.ids {
		if len(some.ids) == n {
			break
		}
		some.ids[id] = until
	}
	for subject, t := range v.unkept.notBefore {
		if some.len() >= n {
			break
		}
		some.notBefore[subject] = t
	}
	return some
}

// retry tries to keep the revocations that wait, and reports whether none waits
// any more.
func (v *Vault) retry(ctx context.Context) bool {
	v.tending.Lock()
	defer v.tending.Unlock()
	if !v.waiting() {
		return true
	}
	if err := v.keepAllThatWaits(ctx); err != nil {
		return false
	}
	v.logger().Info("sessions that were ended while " + v.where + " could not be written are stored as such now")
	return true
}

// keepAllThatWaits keeps all revocations that wait. It returns an error when a try
// keeps none, because the archive refuses the rest.
func (v *Vault) keepAllThatWaits(ctx context.Context) error {
	for left := v.unkeptCount(); left > 0; {
		err := v.keepAgain(ctx)
		before := left
		if left = v.unkeptCount(); err != nil && left >= before {
			return err
		}
	}
	return nil
}

// KeepSoon makes the loop try now to keep the revocations that wait. It does not
// wait for that. It is for a process that is about to end.
func (v *Vault) KeepSoon() {
	if v.waiting() {
		signal(v.refresh)
	}
}

// keepLast tries once more to keep what is not, before the vault ends.
func (v *Vault) keepLast() {
	ctx, cancel := context.WithTimeout(context.Background(), lastTime)
	defer cancel()
	if err := v.keepAllThatWaits(ctx); err != nil {
		v.logger().Error("this process ends, and some sessions that were ended were not stored as such: they may be good again, or at other processes", zap.Error(err))
	}
}
