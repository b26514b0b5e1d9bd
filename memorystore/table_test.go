package memorystore

import (
	"encoding/binary"
	"runtime"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/otp"
)

// tableDigest returns the i-th key. Keys differ in the half that is kept.
func tableDigest(i int) (d otp.Digest) {
	binary.BigEndian.PutUint64(d[:], uint64(i))
	return d
}

// TestTable plays random calls to a table and to a plain map. Blocks of keys
// come and go, so that it grows and shrinks by whole chunks.
func TestTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type value struct{ at, idle int }
		table := table[value]{max: 5000}
		plain := make(map[int]*value)
		marks := 0
		drawKeys := func(t *rapid.T) (from, to int) {
			from = rapid.IntRange(0, 3000).Draw(t, "from")
			return from, from + rapid.SampledFrom([]int{1, 1, 3, 600, 2000}).Draw(t, "keys")
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				if len(table.places) != len(plain) {
					t.Fatalf("%d rows, want %d", len(table.places), len(plain))
				}
				if rows := len(table.chunks) * tableChunk; rows < len(plain) || rows > len(plain)+3*tableChunk {
					t.Fatalf("room for %d rows, %d are used", rows, len(plain))
				}
				for _, spare := range []int{0, 1} {
					if got, want := table.room(spare+table.max-len(plain)), spare == 0; got != want {
						t.Fatalf("room for %d more than there is: %v", spare, got)
					}
				}
				for key, want := range plain {
					if got := table.get(tableDigest(key)); got == nil || *got != *want {
						t.Fatalf("key %d: %v, want %v", key, got, *want)
					}
				}
				for key := range 10 {
					if got := table.get(tableDigest(10_000 + key)); got != nil {
						t.Fatalf("a key that never was: %v", *got)
					}
				}
			},
			"add": func(t *rapid.T) {
				from, to := drawKeys(t)
				for key := from; key < to && table.room(1); key++ {
					if plain[key] != nil {
						continue
					}
					marks++
					added := table.add(tableDigest(key))
					if *added != (value{}) {
						t.Fatalf("a new row holds %v", *added)
					}
					added.at, plain[key] = marks, &value{at: marks}
				}
			},
			"change": func(t *rapid.T) {
				from, to := drawKeys(t)
				idle := rapid.IntRange(0, 1).Draw(t, "idle")
				for key := from; key < to; key++ {
					if plain[key] != nil {
						table.get(tableDigest(key)).idle, plain[key].idle = idle, idle
					}
				}
			},
			"remove": func(t *rapid.T) {
				from, to := drawKeys(t)
				for key := from; key < to; key++ {
					table.remove(keyOf(tableDigest(key)))
					delete(plain, key)
				}
			},
			"sweep a few": func(t *rapid.T) {
				looks := rapid.IntRange(0, 5).Draw(t, "looks")
				asked, swept := 0, make(map[int]bool)
				table.sweep(looks, func(_ tableKey, v *value) bool {
					asked++
					if v.idle == 1 {
						swept[v.at] = true
					}
					return v.idle == 1
				})
				if want := min(looks, len(plain)); asked != want {
					t.Fatalf("looked at %d of %d rows, want %d", asked, len(plain), want)
				}
				for key, v := range plain {
					if swept[v.at] {
						delete(plain, key)
					}
				}
			},
			"sweep all": func(t *rapid.T) { // two looks for each row find all that are idle
				for range 2 * len(plain) {
					table.sweep(1, func(_ tableKey, v *value) bool { return v.idle == 1 })
				}
				for key, v := range plain {
					if v.idle == 1 {
						delete(plain, key)
					}
				}
			},
		})
	})
}

// A pointer that get or add has returned is good while rows are added, however
// many.
func TestTableStays(t *testing.T) {
	t.Parallel()
	table := table[int]{max: 10 * tableChunk}
	var at []*int
	for i := range table.max {
		added := table.add(tableDigest(i))
		*added = i
		at = append(at, added)
	}
	for i, was := range at {
		if got := table.get(tableDigest(i)); got != was || *got != i {
			t.Fatalf("row %d has moved", i)
		}
	}
}

// Rows that come and go at the edge of a chunk do not make and drop it each
// time.
func TestTableKeepsSpare(t *testing.T) {
	t.Parallel()
	table := table[int]{max: 10 * tableChunk}
	for i := range tableChunk + 1 {
		table.add(tableDigest(i))
	}
	chunk := &table.chunks[1][0]
	for range 3 {
		for i := range 3 {
			table.remove(keyOf(tableDigest(i)))
		}
		for i := range 3 {
			table.add(tableDigest(i))
		}
		if &table.chunks[1][0] != chunk {
			t.Fatal("a chunk was made anew for who had just gone")
		}
	}
}

// A removed row keeps no pointer.
func TestTableForgetsValues(t *testing.T) {
	t.Parallel()
	table := table[*int]{max: 10}
	for i := range 4 {
		*table.add(tableDigest(i)) = new(int)
	}
	for i := range 4 {
		table.remove(keyOf(tableDigest(i)))
	}
	for i := range 4 {
		if r := table.at(i); r.value != nil || r.key != (tableKey{}) {
			t.Errorf("row %d is kept after it was removed", i)
		}
	}
}

// TestTableFootprint bounds the memory of a row beside its value, and the
// memory that is left when all rows are gone.
func TestTableFootprint(t *testing.T) {
	const n = 1 << 18
	before := harness.HeapInUse()
	table := &table[uint64]{max: n}
	for i := range n {
		*table.add(tableDigest(i)) = uint64(i)
	}
	each := float64(harness.HeapInUse()-before) / n
	t.Logf("%.1f bytes for each of %d rows, %d of them its value", each, n, unsafe.Sizeof(uint64(0)))
	if each > 72 {
		t.Errorf("%.1f bytes for each row of eight, want 72 at most", each)
	}
	for i := range n {
		table.remove(keyOf(tableDigest(i)))
	}
	left := float64(harness.HeapInUse()-before) / n
	t.Logf("%.1f bytes of each are left when all are gone, for as many to come", left)
	if left > 48 || len(table.chunks) > 2 {
		t.Errorf("%.1f bytes left of each, and %d chunks; want 48 at most, and 2", left, len(table.chunks))
	}
	runtime.KeepAlive(table)
}
