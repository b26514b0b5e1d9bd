package vault

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-websms/websms/session"
)

// A snapshot is one record that holds many others, so that a start reads few
// records and a listing is short. Its name is
// snapshot-<seconds since 1970 when it was made>-<hash of its text>. A snapshot
// never changes. Its text has a line for each record that it holds: the record's
// name and, if the record has a value, a space and the value.
//
// The records themselves stay for a day after a snapshot holds them. Nodes that
// lag and nodes of a release that knows no snapshots read them, and so does every
// node if the snapshot is damaged.
//
// A snapshot can replace others. Together with the snapshots that were written
// with it, it holds all their records that are not over.
const (
	snapshotPrefix  = "snapshot-"
	snapshotHead    = "websms revocations "
	snapshotVersion = 1

	// compactEvery is how often records are put into a snapshot, and how long
	// they stay beside it.
	compactEvery = 24 * time.Hour

	// compactFrom is how many records make a new snapshot worth it.
	compactFrom = 100

	// snapshotSize is about the longest text of a snapshot, in bytes. Some
	// storages take values of half a megabyte at most.
	snapshotSize = 256 << 10

	// young is an age of a snapshot. Up to it, all records of the snapshot are
	// surely in the archive beside it. It is less than compactEvery, because
	// clocks differ.
	young = 23 * time.Hour
)

// snapshotName is the parsed name of a snapshot.
type snapshotName struct {
	made time.Time // its revocations end sessions issued before this
	sum  string    // of its text, in hex
	sole bool      // its revocations were never in records of their own
}

func (n snapshotName) String() string {
	name := fmt.Sprintf("%s%d-%s", snapshotPrefix, n.made.Unix(), n.sum)
	if n.sole {
		name += "-sole"
	}
	return name
}

// parseSnapshot parses a snapshot's name. To be on the safe side, any ending
// after the hash, even an unknown one, means sole.
func parseSnapshot(name string) (n snapshotName, ours bool) {
	text, ours := strings.CutPrefix(name, snapshotPrefix)
	made, text, _ := strings.Cut(text, "-")
	sum, _, sole := strings.Cut(text, "-")
	seconds, err := strconv.ParseInt(made, 10, 64)
	raw, bad := hex.DecodeString(sum)
	return snapshotName{time.Unix(seconds, 0), sum, sole}, ours && err == nil && seconds > 0 && bad == nil && len(raw) == snapshotSum
}

// isYoung reports whether the records of a snapshot are surely in the archive too.
func (n snapshotName) isYoung(now time.Time) bool {
	age := now.Sub(n.made)
	// If made is far in the future, a clock was wrong, and the snapshot may be old.
	return !n.sole && age < young && age > -time.Hour
}

// snapshotSum is the length of the hash in a snapshot's name, in bytes.
const snapshotSum = 16

func sumSnapshot(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:snapshotSum])
}

var errSnapshot = errors.New("snapshot is damaged")

// snapshot is a snapshot that was read.
type snapshot struct {
	name     string
	made     time.Time
	size     int      // of its text, in bytes
	lines    []string // the records, and lines that a later release has added
	replaces []string // snapshots
	with     []string // snapshots that hold the other records of the replaced ones
}

// readSnapshot parses a snapshot. The error is errSnapshot or a
// *session.VersionError.
func readSnapshot(name string, value []byte) (s snapshot, err error) {
	text := string(value)
	n, _ := parseSnapshot(name)
	if sumSnapshot(text) != n.sum {
		return s, fmt.Errorf("%s: %w", name, errSnapshot)
	}
	head, text, _ := strings.Cut(text, "\n")
	head, ours := strings.CutPrefix(head, snapshotHead)
	version, err := strconv.ParseUint(head, 10, 31)
	if !ours || err != nil || version < 1 {
		return s, fmt.Errorf("%s: %w", name, errSnapshot)
	}
	if version > snapshotVersion {
		return s, fmt.Errorf("%s has %w", name, &session.VersionError{Found: int(version), Known: snapshotVersion})
	}
	s = snapshot{name: name, made: n.made, size: len(value)}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "replaces":
			s.replaces = append(s.replaces, rest)
		case "with":
			s.with = append(s.with, rest)
		case "":
		default:
			s.lines = append(s.lines, line)
		}
	}
	return s, nil
}

