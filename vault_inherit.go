package websms

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/caddy-websms/websms/session"
)

// bequest is what a vault is to take over from others: the keys, and the
// revocations of what they have sealed.
type bequest struct {
	keys      session.Keys
	ids       map[session.ID]time.Time
	notBefore map[session.Subject]time.Time
	turn      int // how many have left something
}

// any reports whether there is something to take over.
func (b bequest) any() bool { return b.keys.Sealing != nil }

// inherit lets a vault take over what others of this process know, so that a
// reload that changes the archive logs nobody out. It also hears of what is
// revoked there until it is gone: requests of the configuration before may still
// be under way.
//
// The keys of a volatile archive join at once, those of a storage when the
// storage has them.
func (v *vault) inherit(others ...*vault) {
	for _, other := range others {
		if other == v || !other.ring.Ready() || !other.adopt(v) {
			continue
		}
		keys := other.knownKeys()
		ids, notBefore := other.revoked.All()
		for id, until := range ids {
			v.revoked.Add(id, until)
		}
		v.revoked.Revoke(notBefore)
		v.mu.Lock()
		v.parents = append(v.parents, other)
		b := v.bequest // whose maps may be in use
		maps.Copy(ids, b.ids)
		for subject, t := range b.notBefore {
			if t.After(notBefore[subject]) {
				notBefore[subject] = t
			}
		}
		v.bequest = bequest{b.keys.Merge(keys), ids, notBefore, b.turn + 1}
		v.mu.Unlock()
		signal(v.refresh)
	}
}

// adopt makes heir hear of what is revoked here; false: it does already.
func (v *vault) adopt(heir *vault) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if slices.Contains(v.heirs, heir) {
		return false
	}
	v.heirs = append(v.heirs, heir)
	return true
}

// disinherit ends what inherit has begun, on both sides, for a vault that ends.
func (v *vault) disinherit() {
	v.mu.Lock()
	parents, heirs := v.parents, v.heirs
	v.parents, v.heirs = nil, nil
	v.mu.Unlock()
	without := func(list []*vault) []*vault {
		return slices.DeleteFunc(list, func(other *vault) bool { return other == v })
	}
	for _, parent := range parents {
		parent.mu.Lock()
		parent.heirs = without(parent.heirs)
		parent.mu.Unlock()
	}
	for _, heir := range heirs {
		heir.mu.Lock()
		heir.parents = without(heir.parents)
		heir.mu.Unlock()
	}
}

// tellHeirs hands on what is revoked here.
func (v *vault) tellHeirs(ids map[session.ID]time.Time, notBefore map[session.Subject]time.Time) {
	v.mu.Lock()
	heirs := slices.Clone(v.heirs)
	v.mu.Unlock()
	for _, heir := range heirs {
		for id, until := range ids {
			heir.revoked.Add(id, until)
		}
		heir.revoked.Revoke(notBefore)
		heir.keepLater(ids, notBefore)
	}
}

func (v *vault) pending() bequest {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.bequest
}

// takeOver makes what was inherited the vault's own, where the archive is
// volatile. It is for whoever tends.
func (v *vault) takeOver() {
	v.mu.Lock()
	b := v.bequest
	v.bequest = bequest{turn: b.turn}
	v.mu.Unlock()
	if !b.any() {
		return
	}
	v.setKeys(v.keys.Merge(b.keys))
	v.keepLater(b.ids, b.notBefore)
}

// storeBequest puts the revocations that were inherited into the storage. They
// come before the keys: if the process dies in between, nobody's session opens
// whose end is not known. They are sealed with the keys that are in the storage.
func (v *vault) storeBequest(ctx context.Context, found session.Keys) error {
	b := v.pending()
	if len(b.ids)+len(b.notBefore) == 0 {
		return nil
	}
	keys := found
	if keys.Sealing == nil {
		keys = b.keys
	}
	ring, err := session.NewRing(keys.At(v.now()))
	if err != nil {
		return err
	}
	lines, err := revocationLines(ring, b.ids, b.notBefore)
	if err == nil {
		err = v.writeSnapshots(ctx, v.now().Add(maxAhead), true, lines, nil)
	}
	if err != nil {
		return fmt.Errorf("storing the sessions that were ended before this reload: %w", err)
	}
	return nil
}

// withBequest returns the keys in a storage together with those that were
// inherited. The storage's index key stays: other processes count by it.
func (v *vault) withBequest(found session.Keys) session.Keys {
	b := v.pending()
	if !b.any() {
		return found
	}
	merged := found.Merge(b.keys)
	if found.Sealing != nil {
		merged.Index = found.Index
	}
	return merged
}

// hasInherited says that what was pending is in the storage now.
func (v *vault) hasInherited(was bequest) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.bequest.turn == was.turn { // else another configuration has left something meanwhile
		v.bequest = bequest{turn: was.turn}
	}
}
