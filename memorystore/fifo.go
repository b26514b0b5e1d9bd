package memorystore

import (
	"math/bits"
	"time"
)

// fifo is a map of entries with a limited life. It forgets an entry when its life is
// over, and the oldest entry when it holds more than max. The store's mutex
// guards it.
//
// Entries with the same life stand in one queue, in the order in which they
// end. So an entry with a long life, such as the mark of a monthly budget's
// warning, does not keep shorter-lived entries behind it in memory.
//
// No entry ends later than its life from now. If the clock was ahead when an
// entry was put and then goes back, the entry counts as put at the earlier time.
type fifo[K comparable, V any] struct {
	max    int
	places map[K]fifoPlace
	queues []*fifoQueue[K, V]       // nil where a queue is gone
	lives  map[time.Duration]uint16 // the index of a life's queue
}

// fifoPlace says where an entry stands: the index of its queue in the upper 16
// bits, its place there in the lower 48. It is half as large as a struct of
// both, and a store may hold a million.
type fifoPlace uint64

func (p fifoPlace) split() (queue int, place uint64) { return int(p >> 48), uint64(p) & (1<<48 - 1) }

// fifoQueue holds the entries of one life. The ends of its items never descend.
type fifoQueue[K comparable, V any] struct {
	life   time.Duration
	index  uint16
	chunks [][]fifoItem[K, V] // in chunks, so that it grows without being copied
	base   uint64             // the place of the first chunk's first item
	head   uint64             // the place of the oldest item
	next   uint64             // the place of the next one
	stand  uint64             // how many of the items are still entries
}

// fifoItem is an entry, unless its key has a newer item or was removed.
type fifoItem[K comparable, V any] struct {
	key   K
	value V
	until int64 // nanoseconds since 1970
}

const (
	fifoChunk = 512

	// maxFifoLives bounds the queues. Past it a life is rounded up to a power of
	// two nanoseconds. Operators configure the lives, so there are a handful.
	maxFifoLives = 1024
)

func (q *fifoQueue[K, V]) at(place uint64) *fifoItem[K, V] {
	n := place - q.base
	return &q.chunks[n/fifoChunk][n%fifoChunk]
}

func (f *fifo[K, V]) get(key K, now time.Time) (V, bool) {
	value, _, ok := f.find(key, now)
	return value, ok
}

// find returns a key's value, and when its entry ends.
func (f *fifo[K, V]) find(key K, now time.Time) (value V, until time.Time, ok bool) {
	f.bound(now)
	if at, known := f.places[key]; known {
		queue, place := at.split()
		if item := f.queues[queue].at(place); now.UnixNano() < item.until {
			return item.value, time.Unix(0, item.until), true
		}
	}
	return value, until, false
}

// valueOf returns the value of a key's entry, even if the entry is over.
func (f *fifo[K, V]) valueOf(key K) (value V) {
	if at, known := f.places[key]; known {
		queue, place := at.split()
		value = f.queues[queue].at(place).value
	}
	return value
}

// put makes an entry. Its life begins now.
func (f *fifo[K, V]) put(key K, value V, now, until time.Time) {
	f.bound(now)
	q := f.queue(until.Sub(now))
	f.append(q, fifoItem[K, V]{key, value, now.Add(q.life).UnixNano()})
	f.trim(now)
}

// restore makes an entry from an earlier process, which began before now. A life
// of 0 is unknown: then restore guesses it from the time that is left.
func (f *fifo[K, V]) restore(key K, value V, now, until time.Time, life time.Duration) {
	left := until.Sub(now)
	if left <= 0 {
		return
	}
	f.bound(now)
	if life <= 0 {
		life = roundedLife(max(left, time.Minute))
	}
	q := f.queue(life)
	end := now.Add(min(left, q.life)).UnixNano()
	if q.next > q.head {
		end = max(end, q.at(q.next-1).until) // no item ends before the one in front of it
	}
	f.append(q, fifoItem[K, V]{key, value, end})
	f.trim(now)
}

// lifeOf returns how long the whole life of a key's entry is, 0 if there is none.
func (f *fifo[K, V]) lifeOf(key K) time.Duration {
	at, ok := f.places[key]
	if !ok {
		return 0
	}
	queue, _ := at.split()
	return f.queues[queue].life
}

// bound shortens every entry that would end later than its life from now. Only
// the latest entries of a queue can, so bound looks at one item of each queue
// unless the clock went back.
func (f *fifo[K, V]) bound(now time.Time) {
	for _, q := range f.queues {
		if q == nil {
			continue
		}
		latest := now.Add(q.life).UnixNano()
		for place := q.next; place > q.head && q.at(place-1).until > latest; place-- {
			q.at(place - 1).until = latest
		}
	}
}

