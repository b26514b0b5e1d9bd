package websms

import (
	"bytes"
	"container/heap"
	"encoding/binary"
	"encoding/gob"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
)

// memoryState is what is read from a file.
type memoryState struct {
	counters counters
	runs     runs
	expired  []note // what the file need not hold
	saved    []savedRow
}

// read reads a whole file, but for what counts no more by now.
func (s *memoryState) read(tx *bbolt.Tx, now time.Time) error {
	s.counters, s.runs = newCounters(), newRuns()
	if err := s.readCounters(tx.Bucket(bucketCounters), now); err != nil {
		return &unusableError{fmt.Errorf("counters: %w", err)}
	}
	err := tx.Bucket(bucketRuns).ForEach(func(key, row []byte) error {
		if len(key) != len(tableKey{}) {
			return errRow
		}
		kept, err := s.runs.restore(tableKey(key), row, now)
		if !kept {
			s.expired = append(s.expired, note{key: tableKey(key), kind: noteRun})
		}
		return err
	})
	if err != nil {
		return &unusableError{fmt.Errorf("wrong codes: %w", err)}
	}
	err = tx.Bucket(bucketSaved).ForEach(func(_, value []byte) error {
		var row savedRow
		if err := gob.NewDecoder(bytes.NewReader(value)).Decode(&row); err != nil {
			return err
		}
		row.drop(now)
		s.saved = append(s.saved, row)
		return nil
	})
	if err != nil {
		return &unusableError{fmt.Errorf("pending challenges: %w", err)}
	}
	return nil
}

func (s *memoryState) readCounters(bucket *bbolt.Bucket, now time.Time) error {
	var rows *counterRows
	end := func() {
		if rows != nil && !s.counters.restore(rows, now) {
			s.expired = append(s.expired, note{key: rows.key, kind: noteCounter})
		}
	}
	err := bucket.ForEach(func(key, value []byte) error {
		if len(key) != counterRowKey {
			return errRow
		}
		if rows == nil || rows.key != tableKey(key) {
			end()
			rows = &counterRows{key: tableKey(key)}
		}
		return rows.add(key, value)
	})
	if err == nil {
		end()
	}
	return err
}

// savedRow is a part of what a closed store was asked to keep.
type savedRow struct {
	Challenges []savedChallenge
	Messages   []savedMessage
	Early      []savedReport
	Seen       []savedSeen
}

// savedChallenge is a record.
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

// save returns what is live, and ends it: who still asks for it finds none.
// The caller holds mu.
func (m *memoryStore) save() []savedRow {
	var rows []savedRow
	next := func(n int) *savedRow { // the row of the n-th of a kind
		if n%savedAtOnce == 0 {
			rows = append(rows, savedRow{})
		}
		return &rows[len(rows)-1]
	}
	for i, rec := range m.live {
		row := next(i)
		row.Challenges = append(row.Challenges, rec.save())
	}
	n := 0
	m.sent.each(func(key tableKey, s sentMessage, until time.Time) {
		row := next(n)
		row.Messages = append(row.Messages, savedMessage{key, s.challenge, s.sending, s.at.time(), until})
		n++
	})
	n = 0
	m.early.each(func(id string, state connexus.State, until time.Time) {
		row := next(n)
		row.Early = append(row.Early, savedReport{id, state, until})
		n++
	})
	n = 0
	m.seen.each(func(key otp.Digest, _ struct{}, until time.Time) {
		row := next(n)
		row.Seen = append(row.Seen, savedSeen{key, until, m.seen.lifeOf(key)})
		n++
	})
	return rows
}

func (r *record) save() savedChallenge {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.finished = true
	return savedChallenge{
		r.id, r.tag, r.sealed, r.proof, r.length, r.left, r.sending, r.begun, r.possible, r.made,
		r.settled, r.status, r.state, r.born.time(), r.dies.time(), r.resend.time(),
	}
}

// restore puts what was saved in place. The caller holds mu.
func (m *memoryStore) restore(rows []savedRow) {
	now := m.now()
	held := 0
	for _, row := range rows {
		held += len(row.Challenges)
	}
	m.cache.resize(max(m.capacity, held))
	for _, row := range rows {
		for _, c := range row.Challenges {
			rec := &record{
				id: c.ID, tag: c.Tag, place: -1, sealed: c.Sealed, proof: c.Proof, length: c.Length, left: c.Left,
				sending: c.Sending, begun: c.Begun, possible: c.Possible, made: c.Made, settled: c.Settled,
				status: c.Status, state: c.State, born: instantOf(c.Born), dies: instantOf(c.Dies), resend: instantOf(c.Resend),
			}
			if m.cache.put(string(c.ID[:]), rec) {
				heap.Push(&m.live, rec)
			}
		}
		for _, s := range row.Messages {
			m.sent.restore(s.Key, sentMessage{s.Challenge, instantOf(s.At), s.Sending}, now, s.Until, otp.MaxLife)
		}
		for _, s := range row.Early {
			m.early.restore(s.ID, s.State, now, s.Until, otp.MaxLife)
		}
		for _, s := range row.Seen {
			m.seen.restore(s.Key, struct{}{}, now, s.Until, s.Life)
		}
	}
}

// writeSaved writes what a store was asked to keep when it was closed.
func (f *memoryFile) writeSaved(rows []savedRow) error {
	serial := uint32(0)
	for part := range slices.Chunk(rows, savedRowsAtOnce) {
		err := safely(func() error {
			return f.update(func(tx *bbolt.Tx) error {
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
		})
		if err != nil {
			return fmt.Errorf("keeping the pending challenges in %s: %w", f.path, err)
		}
	}
	return nil
}

// dropSaved deletes what writeSaved wrote.
func dropSaved(tx *bbolt.Tx) error {
	if err := tx.DeleteBucket(bucketSaved); err != nil {
		return err
	}
	_, err := tx.CreateBucket(bucketSaved)
	return err
}
