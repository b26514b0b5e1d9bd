package websms

import (
	"slices"
	"time"
)

// fifo is a map that forgets its oldest entries, past their time or past max.
// The store's mutex guards it.
type fifo[K comparable, V any] struct {
	max   int
	byKey map[K]fifoEntry[V]
	queue []fifoKey[K] // oldest first, from head on
	head  int
	next  uint64
}

type fifoEntry[V any] struct {
	value  V
	until  time.Time
	serial uint64
}

type fifoKey[K comparable] struct {
	key    K
	serial uint64
}

func (f *fifo[K, V]) get(key K, now time.Time) (V, bool) {
	entry, ok := f.byKey[key]
	if !ok || !now.Before(entry.until) {
		var none V
		return none, false
	}
	return entry.value, true
}

func (f *fifo[K, V]) put(key K, value V, now, until time.Time) {
	if f.byKey == nil {
		f.byKey = make(map[K]fifoEntry[V])
	}
	f.next++
	f.byKey[key] = fifoEntry[V]{value, until, f.next}
	f.queue = append(f.queue, fifoKey[K]{key, f.next})
	for f.head < len(f.queue) {
		oldest := f.queue[f.head]
		entry, ok := f.byKey[oldest.key]
		stands := ok && entry.serial == oldest.serial
		if stands && len(f.byKey) <= f.max && now.Before(entry.until) {
			break
		}
		if stands {
			delete(f.byKey, oldest.key)
		}
		f.head++
	}
	switch waiting := f.queue[f.head:]; {
	case len(waiting) > 2*len(f.byKey)+64: // most of them were removed meanwhile
		f.queue = slices.DeleteFunc(waiting, func(k fifoKey[K]) bool { return f.byKey[k.key].serial != k.serial })
		f.head = 0
	case f.head > len(f.queue)/2:
		f.queue = append(f.queue[:0], waiting...)
		f.head = 0
	}
}

func (f *fifo[K, V]) remove(key K) { delete(f.byKey, key) }

// each calls do for every entry, the oldest first.
func (f *fifo[K, V]) each(do func(key K, value V, until time.Time)) {
	for _, k := range f.queue[f.head:] {
		if entry, ok := f.byKey[k.key]; ok && entry.serial == k.serial {
			do(k.key, entry.value, entry.until)
		}
	}
}
