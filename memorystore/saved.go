package memorystore

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"math"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
)

// savedRow is a part of the data that a store keeps beside challenges. Challenges have
// rows of their own. Earlier releases had the challenges here too.
type savedRow struct {
	Challenges []savedChallenge
	Messages   []savedMessage
	Early      []savedReport
	Seen       []savedSeen
}

// savedChallenge is a pending challenge as earlier releases wrote it.
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
	Life  time.Duration // 0: unknown, because an earlier release wrote the row
}

// savedAtOnce bounds the entries of a row, and savedRowsAtOnce the rows of a
// transaction.
const (
	savedAtOnce     = 512
	savedRowsAtOnce = 256
)

// drop forgets entries that have expired.
func (r *savedRow) drop(now time.Time) {
	r.Challenges = slices.DeleteFunc(r.Challenges, func(c savedChallenge) bool { return !now.Before(c.Dies) })
	r.Messages = slices.DeleteFunc(r.Messages, func(s savedMessage) bool { return !now.Before(s.Until) })
	r.Early = slices.DeleteFunc(r.Early, func(s savedReport) bool { return !now.Before(s.Until) })
	r.Seen = slices.DeleteFunc(r.Seen, func(s savedSeen) bool { return !now.Before(s.Until) })
}

// savedRows are rows that are filled one after another.
type savedRows []savedRow

// next returns the row for the n-th entry of a kind.
func (r *savedRows) next(n int) *savedRow {
	if n%savedAtOnce == 0 {
		*r = append(*r, savedRow{})
	}
	return &(*r)[len(*r)-1]
}

// saveReports returns the data for delivery reports that come after a restart.
// The caller holds mu.
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

// saveSeen returns the marks of handled webhook deliveries, and other marks of
// First. A delivery that is still in work has no such mark, so after a kill its
// repetition is handled. The caller holds mu.
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

// writeSaved writes rows, and deletes all other rows of their bucket. The
// caller holds writing.
func (f *dbFile) writeSaved(rows []savedRow) error {
	serial := uint32(0)
	for part := range slices.Chunk(rows, savedRowsAtOnce) {
		err := f.updated(func(tx *bbolt.Tx) error {
			bucket := tx.Bucket(bucketSaved)
			bucket.FillPercent = 1 // the keys ascend
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

// dropPending deletes the rows that a stop has written.
func dropPending(tx *bbolt.Tx) error {
	for _, name := range [][]byte{bucketChallenges, bucketSaved} {
		if err := tx.DeleteBucket(name); err != nil && !errors.Is(err, bolterrors.ErrBucketNotFound) {
			return err
		}
	}
	_, err := tx.CreateBucket(bucketSaved) // earlier releases need it
	return err
}
