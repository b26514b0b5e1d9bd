package vault

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-websms/websms/session"
)

// maxAhead is how far ahead a not-before time may lie: clocks differ.
const maxAhead = time.Minute

// revokedName is the name of the record that says that a session was ended. It
// says it all, so that a start lists them and opens none.
func revokedName(id session.ID, until time.Time) string {
	end := until.Unix()
	if until.Nanosecond() > 0 { // never before its end
		end++
	}
	return fmt.Sprintf("%s-%d", id, end)
}

// parseRevoked ignores any text after a second hyphen, which a later release may
// add to the name.
func parseRevoked(name string) (id session.ID, until time.Time, ours bool) {
	text, end, _ := strings.Cut(name, "-")
	end, _, _ = strings.Cut(end, "-")
	seconds, err := strconv.ParseInt(end, 10, 64)
	id, ours = session.ParseID(text)
	return id, time.Unix(seconds, 0), ours && err == nil
}

// A record says from when on sessions of a subject are good. Its name tells
// when that is, and a keyed hash of whom it concerns; its value is whom it concerns,
// sealed for that name alone. So a record never changes, and of
// several for one subject the latest counts, whoever wrote it.
const recordPrefix = "notbefore-"

func recordName(digest string, notBefore time.Time) string {
	return fmt.Sprintf("%s%s-%d", recordPrefix, digest, notBefore.UnixNano())
}

func parseRecord(name string) (notBefore time.Time, ours bool) {
	digest, text, _ := strings.Cut(strings.TrimPrefix(name, recordPrefix), "-")
	nanoseconds, err := strconv.ParseInt(text, 10, 64)
	notBefore = time.Unix(0, nanoseconds)
	ours = len(digest) == session.DigestSize && strings.Trim(digest, "0123456789abcdef") == ""
	return notBefore, ours && err == nil && nanoseconds > 0 && recordName(digest, notBefore) == name
}

// ended is the value of a record that says all in its name.
var ended = []byte("ended\n")

// Revoke ends a session for good: at once in this process, and before it
// returns in the archive too, where other processes find it when they follow.
// An error means that the archive did not take it. It is tried again until it
// succeeds or the process ends.
func (v *Vault) Revoke(id session.ID, until time.Time) error {
	v.revoked.Add(id, until)
	v.tellHeirs(map[session.ID]time.Time{id: until}, nil)
	err := v.keepRecord(context.Background(), revokedName(id, until), ended)
	if err != nil {
		v.keepLater(map[session.ID]time.Time{id: until}, nil)
		return fmt.Errorf("keeping an ended session: %w", err)
	}
	v.isKept(id, until)
	return nil
}

// keepRecord keeps one record.
func (v *Vault) keepRecord(ctx context.Context, name string, value []byte) error {
	ctx, cancel := v.within(ctx)
	defer cancel()
	return v.archive.Keep(ctx, name, value)
}

// RevokeNumber ends the sessions of a number in a realm, or in all if realm is
// "", that were issued at or before a time, as Revoke does. The error says that
// they could not be kept, that the time lies ahead, or, as session.ErrNotReady,
// that nothing can be revoked yet.
func (v *Vault) RevokeNumber(realm, e164 string, notBefore time.Time) error {
	return v.revokeSubject(session.Subject{Kind: session.ByNumber, Realm: realm, Name: e164}, notBefore)
}

// RevokeUser does for a user what RevokeNumber does for a number.
func (v *Vault) RevokeUser(realm, user string, notBefore time.Time) error {
	return v.revokeSubject(session.Subject{Kind: session.ByUser, Realm: realm, Name: user}, notBefore)
}

func (v *Vault) revokeSubject(subject session.Subject, notBefore time.Time) error {
	if notBefore.After(v.now().Add(maxAhead)) || notBefore.Unix() < 1 {
		return fmt.Errorf("revoking sessions issued until %s: give a time that is past", notBefore.UTC().Format(time.RFC3339))
	}
	name, sealed, err := v.sealRecord(subject, notBefore)
	if err != nil {
		return fmt.Errorf("revoking sessions: %w", err)
	}
	found := map[session.Subject]time.Time{subject: notBefore}
	v.revoked.Revoke(found)
	v.tellHeirs(nil, found)
	if err := v.keepSubject(context.Background(), name, sealed, notBefore); err != nil {
		v.keepLater(nil, found)
		return fmt.Errorf("keeping revoked sessions: %w", err)
	}
	v.subjectIsKept(subject, notBefore)
	return nil
}

