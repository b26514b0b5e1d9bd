package memorystore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"
)

// flush writes all changes so far. Changes that it cannot write stay pending.
func (f *dbFile) flush(m *memory) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	err := f.flushed(m)
	f.report(err)
	return err
}

// flushed does the work of flush. The caller holds writing.
func (f *dbFile) flushed(m *memory) error {
	lost := f.take(m)
	err := f.unmark()
	if err == nil {
		err = f.write(m, f.pending)
	}
	if err == nil {
		f.pending = nil
		if f.all && !lost { // changes come in slowly enough now
			f.all = false
			if err = f.compare(m); err != nil {
				f.all = true
			}
		}
	}
	return errors.Join(err, f.fileChanged(m))
}

// take moves the notes of the store to pending. It reports whether notes are
// lost because there were too many. The caller holds writing.
func (f *dbFile) take(m *memory) (lost bool) {
	if f.isCopy {
		return false
	}
	m.mu.Lock()
	notes, lost := m.notes.take(nil)
	m.mu.Unlock()
	f.pending = sorted(append(f.pending, notes...))
	if len(f.pending) > maxNotes {
		f.pending, lost = nil, true
	}
	f.all = f.all || lost
	return lost
}

// report logs once that the file cannot be written, and once that it can be
// again. The caller holds writing.
func (f *dbFile) report(err error) {
	switch {
	case err != nil && !f.failing:
		f.log().Warn("the file of the memory store cannot be written: until it can be, a restart forgets the latest sendings and wrong codes",
			zap.String("file", f.path), zap.Error(err))
	case err == nil && f.failing:
		f.log().Info("the file of the memory store can be written again", zap.String("file", f.path))
	}
	f.failing = err != nil
}

// write writes the present state of everything that sorted notes name. The
// caller holds writing.
func (f *dbFile) write(m *memory, notes []note) error {
	for part := range slices.Chunk(notes, changesAtOnce) {
		if err := f.applied(m.changes(part)); err != nil {
			return err
		}
	}
	return nil
}

// updated runs one transaction. The caller holds writing.
func (f *dbFile) updated(do func(*bbolt.Tx) error) error {
	return safely(func() error { return f.update(do) })
}

// applied carries out changes, in as many transactions as they need. The caller
// holds writing.
func (f *dbFile) applied(changes []change) error {
	for len(changes) > 0 {
		var left []change
		err := f.updated(func(tx *bbolt.Tx) (err error) {
			left, err = apply(tx, changes)
			return err
		})
		if err != nil {
			return err
		}
		changes = left
	}
	return nil
}

// apply carries out as many changes as one transaction should have, and returns
// the rest. It does not touch a row that has the right value already, so that
// its page need not be written.
func apply(tx *bbolt.Tx, changes []change) (left []change, err error) {
	rows := changesAtOnce
	for i, c := range changes {
		bucket := tx.Bucket(c.bucket)
		if bucket == nil { // an earlier release did not have this bucket
			if bucket, err = tx.CreateBucket(c.bucket); err != nil {
				return nil, err
			}
		}
		switch {
		case c.bound != nil:
			rows, err = deleteRange(bucket, c.key, c.bound, rows)
		case c.value == nil:
			err = bucket.Delete(c.key)
		default:
			row := bucket.Get(c.key)
			value := append(c.value, unknownFields(c.bucket, row)...)
			if !bytes.Equal(row, value) {
				err = bucket.Put(c.key, value)
			}
		}
		if rows--; rows <= 0 || err != nil {
			if c.bound == nil {
				i++
			}
			return changes[i:], err
		}
	}
	return nil, nil
}

// deleteRange deletes up to rows rows, from one key up to another. It returns
// how many more it could delete.
func deleteRange(bucket *bbolt.Bucket, from, bound []byte, rows int) (more int, err error) {
	for cursor := bucket.Cursor(); rows > 0; rows-- {
		key, _ := cursor.Seek(from) // each time, because a deletion moves the cursor
		if key == nil || bytes.Compare(key, bound) >= 0 {
			break
		}
		if err := bucket.Delete(key); err != nil {
			return 0, err
		}
	}
	return rows, nil
}

// compare writes the present state of everything, and deletes rows that the
// store does not have. The caller holds writing.
func (f *dbFile) compare(m *memory) error {
	for _, in := range []struct {
		bucket []byte
		kind   noteKind
	}{{bucketCounters, noteCounter}, {bucketFailures, noteFailures}} {
		for from := []byte{0}; from != nil; {
			notes, next, err := f.stale(m, in.bucket, in.kind, from)
			if err == nil {
				err = f.writeWith(m, notes)
			}
			if err != nil {
				return err
			}
			from = next
		}
	}
	if err := compareTable(f, m, &m.counters.table, (*counter).name); err != nil {
		return err
	}
	return compareTable(f, m, &m.failures.table, (*numberFailures).name)
}

