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

// vaultIn opens a vault in a volatile archive, as a process of its own would,
// and closes it when the test ends. It follows when it is told.
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

// mustSync lets vaults follow an archive that nothing ails.
func mustSync(t testing.TB, vaults ...*Vault) {
	t.Helper()
	for _, v := range vaults {
		if err := v.syncOnly(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// A volatile archive that is away at the start, or in part, leaves the ring
// empty; when it is there, all is known, and only then.
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
				t.Errorf("when it is there: ready %t; ended %t, revoked %t, good %t", v.Ring.Ready(), v.good(ended), v.good(revoked), v.good(good))
			}
		})
	}
}

// Keys that could not be recorded are not used; once they may have been, those
// that are there count.
func TestArchiveFirstKeysNotRecorded(t *testing.T) {
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

// What ends at one process ends at the others when they next follow, and what
// was read is not read again.
func TestArchiveRevokedElsewhere(t *testing.T) {
	t.Parallel()
	now, a := harness.NewFakeClock(), vaulttest.NewArchive()
	one, two := vaultIn(t, a, now.Now), vaultIn(t, a, now.Now)
	s, ended := one.issue(t, "+6421234567", "")
	_, number := two.issue(t, "+6421234568", "")
	_, user := one.issue(t, "+6421234569", "alice")
	_, good := one.issue(t, "+6421234569", "bob")
	for _, err := range []error{one.Revoke(s.ID, s.Ends), one.RevokeNumber("", "+6421234568", now.Now()), one.RevokeUser(testRealm, "alice", now.Now())} {
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

// The loop follows by itself, within the time that the archive asks for.
func TestArchiveIsFollowed(t *testing.T) {
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

// An archive that was emptied gets back all keys and revocations that somebody
// knows, but for those that are over. Sessions hold meanwhile.
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
	if got := a.Names(); len(got) != len(before)-1 || slices.Contains(got, endedName(over.ID, now.Now().Add(-time.Minute))) || !a.Ring(t).Equal(keys) {
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

// Two processes that have begun a ring each, because the archive was emptied
// between them, end with one; what either has sealed opens at both.
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
			t.Errorf("%s: the older's %t, the younger's %t, the older's index %t", name, v.good(first), v.good(second), bytes.Equal(v.keys.Index, index))
		}
		if v.revoked.NotBefore(session.ByNumber, "", "+6421234569").IsZero() || !v.revoked.NotBefore(session.Everyone, "", "").IsZero() {
			t.Errorf("%s: what was revoked under the younger ring is misread", name)
		}
	}
	if old.sealsWith(t) != fresh.sealsWith(t) {
		t.Error("they seal with two keys")
	}
}

// Between the keys and the records of one following, another process begins a
// ring and revokes under it: that is read with the new keys, not taken for damaged.
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
		t.Errorf("a bystander is good: %t; the revocation is known: %t", v.good(bystander), !v.revoked.NotBefore(session.ByNumber, "", "+6421234568").IsZero())
	}
	// One that opens with nobody's keys ends all until then.
	name := cutoffName(strings.Repeat("0a", session.DigestSize/2), now.Now())
	if err := a.Keep(t.Context(), name, []byte("x")); err != nil {
		t.Fatal(err)
	}
	mustSync(t, v)
	if v.good(bystander) {
		t.Error("whoever a damaged record was about is in")
	}
}

// What cannot be kept is told to who asks, and kept when it can be, at the
// latest when the process ends.
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

// Many make one key when one is due, and a change whose answer is lost is none twice.
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

// Of keys that are not in the archive any more those come back that were lost,
// and not those whose time was over by another's clock.
func TestArchiveKeysLost(t *testing.T) {
	t.Parallel()
	now, a := harness.NewFakeClock(), vaulttest.NewArchive()
	v := vaultIn(t, a, now.Now)
	for range 2 {
		now.Advance(session.KeyAge)
		mustSync(t, v)
	}
	all := a.Ring(t)
	for lost, want := range map[int]int{0: 3, 1: 3, 2: 2} { // of the newest first
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

// Who moves to a volatile archive takes along keys and revocations, at once
// and whether or not others are there already.
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
			t.Errorf("%s: ended %t, revoked %t, good %t, ended there %t", when, v.good(ended), v.good(revoked), v.good(good), v.good(endedThere))
		}
	}
	a.Fail("Records") // those who were in there are not let in unless it is known who has signed out
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

// It is let go of when the loop has ended, once.
func TestArchiveIsLetGoOf(t *testing.T) {
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
