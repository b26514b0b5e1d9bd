package vault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-websms/websms/session"
)

// listTime bounds one listing of the archive in Caddy's storage. A listing shows no
// progress, so meanwhile the storage must answer another call every storageTime.
const listTime = 10 * time.Minute

// readRevoked takes over the revocations in the archive that this vault does not
// know. It returns the names of all entries, if the archive lists them all. The
// caller holds syncing.
//
// If an entry does not open, its subject is unknown. Then readRevoked ends all sessions
// that were issued at or before the entry's cutoff.
//
// If readRevoked fails, it keeps the entries that it has read, and the next call does
// not read them again.
func (v *Vault) readRevoked(ctx context.Context) (names []string, err error) {
	r := &reader{v: v, found: make(map[session.Subject]time.Time)}
	defer r.conclude() // also after an error, so that the entries found before count
	for range 3 {      // an entry that is gone before it is read may have been replaced by a later one
		names, mark, emptied, err := v.list(ctx, v.mark)
		if emptied {
			v.queueAll()
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

// list lists the entries that were written since a mark. A storage may need long for
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

// watch calls giveUp when the archive does not answer. It returns then, or when ctx
// ends. It runs beside a long call of the archive.
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

// fetch reads entries, several at once, and calls take for each, one after another.
// It reports whether one of the entries was gone.
func (v *Vault) fetch(
	ctx context.Context, names []string, take func(ctx context.Context, name string, value []byte) error,
) (gone bool, err error) {
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

// reader takes over the entries of an archive. Its user holds the vault's syncing.
type reader struct {
	v        *Vault
	found    map[session.Subject]time.Time // cutoffs that were read
	unopened int                           // how many entries do not open
	newer    error                         // a *session.VersionError, if a later release wrote one of them
	renewed  bool                          // the keys were read once more
	today    *session.Ring                 // the keys of today, until the vault's ring has them
}

// conclude puts the cutoffs that were read into effect, and logs the entries that did not open.
func (r *reader) conclude() {
	r.v.revoked.Revoke(r.found)
	if r.unopened == 0 {
		return
	}
	fields := []zap.Field{
		zap.Int("records", r.unopened), zap.Time("until", r.found[session.Subject{Kind: session.Everyone}]),
	}
	if r.newer != nil {
		r.v.logger().Error("records of ended or revoked sessions in "+r.v.where+" were written by a later release, "+
			"and this one cannot read them; because it cannot tell whose they are, "+
			"all sessions that were issued until then are ended", append(fields, zap.Error(r.newer))...)
		return
	}
	r.v.logger().Error("records of ended or revoked sessions in "+r.v.where+" do not open; because nobody can tell "+
		"whose they are, all sessions that were issued until then are ended", fields...)
}

// note notes a cutoff that was read.
func (r *reader) note(subject session.Subject, cutoff time.Time) {
	if cutoff.After(r.found[subject]) {
		r.found[subject] = cutoff
	}
}

// noteUnopened notes that an entry does not open. So conclude ends all sessions that were
// issued at or before cutoff.
func (r *reader) noteUnopened(cutoff time.Time, err error) {
	r.unopened++
	if newer := new(session.VersionError); errors.As(err, &newer) {
		r.newer = err
	}
	r.note(session.Subject{Kind: session.Everyone}, cutoff)
}

// read takes over the entries with these names that the vault does not know. It
// reports whether all of them were there.
func (r *reader) read(ctx context.Context, names []string) (complete bool, err error) {
	var snapshots, cutoffs []string
	for _, name := range names {
		if id, until, ours := parseEnded(name); ours {
			r.takeEnded(id, until)
			continue
		}
		switch {
		case strings.HasPrefix(name, snapshotPrefix):
			if _, ours := parseSnapshot(name); ours && !r.v.knowsSnapshot(name) {
				snapshots = append(snapshots, name)
			}
		case !strings.HasPrefix(name, cutoffPrefix) || r.v.hasCutoff(name):
			// It is known, or not ours, such as a temporary file of a storage.
		default:
			if _, ours := parseCutoff(name); !ours {
				r.v.logger().Error("a record of a revoked number or user in "+r.v.where+
					" has lost its name, and does nothing: restore it or delete it", zap.String("record", name))
				continue
			}
			cutoffs = append(cutoffs, name)
		}
	}
	gone, err := r.readSnapshots(ctx, snapshots)
	if err != nil {
		return false, err
	}
	cutoffs = slices.DeleteFunc(cutoffs, r.v.hasCutoff) // some were in a snapshot
	goneToo, err := r.v.fetch(ctx, cutoffs, r.takeCutoff)
	return !gone && !goneToo, err
}

// takeEnded takes over an ended session.
func (r *reader) takeEnded(id session.ID, until time.Time) {
	r.v.revoked.Add(id, until)
	r.v.unqueueEnded(id, until)
}

// takeCutoff takes over a cutoff.
func (r *reader) takeCutoff(ctx context.Context, name string, sealed []byte) error {
	cutoff, _ := parseCutoff(name)
	subject, err := r.open(ctx, name, string(sealed))
	switch newer := new(session.VersionError); {
	case errors.Is(err, session.ErrSealed), errors.As(err, &newer):
		r.noteUnopened(cutoff, err)
	case err != nil:
		return err
	default:
		r.note(subject, cutoff)
		r.v.unqueueCutoff(subject, cutoff)
	}
	r.v.addCutoff(name, cutoff)
	return nil
}

// open returns the subject of a cutoff. Its error is one of session.OpenSubject, or
// of reading the keys once more.
//
// Another process may have begun a new ring in a volatile archive after this one read
// the keys. So if a cutoff does not open, open reads the keys once more.
func (r *reader) open(ctx context.Context, name, sealed string) (session.Subject, error) {
	subject, err := r.openNow(name, sealed)
	if err == nil || !r.v.archive.Volatile() || r.renewed {
		return subject, err
	}
	r.renewed, r.today = true, nil
	if current, err := r.v.syncKeys(ctx); !current {
		return subject, err
	}
	if r.v.caughtUp {
		if err := r.v.placeKeys(); err != nil {
			return subject, err
		}
	}
	return r.openNow(name, sealed)
}

// openNow opens a cutoff with the keys of today. These are in the vault's ring, except
// during a start.
func (r *reader) openNow(name, sealed string) (session.Subject, error) {
	if r.v.caughtUp {
		return session.OpenSubject(r.v.Ring, name, sealed)
	}
	if r.today == nil {
		ring, err := session.NewRing(r.v.keys.At(r.v.now()))
		if err != nil {
			return session.Subject{}, err
		}
		r.today = ring
	}
	return session.OpenSubject(r.today, name, sealed)
}

// readSnapshots takes over the revocations in snapshots. It reports whether one
// of the snapshots was gone.
//
// If a snapshot cannot be read, but is young or was replaced, its entries are read
// from elsewhere. If it is neither, readSnapshots ends all sessions that were issued
// before it was made.
func (r *reader) readSnapshots(ctx context.Context, names []string) (gone bool, err error) {
	bad := make(map[string]error)
	gone, err = r.v.fetch(ctx, names, func(ctx context.Context, name string, value []byte) error {
		s, err := readSnapshot(name, value)
		if err != nil {
			bad[name] = err
			return nil
		}
		for _, line := range s.lines {
			if err := r.takeLine(ctx, line); err != nil {
				return err
			}
		}
		r.v.knowSnapshot(name, snapshotState{replaces: s.replaces, with: s.with})
		return nil
	})
	if err != nil || gone { // it is not known yet which of the bad ones were replaced
		return gone, err
	}
	replaced := r.v.replaced(func(string) bool { return true })
	horizon := r.v.keys.Horizon(r.v.now())
	for name, err := range bad {
		n, _ := parseSnapshot(name)
		state := snapshotState{bad: true}
		switch {
		case replaced[name]:
		case n.isYoung(horizon):
			state.useless = errors.Is(err, errSnapshot)
			r.v.logger().Warn("a snapshot of ended sessions in "+r.v.where+
				" cannot be read, and is not needed: what it holds is there in records of their own", zap.Error(err))
		case horizon.Before(n.made.Add(session.MaxLife)):
			r.noteUnopened(n.made, err)
		}
		r.v.knowSnapshot(name, state)
	}
	return false, nil
}

// takeLine takes over one entry of a snapshot.
func (r *reader) takeLine(ctx context.Context, line string) error {
	name, rest, _ := strings.Cut(line, " ")
	if id, until, ours := parseEnded(name); ours {
		r.takeEnded(id, until)
		return nil
	}
	if _, ours := parseCutoff(name); !ours || !strings.HasPrefix(name, cutoffPrefix) || r.v.hasCutoff(name) {
		return nil // a line of a later release, or a cutoff that is known
	}
	value, _, _ := strings.Cut(rest, " ")
	return r.takeCutoff(ctx, name, []byte(value))
}
