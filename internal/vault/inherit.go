package vault

import (
	"context"
	"fmt"
	"slices"

	"github.com/caddy-websms/websms/session"
)

// bequest holds the keys and revocations that a vault must take over from other vaults.
type bequest struct {
	keys    session.Keys
	revoked set
	turn    int // counts the vaults that have added to it
}

// any reports whether there is something to take over.
func (b bequest) any() bool { return b.keys.Sealing != nil }

// inherit lets a vault take over the keys and revocations of other vaults of this
// process. So a reload that changes the archive ends no session. Requests of the
// configuration before may still be under way, so the other vaults tell this one of
// later revocations too, until they are closed.
//
// If the archive of v is volatile, v uses the inherited keys at once. If it is a
// storage, v uses them when they are stored there.
func (v *Vault) inherit(others ...*Vault) {
	for _, other := range others {
		if other == v || !other.Ring.Ready() || !other.adopt(v) {
			continue
		}
		keys, revoked := other.knownKeys(), other.knownRevoked()
		v.apply(revoked)
		v.mu.Lock()
		v.parents = append(v.parents, other)
		b := v.bequest
		revoked.add(b.revoked) // not the other way round: b's maps may be in use
		v.bequest = bequest{b.keys.Merge(keys), revoked, b.turn + 1}
		v.mu.Unlock()
		signal(v.syncSoon)
	}
}

// adopt makes heir an heir of v, which tellHeirs tells of later revocations. It
// returns false if heir is one already.
func (v *Vault) adopt(heir *Vault) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if slices.Contains(v.heirs, heir) {
		return false
	}
	v.heirs = append(v.heirs, heir)
	return true
}

// disinherit removes a vault that is closed from its parents and its heirs.
func (v *Vault) disinherit() {
	v.mu.Lock()
	parents, heirs := v.parents, v.heirs
	v.parents, v.heirs = nil, nil
	v.mu.Unlock()
	without := func(list []*Vault) []*Vault {
		return slices.DeleteFunc(list, func(other *Vault) bool { return other == v })
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

// tellHeirs hands revocations in this vault on to its heirs.
func (v *Vault) tellHeirs(revoked set) {
	v.mu.Lock()
	heirs := slices.Clone(v.heirs)
	v.mu.Unlock()
	for _, heir := range heirs {
		heir.apply(revoked)
		heir.queue(revoked)
	}
}

// pending returns the bequest that this vault must still take over.
func (v *Vault) pending() bequest {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.bequest
}

// takeOver makes the bequest the vault's own, for a volatile archive. The caller holds
// syncing, or has not begun the loop yet.
func (v *Vault) takeOver() {
	v.mu.Lock()
	b := v.bequest
	v.bequest = bequest{turn: b.turn}
	v.mu.Unlock()
	if !b.any() {
		return
	}
	v.setKeys(v.keys.Merge(b.keys))
	v.queue(b.revoked)
}

// storeBequest writes the inherited revocations to the storage. It seals them with the
// keys found there or, if there are none, with the inherited ones. It must run before
// the inherited keys are stored. Otherwise a process that dies in between leaves a
// storage in which a session that was ended opens again.
func (v *Vault) storeBequest(ctx context.Context, found session.Keys) error {
	b := v.pending()
	if b.revoked.len() == 0 {
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
	lines, err := revocationLines(ring, b.revoked)
	if err == nil {
		err = v.writeSnapshots(ctx, v.now().Add(maxAhead), true, lines, nil)
	}
	if err != nil {
		return fmt.Errorf("storing the sessions that were ended before this reload: %w", err)
	}
	return nil
}

// withBequest returns the keys found in a storage together with the inherited ones. The
// storage's index key stays, because the counters of other processes depend on it.
func (v *Vault) withBequest(found session.Keys) session.Keys {
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

// hasInherited clears the bequest, because the storage has it now. It does nothing if
// another vault has added to the bequest meanwhile.
func (v *Vault) hasInherited(stored bequest) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.bequest.turn == stored.turn {
		v.bequest = bequest{turn: stored.turn}
	}
}