// queue returns the queue of a life.
func (f *fifo[K, V]) queue(life time.Duration) *fifoQueue[K, V] {
	if index, ok := f.lives[life]; ok {
		return f.queues[index]
	}
	if len(f.lives) >= maxFifoLives {
		if rounded := roundedLife(life); rounded != life {
			return f.queue(rounded)
		}
	}
	if f.lives == nil {
		f.lives = make(map[time.Duration]uint16)
	}
	index := 0
	for index < len(f.queues) && f.queues[index] != nil {
		index++
	}
	if index == len(f.queues) {
		f.queues = append(f.queues, nil)
	}
	f.queues[index] = &fifoQueue[K, V]{life: life, index: uint16(index)}
	f.lives[life] = uint16(index)
	return f.queues[index]
}

// roundedLife returns the next power of two nanoseconds: 24h becomes 39h5m.
func roundedLife(life time.Duration) time.Duration {
	if life <= 1 {
		return 1
	}
	return 1 << min(62, bits.Len64(uint64(life-1)))
}

// append makes an item the latest of a queue, and its key's entry.
func (f *fifo[K, V]) append(q *fifoQueue[K, V], item fifoItem[K, V]) {
	if f.places == nil {
		f.places = make(map[K]fifoPlace)
	}
	f.remove(item.key)
	f.places[item.key] = fifoPlace(uint64(q.index)<<48 | q.add(item))
	q.stand++
}

// add appends an item and returns its place.
func (q *fifoQueue[K, V]) add(item fifoItem[K, V]) uint64 {
	if q.next-q.base == uint64(len(q.chunks))*fifoChunk {
		q.chunks = append(q.chunks, make([]fifoItem[K, V], fifoChunk))
	}
	q.next++
	*q.at(q.next - 1) = item
	return q.next - 1
}

// trim forgets the entries that have ended, and the oldest ones past max.
func (f *fifo[K, V]) trim(now time.Time) {
	for _, q := range f.queues {
		for q != nil && q.head < q.next && (!f.stands(q, q.head) || now.UnixNano() >= q.at(q.head).until) {
			f.drop(q)
		}
	}
	for len(f.places) > f.max {
		f.drop(f.oldest())
	}
	for _, q := range f.queues {
		if q == nil {
			continue
		}
		if q.head == q.next {
			delete(f.lives, q.life)
			f.queues[q.index] = nil
		} else if q.next-q.head > 2*q.stand+fifoChunk { // most items are no entries any more
			f.compact(q)
		}
	}
}

// oldest returns the queue with the item that was put before all others.
func (f *fifo[K, V]) oldest() (oldest *fifoQueue[K, V]) {
	var least int64
	for _, q := range f.queues {
		if q == nil || q.head == q.next {
			continue
		}
		if put := q.at(q.head).until - int64(q.life); oldest == nil || put < least {
			oldest, least = q, put
		}
	}
	return oldest
}

// stands reports whether the item at a place is its key's entry.
func (f *fifo[K, V]) stands(q *fifoQueue[K, V], place uint64) bool {
	now, ok := f.places[q.at(place).key]
	return ok && now == fifoPlace(uint64(q.index)<<48|place)
}

// drop forgets the oldest item of a queue.
func (f *fifo[K, V]) drop(q *fifoQueue[K, V]) {
	if f.stands(q, q.head) {
		f.remove(q.at(q.head).key)
	}
	*q.at(q.head) = fifoItem[K, V]{}
	if q.head++; q.head-q.base == fifoChunk {
		q.chunks[0] = nil
		q.chunks, q.base = q.chunks[1:], q.head
	}
}

// compact forgets the items of a queue that are no entries.
func (f *fifo[K, V]) compact(q *fifoQueue[K, V]) {
	left := fifoQueue[K, V]{life: q.life, index: q.index, stand: q.stand}
	for place := q.head; place < q.next; place++ {
		if f.stands(q, place) {
			item := *q.at(place)
			f.places[item.key] = fifoPlace(uint64(q.index)<<48 | left.add(item))
		}
	}
	*q = left
}

func (f *fifo[K, V]) remove(key K) {
	if at, ok := f.places[key]; ok {
		queue, _ := at.split()
		f.queues[queue].stand--
		delete(f.places, key)
	}
}

// each calls do for every entry, the oldest of each life first.
func (f *fifo[K, V]) each(do func(key K, value V, until time.Time)) {
	for _, q := range f.queues {
		if q == nil {
			continue
		}
		for place := q.head; place < q.next; place++ {
			if item := q.at(place); f.stands(q, place) {
				do(item.key, item.value, time.Unix(0, item.until))
			}
		}
	}
}
