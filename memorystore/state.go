package memorystore

import (
	"bytes"
	"container/heap"
	"encoding/gob"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-websms/websms/otp"
)

// fileState has the rows that were read from a file.
type fileState struct {
	counters counters
	failures failureTable
	expired  []note // rows that the file need not hold
	saved    []savedRow
	pending  []pendingChallenge

	lost  int      // how many rows cannot be read
	parts []string // the parts of the file that have lost rows or a whole bucket
	bad   []change // orders that delete the lost rows
}

// pendingChallenge is a challenge that was pending when the former process stopped.
type pendingChallenge struct {
	rec     *record
	unknown []byte // fields of a later release
}

// read reads a whole file, except rows that do not count any more. It reads each
// bucket and each row by itself, so that a damaged row does not affect the others. It
// returns an error if the file is damaged beyond single rows. The state then has the rows
// that could be read.
func (s *fileState) read(db *bbolt.DB, now time.Time) error {
	s.counters, s.failures = newCounters(), newFailureTable()
	var damages []error
	for _, part := range []struct {
		name   string
		bucket []byte
		read   func(*bbolt.Bucket, time.Time) error
	}{
		{"counters", bucketCounters, s.readCounters},
		{"wrong codes", bucketFailures, s.readFailures},
		{"pending challenges", bucketChallenges, s.readPending},
		{"delivery reports", bucketSaved, s.readSaved},
	} {
		before := s.lost
		err := safely(func() error {
			return db.View(func(tx *bbolt.Tx) error {
				if bucket := tx.Bucket(part.bucket); bucket != nil {
					return part.read(bucket, now)
				}
				return nil
			})
		})
		if err != nil {
			damages = append(damages, fmt.Errorf("%s: %w", part.name, err))
		}
		if err != nil || s.lost > before {
			s.parts = append(s.parts, part.name)
		}
	}
	return errors.Join(damages...)
}

// lose notes a row that cannot be read.
func (s *fileState) lose(bucket, key []byte) {
	s.lost++
	s.bad = append(s.bad, change{bucket: bucket, key: bytes.Clone(key)})
}

func (s *fileState) readFailures(bucket *bbolt.Bucket, now time.Time) error {
	return bucket.ForEach(func(key, row []byte) error {
		if len(key) != len(tableKey{}) {
			return nil // a row of a later release, which stays where it is
		}
		kept, err := s.failures.restore(tableKey(key), row, now)
		switch {
		case err != nil:
			s.lose(bucketFailures, key)
		case !kept:
			s.expired = append(s.expired, note{key: tableKey(key), kind: noteFailures})
		}
		return nil
	})
}

func (s *fileState) readPending(bucket *bbolt.Bucket, now time.Time) error {
	return bucket.ForEach(func(key, row []byte) error {
		if len(key) != len(otp.ID{}) {
			return nil
		}
		rec, unknown, err := recordOf(otp.ID(key), row)
		switch {
		case err != nil:
			s.lose(bucketChallenges, key)
		case instantOf(now) < rec.dies:
			s.pending = append(s.pending, pendingChallenge{rec, unknown})
		}
		return nil
	})
}

func (s *fileState) readSaved(bucket *bbolt.Bucket, now time.Time) error {
	return bucket.ForEach(func(key, value []byte) error {
		var row savedRow
		if err := gob.NewDecoder(bytes.NewReader(value)).Decode(&row); err != nil {
			s.lose(bucketSaved, key)
			return nil
		}
		row.drop(now)
		for _, c := range row.Challenges {
			s.pending = append(s.pending, pendingChallenge{rec: c.record()})
		}
		row.Challenges = nil
		s.saved = append(s.saved, row)
		return nil
	})
}

func (s *fileState) readCounters(bucket *bbolt.Bucket, now time.Time) error {
	var rows *counterRows
	end := func() {
		if rows != nil && !s.counters.restore(rows, now) {
			s.expired = append(s.expired, note{key: rows.key, kind: noteCounter})
		}
	}
	defer func() { end() }() // also ends a counter if its next row is damaged
	return bucket.ForEach(func(key, value []byte) error {
		if !isCounterRow(key) {
			return nil // a row of a later release, which stays where it is
		}
		if rows == nil || rows.key != tableKey(key) {
			end()
			rows = &counterRows{key: tableKey(key)}
		}
		if rows.add(key, value) != nil {
			s.lose(bucketCounters, key)
		}
		return nil
	})
}

// restore puts pending challenges and reports in place. No challenge lives
// longer than otp.MaxLife from now, even if the clock was wrong when the row was
// written. The caller holds mu.
func (m *memory) restore(state *fileState) {
	now := m.now()
	latest := now.Add(otp.MaxLife)
	m.cache.Resize(max(m.capacity, len(m.live)+len(state.pending)))
	for _, p := range state.pending {
		rec := p.rec
		rec.settleClock(instantOf(now))
		rec.dies, rec.resend = min(rec.dies, instantOf(latest)), min(rec.resend, instantOf(latest))
		if m.find(rec.id) != nil || !m.cache.Put(string(rec.id[:]), rec) {
			continue
		}
		heap.Push(&m.live, rec)
		m.changedRecord(rec)
		if len(p.unknown) > 0 {
			if m.keeper.unknown == nil {
				m.keeper.unknown = make(map[otp.ID][]byte)
			}
			m.keeper.unknown[rec.id] = p.unknown
		}
	}
	for _, row := range state.saved {
		for _, s := range row.Messages {
			m.sent.restore(s.Key, sentMessage{s.Challenge, instantOf(earlier(s.At, now)), s.Sending}, now, s.Until, otp.MaxLife)
		}
		for _, s := range row.Early {
			m.early.restore(s.ID, s.State, now, s.Until, otp.MaxLife)
		}
		for _, s := range row.Seen {
			m.seen.restore(s.Key, struct{}{}, now, s.Until, s.Life)
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
