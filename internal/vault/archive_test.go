package vault

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/vault/vaulttest"
	"github.com/caddy-websms/websms/session"
)

// vaultIn opens a vault in a volatile archive, as a process of its own would, and closes
// it when the test ends. The vault syncs when the test says so.
func vaultIn(t testing.TB, a session.Archive, now func() time.Time) *Vault {
	t.Helper()
	v, err := start(t.Context(), "vault of a test", a, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Destruct(); err != nil {
			t.Error(err)
		}
	})
	return v
}

// mustSync syncs vaults whose archive works.
func mustSync(t testing.TB, vaults ...*Vault) {
	t.Helper()
	for _, v := range vaults {
		if err := v.syncOnly(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// If a volatile archive is away at the start, in whole or in part, the ring is empty.
// It is ready once all keys and revocations are known, and not before.
func TestArchiveAwayAtStart(t *testing.T) {
	t.Parallel()
	for _, away := range [][]string{vaulttest.Everything, {"Keys"}, {"Records"}, {"Record"}} {
		t.Run(strings.Join(away, " "), func(t *testing.T) {
			now, a := harness.NewFakeClock(), vaulttest.NewArchive()
			other := vaultIn(t, a, now.Now)
			s, ended := other.issue(t, "+6421234567", "")
			_, revoked := other.issue(t, "+6421234568", "")
			_, good := other.issue(t, "+6421234569", "")
			for _, err := range []error{other.Revoke(s.ID, s.Ends), other.RevokeNumber("", "+6421234568", now.Now())} {
				if err != nil {
					t.Fatal(err)
				}
			}
			a.Fail(away...)
			v := vaultIn(t, a, now.Now)
			for range 2 {
				if err := v.syncOnly(t.Context()); !errors.Is(err, vaulttest.ErrTrouble) {
					t.Errorf("the error is %v", err)
				}
				if v.Ring.Ready() || v.good(ended) || v.good(revoked) || v.good(good) {
					t.Error("it lets somebody in while not all is known")
				}
				if err := v.RevokeNumber("", "+6421234567", now.Now()); !errors.Is(err, session.ErrNotReady) {
					t.Errorf("revoking: %v", err)
				}
			}
			a.Fail()
			mustSync(t, v)
			if !v.Ring.Ready() || v.good(ended) || v.good(revoked) || !v.good(good) {
				t.Errorf("when it is there: ready %t; ended %t, revoked %t, good %t", v.Ring.Ready(), v.good(ended),
					v.good(revoked), v.good(good))
			}
		})
	}
}

// Keys that could not be stored are not used. If the answer of the archive is lost, the
// keys that are in the archive count.
func TestArchiveFirstKeysNotStored(t *testing.T) {
	t.Parallel()
	now, a := harness.NewFakeClock(), vaulttest.NewArchive()
	a.Fail("ChangeKeys")
	v := vaultIn(t, a, now.Now)
	if v.Ring.Ready() {
		t.Error("it seals with keys that nobody else can learn")
	}
	a.Fail("the answer to ChangeKeys")
	if err := v.syncOnly(t.Context()); !errors.Is(err, vaulttest.ErrTrouble) || !v.Ring.Ready() || !v.keys.Equal(a.Ring(t)) {
		t.Errorf("keys that were recorded, and not answered: ready %t, %v", v.Ring.Ready(), err)
	}
}

// A revocation by one process counts at the others once they sync. What was read is not
// read again.
func TestArchiveRevokedElsewhere(t *testing.T) {
	t.Parallel()
	now, a := harness.NewFakeClock(), vaulttest.NewArchive()
	one, two := vaultIn(t, a, now.Now), vaultIn(t, a, now.Now)
	s, ended := one.issue(t, "+6421234567", "")
	_, number := two.issue(t, "+6421234568", "")
	_, user := one.issue(t, "+6421234569", "alice")
	_, good := one.issue(t, "+6421234569", "bob")
	for _, err := range []error{one.Revoke(s.ID, s.Ends), one.RevokeNumber("", "+6421234568", now.Now()),
		one.RevokeUser(testRealm, "alice", now.Now())} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if !two.good(ended) || !two.good(number) {
		t.Fatal("the test shows nothing: the other knows without following")
	}
	mustSync(t, two, one)
	for _, v := range []*Vault{one, two} {
		if v.good(ended) || v.good(number) || v.good(user) || !v.good(good) {
			t.Errorf("ended %t, number %t, user %t, another %t", v.good(ended), v.good(number), v.good(user), v.good(good))
		}
	}
	read := a.Count("Record")
	mustSync(t, one, two)
	if read != 2 || a.Count("Record") != read || a.Count("ChangeKeys") != 1 {
		t.Errorf("%d records were read, then %d; the keys were changed %d times", read, a.Count("Record"), a.Count("ChangeKeys"))
	}
}

// The loop syncs by itself, as often as the archive asks for.
func TestArchiveIsSynced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := vaulttest.NewArchive()
		a.Every = 5 * time.Minute
		one, err := start(t.Context(), "one", a, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		two, err := start(t.Context(), "two", a, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		s, ended := one.issue(t, "+6421234567", "")
		first := one.sealsWith(t)
		if err := one.Revoke(s.ID, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(a.Every)
		synctest.Wait()
		if two.good(ended) {
			t.Error("it is good when the other has followed")
		}
		time.Sleep(session.KeyAge)
		synctest.Wait()
		if n := len(a.Ring(t).Sealing); n != 2 || a.Count("ChangeKeys") < 2 || a.Count("ChangeKeys") > 4 {
			t.Errorf("after 30 days there are %d keys, changed %d times", n, a.Count("ChangeKeys"))
		}
		time.Sleep(session.Settling)
		synctest.Wait()
		if one.sealsWith(t) == first || two.sealsWith(t) != one.sealsWith(t) {
			t.Error("the new key does not seal, or not at both")
		}
		if len(a.Names()) != 0 {
			t.Errorf("what is over is kept: %q", a.Names())
		}
		for _, v := range []*Vault{one, two} {
			if err := v.Destruct(); err != nil {
				t.Error(err)
			}
		}
		asked := a.Count("Keys")
		time.Sleep(time.Hour)
		if a.Count("Keys") != asked {
			t.Error("it goes on after it was let go of")
		}
	})
}

// An archive that lost everything gets back all keys and revocations that a process
// knows, except those that are over. Sessions hold meanwhile.
func TestArchiveEmptied(t *testing.T) {
	t.Parallel()
	now, a := harness.NewFakeClock(), vaulttest.NewArchive()
	one, two := vaultIn(t, a, now.Now), vaultIn(t, a, now.Now)
	keys := a.Ring(t)
	s, ended := one.issue(t, "+6421234567", "")
	over, _ := one.issue(t, "+6421234567", "")
	_, revoked := two.issue(t, "+6421234568", "alice")
	_, good := two.issue(t, "+6421234569", "")
	for _, err := range []error{
		one.Revoke(s.ID, s.Ends), one.Revoke(over.ID, now.Now().Add(time.Minute)),
		two.RevokeNumber("", "+6421234568", now.Now()), two.RevokeUser("", "alice", now.Now()),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	mustSync(t, one)
	before := a.Names()
	now.Advance(2 * time.Minute)
	a.Empty()
	check := func(when string, vaults ...*Vault) {
		t.Helper()
		for i, v := range vaults {
			if v.good(ended) || v.good(revoked) || !v.good(good) {
				t.Errorf("%s, at %d: ended %t, revoked %t, good %t", when, i, v.good(ended), v.good(revoked), v.good(good))
			}
		}
	}
	check("emptied", one)
	a.Fail("Keep")
	if err := one.syncOnly(t.Context()); !errors.Is(err, vaulttest.ErrTrouble) {
		t.Errorf("the error is %v", err)
	}
	a.Fail()
	mustSync(t, one)
	dropped := endedName(over.ID, now.Now().Add(-time.Minute))
	if got := a.Names(); len(got) != len(before)-1 || slices.Contains(got, dropped) || !a.Ring(t).Equal(keys) {
		t.Errorf("it holds %q, before it was emptied %q; the same keys: %t", got, before, a.Ring(t).Equal(keys))
	}
	kept := a.Count("Keep")
	mustSync(t, one)
	if a.Count("Keep") != kept {
		t.Error("what was kept again is kept once more")
	}
	check("restored", one, vaultIn(t, a, now.Now))
	mustSync(t, two)
	check("restored", two)
}

// Two processes have begun a ring each, because the archive lost everything in between.
// They end with one ring. It opens everything that either has sealed.
func TestArchiveTwoRings(t *testing.T) {
	t.Parallel()
	now, a := harness.NewFakeClock(), vaulttest.NewArchive()
	old := vaultIn(t, a, now.Now)
	index := old.keys.Index
	_, first := old.issue(t, "+6421234567", "")
	now.Advance(session.Settling)
	a.Empty()
	fresh := vaultIn(t, a, now.Now)
	_, second := fresh.issue(t, "+6421234568", "")
	if err := fresh.RevokeNumber("", "+6421234569", now.Now()); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(fresh.keys.Index, index) {
		t.Fatal("the test shows nothing: they have one ring")
	}
	mustSync(t, old, fresh, old)
	for name, v := range map[string]*Vault{"old": old, "fresh": fresh, "third": vaultIn(t, a, now.Now)} {
		if !v.good(first) || !v.good(second) || !bytes.Equal(v.keys.Index, index) || !v.keys.Equal(a.Ring(t)) {
			t.Errorf("%s: the older's %t, the younger's %t, the older's index %t", name, v.good(first),
				v.good(second), bytes.Equal(v.keys.Index, index))
		}
		if v.revoked.NotBefore(session.ByNumber, "", "+6421234569").IsZero() || !v.revoked.NotBefore(session.Everyone, "", "").IsZero() {
			t.Errorf("%s: what was revoked under the younger ring is misread", name)
		}
	}
	if old.sealsWith(t) != fresh.sealsWith(t) {
		t.Error("they seal with two keys")
	}
}

// During a sync, after the keys are read and before the entries are, another process
// begins a ring and revokes with it. The entry is read with the new keys, and not taken
// for damaged.
func TestArchiveRingBegunWhileRead(t *testing.T) {
	t.Parallel()
	now, a := harness.NewFakeClock(), vaulttest.NewArchive()
	v := vaultIn(t, a, now.Now)
	_, bystander := v.issue(t, "+6421234567", "")
	begun := false
	a.FailIf(func(op, _ string) error {
		if op == "Records" && !begun {
			begun = true
			a.Empty()
			other := vaultIn(t, a, now.Now)
			return other.RevokeNumber("", "+6421234568", now.Now())
		}
		return nil
	})
	mustSync(t, v)
	if !begun || !v.good(bystander) || v.revoked.NotBefore(session.ByNumber, "", "+6421234568").IsZero() {
		t.Errorf("a bystander is good: %t; the revocation is known: %t", v.good(bystander),
			!v.revoked.NotBefore(session.ByNumber, "", "+6421234568").IsZero())
	}
	// A cutoff that opens with no key ends all sessions issued until then.
	name := cutoffName(strings.Repeat("0a", session.DigestSize/2), now.Now())
	if err := a.Keep(t.Context(), name, []byte("x")); err != nil {
		t.Fatal(err)
	}
	mustSync(t, v)
	if v.good(bystander) {
		t.Error("whoever a damaged record was about is in")
	}
}

// A revocation that cannot be stored is an error for the caller. It is stored as soon as
// possible, at the latest when the process ends.
func TestArchiveAwayWhileRevoking(t *testing.T) {
	t.Parallel()
	now, a := harness.NewFakeClock(), vaulttest.NewArchive()
	one, two := vaultIn(t, a, now.Now), vaultIn(t, a, now.Now)
	ending := newVault("ending", a, now.Now)
	if err := ending.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, ended := one.issue(t, "+6421234567", "")
	last, late := one.issue(t, "+6421234567", "")
	_, revoked := one.issue(t, "+6421234568", "alice")
	a.Fail(vaulttest.Everything...)
	for _, err := range []error{
		one.Revoke(s.ID, s.Ends), one.RevokeNumber("", "+6421234568", now.Now().Add(-1)),
		one.RevokeNumber("", "+6421234568", now.Now()), ending.Revoke(last.ID, last.Ends),
	} {
		if !errors.Is(err, vaulttest.ErrTrouble) {
			t.Errorf("the error is %v", err)
		}
	}
	if err := one.syncOnly(t.Context()); !errors.Is(err, vaulttest.ErrTrouble) || one.good(ended) || one.good(revoked) {
		t.Errorf("at once: %t, %t, %v", one.good(ended), one.good(revoked), err)
	}
	a.Fail()
	mustSync(t, one)
	mustSync(t, two)
	if two.good(ended) || two.good(revoked) {
		t.Errorf("when it is there again: %t, %t", two.good(ended), two.good(revoked))
	}
	if err := ending.Destruct(); err != nil {
		t.Error(err)
	}
	mustSync(t, two)
	if names := a.Names(); two.good(late) || len(names) != 3 {
		t.Errorf("after the end: %t, %q", two.good(late), names)
	}
}

// Many processes make one key when one is due. A change whose answer is lost is not made
// twice.
func TestArchiveRotation(t *testing.T) {
	t.Parallel()
	now, a := harness.NewFakeClock(), vaulttest.NewArchive()
	var vaults []*Vault
	for range 8 {
		vaults = append(vaults, vaultIn(t, a, now.Now))
	}
	_, sealed := vaults[0].issue(t, "+6421234567", "")
	for round := range 3 {
		now.Advance(session.KeyAge)
		if round == 1 {
			a.Fail("the answer to ChangeKeys")
		}
		var group sync.WaitGroup
		for _, v := range vaults {
			group.Go(func() {
				if err := v.syncOnly(t.Context()); err != nil && round != 1 {
					t.Error(err)
				}
			})
		}
		group.Wait()
		a.Fail()
		mustSync(t, vaults...)
		now.Advance(session.Settling)
		mustSync(t, vaults...)
		if n := len(a.Ring(t).Sealing); n != round+2 {
			t.Fatalf("after %d rotations there are %d keys", round+1, n)
		}
		for _, v := range vaults {
			if !v.good(sealed) || v.sealsWith(t) != vaults[0].sealsWith(t) {
				t.Error("they seal with several keys, or do not open")
			}
		}
	}
}

// Keys that the archive has lost are put back. A key that another process has removed,
// because its time was over, is not.
func TestArchiveKeysLost(t *testing.T) {
	t.Parallel()
	now, a := harness.NewFakeClock(), vaulttest.NewArchive()
	v := vaultIn(t, a, now.Now)
	for range 2 {
		now.Advance(session.KeyAge)
		mustSync(t, v)
	}
	all := a.Ring(t)
	for lost, want := range map[int]int{0: 3, 1: 3, 2: 2} { // key 0 is the newest
		a.SetRing(t, all)
		v := vaultIn(t, a, now.Now)
		left := session.Keys{Index: all.Index, Sealing: slices.Delete(slices.Clone(all.Sealing), lost, lost+1)}
		a.SetRing(t, left)
		mustSync(t, v)
		if n := len(a.Ring(t).Sealing); n != want || len(v.keys.Sealing) != want {
			t.Errorf("without key %d, there are %d again, and %d known; want %d", lost, n, len(v.keys.Sealing), want)
		}
	}
}

// A reload that moves to a volatile archive takes along keys and revocations at once. It
// does not matter whether other processes use the archive already.
func TestArchiveInherits(t *testing.T) {
	t.Parallel()
	now, a := harness.NewFakeClock(), vaulttest.NewArchive()
	former := vaultOn(t, newMemStorage(), now.Now)
	s, ended := former.issue(t, "+6421234567", "")
	_, revoked := former.issue(t, "+6421234568", "")
	_, good := former.issue(t, "+6421234569", "")
	for _, err := range []error{former.Revoke(s.ID, s.Ends), former.RevokeNumber("", "+6421234568", now.Now())} {
		if err != nil {
			t.Fatal(err)
		}
	}
	now.Advance(time.Hour)
	there := vaultIn(t, a, now.Now)
	lost, endedThere := there.issue(t, "+6421234567", "")
	if err := there.Revoke(lost.ID, lost.Ends); err != nil {
		t.Fatal(err)
	}
	check := func(when string, v *Vault) {
		t.Helper()
		if v.good(ended) || v.good(revoked) || !v.good(good) || v.good(endedThere) {
			t.Errorf("%s: ended %t, revoked %t, good %t, ended there %t", when, v.good(ended), v.good(revoked),
				v.good(good), v.good(endedThere))
		}
	}
	a.Fail("Records") // keys found there are not used before the revocations there are known
	v := newVault("moved", a, now.Now)
	v.inherit(former)
	if err := v.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("while the archive is away", v)
	a.Fail()
	mustSync(t, v)
	check("when it is there", v)
	mustSync(t, there)
	check("at another process", there)
	check("at one that starts", vaultIn(t, a, now.Now))
	if err := v.Destruct(); err != nil {
		t.Error(err)
	}
}

// The archive is released once, after the loop has ended.
func TestArchiveIsReleased(t *testing.T) {
	t.Parallel()
	a := vaulttest.NewArchive()
	v := newVault("vault", a, time.Now)
	times := 0
	v.releaseArchive = func() error {
		select {
		case <-v.done:
		default:
			t.Error("its loop goes on")
		}
		times++
		return vaulttest.ErrTrouble
	}
	if err := v.begin(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := v.Destruct(); !errors.Is(err, vaulttest.ErrTrouble) || times != 1 {
		t.Errorf("%d times: %v", times, err)
	}
}
