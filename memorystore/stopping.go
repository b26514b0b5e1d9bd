package memorystore

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/otp"
)

// Pending challenges are written to the file when Caddy begins to stop, not
// only when the store is closed. Slow sends and open downloads come between,
// and a service manager kills a process that takes too long. Until the store is
// closed the gate goes on answering, so the file could have a challenge after its
// code was used. These rules prevent that:
//
//   - The row of a challenge is deleted from the file, with an fsync, before
//     an attempt, a resend or a replacement changes the challenge. If the
//     deletion fails, the change is refused and nothing is counted.
//   - The new row is written a little later, as counters are, unless the
//     challenge has ended.
//   - A process that starts deletes all rows before it uses them.
//
// So a kill at any moment may lose the code of a challenge that was changing.
// It never brings back a code that was used.

// keeper is the part of a store that writes pending challenges while Caddy
// stops. The store's mutex guards it.
type keeper struct {
	on      bool                 // Caddy stops: changes of challenges are written
	changed map[*record]struct{} // challenges with rows that are out of date
	unknown map[otp.ID][]byte    // fields of challenges that a later release has added
}

// keep writes the pending challenges and all changes of the counters, because
// the last configuration that uses the store is about to stop. by is its
// module. After that, changes of challenges are written too. At a reload keep
// does nothing, because the next configuration has started already.
func (m *memory) keep(by *Store) {
	m.mu.Lock()
	isUsed := slices.ContainsFunc(m.users, func(user *Store) bool { return user != by })
	if isUsed || m.file == nil || m.keeper.on || m.notes.changed == nil {
		m.mu.Unlock()
		return
	}
	m.keeper.on = true
	f, live, rows := m.file, slices.Clone(m.live), append(m.saveReports(), m.saveSeen()...)
	m.mu.Unlock()

	begun := time.Now()
	f.writing.Lock()
	defer f.writing.Unlock()
	m.mu.Lock()
	on := m.keeper.on
	m.mu.Unlock()
	if !on {
		return // another configuration has started meanwhile
	}
	err := f.flushed(m)
	if filing := f.fileRecords(m, live); filing != nil {
		err = errors.Join(err, filing)
		m.mu.Lock()
		for _, rec := range live {
			m.changedRecord(rec) // the next flush tries again
		}
		m.mu.Unlock()
	}
	err = errors.Join(err, f.writeSaved(rows))
	f.report(err)
	if err == nil {
		f.log().Info("the last configuration with the memory store stops: the pending challenges are in its file",
			zap.String("file", f.path), zap.Int("challenges", len(live)), zap.Duration("took", time.Since(begun)))
	}
}

// resume takes keep back, because another configuration that uses the store has
// started.
func (m *memory) resume() {
	m.mu.Lock()
	f, on := m.file, m.keeper.on
	m.mu.Unlock()
	if !on {
		return
	}
	f.writing.Lock()
	defer f.writing.Unlock()
	m.mu.Lock()
	m.keeper.on, m.keeper.changed = false, nil
	m.mu.Unlock()
	err := f.updated(dropPending)
	f.report(err)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keeper.on = err != nil // the rows are still in the file, so they must follow the challenges
	for _, rec := range m.live {
		if rec.filed = rec.filed && err != nil; err != nil {
			m.changedRecord(rec)
		}
	}
}

// changedRecord notes that a challenge has changed. The caller holds mu.
func (m *memory) changedRecord(rec *record) {
	if !m.keeper.on || rec == nil || m.notes.changed == nil {
		return
	}
	if m.keeper.changed == nil {
		m.keeper.changed = make(map[*record]struct{})
	}
	m.keeper.changed[rec] = struct{}{}
	select {
	case m.notes.changed <- struct{}{}:
	default: // the writer will wake already
	}
}

// lockFor locks mu before a change of a challenge. It first deletes the
// challenge's row from the file, because a kill must not bring back the state
// from before the change. rec may be nil. If lockFor returns an error, an
// *otp.UnavailableError, mu is not locked.
func (m *memory) lockFor(rec *record) error {
	m.mu.Lock()
	for rec != nil && rec.filed {
		m.mu.Unlock()
		if err := m.file.withdraw(m, rec); err != nil {
			return &otp.UnavailableError{
				Reason: "the memory store cannot delete the challenge from its file", RetryAfter: writeAgain, Err: err,
			}
		}
		m.mu.Lock()
	}
	return nil
}