// sealRecord returns the record of a subject.
func (v *Vault) sealRecord(subject session.Subject, notBefore time.Time) (name string, sealed []byte, err error) {
	return sealRecord(v.Ring, subject, notBefore)
}

func sealRecord(ring *session.Ring, subject session.Subject, notBefore time.Time) (name string, sealed []byte, err error) {
	name = recordName(subject.Digest(ring), notBefore)
	text, err := subject.Seal(ring, name)
	return name, []byte(text), err
}

// keepSubject keeps the record of a subject, and removes those that it replaces.
func (v *Vault) keepSubject(ctx context.Context, name string, sealed []byte, notBefore time.Time) error {
	if err := v.keepRecord(ctx, name, sealed); err != nil {
		return err
	}
	v.know(name, notBefore)
	// What it replaces is of no more use. One that is left behind counts for
	// less than this one, and is swept in its time.
	v.forget(ctx, v.recordsBefore(notBefore, name[:len(recordPrefix)+session.DigestSize]))
	return nil
}

// recordsBefore returns the records up to a time whose names begin with prefix.
func (v *Vault) recordsBefore(t time.Time, prefix string) (names []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for name, notBefore := range v.records {
		if notBefore.Before(t) && strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names
}

// know remembers that a record is in the archive, and needs no more reading.
func (v *Vault) know(name string, notBefore time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.records[name] = notBefore
}

func (v *Vault) knows(name string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, known := v.records[name]
	return known
}

// forget removes records. Those that the archive will not drop are read again.
func (v *Vault) forget(ctx context.Context, names []string) {
	if len(names) == 0 {
		return
	}
	v.drop(ctx, names)
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, name := range names {
		delete(v.records, name)
	}
}

// dropAtOnce bounds how many records a store's archive drops in one step.
const dropAtOnce = 1000

// drop removes records from the archive. What is left behind does no harm.
func (v *Vault) drop(ctx context.Context, names []string) {
	size := 1 // a storage drops one after another, so it is asked for several at once
	if v.archive.Volatile() {
		size = dropAtOnce
	}
	_ = inParallel(ctx, v.patience(), slices.Collect(slices.Chunk(names, size)), func(ctx context.Context, some []string) error {
		return v.archive.Drop(ctx, some...)
	})
}

// leapTime is how long the revocation of a session is kept after the session's own
// end. If a clock leaps ahead by less and comes back, the session stays ended.
const leapTime = 24 * time.Hour

// clean removes the revocations that concern no session any more, and compacts
// the others. listed are the names of all records, if the archive lists them.
func (v *Vault) clean(ctx context.Context, listed []string) {
	if !v.cleaning.TryLock() {
		return
	}
	defer v.cleaning.Unlock()
	horizon := v.knownKeys().Horizon(v.now())
	gone := v.revoked.Sweep(horizon.Add(-leapTime), session.MaxLife-leapTime)
	if v.archive.Volatile() {
		var over []string
		for id, until := range gone {
			over = append(over, revokedName(id, until))
		}
		v.drop(ctx, over)
		v.forget(ctx, v.recordsBefore(horizon.Add(-session.MaxLife), recordPrefix))
		return
	}
	v.drop(ctx, slices.Collect(func(yield func(string) bool) {
		for _, name := range listed {
			if isOver(name, horizon) && !yield(name) {
				return
			}
		}
	}))
	v.mu.Lock()
	maps.DeleteFunc(v.records, func(_ string, notBefore time.Time) bool { return notBefore.Before(horizon.Add(-session.MaxLife)) })
	v.mu.Unlock()
	if err := v.compact(ctx, listed, horizon); err != nil && ctx.Err() == nil {
		v.logger().Warn("records of ended sessions in "+v.where+" could not be compacted; it is tried again", zap.Error(err))
	}
}

// isOver reports whether a record concerns no session any more.
func isOver(name string, horizon time.Time) bool {
	if _, until, ours := parseRevoked(name); ours {
		return !horizon.Before(until.Add(leapTime))
	}
	if notBefore, ours := parseRecord(name); ours {
		return notBefore.Before(horizon.Add(-session.MaxLife))
	}
	return false
}
