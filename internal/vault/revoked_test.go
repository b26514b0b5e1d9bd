package vault

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/vault/vaulttest"
	"github.com/caddy-websms/websms/session"
)

// Revoking a number or a user ends the sessions that were issued until then: at once, after
// a restart, and at other processes. A session that is issued a nanosecond later is good.
func TestRevokedForGood(t *testing.T) {
	t.Parallel()
	const number, user = "+6421234567", "alice"
	for _, c := range []struct {
		name         string
		revoke       func(v *Vault, at time.Time) error
		number, user string
		ends         bool
	}{
		{"a number", func(v *Vault, at time.Time) error { return v.RevokeNumber(testRealm, number, at) }, number, "", true},
		{"a number everywhere", func(v *Vault, at time.Time) error { return v.RevokeNumber("", number, at) }, number, user, true},
		{"a number elsewhere", func(v *Vault, at time.Time) error { return v.RevokeNumber("other", number, at) }, number, "", false},
		{"another number", func(v *Vault, at time.Time) error { return v.RevokeNumber("", number+"8", at) }, number, "", false},
		{"a user", func(v *Vault, at time.Time) error { return v.RevokeUser(testRealm, user, at) }, number, user, true},
		{"a user everywhere", func(v *Vault, at time.Time) error { return v.RevokeUser("", user, at) }, number, user, true},
		{"a user elsewhere", func(v *Vault, at time.Time) error { return v.RevokeUser("other", user, at) }, number, user, false},
		{"another user", func(v *Vault, at time.Time) error { return v.RevokeUser("", "bob", at) }, number, user, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			now, storage := harness.NewFakeClock(), newMemStorage()
			v, other := vaultOn(t, storage, now.Now), vaultOn(t, storage, now.Now)
			_, before := v.issue(t, c.number, c.user)
			now.Advance(time.Millisecond)
			_, during := v.issue(t, c.number, c.user)
			if err := c.revoke(v, now.Now()); err != nil {
				t.Fatal(err)
			}
			now.Advance(1)
			_, after := v.issue(t, c.number, c.user)
			check := func(what string, v *Vault) {
				t.Helper()
				if v.good(before) == c.ends || v.good(during) == c.ends || !v.good(after) {
					t.Errorf("%s: issued before: good %t, at that moment: %t, after: %t", what, v.good(before),
						v.good(during), v.good(after))
				}
			}
			check("at once", v)
			check("after a restart", vaultOn(t, storage, now.Now))
			other.mustMaintain(t)
			check("at another process", other)
			check("after it is maintained", v)
		})
	}
}

