package vault

import (
	"context"
	"fmt"
	"maps"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-websms/websms/session"
)

// keepBatch bounds how many revocations are written before entries of other processes
// are read again.
const keepBatch = 1000

// set is a set of revocations.
type set struct {
	ended   map[session.ID]time.Time      // until when each session would last
	cutoffs map[session.Subject]time.Time // the latest cutoff of each subject
}

func newSet() set {
	return set{make(map[session.ID]time.Time), make(map[session.Subject]time.Time)}
}

func (s set) len() int { return len(s.ended) + len(s.cutoffs) }

// add adds other revocations to the set. Of two cutoffs of a subject, the later wins.
func (s set) add(other set) {
	maps.Copy(s.ended, other.ended)
	for subject, cutoff := range other.cutoffs {
		if cutoff.After(s.cutoffs[subject]) {
			s.cutoffs[subject] = cutoff
		}
	}
}

// knownRevoked returns all revocations that this vault knows.
func (v *Vault) knownRevoked() set {
	ended, cutoffs := v.revoked.All()
	return set{ended, cutoffs}
}

// apply puts revocations into effect in this vault.
func (v *Vault) apply(s set) {
	for id, until := range s.ended {
		v.revoked.Add(id, until)
	}
	v.revoked.Revoke(s.cutoffs)
}

// queue queues revocations, to be kept in the archive as soon as possible.
func (v *Vault) queue(s set) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.unkept.add(s)
	if v.unkept.len() > 0 {
		signal(v.queued)
	}
}

// queueAll queues all revocations that this vault knows. It is called when the archive
// has lost its entries, and has only those that others have written since.
func (v *Vault) queueAll() {
	v.mu.Lock()
	v.cutoffs = make(map[string]time.Time)
	v.mu.Unlock()
	v.queue(v.knownRevoked())
}

// unqueueEnded removes an ended session from the queue, because the archive has it.
func (v *Vault) unqueueEnded(id session.ID, until time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.unkept.ended[id].After(until) {
		delete(v.unkept.ended, id)
	}
}

// unqueueCutoff removes a cutoff from the queue, because the archive has it.
func (v *Vault) unqueueCutoff(subject session.Subject, cutoff time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.unkept.cutoffs[subject].After(cutoff) {
		delete(v.unkept.cutoffs, subject)
	}
}

// unkeptCount returns how many revocations are queued.
func (v *Vault) unkeptCount() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.unkept.len()
}

// hasUnkept reports whether revocations are queued.
func (v *Vault) hasUnkept() bool { return v.unkeptCount() > 0 }

// someUnkept returns up to n of the revocations that are queued.
func (v *Vault) someUnkept(n int) set {
	v.mu.Lock()
	defer v.mu.Unlock()
	some := newSet()
	for id, until := range v.unkept.ended {
		if len(some.ended) == n {
			break
		}
		some.ended[id] = until
	}
	for subject, cutoff := range v.unkept.cutoffs {
		if some.len() >= n {
			break
		}
		some.cutoffs[subject] = cutoff
	}
	return some
}

// keepSome writes up to keepBatch of the queued revocations to the archive. It skips
// those that concern no session any more. If the archive refuses one, keepSome still
// writes the others.
func (v *Vault) keepSome(ctx context.Context) error {
	horizon := v.knownKeys().Horizon(v.now())
	todo := v.someUnkept(keepBatch)
	var tasks []func(ctx context.Context) error
	for id, until := range todo.ended {
		tasks = append(tasks, func(ctx context.Context) error {
			if horizon.Before(until) {
				if err := v.keepEntry(ctx, endedName(id, until), endedValue); err != nil {
					return fmt.Errorf("keeping ended sessions: %w", err)
				}
			}
			v.unqueueEnded(id, until)
			return nil
		})
	}
	for subject, cutoff := range todo.cutoffs {
		tasks = append(tasks, func(ctx context.Context) error {
			name, sealed, err := sealCutoff(v.Ring, subject, cutoff)
			if err == nil && !v.hasCutoff(name) && horizon.Before(cutoff.Add(session.MaxLife)) {
				err = v.keepCutoff(ctx, name, sealed, cutoff)
			}
			if err != nil {
				return fmt.Errorf("keeping revoked sessions: %w", err)
			}
			v.unqueueCutoff(subject, cutoff)
			return nil
		})
	}
	run := func(ctx context.Context, task func(context.Context) error) error { return task(ctx) }
	return inParallel(ctx, v.patience(), tasks, run)
}

// keepQueued writes all queued revocations to the archive. It returns an error when
// one try writes none, because the archive refuses the rest.
func (v *Vault) keepQueued(ctx context.Context) error {
	for left := v.unkeptCount(); left > 0; {
		err := v.keepSome(ctx)
		before := left
		if left = v.unkeptCount(); err != nil && left >= before {
			return err
		}
	}
	return nil
}

// retry writes all queued revocations to the archive. It reports whether that
// succeeded, or nothing was queued.
func (v *Vault) retry(ctx context.Context) bool {
	v.syncing.Lock()
	defer v.syncing.Unlock()
	if !v.hasUnkept() {
		return true
	}
	if err := v.keepQueued(ctx); err != nil {
		return false
	}
	v.logger().Info("sessions that were ended while " + v.where + " could not be written are stored now")
	return true
}

// KeepSoon makes the loop try now to keep the revocations that are queued. It returns
// at once. It is for a process that is about to end.
func (v *Vault) KeepSoon() {
	if v.hasUnkept() {
		signal(v.syncSoon)
	}
}

// keepAtEnd tries for the last time to keep the revocations that are queued.
func (v *Vault) keepAtEnd() {
	ctx, cancel := context.WithTimeout(context.Background(), lastTime)
	defer cancel()
	if err := v.keepQueued(ctx); err != nil {
		v.logger().Error("this process ends, and some sessions that were ended could not be stored: "+
			"they may be good again after a restart, and at other processes", zap.Error(err))
	}
}
