package websms

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-websms/websms/session"
)

// revokedFolder is where the revocations are in Caddy's storage, a file each.
const revokedFolder = "websms/revoked"

// maxAhead is how far ahead a not-before time may lie: clocks differ.
const maxAhead = time.Minute

// revokedName is the name of the file that says that a session was ended. It
// says it all, so that a start lists the folder and opens none of them.
func revokedName(id session.ID, until time.Time) string {
	end := until.Unix()
	if until.Nanosecond() > 0 { // never before its end
		end++
	}
	return fmt.Sprintf("%s-%d", id, end)
}

func parseRevoked(name string) (id session.ID, until time.Time, ours bool) {
	text, end, _ := strings.Cut(name, "-")
	seconds, err := strconv.ParseInt(end, 10, 64)
	id, ours = session.ParseID(text)
	return id, time.Unix(seconds, 0), ours && err == nil
}

// A record says from when on sessions of a subject are good. Its name tells
// when that is, and a keyed hash of whom it concerns; the file holds whom it
// concerns, sealed for that name alone. So a record never changes, and of
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

// revoke ends a session for good: at once in this process, and before it
// returns in the storage too. The error says that the latter failed.
func (v *vault) revoke(id session.ID, until time.Time) error {
	v.revoked.Add(id, until)
	ctx, cancel := context.WithTimeout(context.Background(), storageTime)
	defer cancel()
	if err := v.storage().Store(ctx, path.Join(revokedFolder, revokedName(id, until)), []byte("ended\n")); err != nil {
		return fmt.Errorf("keeping an ended session in Caddy's storage: %w", err)
	}
	return nil
}

// revokeNumber ends the sessions of a number in a realm, or in all if realm is
// "", that were issued at or before a time: at once in this process, and
// before it returns in the storage too, where other processes find it within
// half an hour. The error says that the latter failed, or that the time lies
// ahead.
func (v *vault) revokeNumber(realm, e164 string, notBefore time.Time) error {
	return v.revokeSubject(session.Subject{Kind: session.ByNumber, Realm: realm, Name: e164}, notBefore)
}

// revokeUser does for a user what revokeNumber does for a number.
func (v *vault) revokeUser(realm, user string, notBefore time.Time) error {
	return v.revokeSubject(session.Subject{Kind: session.ByUser, Realm: realm, Name: user}, notBefore)
}

func (v *vault) revokeSubject(subject session.Subject, notBefore time.Time) error {
	if notBefore.After(v.now().Add(maxAhead)) || notBefore.Unix() < 1 {
		return fmt.Errorf("revoking sessions issued until %s: give a time that is past", notBefore.UTC().Format(time.RFC3339))
	}
	digest := subject.Digest(v.ring)
	name := recordName(digest, notBefore)
	sealed, err := subject.Seal(v.ring, name)
	if err != nil {
		return fmt.Errorf("revoking sessions: %w", err)
	}
	v.revoked.Revoke(map[session.Subject]time.Time{subject: notBefore})
	ctx, cancel := context.WithTimeout(context.Background(), storageTime)
	defer cancel()
	if err := v.storage().Store(ctx, path.Join(revokedFolder, name), []byte(sealed)); err != nil {
		return fmt.Errorf("keeping revoked sessions in Caddy's storage: %w", err)
	}
	v.know(name, notBefore)
	// What it replaces is of no more use. One that is left behind counts for
	// less than this one, and is swept in its time.
	for _, former := range v.recordsBefore(notBefore, recordPrefix+digest) {
		v.forget(ctx, former)
	}
	return nil
}

// recordsBefore returns the records up to a time whose names begin with prefix.
func (v *vault) recordsBefore(t time.Time, prefix string) (names []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for name, notBefore := range v.records {
		if notBefore.Before(t) && strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names
}

// know remembers that a record is in the storage, and needs no more reading.
func (v *vault) know(name string, notBefore time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.records[name] = notBefore
}

func (v *vault) knows(name string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, known := v.records[name]
	return known
}

// forget removes a record. One that the storage will not delete is read again.
func (v *vault) forget(ctx context.Context, name string) {
	_ = v.storage().Delete(ctx, path.Join(revokedFolder, name))
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.records, name)
}

// tendRevoked takes over the revocations in the storage, and removes those
// that concern no session any more.
func (v *vault) tendRevoked(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, revokedTime)
	defer cancel()
	if err := v.readRevoked(ctx); err != nil {
		return err
	}
	horizon := v.keys.Horizon(v.now())
	for id, until := range v.revoked.Sweep(horizon, maxLife) {
		_ = v.storage().Delete(ctx, path.Join(revokedFolder, revokedName(id, until)))
	}
	for _, name := range v.recordsBefore(horizon.Add(-maxLife), recordPrefix) {
		v.forget(ctx, name)
	}
	return nil
}

// readRevoked takes over the revocations in the storage that are not known. A
// record that does not open concerns somebody, and nobody knows whom: it ends
// all sessions that were issued until then.
func (v *vault) readRevoked(ctx context.Context) error {
	found := make(map[session.Subject]time.Time)
	damaged := 0
	defer func() { // also what was found before something failed
		v.revoked.Revoke(found)
		if damaged > 0 {
			v.logger().Error("records of revoked numbers or users in Caddy's storage do not open; because nobody can tell whose they are, all sessions that were issued until then are ended",
				zap.Int("records", damaged), zap.String("folder", revokedFolder), zap.Time("until", found[session.Subject{Kind: session.Everyone}]))
		}
	}()
	for range 3 { // when a record is gone before it is read, a later one may have come
		names, err := v.listRevoked(ctx)
		if err != nil {
			return fmt.Errorf("listing %s in Caddy's storage: %w", revokedFolder, err)
		}
		complete := true
		for _, file := range names {
			name := path.Base(file)
			if id, until, ours := parseRevoked(name); ours {
				v.revoked.Add(id, until)
				continue
			}
			if !strings.HasPrefix(name, recordPrefix) || v.knows(name) {
				continue // what is not ours may be what a storage is about to write
			}
			notBefore, ours := parseRecord(name)
			if !ours {
				v.logger().Error("a record of a revoked number or user in Caddy's storage has lost its name, and does nothing: restore it or delete it", zap.String("file", file))
				continue
			}
			sealed, err := v.storage().Load(ctx, path.Join(revokedFolder, name))
			if errors.Is(err, fs.ErrNotExist) {
				complete = false
				continue
			}
			if err != nil {
				return fmt.Errorf("reading %s in Caddy's storage: %w", file, err)
			}
			subject, err := session.OpenSubject(v.ring, name, string(sealed))
			if err != nil {
				subject = session.Subject{Kind: session.Everyone}
				damaged++
			}
			if notBefore.After(found[subject]) {
				found[subject] = notBefore
			}
			v.know(name, notBefore)
		}
		if complete {
			return nil
		}
	}
	return nil
}

// listRevoked lists the folder. To a file storage, a file that goes while it
// lists is a folder that is not there.
func (v *vault) listRevoked(ctx context.Context) (names []string, err error) {
	for range 10 {
		names, err = v.storage().List(ctx, revokedFolder, false)
		if !errors.Is(err, fs.ErrNotExist) {
			return names, err
		}
		if !v.storage().Exists(ctx, revokedFolder) {
			return nil, nil
		}
	}
	return nil, err
}
