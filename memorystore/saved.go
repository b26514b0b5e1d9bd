package memorystore

import (
	"bytes"
	"container/heap"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
)

// fileState is what is read from a file.
type fileState struct {
	counters counters
	failures failureTable
	expired  []note // what the file need not hold
	saved    []savedRow
	pending  []pendingChallenge

	lost  int      // rows that cannot be read
	parts []string // of the file, where rows are lost or a whole bucket
	bad   []change // deletes those rows
}

// pendingChallenge is a challenge that was pending when the process before
// stopped.
type pendingChallenge struct {
	rec     *record
	unknown []byte // fields of a later release
}

// read reads a whole file, but for what counts no more by now. Each bucket is
// read by itself, and each row: one that is damaged costs no other. An error
// says that the file is damaged beyond that; the rows that could be read are there.
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
			return nil // a later release's: it stays where it is
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
	defer func() { end() }() // also of a counter whose next row is damaged
	return bucket.ForEach(func(key, value []byte) error {
		if !isCounterRow(key) {
			return nil // a later release's: it stays where it is
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

// savedRow is a part of what a store keeps beside challenges, which have rows of
// their own. Earlier releases had the challenges here too.
type savedRow struct {
	Challenges []savedChallenge
	Messages   []savedMessage
	Early      []savedReport
	Seen       []savedSeen
}

// savedChallenge is a record, as earlier releases saved it.
type savedChallenge struct {
	ID                                           otp.ID
	Tag                                          uint64
	Sealed                                       []byte
	Proof                                        otp.Digest
	Length, Left, Sending, Begun, Possible, Made uint8
	Settled                                      bool
	Status                                       otp.Status
	State                                        connexus.State
	Born, Dies, Resend                           time.Time
}

type savedMessage struct {
	Key       tableKey
	Challenge otp.ID
	Sending   uint8
	At, Until time.Time
}

type savedReport struct {
	ID    string
	State connexus.State
	Until time.Time
}

type savedSeen struct {
	Key   otp.Digest
	Until time.Time
	Life  time.Duration // 0: an older version wrote it, which did not know
}

// savedAtOnce bounds a row, and savedRowsAtOnce a transaction.
const (
	savedAtOnce     = 512
	savedRowsAtOnce = 256
)

// drop forgets what has expired.
func (r *savedRow) drop(now time.Time) {
	r.Challenges = slices.DeleteFunc(r.Challenges, func(c savedChallenge) bool { return !now.Before(c.Dies) })
	r.Messages = slices.DeleteFunc(r.Messages, func(s savedMessage) bool { return !now.Before(s.Until) })
	r.Early = slices.DeleteFunc(r.Early, func(s savedReport) bool { return !now.Before(s.Until) })
	r.Seen = slices.DeleteFunc(r.Seen, func(s savedSeen) bool { return !now.Before(s.Until) })
}

// savedRows are rows that are filled one after another.
type savedRows []savedRow

// next returns the row for the n-th of a kind.
func (r *savedRows) next(n int) *savedRow {
	if n%savedAtOnce == 0 {
		*r = append(*r, savedRow{})
	}
	return &(*r)[len(*r)-1]
}

// saveReports returns what delivery reports need. The caller holds mu.
func (m *memory) saveReports() []savedRow {
	var rows savedRows
	n := 0
	m.sent.each(func(key tableKey, s sentMessage, until time.Time) {
		row := rows.next(n)
		row.Messages = append(row.Messages, savedMessage{key, s.challenge, s.sending, s.at.time(), until})
		n++
	})
	n = 0
	m.early.each(func(id string, state connexus.State, until time.Time) {
		row := rows.next(n)
		row.Early = append(row.Early, savedReport{id, state, until})
		n++
	})
	return rows
}

// saveSeen returns which webhook deliveries were handled, and other firsts. One
// that is still in work is not among them: after a kill its repetition is
// handled. The caller holds mu.
func (m *memory) saveSeen() []savedRow {
	var rows savedRows
	n := 0
	m.seen.each(func(key otp.Digest, _ struct{}, until time.Time) {
		row := rows.next(n)
		row.Seen = append(row.Seen, savedSeen{key, until, m.seen.lifeOf(key)})
		n++
	})
	return rows
}

// record returns the record that was saved.
func (c *savedChallenge) record() *record {
	return &record{
		id: c.ID, tag: c.Tag, place: -1, sealed: c.Sealed, proof: c.Proof, length: c.Length, left: c.Left,
		sending: c.Sending, begun: c.Begun, possible: c.Possible, made: c.Made, settled: c.Settled,
		status: c.Status, state: c.State, born: instantOf(c.Born), dies: instantOf(c.Dies), resend: instantOf(c.Resend),
	}
}

// restore puts what was pending in place. Nothing lives longer than it may from
// now, whatever the clock was when it was saved. The caller holds mu.
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

// writeSaved writes those rows and deletes others that are there. The caller
// holds writing.
func (f *dbFile) writeSaved(rows []savedRow) error {
	serial := uint32(0)
	for part := range slices.Chunk(rows, savedRowsAtOnce) {
		err := f.updated(func(tx *bbolt.Tx) error {
			bucket := tx.Bucket(bucketSaved)
			bucket.FillPercent = 1 // they come in order
			for i := range part {
				var value bytes.Buffer
				if err := gob.NewEncoder(&value).Encode(&part[i]); err != nil {
					return err
				}
				if err := bucket.Put(binary.BigEndian.AppendUint32(nil, serial), value.Bytes()); err != nil {
					return err
				}
				serial++
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	from, bound := binary.BigEndian.AppendUint32(nil, serial), binary.BigEndian.AppendUint32(nil, math.MaxUint32)
	return f.applied([]change{{bucket: bucketSaved, key: from, bound: bound}})
}

// dropPending deletes what a store keeps for the process that follows.
func dropPending(tx *bbolt.Tx) error {
	for _, name := range [][]byte{bucketChallenges, bucketSaved} {
		if err := tx.DeleteBucket(name); err != nil && !errors.Is(err, bolterrors.ErrBucketNotFound) {
			return err
		}
	}
	_, err := tx.CreateBucket(bucketSaved) // earlier releases need it
	return err
}
