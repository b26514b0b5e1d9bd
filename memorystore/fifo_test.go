package memorystore

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/otp"
)

// fifoBacklog returns how many items the queues hold, entries or not.
func fifoBacklog[K comparable, V any](f *fifo[K, V]) (n uint64) {
	for _, q := range f.queues {
		if q != nil {
			n += q.next - q.head
		}
	}
	return n
}

// fifoChunks returns how many chunks the queues hold.
func fifoChunks[K comparable, V any](f *fifo[K, V]) (n int) {
	for _, q := range f.queues {
		if q != nil {
			for _, c := range q.chunks {
				if c != nil {
					n++
				}
			}
		}
	}
	return n
}

// An entry with a long life keeps none with a shorter one.
func TestFIFOLongLife(t *testing.T) {
	const n = 100_000
	f := fifo[int, struct{}]{max: maxSeen}
	now := storeEpoch
	before := harness.HeapInUse()
	for i := range n {
		if i%1000 == 0 {
			f.put(-1-i, struct{}{}, now, now.Add(31*24*time.Hour))
		}
		f.put(i, struct{}{}, now, now.Add(24*time.Hour))
	}
	now = now.Add(24 * time.Hour)
	f.put(n, struct{}{}, now, now.Add(time.Minute)) // of a third life
	if len(f.places) != n/1000+1 || fifoBacklog(&f) != uint64(len(f.places)) {
		t.Errorf("%d entries and %d items are kept, want %d", len(f.places), fifoBacklog(&f), n/1000+1)
	}
	if len(f.lives) != 2 || fifoChunks(&f) != 2 {
		t.Errorf("%d queues and %d chunks are kept, want 2", len(f.lives), fifoChunks(&f))
	}
	if _, ok := f.get(-1, now); !ok {
		t.Error("the long one is forgotten")
	}
	f.places = nil // a map keeps its buckets
	if left := harness.HeapInUse() - before; left > 1<<20 {
		t.Errorf("%d bytes are left", left)
	}
	runtime.KeepAlive(f)
}

// If there are more than max entries, the oldest one is forgotten, whatever its
// life.
func TestFIFOOldestOfAllLives(t *testing.T) {
	t.Parallel()
	f := fifo[int, struct{}]{max: 100}
	for i := range 300 {
		now := storeEpoch.Add(time.Duration(i) * time.Second)
		f.put(i, struct{}{}, now, now.Add(time.Duration(1+i%7)*time.Hour))
	}
	for i := range 300 {
		if _, ok := f.get(i, storeEpoch.Add(300*time.Second)); ok != (i >= 200) {
			t.Errorf("entry %d: known %v", i, ok)
		}
	}
}

// However many lives there are, the queues are bounded, and none is forgotten early.
func TestFIFOManyLives(t *testing.T) {
	t.Parallel()
	f := fifo[int, struct{}]{max: maxSeen}
	const n = 2 * maxFifoLives
	life := func(i int) time.Duration { return time.Hour + time.Duration(i)*time.Second }
	for i := range n {
		f.put(i, struct{}{}, storeEpoch, storeEpoch.Add(life(i)))
	}
	if len(f.lives) > maxFifoLives+64 || len(f.lives) != len(f.queues) {
		t.Errorf("%d lives and %d queues", len(f.lives), len(f.queues))
	}
	for i := range n {
		if _, ok := f.get(i, storeEpoch.Add(life(i)-1)); !ok {
			t.Fatalf("entry %d is forgotten early", i)
		}
		if _, ok := f.get(i, storeEpoch.Add(2*life(i))); ok {
			t.Fatalf("entry %d is kept for twice its life", i)
		}
	}
	now := storeEpoch.Add(1000 * time.Hour)
	f.put(0, struct{}{}, now, now.Add(time.Second))
	if len(f.lives) != 1 || len(f.places) != 1 {
		t.Errorf("%d queues and %d entries when all are over", len(f.lives), len(f.places))
	}
}

