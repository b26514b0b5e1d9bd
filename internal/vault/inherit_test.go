package vault

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/vault/vaulttest"
	"github.com/caddy-websms/websms/session"
)

// moving is a vault in the archive of a store, from which a reload moves away.
type moving struct {
	*testing.T
	now                          *harness.FakeClock
	from                         *Vault
	ended, revoked, user, inside string
}

func newMoving(t *testing.T) *moving {
	t.Helper()
	m := &moving{T: t, now: harness.NewFakeClock()}
	m.from = vaultIn(t, vaulttest.NewArchive(), m.now.Now)
	s, ended := m.from.issue(t, "+6421234567", "")
	_, m.revoked = m.from.issue(t, "+6421234568", "")
	_, m.user = m.from.issue(t, "+6421234569", "alice")
	_, m.inside = m.from.issue(t, "+6421234569", "")
	m.ended = ended
	for _, err := range []error{m.from.Revoke(s.ID, s.Ends), m.from.RevokeNumber("", "+6421234568", m.now.Now()),
		m.from.RevokeUser(testRealm, "alice", m.now.Now())} {
		if err != nil {
			t.Fatal(err)
		}
	}
	m.now.Advance(time.Minute)
	return m
}

// to opens the vault in a storage, as a reload does.
func (m *moving) to(storage *memStorage) *Vault {
	m.Helper()
	v, err := start(m.Context(), "vault", onStorage(m, storage), m.now.Now, m.from)
	if err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() {
		if err := v.Destruct(); err != nil {
			m.Error(err)
		}
	})
	return v
}

// holds checks which of the sessions are good.
func (m *moving) holds(when string, v *Vault) {
	m.Helper()
	if v.good(m.ended) || v.good(m.revoked) || v.good(m.user) || !v.good(m.inside) {
		m.Errorf("%s: ended %t, revoked %t, user %t, who is in %t", when, v.good(m.ended), v.good(m.revoked),
			v.good(m.user), v.good(m.inside))
	}
}

// A reload moves to a storage that is empty or has a ring of its own. It takes along keys
// and revocations, and they still count after a restart. Sessions of the storage's own
// ring stay good.
func TestStorageInherits(t *testing.T) {
	t.Parallel()
	for what, older := range map[string]time.Duration{"an empty one": 0, "an older ring": -40 * day, "a younger ring": time.Second} {
		t.Run(what, func(t *testing.T) {
			m := newMoving(t)
			storage := newMemStorage()
			var there string
			var sibling *Vault
			var index []byte
			if older != 0 {
				m.now.Advance(older)
				sibling = vaultOn(t, storage, m.now.Now)
				index = sibling.keys.Index
				m.now.Advance(-older)
				_, there = sibling.issue(t, "+6421234561", "")
				if err := sibling.RevokeNumber("", "+6421234562", m.now.Now()); err != nil {
					t.Fatal(err)
				}
			}
			v := m.to(storage)
			m.holds("at once", v)
			m.holds("after a restart", vaultOn(t, storage, m.now.Now))
			if older != 0 {
				sibling.mustMaintain(t)
				m.holds("at another process", sibling)
				if !v.good(there) || !sibling.good(there) || !bytes.Equal(v.keys.Index, index) ||
					!bytes.Equal(storage.keysIn(t).Index, index) {
					t.Error("the storage's own ring is not what it was")
				}
				if v.revoked.NotBefore(session.ByNumber, "", "+6421234562").IsZero() ||
					!v.revoked.NotBefore(session.Everyone, "", "").IsZero() {
					t.Error("the storage's own revocations are not known, or misread")
				}
			}
			// The days after it: keys rotate, entries are compacted.
			for range 62 {
				m.now.Advance(day)
				v.mustMaintain(t)
			}
			m.holds("two months later", v)
			m.holds("two months later, after a restart", vaultOn(t, storage, m.now.Now))
		})
	}
}