// name appends notes of the counter's moments that come after the note after.
// It reports whether there are more than one transaction should have.
func (c *counter) name(notes []note, after note) ([]note, bool) {
	for _, kind := range windowKinds {
		from := int64(0)
		if kind == after.kind {
			from = after.at + 1
		}
		if kind < after.kind {
			continue
		}
		w := c.windowOf(kind)
		for i := w.Count(time.Unix(0, from), 1); i > 0; i-- {
			if len(notes) >= changesAtOnce {
				return notes, true
			}
			notes = append(notes, note{after.key, momentAt(w, i), kind})
		}
	}
	return notes, false
}

func (*numberFailures) name(notes []note, after note) ([]note, bool) {
	return append(notes, note{key: after.key, kind: noteFailures}), false
}

// writeWith writes the state of everything that notes name. It writes the
// changes of the meantime first, because compare takes long. The caller holds writing.
func (f *dbFile) writeWith(m *memory, notes []note) error {
	f.take(m)
	err := f.write(m, f.pending)
	if err == nil {
		f.pending = nil
		err = f.write(m, sorted(notes))
	}
	return err
}

// stale returns notes of rows that the file has and the store does not, from a
// key on. It also returns the key to go on from; nil means that it has reached
// the end.
func (f *dbFile) stale(m *memory, bucket []byte, kind noteKind, from []byte) (notes []note, next []byte, err error) {
	err = safely(func() error {
		return f.db.View(func(tx *bbolt.Tx) error {
			rows := tx.Bucket(bucket).Cursor()
			key, _ := rows.Seek(from)
			for ; key != nil && len(notes) < changesAtOnce; key, _ = rows.Next() {
				n := note{kind: kind}
				if kind == noteCounter && !isCounterRow(key) || kind == noteFailures && len(key) != len(n.key) {
					continue // a row of a later release
				}
				if copy(n.key[:], key); kind == noteCounter {
					n.kind, n.at = noteKind(key[len(n.key)]), int64(binary.BigEndian.Uint64(key[len(n.key)+1:]))
				}
				notes = append(notes, n)
			}
			next = bytes.Clone(key)
			return nil
		})
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(notes, func(n note) bool {
		if n.kind == noteFailures {
			return m.failures.find(n.key) != nil
		}
		known := m.counters.find(n.key)
		return known != nil && countAt(known.windowOf(n.kind), n.at) > 0
	}), next, err
}

// compareTable writes all rows of a table, by the notes that name appends. It
// goes in the order of the file, so that each page of the file is written once.
func compareTable[V any](f *dbFile, m *memory, t *table[V], name func(*V, []note, note) ([]note, bool)) error {
	keys := tableKeys(m, t)
	var after note
	for len(keys) > 0 {
		var notes []note
		m.mu.Lock()
		for len(keys) > 0 && len(notes) < changesAtOnce {
			if after.key != keys[0] {
				after = note{key: keys[0]}
			}
			row, more := t.find(keys[0]), false
			if row != nil {
				notes, more = name(row, notes, after)
			}
			if !more {
				keys = keys[1:]
			} else if last := notes[len(notes)-1]; last.key == after.key {
				after = last
			}
		}
		m.mu.Unlock()
		if err := f.writeWith(m, notes); err != nil {
			return err
		}
	}
	return nil
}

// tableKeys returns the keys of a table in order. It goes from the last row to
// the first, because a row that takes the place of a removed one comes from
// behind, where it was seen.
func tableKeys[V any](m *memory, t *table[V]) []tableKey {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := make([]tableKey, 0, len(t.places))
	for place := len(t.places); place > 0; {
		for place = min(place, len(t.places)); place > 0; place-- {
			keys = append(keys, t.at(place-1).key)
			if place%(1<<13) == 0 { // let other calls have the mutex
				place--
				break
			}
		}
		m.mu.Unlock()
		m.mu.Lock()
	}
	slices.SortFunc(keys, func(a, b tableKey) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(keys)
}

// end ends the goroutine that writes and takes over files, after its present
// step.
func (f *dbFile) end() {
	close(f.stop)
	<-f.done
}

// close writes the last changes and the pending challenges, and closes the
// file. The caller has called end.
func (f *dbFile) close(m *memory) error {
	m.mu.Lock()
	m.notes.changed = nil // changes from now on are not written
	pending, rows := slices.Clone(m.live), append(m.saveReports(), m.saveSeen()...)
	for _, rec := range pending {
		rec.finish() // from now on only the next process takes its code
	}
	m.mu.Unlock()
	f.writing.Lock()
	defer f.writing.Unlock()
	err := f.flushed(m)
	f.report(err)
	for _, last := range []error{f.fileLast(m, pending), f.writeSaved(rows)} {
		if last != nil {
			err = errors.Join(err, fmt.Errorf("keeping the pending challenges in %s: %w", f.path, last))
		}
	}
	return errors.Join(err, f.db.Close())
}