// A clock that was ahead keeps an entry for no longer than its life from when
// the clock is right again: 24 h, and not the ten days that it was ahead.
func TestFIFOClockAhead(t *testing.T) {
	t.Parallel()
	f := fifo[int, struct{}]{max: maxSeen}
	const n = 2000
	ahead := storeEpoch.Add(240 * time.Hour)
	for i := range n {
		at := ahead.Add(time.Duration(i) * time.Second)
		f.put(i, struct{}{}, at, at.Add(24*time.Hour))
	}
	if _, ok := f.get(n-1, storeEpoch); !ok { // the first to tell the right time
		t.Error("forgotten when the clock went back")
	}
	for i := range n {
		if _, ok := f.get(i, storeEpoch.Add(24*time.Hour-1)); !ok {
			t.Fatalf("entry %d is forgotten early", i)
		}
	}
	for i := range n {
		if _, ok := f.get(i, storeEpoch.Add(24*time.Hour)); ok {
			t.Fatalf("entry %d is kept past its life", i)
		}
	}
	now := storeEpoch.Add(24 * time.Hour)
	f.put(n, struct{}{}, now, now.Add(time.Hour))
	if len(f.places) != 1 || fifoBacklog(&f) != 1 {
		t.Errorf("%d entries and %d items are kept, want 1", len(f.places), fifoBacklog(&f))
	}
}

// fifoModel is a plain map that does the same as a fifo.
type fifoModel map[int]*fifoModelled

type fifoModelled struct {
	value int
	life  time.Duration
	put   time.Time
}

// tell moves entries that are in the future to now, and forgets the expired
// ones.
func (m fifoModel) tell(now time.Time) {
	for _, e := range m {
		if e.put.After(now) {
			e.put = now
		}
	}
}

func (e *fifoModelled) over(now time.Time) bool { return !now.Before(e.put.Add(e.life)) }

