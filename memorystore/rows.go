package memorystore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/caddy-websms/websms/otp"
)

// The rows of the store's file.
//
// The bucket of counters has one row for each moment of a counter. The key is
// the counter's key, then noteSending or noteReturn, then the moment,
// big-endian. The value is how often the event happened at that moment, and the
// counter's demand. So one more sending of a budget of a million writes one
// row, not a million.
//
// The bucket of failures has one row for each number, with all failures of the
// number. All keys are halves of keyed hashes.
//
// A later release may append fields to a row, and add rows with other keys.
// This release does not use them. It keeps them when it writes a row again.

var errRow = errors.New("a row of the file cannot be decoded")

const counterRowKey = len(tableKey{}) + 1 + 8

// isCounterRow reports whether a key is one that counterRow returns.
func isCounterRow(key []byte) bool {
	if len(key) != counterRowKey {
		return false
	}
	kind := noteKind(key[len(tableKey{})])
	return kind == noteSending || kind == noteReturn
}

// counterRow returns the key of one moment's row.
func counterRow(key tableKey, kind noteKind, at int64) []byte {
	row := append(make([]byte, 0, counterRowKey), key[:]...)
	return binary.BigEndian.AppendUint64(append(row, byte(kind)), uint64(at))
}

// change is an order for a bucket. The row of key is to have the value, or to
// be deleted if value is nil. With a bound, all rows from key up to the bound,
// without the bound itself, are to be deleted.
type change struct {
	bucket     []byte
	key, value []byte
	bound      []byte
}

// notesAtOnce bounds how long the writer holds the store's mutex.
const notesAtOnce = 128

// changes returns the orders for sorted notes, from the present state of the
// store. It holds the store's mutex for notesAtOnce of them at a time.
func (m *memory) changes(notes []note) []change {
	list := make([]change, 0, 2*len(notes))
	for part := range slices.Chunk(notes, notesAtOnce) {
		m.mu.Lock()
		for len(part) > 0 {
			n := 1
			if part[0].kind == noteFailures {
				list = append(list, m.failures.change(part[0].key))
			} else {
				for n < len(part) && part[n].key == part[0].key && part[n].kind != noteFailures {
					n++
				}
				list = m.counters.changes(list, part[:n])
			}
			part = part[n:]
		}
		m.mu.Unlock()
	}
	return list
}

// changes appends the orders for one counter.
func (c *counters) changes(list []change, notes []note) []change {
	key := notes[0].key
	known := c.find(key)
	if known == nil {
		return append(list, change{bucket: bucketCounters, key: counterRow(key, noteSending, 0), bound: counterRow(key, noteReturn+1, 0)})
	}
	for _, kind := range windowKinds {
		window := known.windowOf(kind)
		put := func(at int64) {
			row := change{bucket: bucketCounters, key: counterRow(key, kind, at)}
			if n := countAt(window, at); n > 0 {
				row.value = binary.AppendUvarint(nil, uint64(n))
				row.value = binary.AppendUvarint(row.value, uint64(known.demand.keep))
				row.value = binary.AppendUvarint(row.value, uint64(known.demand.longest))
			}
			list = append(list, row)
		}
		changed := notes[0].kind == noteCounter // the counter was removed, and made anew since
		for _, n := range notes {
			if n.kind == kind {
				put(n.at)
				changed = true
			}
		}
		if !changed {
			continue
		}
		// The window has forgotten all moments before the oldest one, and perhaps
		// one of two events at the oldest moment itself.
		oldest := int64(math.MaxInt64)
		if n := countAll(window); n > 0 {
			oldest = momentAt(window, n)
			put(oldest)
		}
		list = append(list, change{bucket: bucketCounters, key: counterRow(key, kind, 0), bound: counterRow(key, kind, oldest)})
	}
	return list
}

var (
	windowKinds = [...]noteKind{noteSending, noteReturn}
	noReturns   otp.Window // never changed
)

// windowOf returns the window of a counter that counts sendings or returns.
func (c *counter) windowOf(kind noteKind) *otp.Window {
	switch {
	case kind == noteSending:
		return &c.window
	case c.returns != nil:
		return c.returns
	}
	return &noReturns
}

// A window tells its moments through counts: countAll counts from 1970 on.

func countAll(w *otp.Window) int { return w.Count(time.Unix(0, 0), 1) }

// countAt returns how many events a window has at a moment.
func countAt(w *otp.Window, at int64) int {
	return w.Count(time.Unix(0, at), 1) - w.Count(time.Unix(0, at+1), 1)
}

// momentAt returns the moment of the i-th event from the end, from 1.
func momentAt(w *otp.Window, i int) int64 {
	return w.Latest(i).UnixNano()
}

// counterRows collects the rows of one counter while the file is read.
type counterRows struct {
	key            tableKey
	demand         demand
	sent, returned []int64 // ascending
}