// writeSnapshot returns the name and the text of a snapshot of lines.
func writeSnapshot(made time.Time, sole bool, lines, replaces, with []string) (name, text string) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%d\n", snapshotHead, snapshotVersion)
	for _, name := range replaces {
		b.WriteString("replaces " + name + "\n")
	}
	for _, name := range with {
		b.WriteString("with " + name + "\n")
	}
	for _, line := range lines {
		b.WriteString(line + "\n")
	}
	text = b.String()
	return snapshotName{made, sumSnapshot(text), sole}.String(), text
}

// snapshotState is the state of a snapshot that was read or written.
type snapshotState struct {
	bad      bool // it is damaged, or of a later release
	useless  bool // it is damaged, and all its records are elsewhere: it can be dropped
	replaces []string
	with     []string
}

func (v *Vault) knowsSnapshot(name string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, known := v.snapshots[name]
	return known
}

func (v *Vault) knowSnapshot(name string, state snapshotState) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.snapshots[name] = state
}

// forgetSnapshotsBut forgets all snapshots except the listed ones, because the
// archive no longer has them.
func (v *Vault) forgetSnapshotsBut(listed []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.snapshots) == 0 {
		return
	}
	there := make(map[string]bool)
	for _, name := range listed {
		if strings.HasPrefix(name, snapshotPrefix) {
			there[name] = true
		}
	}
	maps.DeleteFunc(v.snapshots, func(name string, _ snapshotState) bool { return !there[name] })
}

// replaced returns the snapshots whose records other snapshots hold. Only
// snapshots that are not bad and for which pass returns true count as holders.
func (v *Vault) replaced(pass func(name string) bool) map[string]bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	good := func(name string) bool {
		state, known := v.snapshots[name]
		return known && !state.bad && pass(name)
	}
	names := make(map[string]bool)
	for name, state := range v.snapshots {
		if good(name) && !slices.ContainsFunc(state.with, func(other string) bool { return !good(other) }) {
			for _, former := range state.replaces {
				names[former] = true
			}
		}
	}
	return names
}

// readSnapshots takes over the revocations in snapshots. It reports whether one
// of the snapshots was gone.
//
// If a snapshot cannot be read, but is young or was replaced, its records are
// read from elsewhere. If it is neither, all sessions are ended that were issued
// before it was made.
func (r *revokedReader) readSnapshots(ctx context.Context, names []string) (gone bool, err error) {
	bad := make(map[string]error)
	gone, err = r.fetch(ctx, names, func(ctx context.Context, name string, value []byte) error {
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
		r.knowSnapshot(name, snapshotState{replaces: s.replaces, with: s.with})
		return nil
	})
	if err != nil || gone { // it is not known yet which of the bad ones were replaced
		return gone, err
	}
	replaced := r.replaced(func(string) bool { return true })
	horizon := r.keys.Horizon(r.now())
	for name, err := range bad {
		n, _ := parseSnapshot(name)
		state := snapshotState{bad: true}
		switch {
		case replaced[name]:
		case n.isYoung(horizon):
			state.useless = errors.Is(err, errSnapshot)
			r.logger().Warn("a snapshot of ended sessions in "+r.where+" cannot be read, and is not needed: what it holds is there in records of their own", zap.Error(err))
		case horizon.Before(n.made.Add(session.MaxLife)):
			r.unreadable(n.made, err)
		}
		r.knowSnapshot(name, state)
	}
	return false, nil
}

// takeLine takes over one record of a snapshot.
func (r *revokedReader) takeLine(ctx context.Context, line string) error {
	name, rest, _ := strings.Cut(line, " ")
	if id, until, ours := parseRevoked(name); ours {
		r.revoked.Add(id, until)
		r.isKept(id, until)
		return nil
	}
	if _, ours := parseRecord(name); !ours || !strings.HasPrefix(name, recordPrefix) || r.knows(name) {
		return nil // a line of a later release, or a record that is known
	}
	value, _, _ := strings.Cut(rest, " ")
	return r.take(ctx, name, []byte(value))
}