// If the storage fails at any step of such a move, the reload is refused. If the process
// dies at that step, no session that was revoked is good in that storage.
func TestStorageInheritsInterrupted(t *testing.T) {
	t.Parallel()
	for _, ring := range []bool{false, true} {
		for _, fails := range []string{"Load " + keysFile, "Store " + revokedFolder, "Store " + keysFile,
			"Lock " + vaultFolder, "List " + revokedFolder} {
			m := newMoving(t)
			storage := newMemStorage()
			var there string
			if ring {
				_, there = vaultOn(t, storage, m.now.Now).issue(t, "+6421234561", "")
			}
			op, key, _ := strings.Cut(fails, " ")
			storage.FailAt(key, op)
			if _, err := start(t.Context(), "vault", onStorage(t, storage), m.now.Now, m.from); !errors.Is(err, vaulttest.ErrTrouble) {
				t.Errorf("%s: %v", fails, err)
			}
			if n := len(m.from.heirs); n != 0 {
				t.Errorf("%s: %d heirs are left", fails, n)
			}
			storage.FailAt("")
			if v := vaultOn(t, storage, m.now.Now); v.good(m.ended) || v.good(m.revoked) || v.good(m.user) || ring && !v.good(there) {
				t.Errorf("after %s failed: ended %t, revoked %t, user %t, who was in there %t", fails,
					v.good(m.ended), v.good(m.revoked), v.good(m.user), v.good(there))
			}
			m.holds("at the second try, after "+fails+" failed", m.to(storage))
		}
	}
}

// Requests of the configuration before go on for a while. A session that they end is
// ended in the new archives too, until the vault before is closed.
func TestHeirsHear(t *testing.T) {
	t.Parallel()
	m := newMoving(t)
	storage, archive := newMemStorage(), vaulttest.NewArchive()
	inStorage := m.to(storage)
	inArchive, err := start(t.Context(), "other", archive, m.now.Now, m.from)
	if err != nil {
		t.Fatal(err)
	}
	s, late := m.from.issue(t, "+6421234567", "")
	_, number := m.from.issue(t, "+6421234560", "")
	m.from.archive.(*vaulttest.Archive).Fail(vaulttest.Everything...)
	_ = m.from.Revoke(s.ID, s.Ends)
	_ = m.from.RevokeNumber("", "+6421234560", m.now.Now())
	m.from.archive.(*vaulttest.Archive).Fail()
	for _, v := range []*Vault{inStorage, inArchive} {
		if v.good(late) || v.good(number) {
			t.Errorf("at once: %t, %t", v.good(late), v.good(number))
		}
		if err := v.syncOnly(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if v := vaultOn(t, storage, m.now.Now); v.good(late) || v.good(number) {
		t.Errorf("after a restart: %t, %t", v.good(late), v.good(number))
	}
	if v := vaultIn(t, archive, m.now.Now); v.good(late) || v.good(number) {
		t.Errorf("at another node: %t, %t", v.good(late), v.good(number))
	}
	if err := inArchive.Destruct(); err != nil || len(m.from.heirs) != 1 || len(inArchive.parents) != 0 {
		t.Errorf("%d heirs, %d parents: %v", len(m.from.heirs), len(inArchive.parents), err)
	}
}

// A reload joins a vault that is still open. That vault takes over the revocations that
// have come since.
func TestJoinedVaultInherits(t *testing.T) {
	t.Parallel()
	m := newMoving(t)
	storage, archive := newMemStorage(), vaulttest.NewArchive()
	for what, v := range map[string]*Vault{"in a storage": vaultOn(t, storage, m.now.Now),
		"in the archive of a store": vaultIn(t, archive, m.now.Now)} {
		_, own := v.issue(t, "+6421234561", "")
		v.inherit(m.from)
		v.inherit(m.from) // a second time changes nothing
		v.catchUp(t.Context())
		if err := v.syncOnly(t.Context()); err != nil {
			t.Error(err)
		}
		if m.holds(what, v); !v.good(own) {
			t.Errorf("%s, its own session does not open", what)
		}
	}
	m.holds("the storage after a restart", vaultOn(t, storage, m.now.Now))
	m.holds("the archive at another node", vaultIn(t, archive, m.now.Now))
}
