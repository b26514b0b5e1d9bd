package session

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"slices"
	"time"
)

// The times of key rotation. They assume that all processes that share a ring read
// it at least once an hour, and that their clocks differ by less than half an hour.
const (
	// KeyAge is the age of the latest sealing key at which Rotate makes a new one.
	KeyAge = 30 * 24 * time.Hour

	// MaxLife is the longest life of a session, a device cookie or a revocation:
	// 365 days. Sealing keys and revocations are kept that long.
	MaxLife = 8760 * time.Hour

	// Settling is the age at which a key begins to seal. By then every process
	// has read the key and can open the values that it seals.
	Settling = 2 * time.Hour
)

// newKey returns a new random sealing key.
func newKey(now time.Time) Key {
	secret, id := make([]byte, secretSize), make([]byte, 4)
	rand.Read(secret) // never fails: crypto/rand ends the program instead
	rand.Read(id)
	return Key{ID: binary.BigEndian.Uint32(id), Secret: secret, Created: now.Round(0).UTC()}
}

// Rotate returns the keys that should be in use at now, and whether they differ
// from k. No sealed value lives longer than life.
//
// Rotate adds a key if none was made within KeyAge. It removes a key if every value
// that the key has sealed is over. It replaces empty keys by NewKeys.
//
// Rotate tolerates wrong clocks. A clock that goes back adds at most one key for
// each KeyAge that it passes, and removes none. A clock that leaps ahead removes
// few keys until Settling is over: those that were due within little over KeyAge.
func (k Keys) Rotate(now time.Time, life time.Duration) (next Keys, changed bool) {
	if k.Index == nil && k.Sealing == nil {
		return NewKeys(now), true
	}
	sealing := k.newestFirst()
	horizon := k.Horizon(now)
	for n := len(sealing); n > 1; n-- {
		// A key stops sealing when its successor begins, or Settling later if a
		// clock is wrong.
		if stopped := sealing[n-2].Created.Add(2 * Settling); horizon.Before(stopped.Add(life)) {
			break
		}
		sealing, changed = sealing[:n-1], true
	}
	if !slices.ContainsFunc(sealing, func(key Key) bool {
		// A key from the near future counts too. Otherwise a clock that goes back
		// step by step would make a key at each step.
		age := now.Sub(key.Created)
		return age < KeyAge && age > -KeyAge
	}) {
		sealing, changed = append(sealing, newKey(now)), true
	}
	next = Keys{Index: k.Index, Sealing: sealing, more: k.more}
	next.Sealing = next.newestFirst()
	return next, changed
}

// At returns the keys in the order that Ring.Replace expects at now: the sealing
// key comes first. That is the latest key that is at least Settling old.
func (k Keys) At(now time.Time) Keys {
	sealing := k.newestFirst()
	seals := slices.IndexFunc(sealing, func(key Key) bool { return !now.Before(key.Created.Add(Settling)) })
	if seals < 0 {
		// No key is that old: this is the first key of all, or a clock was or is
		// wrong. The other processes are most likely to have the oldest key. A
		// key from the future is older than it says, so it comes before those
		// that were made just now.
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

// Horizon returns the time that decides whether something may be deleted for good.
// It is now, unless the clock seems to have leapt ahead: then it is the latest time
// that the keys make plausible. Rotation lets no sealing key become much older than
// KeyAge.
func (k Keys) Horizon(now time.Time) time.Time {
	if len(k.Sealing) == 0 {
		return now
	}
	if due := k.At(now).Sealing[0].Created.Add(KeyAge + 24*time.Hour); due.Before(now) {
		return due
	}
	return now
}

// Merge joins two sets of keys that were made separately for the same processes.
// The result opens every value that either set has sealed. Its index key is the one
// of the set with the older oldest sealing key, because counters under that one
// have counted for longer.
//
// The result does not depend on the order or the number of merges. A set without
// sealing keys adds nothing. Fields of a later release are kept. For a field that
// both sets have, k counts.
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

// Since returns k without the keys that were made before the oldest key of other.
// Rotate may have removed those from other, so a merge must not bring them back.
func (k Keys) Since(other Keys) Keys {
	begin := other.oldest().Created
	sealing := slices.DeleteFunc(slices.Clone(k.Sealing), func(key Key) bool { return key.Created.Before(begin) })
	return Keys{Index: k.Index, Sealing: sealing, more: k.more}
}

// Equal reports whether both hold the same keys in the same order. It ignores
// fields of a later release.
func (k Keys) Equal(other Keys) bool {
	return bytes.Equal(k.Index, other.Index) &&
		slices.EqualFunc(k.Sealing, other.Sealing, func(a, b Key) bool { return compareKeys(a, b) == 0 })
}

// oldest returns the sealing key that was made first, or the zero Key if there is
// none.
func (k Keys) oldest() Key {
	if len(k.Sealing) == 0 {
		return Key{}
	}
	return slices.MinFunc(k.Sealing, compareKeys)
}

// compareKeys orders keys by the time they were made. ID and secret break ties, so
// that the order is the same in every process.
func compareKeys(a, b Key) int {
	return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID), bytes.Compare(a.Secret, b.Secret))
}

// newestFirst returns the sealing keys in the reverse order of compareKeys.
func (k Keys) newestFirst() []Key {
	return slices.SortedFunc(slices.Values(k.Sealing), func(a, b Key) int { return compareKeys(b, a) })
}