// TestFIFOLeaps plays random calls to a fifo and to a plain map, under a clock
// that leaps both ways.
func TestFIFOLeaps(t *testing.T) {
	lives := []time.Duration{time.Second, time.Minute, time.Minute + 1, 24 * time.Hour, 744 * time.Hour}
	rapid.Check(t, func(t *rapid.T) {
		f, m, now, serial := fifo[int, int]{max: 1 << 30}, fifoModel{}, storeEpoch, 0
		key := func(t *rapid.T) int { return rapid.IntRange(0, 20).Draw(t, "key") }
		compare := func(t *rapid.T) {
			m.tell(now)
			for key := range 21 {
				got, ok := f.get(key, now)
				want := m[key]
				if known := want != nil && !want.over(now); ok != known || ok && got != want.value {
					t.Fatalf("key %d: %d, %v; want it known %v", key, got, ok, known)
				}
			}
			for _, q := range f.queues {
				for place := uint64(0); q != nil && place < q.next-q.head; place++ {
					item := q.at(q.head + place)
					if item.until > now.Add(q.life).UnixNano() {
						t.Fatalf("an entry ends %v from now, its life is %v", time.Unix(0, item.until).Sub(now), q.life)
					}
					if place > 0 && item.until < q.at(q.head+place-1).until {
						t.Fatal("the ends of a queue descend")
					}
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"": compare,
			"put": func(t *rapid.T) {
				k, life := key(t), rapid.SampledFrom(lives).Draw(t, "life")
				serial++
				f.put(k, serial, now, now.Add(life))
				m[k] = &fifoModelled{serial, life, now}
				for key, e := range m { // what is over is forgotten for good now
					if e.over(now) {
						delete(m, key)
					}
				}
				if len(f.places) != len(m) {
					t.Fatalf("%d entries, want %d", len(f.places), len(m))
				}
			},
			"remove": func(t *rapid.T) {
				k := key(t)
				f.remove(k)
				delete(m, k)
			},
			"crowd": func(t *rapid.T) { // whole chunks come and go
				for i := range 3 * fifoChunk {
					f.put(1000+i, 0, now, now.Add(time.Minute))
				}
				for i := range 3 * fifoChunk {
					f.remove(1000 + i)
				}
				for key, e := range m {
					if e.over(now) {
						delete(m, key)
					}
				}
			},
			"saved": func(t *rapid.T) { // as over a restart
				left := fifo[int, int]{max: f.max}
				f.each(func(key, value int, until time.Time) { left.restore(key, value, now, until, f.lifeOf(key)) })
				f = left
				for key, e := range m {
					if e.over(now) {
						delete(m, key)
					}
				}
			},
			"wait": func(t *rapid.T) {
				now = now.Add(rapid.SampledFrom([]time.Duration{1, time.Second - 1, time.Second, time.Minute, 24 * time.Hour}).Draw(t, "for"))
			},
			"leap": func(t *rapid.T) {
				by := rapid.SampledFrom([]time.Duration{1, time.Second, time.Minute, 24 * time.Hour, 8760 * time.Hour}).Draw(t, "by")
				if rapid.Bool().Draw(t, "back") {
					by = -by
				}
				now = now.Add(by)
			},
		})
	})
}

// A mark of an older version's file, which does not say how long its life was,
// ends when it was to end, or a bounded time from now if the clock went back.
func TestFIFORestoreOfUnknownLife(t *testing.T) {
	t.Parallel()
	f := fifo[otp.Digest, struct{}]{max: maxSeen}
	const n = 10_000
	for i := range n {
		f.restore(testCounter(i).Key, struct{}{}, storeEpoch, storeEpoch.Add(time.Hour+time.Duration(i)*time.Millisecond), 0)
	}
	if len(f.lives) > 3 || len(f.places) != n {
		t.Errorf("%d queues and %d entries", len(f.lives), len(f.places))
	}
	for i := range n {
		if _, ok := f.get(testCounter(i).Key, storeEpoch.Add(time.Hour+time.Duration(i)*time.Millisecond-1)); !ok {
			t.Fatalf("mark %d is forgotten early", i)
		}
	}
	if _, ok := f.get(testCounter(n-1).Key, storeEpoch.Add(time.Hour+n*time.Millisecond)); ok {
		t.Error("the last is kept past its end")
	}
	f.restore(testCounter(0).Key, struct{}{}, storeEpoch, storeEpoch, 0)
	f.restore(testCounter(0).Key, struct{}{}, storeEpoch, storeEpoch.Add(100*time.Hour), time.Minute)
	if _, ok := f.get(testCounter(0).Key, storeEpoch.Add(time.Minute)); ok {
		t.Error("a mark lives longer than its life")
	}
}

// A fifo forgets entries by their time and by their number. Removed entries
// leave no backlog.
func TestFIFO(t *testing.T) {
	t.Parallel()
	const most = 100
	f := fifo[string, connexus.State]{max: most}
	has := func(i int, now time.Time) bool {
		_, ok := f.get(fmt.Sprint(i), now)
		return ok
	}
	put := func(i int, now time.Time) {
		f.put(fmt.Sprint(i), connexus.StateAccepted, now, now.Add(time.Minute))
	}
	now := storeEpoch
	for i := range 3 * most {
		put(i, now)
	}
	for i := range 3 * most {
		if has(i, now) != (i >= 2*most) {
			t.Fatalf("entry %d of %d, with room for %d: known %v", i, 3*most, most, has(i, now))
		}
	}
	put(2*most, now) // the oldest, made anew, is not the oldest any more
	put(3*most, now)
	if !has(2*most, now) || has(2*most+1, now) {
		t.Error("of two, the older was kept")
	}
	if !has(3*most, now.Add(time.Minute-1)) || has(3*most, now.Add(time.Minute)) {
		t.Error("not kept for exactly its time")
	}
	now = now.Add(time.Minute)
	put(0, now)
	if len(f.places) != 1 {
		t.Errorf("%d entries kept past their time", len(f.places)-1)
	}
	for i := range 100 * most {
		now = now.Add(time.Minute / most)
		put(i, now)
		f.remove(fmt.Sprint(i))
		f.remove(fmt.Sprint(i))
	}
	if backlog := fifoBacklog(&f); len(f.places) != 0 || backlog > 3*most {
		t.Errorf("%d entries and a queue of %d when all were taken back", len(f.places), backlog)
	}
}
