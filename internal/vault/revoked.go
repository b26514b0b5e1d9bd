package vault

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-websms/websms/session"
)

// maxAhead is how far ahead of this process's clock a cutoff may lie, because clocks
// differ.
const maxAhead = time.Minute

// The name of an ended session is <its ID>-<seconds since 1970 when it would have
// ended>. The name says everything, so a start lists these entries and opens none.
// The value is always endedValue.
var endedValue = []byte("ended\n")

// endedName returns the name of an ended session.
func endedName(id session.ID, until time.Time) string {
	end := until.Unix()
	if until.Nanosecond() > 0 { // round up, so that no session opens again before its end
		end++
	}
	return fmt.Sprintf("%s-%d", id, end)
}

// parseEnded parses the name of an ended session. It ignores any text after a second
// hyphen, which a later release may add to the name.
func parseEnded(name string) (id session.ID, until time.Time, ours bool) {
	text, end, _ := strings.Cut(name, "-")
	end, _, _ = strings.Cut(end, "-")
	seconds, err := strconv.ParseInt(end, 10, 64)
	id, ours = session.ParseID(text)
	return id, time.Unix(seconds, 0), ours && err == nil
}

// The name of a cutoff is notbefore-<keyed hash of the subject>-<its time in
// nanoseconds since 1970>. Its value is the subject, sealed for that name alone. A
// cutoff never changes. If a subject has several, the latest wins.
const cutoffPrefix = "notbefore-"

// cutoffName returns the name of a cutoff. The digest is that of its subject.
func cutoffName(digest string, cutoff time.Time) string {
	return fmt.Sprintf("%s%s-%d", cutoffPrefix, digest, cutoff.UnixNano())
}

// parseCutoff parses the name of a cutoff.
func parseCutoff(name string) (cutoff time.Time, ours bool) {
	digest, text, _ := strings.Cut(strings.TrimPrefix(name, cutoffPrefix), "-")
	nanoseconds, err := strconv.ParseInt(text, 10, 64)
	cutoff = time.Unix(0, nanoseconds)
	ours = len(digest) == session.DigestSize && strings.Trim(digest, "0123456789abcdef") == ""
	return cutoff, ours && err == nil && nanoseconds > 0 && cutoffName(digest, cutoff) == name
}

// sealCutoff returns the name and the value of a cutoff.
func sealCutoff(ring *session.Ring, subject session.Subject, cutoff time.Time) (name string, sealed []byte, err error) {
	name = cutoffName(subject.Digest(ring), cutoff)
	text, err := subject.Seal(ring, name)
	return name, []byte(text), err
}

// Revoke ends a session for good. In this process it does so at once. Before Revoke
// returns, it writes to the archive, where other processes find it when they sync.
// until is when the session would have ended by itself.
//
// An error means that the archive did not take it. The vault tries again until it
// succeeds or the process ends.
func (v *Vault) Revoke(id session.ID, until time.Time) error {
	s := set{ended: map[session.ID]time.Time{id: until}}
	v.apply(s)
	v.tellHeirs(s)
	if err := v.keepEntry(context.Background(), endedName(id, until), endedValue); err != nil {
		v.queue(s)
		return fmt.Errorf("keeping an ended session: %w", err)
	}
	v.unqueueEnded(id, until)
	return nil
}

// RevokeNumber ends the sessions of a number that were issued at or before cutoff, in
// one realm or, if realm is "", in all. It does so as Revoke does.
//
// It refuses a cutoff that lies ahead. If the keys are not known yet, it revokes
// nothing, and the error is session.ErrNotReady. Any other error is one of the
// archive, as for Revoke.
func (v *Vault) RevokeNumber(realm, e164 string, cutoff time.Time) error {
	return v.revokeSubject(session.Subject{Kind: session.ByNumber, Realm: realm, Name: e164}, cutoff)
}

// RevokeUser ends the sessions of a user, as RevokeNumber ends those of a number.
func (v *Vault) RevokeUser(realm, user string, cutoff time.Time) error {
	return v.revokeSubject(session.Subject{Kind: session.ByUser, Realm: realm, Name: user}, cutoff)
}

func (v *Vault) revokeSubject(subject session.Subject, cutoff time.Time) error {
	if cutoff.After(v.now().Add(maxAhead)) || cutoff.Unix() < 1 {
		return fmt.Errorf("revoking sessions issued until %s: give a time in the past",
			cutoff.UTC().Format(time.RFC3339))
	}
	name, sealed, err := sealCutoff(v.Ring, subject, cutoff)
	if err != nil {
		return fmt.Errorf("revoking sessions: %w", err)
	}
	s := set{cutoffs: map[session.Subject]time.Time{subject: cutoff}}
	v.apply(s)
	v.tellHeirs(s)
	if err := v.keepCutoff(context.Background(), name, sealed, cutoff); err != nil {
		v.queue(s)
		return fmt.Errorf("keeping revoked sessions: %w", err)
	}
	v.unqueueCutoff(subject, cutoff)
	return nil
}

// keepEntry writes one entry to the archive.
func (v *Vault) keepEntry(ctx context.Context, name string, value []byte) error {
	ctx, cancel := v.within(ctx)
	defer cancel()
	return v.archive.Keep(ctx, name, value)
}

// keepCutoff writes a cutoff to the archive, and removes the earlier cutoffs of the
// same subject. If one of these is left behind, it does no harm, and clean removes it
// later.
func (v *Vault) keepCutoff(ctx context.Context, name string, sealed []byte, cutoff time.Time) error {
	if err := v.keepEntry(ctx, name, sealed); err != nil {
		return err
	}
	v.addCutoff(name, cutoff)
	v.dropCutoffs(ctx, v.cutoffsBefore(cutoff, name[:len(cutoffPrefix)+session.DigestSize]))
	return nil
}

// cutoffsBefore returns the names of the known cutoffs that lie before a time and
// have names with this prefix.
func (v *Vault) cutoffsBefore(t time.Time, prefix string) (names []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for name, cutoff := range v.cutoffs {
		if cutoff.Before(t) && strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names
}

// addCutoff remembers that a cutoff is in the archive, so that it is not read again.
func (v *Vault) addCutoff(name string, cutoff time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.cutoffs[name] = cutoff
}

// hasCutoff reports whether a cutoff is known to be in the archive.
func (v *Vault) hasCutoff(name string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, known := v.cutoffs[name]
	return known
}
