package session

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"slices"
	"time"
)

// How sealing keys follow one another. Processes that share a ring read it at
// least once an hour, and their clocks differ by less than half an hour.
const (
	// KeyAge is how old the latest sealing key is when another one is made.
	KeyAge = 30 * 24 * time.Hour

	// MaxLife is the longest that any session, device or revocation can last.
	// Keys and revocations are kept for as long.
	MaxLife = 8760 * time.Hour

	// Settling is how long after it was made a key begins to seal: by then
	// every process has it, and opens what others seal with it.
	Settling = 2 * time.Hour
)

// newKey returns a fresh sealing key.
func newKey(now time.Time) Key {
	secret, id := make([]byte, secretSize), make([]byte, 4)
	rand.Read(secret) // never fails: crypto/rand ends the program instead
	rand.Read(id)
	return Key{ID: binary.BigEndian.Uint32(id), Secret: secret, Created: now.Round(0).UTC()}
}

// Rotate returns what the keys should be at now, if nothing they seal lives
// longer than life, and whether that is a change. There is a new key if no
// other was made within KeyAge; a key is gone if all that it has sealed is over.
// No keys at all are replaced by NewKeys.
//
// A clock that goes back makes at most one key for each KeyAge it visits, and
// removes none. One that leaps ahead is believed after Settling; until then it
// removes only what had little over KeyAge to go.
func (k Keys) Rotate(now time.Time, life time.Duration) (next Keys, changed bool) {
	if k.Index == nil && k.Sealing == nil {
		return NewKeys(now), true
	}
	sealing := k.newestFirst()
	horizon := k.Horizon(now)
	for n := len(sealing); n > 1; n-- {
		// It stopped sealing when its successor began, or Settling later where
		// a clock goes wrong.
		if stopped := sealing[n-2].Created.Add(2 * Settling); horizon.Before(stopped.Add(life)) {
			break
		}
		sealing, changed = sealing[:n-1], true
	}
	if !slices.ContainsFunc(sealing, func(key Key) bool {
		age := now.Sub(key.Created)
		return age < KeyAge && age > -KeyAge // also one that a wrong clock made: a clock that goes back step by step makes no key for each
	}) {
		sealing, changed = append(sealing, newKey(now)), true
	}
	next = Keys{Index: k.Index, Sealing: sealing, more: k.more}
	next.Sealing = next.newestFirst()
	return next, changed
}

// At returns the keys as a Ring takes them at now: the one that seals comes
// first. That is the latest that has settled.
func (k Keys) At(now time.Time) Keys {
	sealing := k.newestFirst()
	seals := slices.IndexFunc(sealing, func(key Key) bool { return !now.Before(key.Created.Add(Settling)) })
	if seals < 0 {
		// None has: the first key of all, or a clock that was or is wrong. The
		// key that was made the longest ago is the one that others have; keys
		// that seem to come from the future were not made just now.
		seals = len(sealing) - 1
		for i, key := range sealing {
			if key.Created.After(now) {
				seals = i
			}
		}
	}
	if seals > 0 {
		first := sealing[seals]
		sealing = slices.Insert(slices.Delete(sealing, seals, seals+1), 0, first)
	}
	return Keys{Index: k.Index, Sealing: sealing, more: k.more}
}

// Horizon returns the time by which to judge what may be forgotten for good:
// now, unless the clock seems to have leapt ahead. Keys follow one another, so
// the one that seals cannot be much older than KeyAge.
func (k Keys) Horizon(now time.Time) time.Time {
	if len(k.Sealing) == 0 {
		return now
	}
	if due := k.At(now).Sealing[0].Created.Add(KeyAge + 24*time.Hour); due.Before(now) {
		return due
	}
	return now
}

// Merge returns the keys that two sets of keys become where both were made for
// the same processes, apart from one another. What either has sealed opens; the
// index key is that of whose oldest sealing key is older, so that of two that
// count something the one that has counted longer goes on. It is the same
// whoever merges, in whatever order and how often. No sealing keys add nothing.
// Fields of a later release are kept; where both have one, that of k counts.
func (k Keys) Merge(other Keys) Keys {
	switch {
	case len(other.Sealing) == 0:
		other = k
	case len(k.Sealing) == 0:
		k = other
	}
	merged := Keys{more: joined(k.more, other.more)}
	for _, key := range slices.Concat(k.Sealing, other.Sealing) {
		if at := slices.IndexFunc(merged.Sealing, func(has Key) bool { return compareKeys(has, key) == 0 }); at >= 0 {
			merged.Sealing[at].more = joined(merged.Sealing[at].more, key.more)
		} else {
			merged.Sealing = append(merged.Sealing, key)
		}
	}
	merged.Sealing = merged.newestFirst()
	merged.Index = k.Index
	if cmp.Or(compareKeys(other.oldest(), k.oldest()), bytes.Compare(other.Index, k.Index)) < 0 {
		merged.Index = other.Index
	}
	return merged
}

// Since returns the keys without those that were made before the oldest of
// other: what Rotate has removed of other they may still have.
func (k Keys) Since(other Keys) Keys {
	begin := other.oldest().Created
	return Keys{Index: k.Index, Sealing: slices.DeleteFunc(slices.Clone(k.Sealing), func(key Key) bool { return key.Created.Before(begin) }), more: k.more}
}

// Equal reports whether both are the same keys in the same order.
func (k Keys) Equal(other Keys) bool {
	return bytes.Equal(k.Index, other.Index) &&
		slices.EqualFunc(k.Sealing, other.Sealing, func(a, b Key) bool { return compareKeys(a, b) == 0 })
}

// oldest returns the sealing key that was made first; the zero Key if there is none.
func (k Keys) oldest() Key {
	if len(k.Sealing) == 0 {
		return Key{}
	}
	return slices.MinFunc(k.Sealing, compareKeys)
}

// compareKeys puts the key that was made first in front.
func compareKeys(a, b Key) int {
	return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID), bytes.Compare(a.Secret, b.Secret))
}

// newestFirst returns the sealing keys in an order that is the same wherever
// they are read.
func (k Keys) newestFirst() []Key {
	return slices.SortedFunc(slices.Values(k.Sealing), func(a, b Key) int { return compareKeys(b, a) })
}
