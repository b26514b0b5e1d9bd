package session

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// someKeys draws keys from a small set, so that rings share some of them and ties
// are common.
func someKeys(rt *rapid.T, name string) Keys {
	secret := func(b byte) []byte { return bytes.Repeat([]byte{b}, secretSize) }
	k := Keys{Index: secret(byte(rapid.IntRange(1, 3).Draw(rt, name+" index")))}
	for range rapid.IntRange(0, 4).Draw(rt, name+" keys") {
		k.Sealing = append(k.Sealing, Key{
			ID:      uint32(rapid.IntRange(1, 2).Draw(rt, "id")),
			Secret:  secret(byte(rapid.IntRange(1, 2).Draw(rt, "secret"))),
			Created: t0.Add(time.Duration(rapid.IntRange(0, 2).Draw(rt, "created")) * day),
		})
	}
	if k.Sealing == nil {
		return Keys{}
	}
	return k
}

// The result of merges does not depend on their order or number.
func TestMergeProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a, b, c := someKeys(rt, "a"), someKeys(rt, "b"), someKeys(rt, "c")
		for what, pair := range map[string][2]Keys{
			"not commutative":         {a.Merge(b), b.Merge(a)},
			"not associative":         {a.Merge(b).Merge(c), a.Merge(b.Merge(c))},
			"not idempotent":          {a.Merge(b).Merge(b), a.Merge(b)},
			"not idempotent alone":    {a.Merge(a).Merge(a), a.Merge(a)},
			"no keys are not neutral": {a.Merge(Keys{}), a.Merge(a)},
		} {
			if !pair[0].Equal(pair[1]) {
				rt.Errorf("%s: %+v and %+v", what, pair[0], pair[1])
			}
		}
		merged := a.Merge(b)
		for _, from := range []Keys{a, b} {
			for _, key := range from.Sealing {
				if !containsKey(merged, key) {
					rt.Errorf("key %08x of %s is lost", key.ID, key.Created)
				}
			}
		}
		for _, key := range merged.Sealing {
			if !containsKey(a, key) && !containsKey(b, key) {
				rt.Errorf("key %08x is nobody's", key.ID)
			}
		}
	})
}

func containsKey(k Keys, key Key) bool {
	for _, has := range k.Sealing {
		if compareKeys(has, key) == 0 {
			return true
		}
	}
	return false
}

// A merge keeps the index key of the older ring, and opens the values of both.
func TestMerge(t *testing.T) {
	older, younger := NewKeys(t0), NewKeys(t0.Add(time.Hour))
	rotated, _ := younger.Rotate(t0.Add(KeyAge+time.Hour), life)
	for _, merged := range []Keys{older.Merge(rotated), rotated.Merge(older)} {
		if !bytes.Equal(merged.Index, older.Index) || len(merged.Sealing) != 3 || merged.Check() != nil {
			t.Fatalf("merged are %d keys, with the older's index: %t", len(merged.Sealing), bytes.Equal(merged.Index, older.Index))
		}
		both, err := NewRing(merged)
		if err != nil {
			t.Fatal(err)
		}
		for name, keys := range map[string]Keys{"older": older, "younger": younger, "rotated": rotated} {
			ring, _ := NewRing(keys)
			s := someSession()
			sealed, _ := s.Seal(ring, "realm")
			if _, err := Open(both, "realm", sealed); err != nil {
				t.Errorf("what the %s ring sealed does not open", name)
			}
		}
	}
	if since := rotated.Since(Keys{Sealing: rotated.Sealing[:1]}); len(since.Sealing) != 1 ||
		since.Sealing[0].ID != rotated.Sealing[0].ID || !bytes.Equal(since.Index, rotated.Index) {
		t.Errorf("since its latest key it has %d", len(since.Sealing))
	}
	if since := older.Since(younger); len(since.Sealing) != 0 || len(older.Sealing) != 1 {
		t.Errorf("%d keys are left, of %d", len(since.Sealing), len(older.Sealing))
	}
	if older.Equal(younger) || older.Equal(Keys{Index: older.Index}) || !older.Equal(older.Merge(older)) {
		t.Error("what is equal is told wrongly")
	}
}

// An empty ring opens and seals nothing, and its digests match nothing. Once it has
// keys, it works like any other.
func TestEmptyRing(t *testing.T) {
	r := new(Ring)
	full, err := NewRing(NewKeys(t0))
	if err != nil {
		t.Fatal(err)
	}
	s := someSession()
	sealed, _ := s.Seal(full, "realm")
	if r.Ready() || !full.Ready() {
		t.Error("it is ready before it has keys, or is not with them")
	}
	if _, err := Open(r, "realm", sealed); !errors.Is(err, ErrSealed) {
		t.Errorf("opening: %v", err)
	}
	if _, err := r.Open(ForCode, "realm", sealed); !errors.Is(err, ErrSealed) {
		t.Errorf("opening a value: %v", err)
	}
	if _, err := s.Seal(r, "realm"); !errors.Is(err, ErrNotReady) {
		t.Errorf("sealing: %v", err)
	}
	if _, err := (Subject{Kind: ByUser, Name: "alice"}).Seal(r, "label"); !errors.Is(err, ErrNotReady) {
		t.Errorf("sealing a subject: %v", err)
	}
	if one, other := r.Digest("use", "part"), r.Digest("use", "part"); one == other {
		t.Error("two digests match")
	}
	keys := NewKeys(t0)
	if err := r.Replace(Keys{}); err == nil || r.Ready() {
		t.Errorf("no keys make it ready: %v", err)
	}
	if err := r.Replace(keys); err != nil || !r.Ready() {
		t.Fatalf("with keys: %v", err)
	}
	if sealed, err := s.Seal(r, "realm"); err != nil {
		t.Error(err)
	} else if _, err := Open(r, "realm", sealed); err != nil {
		t.Error(err)
	}
	if one, other := r.Digest("use", "part"), r.Digest("use", "part"); one != other {
		t.Error("two digests differ")
	}
}

// All returns exactly the entries that were added.
func TestRevocationsAll(t *testing.T) {
	var r Revocations
	if ids, subjects := r.All(); len(ids) != 0 || len(subjects) != 0 {
		t.Errorf("at first it remembers %v, %v", ids, subjects)
	}
	id, alice, everyone := NewID(), Subject{ByUser, "realm", "alice"}, Subject{Kind: Everyone}
	r.Add(id, t0)
	r.Revoke(map[Subject]time.Time{alice: t0.Add(2), everyone: t0.Add(3)})
	r.Revoke(map[Subject]time.Time{alice: t0.Add(1)})
	ids, subjects := r.All()
	if len(ids) != 1 || !ids[id].Equal(t0) || len(subjects) != 2 || !subjects[alice].Equal(t0.Add(2)) ||
		!subjects[everyone].Equal(t0.Add(3)) {
		t.Errorf("it remembers %v, %v", ids, subjects)
	}
	r.Sweep(t0.Add(2), 0)
	if ids, subjects := r.All(); len(ids) != 0 || len(subjects) != 1 {
		t.Errorf("after a sweep it remembers %v, %v", ids, subjects)
	}
}
