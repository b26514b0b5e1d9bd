package vault

import (
	"context"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-websms/websms/session"
)

// leapTime is how long an ended session is kept after its own end. If a clock leaps
// ahead by less than that and comes back, the session stays ended.
const leapTime = 24 * time.Hour

// dropBatch bounds how many entries a volatile archive drops in one call.
const dropBatch = 1000

// clean removes the revocations that no session needs any more, and compacts the others.
// names are the names of all entries, if the archive lists them all. If another goroutine
// cleans, clean does nothing.
func (v *Vault) clean(ctx context.Context, names []string) {
	if !v.cleaning.TryLock() {
		return
	}
	defer v.cleaning.Unlock()
	horizon := v.knownKeys().Horizon(v.now())
	forgotten := v.revoked.Sweep(horizon.Add(-leapTime), session.MaxLife-leapTime)
	oldest := horizon.Add(-session.MaxLife)
	if v.archive.Volatile() {
		var over []string
		for id, until := range forgotten {
			over = append(over, endedName(id, until))
		}
		v.drop(ctx, over)
		v.dropCutoffs(ctx, v.cutoffsBefore(oldest, cutoffPrefix))
		return
	}
	v.drop(ctx, slices.Collect(func(yield func(string) bool) {
		for _, name := range names {
			if isOver(name, horizon) && !yield(name) {
				return
			}
		}
	}))
	v.mu.Lock()
	maps.DeleteFunc(v.cutoffs, func(_ string, cutoff time.Time) bool { return cutoff.Before(oldest) })
	v.mu.Unlock()
	if err := v.compact(ctx, names, horizon); err != nil && ctx.Err() == nil {
		v.logger().Warn("records of ended sessions in "+v.where+" could not be compacted; trying again", zap.Error(err))
	}
}

// isOver reports whether an entry concerns no session any more.
func isOver(name string, horizon time.Time) bool {
	if _, until, ours := parseEnded(name); ours {
		return !horizon.Before(until.Add(leapTime))
	}
	if cutoff, ours := parseCutoff(name); ours {
		return cutoff.Before(horizon.Add(-session.MaxLife))
	}
	return false
}

// drop removes entries from the archive. An entry that is left behind does no harm.
func (v *Vault) drop(ctx context.Context, names []string) {
	size := 1 // a storage drops entries one after another, so several calls run at once
	if v.archive.Volatile() {
		size = dropBatch
	}
	batches := slices.Collect(slices.Chunk(names, size))
	_ = inParallel(ctx, v.patience(), batches, func(ctx context.Context, some []string) error {
		return v.archive.Drop(ctx, some...)
	})
}

// dropCutoffs removes cutoffs, and forgets them. If the archive does not drop one, a
// later sync reads it again.
func (v *Vault) dropCutoffs(ctx context.Context, names []string) {
	if len(names) == 0 {
		return
	}
	v.drop(ctx, names)
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, name := range names {
		delete(v.cutoffs, name)
	}
}
