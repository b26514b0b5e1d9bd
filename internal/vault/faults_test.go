package vault

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/vault/vaulttest"
	"github.com/caddy-websms/websms/session"
)

// A revocation that the storage does not take is an error, but counts in this process. If
// the caller revokes again and the storage works, it is stored.
func TestRevokeWithoutStorage(t *testing.T) {
	t.Parallel()
	now, storage := harness.NewFakeClock(), newMemStorage()
	v := vaultOn(t, storage, now.Now)
	s, one := v.issue(t, "+6421234567", "")
	_, two := v.issue(t, "+6421234568", "alice")
	_, three := v.issue(t, "+6421234569", "bob")
	at := now.Now()
	revoke := func() []error {
		return []error{v.Revoke(s.ID, s.Ends), v.RevokeNumber("", "+6421234568", at), v.RevokeUser(testRealm, "bob", at)}
	}
	storage.FailAt(revokedFolder, "Store")
	for _, err := range revoke() {
		if !errors.Is(err, vaulttest.ErrTrouble) || strings.Contains(err.Error(), "2123456") || strings.Contains(err.Error(), "bob") {
			t.Errorf("the error is %v", err)
		}
	}
	if v.good(one) || v.good(two) || v.good(three) {
		t.Error("they are good in this process")
	}
	storage.FailAt("")
	for _, err := range revoke() {
		if err != nil {
			t.Error(err)
		}
	}
	if v := vaultOn(t, storage, now.Now); v.good(one) || v.good(two) || v.good(three) {
		t.Error("they are good in the next process")
	}
}

// A process that cannot read the revocations does not start. A process that runs goes on,
// and reads them later.
func TestRevocationsUnreadable(t *testing.T) {
	t.Parallel()
	now, storage := harness.NewFakeClock(), newMemStorage()
	v, other := vaultOn(t, storage, now.Now), vaultOn(t, storage, now.Now)
	s, one := v.issue(t, "+6421234567", "")
	_, two := v.issue(t, "+6421234568", "")
	_, three := v.issue(t, "+6421234569", "")
	for _, err := range []error{v.Revoke(s.ID, s.Ends), v.RevokeNumber("", "+6421234568", now.Now())} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, op := range []string{"List", "Load"} {
		storage.FailAt(revokedFolder, op)
		_, err := start(t.Context(), "vault", onStorage(t, storage), now.Now)
		if !errors.Is(err, vaulttest.ErrTrouble) || !strings.Contains(err.Error(), "loading the sessions that were ended: ") {
			t.Errorf("%s fails at a start: %v", op, err)
		}
		if err := other.syncAndClean(t.Context()); !errors.Is(err, vaulttest.ErrTrouble) || !other.good(two) || !other.good(three) {
			t.Errorf("%s fails later: %v", op, err)
		}
	}
	storage.FailAt("")
	other.mustMaintain(t)
	if other.good(one) || other.good(two) || !other.good(three) {
		t.Error("they are not read when they can be")
	}
}

// A process has missed a rotation. It does not take an entry for damaged because it lacks
// the key. It waits until it can read the keys.
func TestCutoffOfAKeyThatWasMissed(t *testing.T) {
	t.Parallel()
	now, storage := harness.NewFakeClock(), newMemStorage()
	v, cut := vaultOn(t, storage, now.Now), vaultOn(t, storage, now.Now)
	_, revoked := cut.issue(t, "+6421234567", "")
	_, bystander := cut.issue(t, "+6421234568", "")
	for range 2 {
		now.Advance(30 * day)
		v.mustMaintain(t)
	}
	if err := v.RevokeNumber("", "+6421234567", now.Now()); err != nil {
		t.Fatal(err)
	}
	storage.FailAt(keysFile, "Load")
	if err := cut.syncAndClean(t.Context()); !errors.Is(err, vaulttest.ErrTrouble) || !cut.good(bystander) {
		t.Errorf("a bystander is good: %t, %v", cut.good(bystander), err)
	}
	storage.FailAt("")
	cut.mustMaintain(t)
	if cut.good(revoked) || !cut.good(bystander) {
		t.Errorf("with the keys, who was revoked is good: %t, a bystander: %t", cut.good(revoked), cut.good(bystander))
	}
}