// add takes one more row of the counter.
func (r *counterRows) add(key, value []byte) error {
	n, value := uvarint(value)
	keep, value := uvarint(value)
	longest, value := uvarint(value)
	at := int64(binary.BigEndian.Uint64(key[len(r.key)+1:]))
	if value == nil || n == 0 || n > keep || keep > math.MaxInt32 || longest == 0 || longest > math.MaxInt64 || at < 0 {
		return errRow
	}
	r.demand.keep = max(r.demand.keep, int(keep))
	r.demand.longest = max(r.demand.longest, time.Duration(longest))
	into := &r.sent
	if noteKind(key[len(r.key)]) == noteReturn {
		into = &r.returned
	}
	for range n {
		*into = append(*into, at)
	}
	return nil
}

// restore adds a counter that was read. It reports false if the counter is
// idle, or if there is no room.
func (c *counters) restore(r *counterRows, now time.Time) bool {
	restored := counter{demand: c.shared(r.demand)}
	for _, at := range r.sent {
		restored.window.Add(time.Unix(0, at), r.demand.keep)
	}
	if r.returned != nil {
		restored.returns = new(otp.Window)
	}
	for _, at := range r.returned {
		restored.returns.Add(time.Unix(0, at), r.demand.keep)
	}
	if restored.idle(now) || !c.room(1) {
		return false
	}
	*c.insert(r.key) = restored
	return true
}

// change returns the order for one number's failures.
func (t *failureTable) change(key tableKey) change {
	row := change{bucket: bucketFailures, key: key[:]}
	if known := t.find(key); known != nil {
		known.strangers.noted = false
		row.value = appendFailures(nil, &known.strangers)
		row.value = binary.AppendUvarint(row.value, uint64(len(known.devices)))
		for device, f := range known.devices {
			row.value = appendFailures(append(row.value, device[:]...), f)
		}
	}
	return row
}

func appendFailures(row []byte, f *failures) []byte {
	row = binary.AppendUvarint(row, uint64(f.count))
	row = binary.AppendUvarint(row, uint64(f.until))
	row = binary.AppendUvarint(row, uint64(len(f.moments)))
	for _, at := range f.moments {
		row = binary.BigEndian.AppendUint64(row, uint64(at))
	}
	return row
}

// restore adds a number's failures that were read. It reports false if they do
// not count any more, or if there is no room.
func (t *failureTable) restore(key tableKey, row []byte, now time.Time) (bool, error) {
	var restored numberFailures
	var ok bool
	if row, ok = restored.strangers.read(row); !ok {
		return false, errRow
	}
	devices, row := uvarint(row)
	if devices > maxDevices+1 {
		return false, errRow
	}
	for range devices {
		if len(row) < len(tableKey{}) {
			return false, errRow
		}
		if restored.devices == nil {
			restored.devices = make(map[tableKey]*failures)
		}
		f := new(failures)
		restored.devices[tableKey(row)] = f
		if row, ok = f.read(row[len(tableKey{}):]); !ok {
			return false, errRow
		}
	}
	if row == nil {
		return false, errRow
	}
	if restored.idle(now) || !t.room(1) {
		return false, nil
	}
	*t.insert(key) = restored
	return true, nil
}

// read reads the fields that appendFailures wrote, and returns the rest of the
// row.
func (f *failures) read(row []byte) ([]byte, bool) {
	count, row := uvarint(row)
	until, row := uvarint(row)
	n, row := uvarint(row)
	if row == nil || count > math.MaxInt32 || until > math.MaxInt64 || n > maxMoments || len(row) < 8*int(n) {
		return nil, false
	}
	f.count, f.until = int32(count), int64(until)
	for range n {
		f.moments = append(f.moments, int64(binary.BigEndian.Uint64(row)))
		row = row[8:]
	}
	return row, true
}

// unknownFields returns the part of a row that follows the fields this release
// knows.
func unknownFields(bucket, row []byte) []byte {
	switch {
	case len(row) == 0:
		return nil
	case bytes.Equal(bucket, bucketCounters):
		for range 3 {
			_, row = uvarint(row)
		}
		return row
	case !bytes.Equal(bucket, bucketFailures):
		return nil
	}
	skipFailures := func(row []byte) []byte {
		_, row = uvarint(row)
		_, row = uvarint(row)
		n, row := uvarint(row)
		if n > maxMoments || uint64(len(row)) < 8*n {
			return nil
		}
		return row[8*n:]
	}
	devices, row := uvarint(skipFailures(row))
	if devices > maxDevices+1 {
		return nil
	}
	for range devices {
		if len(row) < len(tableKey{}) {
			return nil
		}
		row = skipFailures(row[len(tableKey{}):])
	}
	return row
}

// uvarint reads a number and returns the rest of the row. The rest is nil if
// there is no number.
func uvarint(row []byte) (uint64, []byte) {
	v, n := binary.Uvarint(row)
	if n <= 0 {
		return 0, nil
	}
	return v, row[n:]
}
