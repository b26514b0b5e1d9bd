package websms

import "time"

// fifo is a map that forgets its oldest entries, past their time or past max.
// The store's mutex guards it.
type fifo[K comparable, V any] struct {
	max    int
	places map[K]uint64       // where the entry of a key stands
	chunks [][]fifoItem[K, V] // so that it grows without being copied
	base   uint64             // the place of the first chunk's first item
	head   uint64             // the place of the oldest item
	next   uint64             // the place of the next one
}

// fifoItem is an entry, unless its key has another by now, or was removed.
type fifoItem[K comparable, V any] struct {
	key   K
	value V
	until int64 // nanoseconds since 1970
}

const fifoChunk = 512

func (f *fifo[K, V]) at(place uint64) *fifoItem[K, V] {
	n := place - f.base
	return &f.chunks[n/fifoChunk][n%fifoChunk]
}

func (f *fifo[K, V]) get(key K, now time.Time) (V, bool) {
	if place, ok := f.places[key]; ok {
		if item := f.at(place); now.UnixNano() < item.until {
			return item.value, true
		}
	}
	var none V
	return none, false
}

func (f *fifo[K, V]) put(key K, value V, now, until time.Time) {
	f.append(fifoItem[K, V]{key, value, until.UnixNano()})
	for f.head < f.next {
		oldest := f.at(f.head)
		stands := f.stands(f.head)
		if stands && len(f.places) <= f.max && now.UnixNano() < oldest.until {
			break
		}
		if stands {
			delete(f.places, oldest.key)
		}
		f.drop()
	}
	if f.next-f.head > uint64(2*len(f.places))+fifoChunk { // most of them were removed meanwhile
		f.compact()
	}
}

// append makes an item the latest.
func (f *fifo[K, V]) append(item fifoItem[K, V]) {
	if f.places == nil {
		f.places = make(map[K]uint64)
	}
	if f.next-f.base == uint64(len(f.chunks))*fifoChunk {
		f.chunks = append(f.chunks, make([]fifoItem[K, V], fifoChunk))
	}
	f.places[item.key] = f.next
	f.next++
	*f.at(f.next - 1) = item
}

// stands reports whether the item at a place is its key's entry.
func (f *fifo[K, V]) stands(place uint64) bool {
	now, ok := f.places[f.at(place).key]
	return ok && now == place
}

// drop forgets the oldest item.
func (f *fifo[K, V]) drop() {
	*f.at(f.head) = fifoItem[K, V]{}
	if f.head++; f.head-f.base == fifoChunk {
		f.chunks[0] = nil
		f.chunks, f.base = f.chunks[1:], f.head
	}
}

// compact forgets the items that are no entries.
func (f *fifo[K, V]) compact() {
	left := fifo[K, V]{max: f.max}
	for place := f.head; place < f.next; place++ {
		if f.stands(place) {
			left.append(*f.at(place))
		}
	}
	*f = left
}

func (f *fifo[K, V]) remove(key K) { delete(f.places, key) }

// each calls do for every entry, the oldest first.
func (f *fifo[K, V]) each(do func(key K, value V, until time.Time)) {
	for place := f.head; place < f.next; place++ {
		if item := f.at(place); f.stands(place) {
			do(item.key, item.value, time.Unix(0, item.until))
		}
	}
}