// compact puts the listed records into snapshots, once a day. It removes records
// that a snapshot has held for a day, but only after it has read this snapshot
// and found it whole. Several processes may compact at once.
func (v *Vault) compact(ctx context.Context, listed []string, horizon time.Time) error {
	c := compaction{Vault: v, now: v.now(), horizon: horizon, held: make(map[string]bool), merge: make(map[string]snapshot)}
	today := false
	for _, name := range listed {
		n, ours := parseSnapshot(name)
		if !ours {
			_, _, id := parseRevoked(name)
			notBefore, record := parseRecord(name)
			if (id || record && !notBefore.After(c.now)) && !isOver(name, horizon) {
				c.loose = append(c.loose, name)
			}
			continue
		}
		switch state := v.snapshotState(name); {
		case state.useless || state.bad && !horizon.Before(n.made.Add(session.MaxLife)):
			c.drop = append(c.drop, name)
		case state.bad: // an operator may restore it
		case c.isOfToday(n):
			today = true
		default:
			c.old = append(c.old, name)
		}
	}
	v.drop(ctx, c.drop)
	c.drop = nil
	if since := c.now.Sub(v.compacted); today || since >= 0 && since < compactEvery || len(c.old) == 0 && len(c.loose) < compactFrom {
		return nil
	}
	if err := c.read(ctx); err != nil {
		return err
	}
	v.drop(ctx, c.drop)
	if err := c.write(ctx); err != nil {
		return err
	}
	v.compacted = c.now
	return nil
}

// isOfToday reports whether a snapshot was made within the last day.
func (c *compaction) isOfToday(n snapshotName) bool {
	age := c.horizon.Sub(n.made)
	return age < compactEvery && age > -time.Hour // farther ahead: a clock was wrong
}

func (v *Vault) snapshotState(name string) snapshotState {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.snapshots[name]
}

// compaction is one run of compact.
type compaction struct {
	*Vault
	now, horizon time.Time
	loose        []string            // records that are not over
	old          []string            // snapshots of the days before
	held         map[string]bool     // records that a snapshot has held for a day
	drop         []string            // records and snapshots to be removed
	merge        map[string]snapshot // snapshots to put together with others
	lost         []string            // snapshots that were damaged after this process had read them
}

// read reads the snapshots of the days before, and finds the records and
// snapshots that these make superfluous.
func (c *compaction) read(ctx context.Context) error {
	whole := make(map[string]snapshot)
	if _, err := c.fetch(ctx, c.old, func(_ context.Context, name string, value []byte) error {
		switch s, err := readSnapshot(name, value); {
		case errors.Is(err, errSnapshot):
			c.lost = append(c.lost, name)
		case err != nil:
			return err
		default:
			whole[name] = s
		}
		return nil
	}); err != nil {
		return err
	}
	aged := func(name string) bool { // old enough that its records may go
		s, ok := whole[name]
		return ok && c.horizon.Sub(s.made) >= compactEvery
	}
	replaced := c.replaced(aged)
	for name, s := range whole {
		if replaced[name] {
			c.drop = append(c.drop, name)
			continue
		}
		if aged(name) {
			for _, line := range s.lines {
				record, _, _ := strings.Cut(line, " ")
				c.held[record] = true
			}
		}
		all := len(s.lines)
		s.lines = slices.DeleteFunc(s.lines, func(line string) bool {
			record, _, _ := strings.Cut(line, " ")
			return isOver(record, c.horizon)
		})
		switch {
		case len(s.lines) == 0:
			c.drop = append(c.drop, name)
		case s.size < snapshotSize/2 || len(s.lines) <= all/2:
			c.merge[name] = s
		}
	}
	for _, name := range c.loose {
		if c.held[name] {
			c.drop = append(c.drop, name)
		}
	}
	return nil
}