// withdrawals joins calls of withdraw into one transaction.
type withdrawals struct {
	mu   sync.Mutex
	next *withdrawal // calls may join it until its first caller holds the file
}

type withdrawal struct {
	recs []*record
	done chan struct{}
	err  error
}

// withdraw deletes the row of a challenge from the file. Calls at the same time
// share one transaction, and wait for one fsync.
func (f *dbFile) withdraw(m *memory, rec *record) error {
	f.leaving.mu.Lock()
	w := f.leaving.next
	first := w == nil
	if first {
		w = &withdrawal{done: make(chan struct{})}
		f.leaving.next = w
	}
	w.recs = append(w.recs, rec)
	f.leaving.mu.Unlock()
	if !first {
		<-w.done
		return w.err
	}
	f.writing.Lock()
	f.leaving.mu.Lock()
	f.leaving.next = nil
	f.leaving.mu.Unlock()
	w.err = f.deleteRecords(m, w.recs)
	f.writing.Unlock()
	close(w.done)
	return w.err
}

// deleteRecords deletes the rows of challenges. The caller holds writing.
func (f *dbFile) deleteRecords(m *memory, recs []*record) error {
	changes := make([]change, len(recs))
	for i, rec := range recs {
		changes[i] = change{bucket: bucketChallenges, key: rec.id[:]}
	}
	err := f.applied(changes)
	f.report(err)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, rec := range recs {
		rec.filed = false
	}
	return nil
}

// fileChanged writes the challenges that have changed. The caller holds
// writing.
func (f *dbFile) fileChanged(m *memory) error {
	m.mu.Lock()
	changed := m.keeper.changed
	m.keeper.changed = nil
	m.mu.Unlock()
	if len(changed) == 0 {
		return nil
	}
	err := f.fileRecords(m, slices.Collect(maps.Keys(changed)))
	if err != nil {
		m.mu.Lock()
		for rec := range changed {
			m.changedRecord(rec)
		}
		m.mu.Unlock()
	}
	return err
}

// fileRecords writes the rows of live challenges, and deletes those of ended
// ones. It sorts recs, so that each page of the file is written once. The
// caller holds writing.
func (f *dbFile) fileRecords(m *memory, recs []*record) error {
	slices.SortFunc(recs, func(a, b *record) int { return bytes.Compare(a.id[:], b.id[:]) })
	for part := range slices.Chunk(recs, changesAtOnce) {
		changes := make([]change, 0, len(part))
		for few := range slices.Chunk(part, notesAtOnce) {
			m.mu.Lock()
			for _, rec := range few {
				row := change{bucket: bucketChallenges, key: rec.id[:]}
				if rec.place >= 0 && !rec.claimed { // otherwise it has ended, or is about to
					row.value = append(rec.row(), m.keeper.unknown[rec.id]...)
					rec.filed = true
				}
				changes = append(changes, row)
			}
			m.mu.Unlock()
		}
		if err := f.applied(changes); err != nil {
			return err
		}
	}
	return nil
}

// fileLast writes the rows of recs, and deletes all other rows of challenges.
// The caller holds writing.
func (f *dbFile) fileLast(m *memory, recs []*record) error {
	if err := f.fileRecords(m, recs); err != nil {
		return err
	}
	pending := make(map[otp.ID]struct{}, len(recs))
	for _, rec := range recs {
		pending[rec.id] = struct{}{}
	}
	var ended []change
	err := safely(func() error {
		return f.db.View(func(tx *bbolt.Tx) error {
			bucket := tx.Bucket(bucketChallenges)
			if bucket == nil {
				return nil
			}
			return bucket.ForEach(func(key, _ []byte) error {
				if len(key) != len(otp.ID{}) {
					return nil
				}
				if _, ok := pending[otp.ID(key)]; !ok {
					ended = append(ended, change{bucket: bucketChallenges, key: slices.Clone(key)})
				}
				return nil
			})
		})
	})
	if err != nil {
		return err
	}
	return f.applied(ended)
}
