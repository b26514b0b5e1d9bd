package websms

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-websms/websms/session"
)

// readRevoked takes over the revocations in the archive that are not known. A
// record that does not open concerns somebody, and nobody knows whom: it ends
// all sessions that were issued until then.
func (v *vault) readRevoked(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, revokedTime)
	defer cancel()
	r := &revokedReader{vault: v, found: make(map[session.Subject]time.Time)}
	defer r.conclude() // also what was found before something failed
	for range 3 {      // when a record is gone before it is read, a later one may have come
		names, mark, emptied, err := v.listRevoked(ctx)
		if err != nil {
			return err
		}
		if emptied {
			v.keepAllAgain()
		}
		complete, err := r.read(ctx, names)
		if err != nil {
			return err
		}
		if v.mark = mark; complete {
			return nil
		}
	}
	return nil
}

func (v *vault) listRevoked(ctx context.Context) (names []string, mark string, emptied bool, err error) {
	ctx, cancel := v.within(ctx)
	defer cancel()
	return v.archive.Records(ctx, v.mark)
}

// revokedReader reads records.
type revokedReader struct {
	*vault
	found   map[session.Subject]time.Time
	damaged int
	renewed bool // the keys were read once more
}

func (r *revokedReader) conclude() {
	r.revoked.Revoke(r.found)
	if r.damaged > 0 {
		r.logger().Error("records of revoked numbers or users in "+r.where+" do not open; because nobody can tell whose they are, all sessions that were issued until then are ended",
			zap.Int("records", r.damaged), zap.Time("until", r.found[session.Subject{Kind: session.Everyone}]))
	}
}

// read reports whether no record was gone.
func (r *revokedReader) read(ctx context.Context, names []string) (complete bool, err error) {
	complete = true
	for _, name := range names {
		if id, until, ours := parseRevoked(name); ours {
			r.revoked.Add(id, until)
			r.isKept(id, until)
			continue
		}
		if !strings.HasPrefix(name, recordPrefix) || r.knows(name) {
			continue // what is not ours may be what a storage is about to write
		}
		notBefore, ours := parseRecord(name)
		if !ours {
			r.logger().Error("a record of a revoked number or user in "+r.where+" has lost its name, and does nothing: restore it or delete it", zap.String("record", name))
			continue
		}
		subject, err := r.open(ctx, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			complete = false
			continue
		case errors.Is(err, session.ErrSealed):
			subject = session.Subject{Kind: session.Everyone}
			r.damaged++
		case err != nil:
			return false, err
		}
		if notBefore.After(r.found[subject]) {
			r.found[subject] = notBefore
		}
		r.know(name, notBefore)
		r.subjectIsKept(subject, notBefore)
	}
	return complete, nil
}

// open returns whom a record concerns, or session.ErrSealed.
func (r *revokedReader) open(ctx context.Context, name string) (session.Subject, error) {
	one, cancel := r.within(ctx)
	defer cancel()
	sealed, err := r.archive.Record(one, name)
	if err != nil {
		return session.Subject{}, err
	}
	subject, err := r.unseal(name, sealed)
	if err == nil || !r.archive.Volatile() || r.renewed {
		return subject, err
	}
	// It may be of a ring that another process has begun since we read ours.
	r.renewed = true
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
func (r *revokedReader) unseal(name string, sealed []byte) (session.Subject, error) {
	ring := r.ring
	if !r.caughtUp {
		var err error
		if ring, err = session.NewRing(r.keys.At(r.now())); err != nil {
			return session.Subject{}, err
		}
	}
	return session.OpenSubject(ring, name, string(sealed))
}

// unkept are revocations that a volatile archive has not taken, or has lost.
type unkept struct {
	ids       map[session.ID]time.Time
	notBefore map[session.Subject]time.Time
}

func newUnkept() unkept {
	return unkept{make(map[session.ID]time.Time), make(map[session.Subject]time.Time)}
}

// keepLater has revocations kept as soon as they can be, where the archive is
// volatile. In any other it is for who asked to ask again.
func (v *vault) keepLater(ids map[session.ID]time.Time, notBefore map[session.Subject]time.Time) {
	if !v.archive.Volatile() {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	maps.Copy(v.unkept.ids, ids)
	for subject, t := range notBefore {
		if t.After(v.unkept.notBefore[subject]) {
			v.unkept.notBefore[subject] = t
		}
	}
}

// keepAllAgain has all revocations kept that are known: the archive has none
// of them, or only what others have put there since.
func (v *vault) keepAllAgain() {
	v.mu.Lock()
	v.records = make(map[string]time.Time)
	v.mu.Unlock()
	v.keepLater(v.revoked.All())
}

// isKept says that the end of a session is in the archive.
func (v *vault) isKept(id session.ID, until time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.unkept.ids[id].After(until) {
		delete(v.unkept.ids, id)
	}
}

// subjectIsKept says that a not-before time is in the archive.
func (v *vault) subjectIsKept(subject session.Subject, notBefore time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.unkept.notBefore[subject].After(notBefore) {
		delete(v.unkept.notBefore, subject)
	}
}

// keepAtOnce bounds how many revocations are kept before others are read again.
const keepAtOnce = 1000

// keepAgain keeps what is to be kept, but for what is over.
func (v *vault) keepAgain(ctx context.Context) error {
	horizon := v.keys.Horizon(v.now())
	todo := v.someUnkept(keepAtOnce)
	for id, until := range todo.ids {
		if horizon.Before(until) {
			if err := v.keepRecord(ctx, revokedName(id, until), ended); err != nil {
				return fmt.Errorf("keeping ended sessions: %w", err)
			}
		}
		v.isKept(id, until)
	}
	for subject, notBefore := range todo.notBefore {
		name, sealed, err := v.sealRecord(subject, notBefore)
		if err == nil && !v.knows(name) && horizon.Before(notBefore.Add(maxLife)) {
			err = v.keepSubject(ctx, name, sealed, notBefore)
		}
		if err != nil {
			return fmt.Errorf("keeping revoked sessions: %w", err)
		}
		v.subjectIsKept(subject, notBefore)
	}
	return nil
}

// someUnkept returns so many of what is to be kept.
func (v *vault) someUnkept(n int) unkept {
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
		if len(some.ids)+len(some.notBefore) >= n {
			break
		}
		some.notBefore[subject] = t
	}
	return some
}

// keepLast tries once more to keep what is not, before the vault ends.
func (v *vault) keepLast() {
	if some := v.someUnkept(1); len(some.ids)+len(some.notBefore) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), storageTime)
	defer cancel()
	err := v.keepAgain(ctx)
	for some := v.someUnkept(1); err == nil && len(some.ids)+len(some.notBefore) > 0; some = v.someUnkept(1) {
		err = v.keepAgain(ctx)
	}
	if err != nil {
		v.logger().Error("this process ends, and some sessions that were ended were not stored as such: they may be good again, or at other processes", zap.Error(err))
	}
}