// A cutoff that does not open ends all sessions issued until then. So its subject stays
// out, and everybody may sign in again.
func TestDamagedCutoff(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(storage *memStorage, file, other string){
		"empty": func(storage *memStorage, file, _ string) { storage.put(file, "") },
		"cut": func(storage *memStorage, file, _ string) {
			text, _ := storage.get(file)
			storage.put(file, text[:len(text)/2])
		},
		"other text": func(storage *memStorage, file, _ string) { storage.put(file, "ended\n") },
		"that of another": func(storage *memStorage, file, other string) {
			text, _ := storage.get(other)
			storage.put(file, text)
		},
		"under another name": func(storage *memStorage, file, other string) {
			text, _ := storage.get(file)
			storage.remove(file)
			storage.put(strings.Replace(file, path.Base(file)[:30], path.Base(other)[:30], 1), text)
		},
	} {
		t.Run(name, func(t *testing.T) {
			now, storage := harness.NewFakeClock(), newMemStorage()
			v := vaultOn(t, storage, now.Now)
			if err := v.RevokeUser("", "bob", now.Now()); err != nil {
				t.Fatal(err)
			}
			other := storage.list(revokedFolder)[0]
			now.Advance(time.Hour)
			_, revoked := v.issue(t, "+6421234567", "")
			_, bystander := v.issue(t, "+6421234568", "")
			now.Advance(time.Hour)
			if err := v.RevokeNumber(testRealm, "+6421234567", now.Now()); err != nil {
				t.Fatal(err)
			}
			for _, file := range storage.list(revokedFolder) {
				if file != other {
					damage(storage, file, other)
				}
			}
			now.Advance(1)
			_, later := v.issue(t, "+6421234567", "")
			for range 2 {
				restarted := vaultOn(t, storage, now.Now)
				if restarted.good(revoked) || restarted.good(bystander) || !restarted.good(later) {
					t.Errorf("who was revoked is in: %t, a bystander: %t, who verified again: %t",
						restarted.good(revoked), restarted.good(bystander), restarted.good(later))
				}
			}
			// It is removed with the last session that it could concern.
			for range 38 {
				now.Advance(10 * day)
				v.mustMaintain(t)
			}
			restarted := vaultOn(t, storage, now.Now)
			if files := storage.list(revokedFolder); len(files) != 0 || !restarted.revoked.NotBefore(session.Everyone, "", "").IsZero() {
				t.Errorf("it stays for ever: %q", files)
			}
		})
	}
}

// Other files in the folder are left alone and have no effect.
func TestForeignFilesAmongRevoked(t *testing.T) {
	t.Parallel()
	now, storage := harness.NewFakeClock(), newMemStorage()
	foreign := []string{"1234567890", ".DS_Store", "notbefore-", "notbefore-00-1", "notes.txt",
		strings.Repeat("0", 32), "notbefore-" + strings.Repeat("0", 32) + "-x"}
	for _, name := range foreign {
		storage.put(path.Join(revokedFolder, name), "x")
	}
	v := vaultOn(t, storage, now.Now)
	now.Advance(500 * day)
	v.mustMaintain(t)
	now.Advance(day)
	v.mustMaintain(t)
	if files := storage.list(revokedFolder); len(files) != len(foreign) || !v.revoked.NotBefore(session.Everyone, "", "").IsZero() {
		t.Errorf("left are %q", files)
	}
}

// Another process replaces a cutoff while this one reads the folder. The file that this
// process has listed is gone, and it finds the file in its place.
func TestCutoffReplacedWhileRead(t *testing.T) {
	t.Parallel()
	now, storage := harness.NewFakeClock(), newMemStorage()
	v := vaultOn(t, storage, now.Now)
	if err := v.RevokeNumber("", "+6421234567", now.Now()); err != nil {
		t.Fatal(err)
	}
	now.Advance(time.Hour)
	_, sealed := v.issue(t, "+6421234567", "")
	replaced := false
	storage.FailIf(func(op, key string) error {
		if op == "Load" && strings.HasPrefix(key, revokedFolder) && !replaced {
			replaced = true
			return v.RevokeNumber("", "+6421234567", now.Now())
		}
		return nil
	})
	if restarted := vaultOn(t, storage, now.Now); !replaced || restarted.good(sealed) {
		t.Error("the later revocation is missed")
	}
}

// If a file is deleted while a file storage lists the folder, the storage says that the
// folder does not exist. The vault must not miss revocations because of that.
func TestListDisturbed(t *testing.T) {
	t.Parallel()
	now, storage := harness.NewFakeClock(), newMemStorage()
	v := vaultOn(t, storage, now.Now)
	_, sealed := v.issue(t, "+6421234567", "")
	if err := v.RevokeNumber("", "+6421234567", now.Now()); err != nil {
		t.Fatal(err)
	}
	times := 0
	disturb := func(most int) {
		times = 0
		storage.FailIf(func(op, _ string) error {
			if op == "List" {
				if times++; times <= most {
					return &fs.PathError{Op: "lstat", Path: "websms/revoked/1234", Err: fs.ErrNotExist}
				}
			}
			return nil
		})
	}
	disturb(3)
	if restarted := vaultOn(t, storage, now.Now); restarted.good(sealed) {
		t.Error("the revocation is missed")
	}
	disturb(1000)
	if _, err := start(t.Context(), "vault", onStorage(t, storage), now.Now); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is there and cannot be listed: %v", err)
	}
}

// An entry that the storage does not delete does no harm, and is deleted later.
func TestRevocationsNotDeleted(t *testing.T) {
	t.Parallel()
	now, storage := harness.NewFakeClock(), newMemStorage()
	v := vaultOn(t, storage, now.Now)
	s, _ := v.issue(t, "+6421234567", "")
	if err := v.Revoke(s.ID, now.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	storage.FailAt("", "Delete")
	for range 2 {
		if err := v.RevokeNumber("", "+6421234567", now.Now()); err != nil {
			t.Fatal(err)
		}
		now.Advance(time.Hour)
	}
	for range 38 {
		now.Advance(10 * day)
		v.mustMaintain(t)
	}
	if files := storage.list(revokedFolder); len(files) != 3 {
		t.Errorf("left are %q", files)
	}
	storage.FailAt("")
	v.mustMaintain(t)
	if files := storage.list(revokedFolder); len(files) != 0 {
		t.Errorf("left are %q", files)
	}
}
