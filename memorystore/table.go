package memorystore

import "github.com/caddy-websms/websms/otp"

// table holds values under keyed hashes in little memory. It forgets no row by
// itself: its user calls sweep, which forgets a few idle rows at a time. The
// store's mutex guards it.
type table[V any] struct {
	max    int // the most rows; the caller checks room before it adds one
	places map[tableKey]uint32
	chunks [][]row[V] // so that a table grows without being copied
	hand   int        // where the next look for idle rows begins

	removed func(tableKey) // is called for each removed row; may be nil
}

// tableKey is half of a keyed hash: 128 bits. Two of them are not equal by chance, and
// without the key of the hash no search finds two.
type tableKey [16]byte

func keyOf(d otp.Digest) tableKey { return tableKey(d[:16]) }

type row[V any] struct {
	key   tableKey
	value V
}

const tableChunk = 512

func (t *table[V]) at(place int) *row[V] { return &t.chunks[place/tableChunk][place%tableChunk] }

// get returns the value under a key, or nil. The pointer is good until a row is
// removed.
func (t *table[V]) get(d otp.Digest) *V { return t.find(keyOf(d)) }

func (t *table[V]) find(key tableKey) *V {
	place, ok := t.places[key]
	if !ok {
		return nil
	}
	return &t.at(int(place)).value
}

// room reports whether that many new rows fit.
func (t *table[V]) room(rows int) bool { return len(t.places)+rows <= t.max }

// add makes a row for a key that has none, and returns its value.
func (t *table[V]) add(d otp.Digest) *V { return t.insert(keyOf(d)) }

func (t *table[V]) insert(key tableKey) *V {
	if t.places == nil {
		t.places = make(map[tableKey]uint32)
	}
	place := len(t.places)
	if place == len(t.chunks)*tableChunk {
		t.chunks = append(t.chunks, make([]row[V], tableChunk))
	}
	t.places[key] = uint32(place)
	added := t.at(place)
	added.key = key
	return &added.value
}

// remove forgets a key. The last row moves into the place that becomes free.
func (t *table[V]) remove(key tableKey) {
	place, ok := t.places[key]
	if !ok {
		return
	}
	delete(t.places, key)
	gone, last := t.at(int(place)), t.at(len(t.places))
	if gone != last {
		*gone = *last
		t.places[gone.key] = place
	}
	*last = row[V]{}
	if spare := len(t.chunks) - len(t.places)/tableChunk; spare > 2 { // one spare chunk stays, for rows that come and go
		t.chunks[len(t.chunks)-1] = nil
		t.chunks = t.chunks[:len(t.chunks)-1]
	}
	if t.removed != nil {
		t.removed(key)
	}
}

// sweep looks at a few rows, in turn, and forgets those that are idle.
func (t *table[V]) sweep(looks int, idle func(tableKey, *V) bool) {
	for range min(looks, len(t.places)) {
		if t.hand >= len(t.places) {
			t.hand = 0
		}
		if r := t.at(t.hand); idle(r.key, &r.value) {
			t.remove(r.key)
		} else {
			t.hand++
		}
	}
}