// write puts into new snapshots the records that no snapshot has held for a day,
// and the lines of snapshots that have become small.
func (c *compaction) write(ctx context.Context) error {
	if len(c.lost) > 0 { // this process has read them, so it knows their revocations
		slices.Sort(c.lost)
		c.logger().Error("snapshots of ended sessions in "+c.where+" were damaged; this process writes what they held once more", zap.Strings("snapshots", c.lost))
		ids, notBefore := c.revoked.All()
		lines, err := revocationLines(c.Ring, ids, notBefore)
		if err != nil {
			return err
		}
		return c.writeSnapshots(ctx, c.now.Add(maxAhead), true, lines, c.lost)
	}
	fresh := slices.DeleteFunc(c.loose, func(name string) bool { return c.held[name] })
	shrunk := slices.ContainsFunc(slices.Collect(maps.Values(c.merge)), func(s snapshot) bool { return s.size >= snapshotSize/2 })
	if len(fresh) < compactFrom && len(c.merge) < 2 && !shrunk {
		return nil
	}
	var lines, records []string
	for _, s := range c.merge {
		lines = append(lines, s.lines...)
	}
	for _, name := range fresh {
		if strings.HasPrefix(name, recordPrefix) {
			records = append(records, name)
		} else {
			lines = append(lines, name)
		}
	}
	if _, err := c.fetch(ctx, records, func(_ context.Context, name string, value []byte) error {
		// A record that does not open stays as it is: an operator may restore it.
		if _, err := session.OpenSubject(c.Ring, name, string(value)); err == nil {
			lines = append(lines, name+" "+string(value))
		}
		return nil
	}); err != nil {
		return err
	}
	names, _, _, err := c.list(ctx, "")
	if err != nil || slices.ContainsFunc(names, func(name string) bool {
		n, ours := parseSnapshot(name)
		return ours && c.isOfToday(n) && !c.snapshotState(name).bad
	}) {
		return err // or another process was faster
	}
	return c.writeSnapshots(ctx, c.now, false, lines, slices.Sorted(maps.Keys(c.merge)))
}

// revocationLines returns revocations as the lines of a snapshot.
func revocationLines(ring *session.Ring, ids map[session.ID]time.Time, notBefore map[session.Subject]time.Time) (lines []string, err error) {
	for id, until := range ids {
		lines = append(lines, revokedName(id, until))
	}
	for subject, t := range notBefore {
		name, sealed, err := sealRecord(ring, subject, t)
		if err != nil {
			return nil, err
		}
		lines = append(lines, name+" "+string(sealed))
	}
	return lines, nil
}

// writeSnapshots stores lines in as many snapshots as they need. The last of these
// names the snapshots that all of them replace, so it is stored after the others.
func (v *Vault) writeSnapshots(ctx context.Context, made time.Time, sole bool, lines, replaces []string) error {
	slices.Sort(lines)
	lines = slices.Compact(lines)
	made = made.Add(time.Second - 1) // a name has whole seconds: round up
	parts := slices.Collect(chunkLines(lines, snapshotSize))
	if len(parts) == 0 {
		return nil
	}
	last := parts[len(parts)-1]
	var mu sync.Mutex
	var with []string
	keep := func(ctx context.Context, part, replaces, with []string) (string, error) {
		name, text := writeSnapshot(made, sole, part, replaces, with)
		if err := v.keepRecord(ctx, name, []byte(text)); err != nil {
			_ = v.archive.Drop(ctx, name) // a part of it may be there
			return "", fmt.Errorf("writing a snapshot: %w", err)
		}
		v.knowSnapshot(name, snapshotState{replaces: replaces, with: with})
		return name, nil
	}
	if err := inParallel(ctx, v.patience(), parts[:len(parts)-1], func(ctx context.Context, part []string) error {
		name, err := keep(ctx, part, nil, nil)
		if err == nil {
			mu.Lock()
			with = append(with, name)
			mu.Unlock()
		}
		return err
	}); err != nil {
		return err
	}
	slices.Sort(with)
	_, err := keep(ctx, last, replaces, with)
	return err
}

// chunkLines returns lines in parts of about size bytes.
func chunkLines(lines []string, size int) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		for len(lines) > 0 {
			n, total := 0, 0
			for n < len(lines) && (n == 0 || total+len(lines[n])+1 <= size) {
				total += len(lines[n]) + 1
				n++
			}
			if !yield(lines[:n]) {
				return
			}
			lines = lines[n:]
		}
	}
}
