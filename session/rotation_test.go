package session

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/internal/testlevel"
)

const (
	day  = 24 * time.Hour
	life = 365 * day // the longest life of a sealed value in these tests
)

func TestReplace(t *testing.T) {
	old := NewKeys(t0)
	r, err := NewRing(old)
	if err != nil {
		t.Fatal(err)
	}
	s := someSession()
	before, _ := s.Seal(r, "realm")
	digest := r.Digest("use", "part")
	fresh := NewKeys(t0)
	if err := r.Replace(Keys{Index: old.Index, Sealing: append(fresh.Sealing, old.Sealing...)}); err != nil {
		t.Fatal(err)
	}
	after, _ := s.Seal(r, "realm")
	for name, sealed := range map[string]string{"old": before, "new": after} {
		if _, err := Open(r, "realm", sealed); err != nil {
			t.Errorf("the %s key's session does not open", name)
		}
	}
	if r.Digest("use", "part") != digest {
		t.Error("a rotation changes what counters are found by")
	}
	if err := r.Replace(Keys{Index: old.Index, Sealing: fresh.Sealing}); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(r, "realm", before); !errors.Is(err, ErrSealed) {
		t.Error("a retired key still opens")
	}
	for name, bad := range map[string]Keys{
		"no index":    {Sealing: fresh.Sealing},
		"no key":      {Index: old.Index},
		"short key":   {Index: old.Index, Sealing: []Key{{ID: 1, Secret: []byte("short")}}},
		"short index": {Index: []byte("short"), Sealing: fresh.Sealing},
	} {
		if err := r.Replace(bad); err == nil || strings.Contains(err.Error(), "short ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(r, "realm", after); err != nil {
		t.Error("a refused replacement changed the ring")
	}
}

// made returns keys that were made at t0 plus each of at. The ID of a key is its
// index in at.
func made(at ...time.Duration) Keys {
	keys := Keys{Index: make([]byte, secretSize)}
	for i, d := range at {
		keys.Sealing = append(keys.Sealing, Key{ID: uint32(i), Secret: make([]byte, secretSize), Created: t0.Add(d)})
	}
	return keys
}

func ids(keys Keys) (list []uint32) {
	for _, k := range keys.Sealing {
		list = append(list, k.ID)
	}
	return list
}

// The key that seals is the latest one that all processes have read.
func TestKeysAt(t *testing.T) {
	for _, c := range []struct {
		name string
		keys Keys
		now  time.Duration
		want uint32
	}{
		{"the first of all, at once", made(0), 0, 0},
		{"the first of all, by a clock that is behind", made(0), -time.Hour, 0},
		{"another, just made", made(0, 30*day), 30 * day, 0},
		{"another, about to settle", made(0, 30*day), 30*day + Settling - 1, 0},
		{"another, settled", made(0, 30*day), 30*day + Settling, 1},
		{"another, by a clock that is behind", made(0, 30*day), 30*day - time.Minute, 0},
		{"in any order", made(30*day, 60*day, 0), 61 * day, 1},
		{"the clock goes back", made(0, 30*day, 60*day), 45 * day, 1},
		{"the clock goes back by years", made(0, 30*day, 60*day), -4000 * day, 0},
		{"the clock was wrong by years and a key is made", made(5000*day, 0), time.Minute, 0},
		{"the clock goes back by years and a key is made", made(0, 30*day, -4000*day), -4000*day + time.Minute, 0},
		{"that key, settled", made(0, 30*day, -4000*day), -4000*day + Settling, 2},
		{"that key, when the clock is right again", made(0, 30*day, -4000*day), 31 * day, 1},
	} {
		before := ids(c.keys)
		got := c.keys.At(t0.Add(c.now))
		if got.Sealing[0].ID != c.want || len(got.Sealing) != len(c.keys.Sealing) || !bytes.Equal(got.Index, c.keys.Index) {
			t.Errorf("%s: keys %d; want %d first", c.name, ids(got), c.want)
		}
		if !slices.Equal(ids(c.keys), before) {
			t.Errorf("%s: the keys themselves are changed", c.name)
		}
	}
}

// A key is made every 30 days, and removed when no value that it sealed is left.
func TestRotate(t *testing.T) {
	const fresh = 99 // stands for a new key
	year := []time.Duration{}
	for i := range 14 {
		year = append(year, time.Duration(i)*30*day) // the last one is made at 390 days
	}
	gone := year[1] + 2*Settling + life // from then on, the first key is not needed
	for _, c := range []struct {
		name string
		keys Keys
		now  time.Duration
		want []uint32
	}{
		{"young", made(0), 30*day - 1, []uint32{0}},
		{"due", made(0), 30 * day, []uint32{fresh, 0}},
		{"long due, as after a year's rest", made(0, -30*day), 400 * day, []uint32{fresh, 0, 1}},
		{"made by a clock a little ahead", made(0, 30*day), 30*day - time.Hour, []uint32{1, 0}},
		{"made by a clock far ahead, not due", made(0, 5000*day), 29 * day, []uint32{1, 0}},
		{"made by a clock far ahead, due", made(0, 5000*day), 30 * day, []uint32{1, fresh, 0}},
		{"only by a clock far ahead", made(5000 * day), 0, []uint32{0, fresh}},
		{"the clock goes back", made(0, 30*day, 60*day), 10 * day, []uint32{2, 1, 0}},
		{"the clock goes back by years", made(0, 30*day), -4000 * day, []uint32{1, 0, fresh}},
		{"again", made(0, 30*day, -4000*day), -4000*day + 29*day, []uint32{1, 0, 2}},
		{"the first still opens", made(year...), gone - 1, []uint32{13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0}},
		{"the first can be missed", made(year...), gone, []uint32{13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1}},
		{"the clock leaps ahead by years", made(0, 30*day, 60*day), 5000 * day, []uint32{fresh, 2, 1, 0}},
		{"and stays", made(0, 30*day, 60*day, 5000*day), 5000*day + Settling, []uint32{3, 2}},
	} {
		before := ids(c.keys)
		next, changed := c.keys.Rotate(t0.Add(c.now), life)
		got := ids(next)
		for i, k := range next.Sealing {
			if !slices.ContainsFunc(c.keys.Sealing, func(old Key) bool { return old.ID == k.ID }) {
				got[i] = fresh
				if !k.Created.Equal(t0.Add(c.now)) || len(k.Secret) != secretSize {
					t.Errorf("%s: the new key is of %s with %d bytes", c.name, k.Created, len(k.Secret))
				}
			}
		}
		if !slices.Equal(got, c.want) || changed != (slices.Contains(got, fresh) || len(got) != len(before)) {
			t.Errorf("%s: keys %d, changed %t; want %d", c.name, got, changed, c.want)
		}
		if !bytes.Equal(next.Index, c.keys.Index) {
			t.Errorf("%s: the index key is another", c.name)
		}
		if !slices.Equal(ids(c.keys), before) {
			t.Errorf("%s: the keys themselves are changed", c.name)
		}
	}
	keys, changed := Keys{}.Rotate(t0, life)
	if _, err := NewRing(keys); err != nil || !changed {
		t.Errorf("no keys at all: changed %t, %v", changed, err)
	}
}

// In three years, with a rotation every half hour, there are never more keys than a
// year needs. Each key seals for 30 days, and each sealed value opens for a year.
func TestRotateForYears(t *testing.T) {
	keys, sealedBy := NewKeys(t0), map[uint32]time.Time{}
	step := testlevel.Size(Settling, 30*time.Minute)
	for now := t0; now.Before(t0.Add(3 * 365 * day)); now = now.Add(step) {
		keys, _ = keys.Rotate(now, life)
		current := keys.At(now).Sealing[0]
		sealedBy[current.ID] = now
		if age := now.Sub(current.Created); age < Settling && len(keys.Sealing) > 1 || age > KeyAge+Settling {
			t.Fatalf("after %s the key that seals is %s old", now.Sub(t0), age)
		}
		if n := len(keys.Sealing); n > 15 {
			t.Fatalf("after %s there are %d keys", now.Sub(t0), n)
		}
		for id, last := range sealedBy {
			if now.Before(last.Add(life)) && !slices.Contains(ids(keys), id) {
				t.Fatalf("after %s a key is gone that sealed %s ago", now.Sub(t0), now.Sub(last))
			}
		}
	}
	if n := len(sealedBy); n != 37 {
		t.Errorf("%d keys have sealed", n)
	}
}

// A clock may jump anywhere. Few keys are made, there is always one that seals, and
// no key is removed that is needed by the right clock.
func TestRotateByAWrongClock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := made(0, 30*day, 60*day)
		keys, right := start, t0.Add(70*day)
		slots := map[time.Time]bool{}
		for range rapid.IntRange(1, 60).Draw(t, "jumps") {
			wrong := right.Add(time.Duration(rapid.Int64Range(-900, 30).Draw(t, "days")) * day)
			slots[wrong.Truncate(KeyAge)] = true
			keys, _ = keys.Rotate(wrong, life)
			if first := keys.At(wrong).Sealing; len(first) != len(keys.Sealing) {
				t.Fatal("a key is lost")
			}
		}
		keys, _ = keys.Rotate(right, life)
		if n := len(keys.Sealing); n > len(start.Sealing)+len(slots)+1 {
			t.Fatalf("%d keys after visiting %d months", n, len(slots))
		}
		for _, k := range start.Sealing {
			if !slices.Contains(ids(keys), k.ID) {
				t.Fatalf("key %d is gone: %d", k.ID, ids(keys))
			}
		}
		if got := keys.At(right).Sealing[0].ID; got != 2 {
			t.Fatalf("key %d seals", got)
		}
	})
}

// A clock that goes back a day at a time makes a key for each month, not for each
// day.
func TestRotateStepByStep(t *testing.T) {
	keys := made(0)
	for day := range 90 {
		keys, _ = keys.Rotate(t0.Add(-time.Duration(day)*24*time.Hour), life)
	}
	if n := len(keys.Sealing); n > 1+3 {
		t.Errorf("%d keys after going back 90 days", n)
	}
}

// Horizon is now, or the latest time that the keys make plausible.
func TestHorizon(t *testing.T) {
	for _, c := range []struct{ now, want time.Duration }{
		{0, 0}, {-4000 * day, -4000 * day}, {30*day + Settling, 30*day + Settling}, {31 * day, 31 * day}, {5000 * day, 31 * day},
	} {
		if got := made(0).Horizon(t0.Add(c.now)); !got.Equal(t0.Add(c.want)) {
			t.Errorf("at %s the horizon is %s; want %s", c.now, got.Sub(t0), c.want)
		}
	}
	if got := (Keys{}).Horizon(t0); !got.Equal(t0) {
		t.Errorf("without keys it is %s", got)
	}
}
