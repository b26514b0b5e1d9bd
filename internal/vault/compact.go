package vault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-websms/websms/session"
)

const (
	// compactEvery is how often entries are put into a snapshot, and how long
	// they stay beside it.
	compactEvery = 24 * time.Hour

	// compactFrom is how many entries make a new snapshot worth it.
	compactFrom = 100

	// snapshotSize is about the longest text of a snapshot, in bytes. Some
	// storages take values of half a megabyte at most.
	snapshotSize = 256 << 10
)

// compaction is one run of compact.
type compaction struct {
	v            *Vault
	now, horizon time.Time
	loose        []string            // entries that are not over
	old          []string            // snapshots of the days before
	held         map[string]bool     // entries that a snapshot has held for a day
	superfluous  []string            // entries and snapshots to be dropped
	merge        map[string]snapshot // snapshots to put together with others
	lost         []string            // snapshots that were damaged after this process had read them
}

// compact puts the entries with these names into snapshots, once a day. It removes
// entries that a snapshot has held for a day, but only after it has read this
// snapshot and found it whole. Several processes may compact at once.
func (v *Vault) compact(ctx context.Context, names []string, horizon time.Time) error {
	c := compaction{
		v: v, now: v.now(), horizon: horizon, held: make(map[string]bool), merge: make(map[string]snapshot),
	}
	today := c.sort(names)
	v.drop(ctx, c.superfluous)
	c.superfluous = nil
	since := c.now.Sub(v.compacted)
	tooSoon := since >= 0 && since < compactEvery
	if today || tooSoon || len(c.old) == 0 && len(c.loose) < compactFrom {
		return nil
	}
	if err := c.read(ctx); err != nil {
		return err
	}
	v.drop(ctx, c.superfluous)
	if err := c.write(ctx); err != nil {
		return err
	}
	v.compacted = c.now
	return nil
}

// sort sorts the names of all entries into loose, old and superfluous. It reports
// whether a snapshot was made today already.
func (c *compaction) sort(names []string) (today bool) {
	for _, name := range names {
		n, ours := parseSnapshot(name)
		if !ours {
			_, _, isEnded := parseEnded(name)
			cutoff, isCutoff := parseCutoff(name)
			if (isEnded || isCutoff && !cutoff.After(c.now)) && !isOver(name, c.horizon) {
				c.loose = append(c.loose, name)
			}
			continue
		}
		switch state := c.v.snapshotState(name); {
		case state.useless || state.bad && !c.horizon.Before(n.made.Add(session.MaxLife)):
			c.superfluous = append(c.superfluous, name)
		case state.bad: // an operator may restore it
		case c.isOfToday(n):
			today = true
		default:
			c.old = append(c.old, name)
		}
	}
	return today
}

// isOfToday reports whether a snapshot was made within the last day.
func (c *compaction) isOfToday(n snapshotName) bool {
	age := c.horizon.Sub(n.made)
	return age < compactEvery && age > -time.Hour // farther ahead: a clock was wrong
}

// read reads the snapshots of the days before. It finds the entries and snapshots
// that these make superfluous.
func (c *compaction) read(ctx context.Context) error {
	whole := make(map[string]snapshot)
	if _, err := c.v.fetch(ctx, c.old, func(_ context.Context, name string, value []byte) error {
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
	aged := func(name string) bool { // old enough that its entries may go
		s, ok := whole[name]
		return ok && c.horizon.Sub(s.made) >= compactEvery
	}
	replaced := c.v.replaced(aged)
	for name, s := range whole {
		if replaced[name] {
			c.superfluous = append(c.superfluous, name)
			continue
		}
		if aged(name) {
			for _, line := range s.lines {
				c.held[entryOf(line)] = true
			}
		}
		all := len(s.lines)
		s.lines = slices.DeleteFunc(s.lines, func(line string) bool { return isOver(entryOf(line), c.horizon) })
		switch {
		case len(s.lines) == 0:
			c.superfluous = append(c.superfluous, name)
		case s.size < snapshotSize/2 || len(s.lines) <= all/2:
			c.merge[name] = s
		}
	}
	for _, name := range c.loose {
		if c.held[name] {
			c.superfluous = append(c.superfluous, name)
		}
	}
	return nil
}

// write writes new snapshots. They hold the entries that no snapshot has held for a
// day, and the lines of snapshots that have become small.
//
// If snapshots were damaged after this process had read them, write writes all that
// this process knows instead.
func (c *compaction) write(ctx context.Context) error {
	if len(c.lost) > 0 {
		slices.Sort(c.lost)
		c.v.logger().Error("snapshots of ended sessions in "+c.v.where+
			" were damaged; this process writes what they held once more", zap.Strings("snapshots", c.lost))
		lines, err := revocationLines(c.v.Ring, c.v.knownRevoked())
		if err != nil {
			return err
		}
		return c.v.writeSnapshots(ctx, c.now.Add(maxAhead), true, lines, c.lost)
	}
	fresh := slices.DeleteFunc(c.loose, func(name string) bool { return c.held[name] })
	shrunk := slices.ContainsFunc(slices.Collect(maps.Values(c.merge)), func(s snapshot) bool {
		return s.size >= snapshotSize/2
	})
	if len(fresh) < compactFrom && len(c.merge) < 2 && !shrunk {
		return nil
	}
	lines, err := c.lines(ctx, fresh)
	if err != nil {
		return err
	}
	names, _, _, err := c.v.list(ctx, "")
	if err != nil || slices.ContainsFunc(names, func(name string) bool {
		n, ours := parseSnapshot(name)
		return ours && c.isOfToday(n) && !c.v.snapshotState(name).bad
	}) {
		return err // or another process was faster
	}
	return c.v.writeSnapshots(ctx, c.now, false, lines, slices.Sorted(maps.Keys(c.merge)))
}

// lines returns the lines of the snapshots to merge and of fresh entries. It leaves
// out a cutoff that does not open, because an operator may restore it.
func (c *compaction) lines(ctx context.Context, fresh []string) (lines []string, err error) {
	for _, s := range c.merge {
		lines = append(lines, s.lines...)
	}
	var cutoffs []string
	for _, name := range fresh {
		if strings.HasPrefix(name, cutoffPrefix) {
			cutoffs = append(cutoffs, name)
		} else {
			lines = append(lines, name)
		}
	}
	_, err = c.v.fetch(ctx, cutoffs, func(_ context.Context, name string, value []byte) error {
		if _, err := session.OpenSubject(c.v.Ring, name, string(value)); err == nil {
			lines = append(lines, name+" "+string(value))
		}
		return nil
	})
	return lines, err
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
		name, text := formatSnapshot(made, sole, part, replaces, with)
		if err := v.keepEntry(ctx, name, []byte(text)); err != nil {
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
