package vault

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-websms/websms/session"
)

// A snapshot is one entry that holds many others, so that a start reads few entries
// and a listing is short. Its name is snapshot-<seconds since 1970 when it was
// made>-<hash of its text>. A snapshot never changes. Its text has a line for each
// entry that it holds: the entry's name and, for a cutoff, a space and its value.
//
// The entries themselves stay in the archive for a day after a snapshot holds them.
// Nodes that lag, and nodes of a release that knows no snapshots, read them. So does
// every node if the snapshot is damaged.
//
// A snapshot can replace others. Together with the snapshots that were written with
// it, it holds all their entries that are not over.
const (
	snapshotPrefix  = "snapshot-"
	snapshotHead    = "websms revocations "
	snapshotVersion = 1

	// young is an age of a snapshot. Up to it, all entries of the snapshot are
	// surely in the archive beside it. It is less than compactEvery, because
	// clocks differ.
	young = 23 * time.Hour

	// snapshotSum is the length of the hash in a snapshot's name, in bytes.
	snapshotSum = 16
)

// errSnapshot is the error of a snapshot with another text than the one written.
var errSnapshot = errors.New("snapshot is damaged")

// snapshotName is the parsed name of a snapshot.
type snapshotName struct {
	made time.Time // all its revocations end sessions that were issued before this time
	sum  string    // of its text, in hex
	sole bool      // its revocations were never in entries of their own
}

// String returns the name.
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
	ours = ours && err == nil && seconds > 0 && bad == nil && len(raw) == snapshotSum
	return snapshotName{time.Unix(seconds, 0), sum, sole}, ours
}

// isYoung reports whether the entries of a snapshot are surely in the archive too.
func (n snapshotName) isYoung(now time.Time) bool {
	age := now.Sub(n.made)
	// If made is far in the future, a clock was wrong, and the snapshot may be old.
	return !n.sole && age < young && age > -time.Hour
}

// sumSnapshot returns the hash of a snapshot's text, in hex.
func sumSnapshot(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:snapshotSum])
}

// snapshot is a snapshot that was read.
type snapshot struct {
	name     string
	made     time.Time
	size     int      // of its text, in bytes
	lines    []string // the entries, and lines that a later release has added
	replaces []string // names of snapshots
	with     []string // names of the snapshots that hold the other entries of the replaced ones
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

// formatSnapshot returns the name and the text of a snapshot of lines.
func formatSnapshot(made time.Time, sole bool, lines, replaces, with []string) (name, text string) {
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

// revocationLines returns revocations as the lines of a snapshot.
func revocationLines(ring *session.Ring, s set) (lines []string, err error) {
	for id, until := range s.ended {
		lines = append(lines, endedName(id, until))
	}
	for subject, cutoff := range s.cutoffs {
		name, sealed, err := sealCutoff(ring, subject, cutoff)
		if err != nil {
			return nil, err
		}
		lines = append(lines, name+" "+string(sealed))
	}
	return lines, nil
}

// entryOf returns the name of the entry in a line of a snapshot.
func entryOf(line string) string {
	name, _, _ := strings.Cut(line, " ")
	return name
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

// snapshotState is the state of a snapshot that was read or written.
type snapshotState struct {
	bad      bool // it is damaged, or of a later release
	useless  bool // it is damaged, and all its entries are elsewhere: it can be dropped
	replaces []string
	with     []string
}

// knowsSnapshot reports whether a snapshot was read or written.
func (v *Vault) knowsSnapshot(name string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, known := v.snapshots[name]
	return known
}

// snapshotState returns the state of a snapshot, or the zero state if it is unknown.
func (v *Vault) snapshotState(name string) snapshotState {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.snapshots[name]
}

// knowSnapshot remembers the state of a snapshot that was read or written.
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

// replaced returns the snapshots that are not needed, because other snapshots hold all
// their entries. Those others must not be bad, and pass must return true for them.
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