// The names and contents in the storage do not tell the subjects. There is one entry for
// each subject.
func TestCutoffsTellNoSubject(t *testing.T) {
	t.Parallel()
	now, storage := harness.NewFakeClock(), newMemStorage()
	v := vaultOn(t, storage, now.Now)
	first := now.Now()
	_, sealed := v.issue(t, "+6421234567", "alice")
	revoke := func() {
		t.Helper()
		for _, err := range []error{
			v.RevokeNumber("", "+6421234567", now.Now()), v.RevokeNumber(testRealm, "+6421234567", now.Now()),
			v.RevokeUser("", "alice", now.Now()), v.RevokeUser("secret-realm", "alice", now.Now()),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	revoke()
	for range 3 {
		now.Advance(time.Hour)
		revoke()
	}
	latest := now.Now()
	files := storage.list(revokedFolder)
	if len(files) != 4 {
		t.Errorf("%d records are kept: %q", len(files), files)
	}
	for _, file := range files {
		text, _ := storage.get(file)
		raw, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			t.Errorf("%s holds %q", file, text)
		}
		for _, secret := range []string{"21234567", "alice", "secret-realm", testRealm} {
			for _, form := range []string{secret, hex.EncodeToString([]byte(secret)),
				base64.RawURLEncoding.EncodeToString([]byte(secret))} {
				if strings.Contains(file+" "+text+" "+string(raw), form) {
					t.Errorf("%s tells %s", file, secret)
				}
			}
		}
	}
	// An earlier cutoff changes nothing.
	if err := v.RevokeNumber("", "+6421234567", first); err != nil {
		t.Fatal(err)
	}
	for what, v := range map[string]*Vault{"now": v, "after a restart": vaultOn(t, storage, now.Now)} {
		if got := v.revoked.NotBefore(session.ByNumber, "anywhere", "+6421234567"); !got.Equal(latest) || v.good(sealed) {
			t.Errorf("%s the number is good from %s on; want %s", what, got, latest)
		}
	}
}

// Arguments that make no sense are refused. The error does not name the subject.
func TestRevokeRefuses(t *testing.T) {
	t.Parallel()
	now, storage := harness.NewFakeClock(), newMemStorage()
	v := vaultOn(t, storage, now.Now)
	for name, err := range map[string]error{
		"a time ahead":   v.RevokeNumber("", "+6421234567", now.Now().Add(2*time.Minute)),
		"no time":        v.RevokeNumber("", "+6421234567", time.Time{}),
		"no number":      v.RevokeNumber("", "", now.Now()),
		"no user":        v.RevokeUser(testRealm, "", now.Now()),
		"a user so long": v.RevokeUser("", strings.Repeat("alice", 300), now.Now()),
	} {
		if err == nil || strings.Contains(err.Error(), "21234567") || strings.Contains(err.Error(), "alice") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if files := storage.list(revokedFolder); len(files) != 0 {
		t.Errorf("it is kept: %q", files)
	}
	if err := v.RevokeNumber("", "+6421234567", now.Now().Add(maxAhead)); err != nil {
		t.Errorf("by a clock that is a little ahead: %v", err)
	}
}

// An ended session stays ended until its very end, which need not be a whole second. It is
// forgotten a day later, because a clock may leap.
func TestEndedToItsEnd(t *testing.T) {
	t.Parallel()
	now, storage := harness.NewFakeClock(), newMemStorage()
	v := vaultOn(t, storage, now.Now)
	s, sealed := v.issue(t, "+6421234567", "")
	s.Ends = now.Now().Add(time.Hour + 999*time.Millisecond)
	if err := v.Revoke(s.ID, s.Ends); err != nil {
		t.Fatal(err)
	}
	now.Advance(time.Hour + 998*time.Millisecond)
	v.mustMaintain(t)
	for range 2 { // the first start could have removed the entry
		if restarted := vaultOn(t, storage, now.Now); restarted.good(sealed) || v.good(sealed) {
			t.Error("it revives before its end")
		}
	}
	now.Advance(leapTime + time.Second)
	v.mustMaintain(t)
	if files := storage.list(revokedFolder); len(files) != 0 || !v.good(sealed) {
		t.Errorf("it is not forgotten: %q", files)
	}
}

// A cutoff holds as long as a session can live, also if the key that seals it is replaced
// meanwhile. Then it is forgotten.
func TestRevokedForAYear(t *testing.T) {
	t.Parallel()
	now, storage := harness.NewFakeClock(), newMemStorage()
	v := vaultOn(t, storage, now.Now)
	now.Advance(30*day + session.Settling - time.Hour) // the key is about to be replaced
	v.mustMaintain(t)
	_, sealed := v.issue(t, "+6421234567", "")
	if err := v.RevokeNumber("", "+6421234567", now.Now()); err != nil {
		t.Fatal(err)
	}
	for range 36 {
		now.Advance(10 * day)
		v.mustMaintain(t)
	}
	now.Advance(5*day - 1)
	v.mustMaintain(t)
	for what, v := range map[string]*Vault{"then": v, "after a restart": vaultOn(t, storage, now.Now)} {
		if v.good(sealed) || v.revoked.NotBefore(session.ByNumber, "", "+6421234567").IsZero() ||
			!v.revoked.NotBefore(session.ByNumber, "", "+6421234568").IsZero() {
			t.Errorf("%s the session is good: %t", what, v.good(sealed))
		}
	}
	now.Advance(2)
	v.mustMaintain(t)
	if files := storage.list(revokedFolder); len(files) != 0 || !v.revoked.NotBefore(session.ByNumber, "", "+6421234567").IsZero() {
		t.Errorf("it is not forgotten: %q", files)
	}
}

// A clock that is wrong for a while makes no revoked session good, and ends no good one.
func TestRevokedByABadClock(t *testing.T) {
	t.Parallel()
	for _, leap := range []time.Duration{800 * day, -20000 * day} {
		now, storage := harness.NewFakeClock(), newMemStorage()
		v := vaultOn(t, storage, now.Now)
		_, revoked := v.issue(t, "+6421234567", "")
		s, ended := v.issue(t, "+6421234568", "")
		_, good := v.issue(t, "+6421234569", "")
		if err := v.RevokeNumber("", "+6421234567", now.Now()); err != nil {
			t.Fatal(err)
		}
		if err := v.Revoke(s.ID, s.Ends); err != nil {
			t.Fatal(err)
		}
		now.Advance(leap)
		v.mustMaintain(t)
		vaultOn(t, storage, now.Now) // a restart while it is wrong
		now.Advance(time.Minute - leap)
		v.mustMaintain(t)
		for what, v := range map[string]*Vault{"then": v, "after a restart": vaultOn(t, storage, now.Now)} {
			if v.good(revoked) || v.good(ended) || !v.good(good) {
				t.Errorf("a clock wrong by %s; %s: revoked is good %t, ended is good %t, another is good %t", leap,
					what, v.good(revoked), v.good(ended), v.good(good))
			}
		}
	}
}

// Several goroutines revoke, open sessions, and sync at the same time. No revocation is
// missed, now or later.
func TestRevokeConcurrently(t *testing.T) {
	t.Parallel()
	now, storage := harness.NewFakeClock(), newMemStorage()
	v, other := vaultOn(t, storage, now.Now), vaultOn(t, storage, now.Now)
	var cookies []string
	for i := range 100 {
		_, sealed := v.issue(t, fmt.Sprintf("+6421%07d", i%50), "")
		cookies = append(cookies, sealed)
	}
	now.Advance(time.Second)
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			for j := range 3 { // the latest wins
				if err := v.RevokeNumber("", fmt.Sprintf("+6421%07d", i), now.Now().Add(time.Duration(j))); err != nil {
					t.Error(err)
				}
				if v.good(cookies[i]) || v.good(cookies[i+50]) {
					t.Error("it is revoked and good")
				}
			}
		})
		group.Go(func() {
			if err := other.syncAndClean(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	other.mustMaintain(t)
	now.Advance(time.Second)
	for what, v := range map[string]*Vault{"there": v, "elsewhere": other, "after a restart": vaultOn(t, storage, now.Now)} {
		if slices.ContainsFunc(cookies, v.good) {
			t.Errorf("%s one is good", what)
		}
		if _, fresh := v.issue(t, "+64210000001", ""); !v.good(fresh) {
			t.Errorf("%s a fresh one is not", what)
		}
	}
}

// Names are parsed as they were written, and no other text is taken for a name.
func FuzzRevokedNames(f *testing.F) {
	id, digest := session.NewID(), strings.Repeat("0a", session.DigestSize/2)
	f.Add(endedName(id, time.Unix(1_800_000_000, 1)))
	f.Add(cutoffName(digest, time.Unix(1_800_000_000, 1)))
	f.Add("notbefore-" + digest + "--1")
	f.Add("notbefore-" + digest + "-01")
	f.Add("notbefore-" + digest)
	f.Add("123456789")
	f.Add("-")
	f.Fuzz(func(t *testing.T, name string) {
		id, until, ended := parseEnded(name)
		if ended && !strings.EqualFold(endedName(id, until)[:32], name[:32]) {
			t.Errorf("%q ends %s", name, id)
		}
		notBefore, record := parseCutoff(name)
		if record && (!strings.HasPrefix(name, cutoffPrefix) ||
			cutoffName(name[len(cutoffPrefix):len(cutoffPrefix)+session.DigestSize], notBefore) != name ||
			notBefore.UnixNano() <= 0) {
			t.Errorf("%q is a record of %s", name, notBefore)
		}
		if ended && record || !fs.ValidPath(name) && record {
			t.Errorf("%q is two things, or no file", name)
		}
	})
}

// A clock that leaps ahead by up to a day, and comes back, makes no ended session good.
func TestRevokedWhileTheClockLeaps(t *testing.T) {
	t.Parallel()
	for _, leap := range []time.Duration{13 * time.Hour, 23 * time.Hour, 35 * time.Hour} {
		now, storage := harness.NewFakeClock(), newMemStorage()
		v := vaultOn(t, storage, now.Now)
		s := session.Session{ID: session.NewID(), Number: "+6421234567", Region: "NZ"}
		session.Life{TTL: 12 * time.Hour}.Begin(&s, v.now())
		sealed, err := s.Seal(v.Ring, testRealm)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Revoke(s.ID, s.Ends); err != nil {
			t.Fatal(err)
		}
		now.Advance(leap)
		v.mustMaintain(t)
		now.Advance(time.Minute - leap)
		v.mustMaintain(t)
		if v.good(sealed) || vaultOn(t, storage, now.Now).good(sealed) {
			t.Errorf("after a leap of %v a session that was ended is good again", leap)
		}
	}
}

// One entry that the storage refuses does not delay the others, also when the vault ends.
func TestOneRefusedEntryAtTheEnd(t *testing.T) {
	t.Parallel()
	now, storage := harness.NewFakeClock(), newMemStorage()
	v, err := start(t.Context(), "v", onStorage(t, storage), now.Now)
	if err != nil {
		t.Fatal(err)
	}
	until := now.Now().Add(time.Hour)
	poisoned := session.NewID()
	refused := path.Join(revokedFolder, endedName(poisoned, until))
	storage.full()
	_ = v.Revoke(poisoned, until)
	for range 3000 {
		_ = v.Revoke(session.NewID(), until)
	}
	storage.FailIf(func(op, key string) error {
		if op == "Store" && key == refused {
			return vaulttest.ErrTrouble
		}
		return nil
	})
	_ = v.Destruct() // its error tells that one entry was not kept
	if kept := len(storage.list(revokedFolder)); kept != 3000 {
		t.Errorf("%d of 3000 are kept", kept)
	}
}
