package vault

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/vault/vaulttest"
	"github.com/caddy-websms/websms/session"
)

// newerKeys returns keys as a later release would write them.
func newerKeys(version string) string {
	return `{"version":` + version + `,"rings":[{"name":"default","secret":"c2VjcmV0"}]}`
}

// Keys that a later release has written are neither read nor overwritten. A start fails,
// and a process that runs goes on with the keys that it has.
func TestKeysOfALaterRelease(t *testing.T) {
	t.Parallel()
	const want = keysFile + " in Caddy's storage has version 3, and this release knows 1 at most"
	now, storage := harness.NewFakeClock(), newMemStorage()
	v := vaultOn(t, storage, now.Now)
	_, sealed := v.issue(t, "+6421234567", "")
	sound, _ := storage.get(keysFile)
	storage.put(keysFile, newerKeys("3"))
	now.Advance(31 * day) // a new key is due
	for what, step := range map[string]func() error{
		"a start":             func() error { _, err := start(t.Context(), "vault", onStorage(t, storage), now.Now); return err },
		"a process that runs": func() error { return v.syncAndClean(t.Context()) },
	} {
		err := step()
		var damaged keysError
		if !errors.As(err, &damaged) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if text, _ := storage.get(keysFile); text != newerKeys("3") {
		t.Errorf("it was written over with %.20q", text)
	}
	if _, later := v.issue(t, "+6421234567", ""); !v.good(sealed) || !v.good(later) {
		t.Error("the process that runs does not go on")
	}
	storage.put(keysFile, sound)
	v.mustMaintain(t)

	// The same between reading and changing, and in the archive of a store.
	now.Advance(31 * day)
	storage.FailIf(func(op, _ string) error {
		if op == "Lock" {
			storage.put(keysFile, newerKeys("3"))
		}
		return nil
	})
	if err := v.syncAndClean(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("while it waits for the lock: %v", err)
	}
	if text, _ := storage.get(keysFile); text != newerKeys("3") {
		t.Error("it was written over after the lock")
	}
	a := vaulttest.NewArchive()
	in := vaultIn(t, a, now.Now)
	_, sealed = in.issue(t, "+6421234567", "")
	a.SetText(newerKeys("3"))
	started := vaultIn(t, a, now.Now)
	for what, v := range map[string]*Vault{"one that runs": in, "one that starts": started} {
		if err := v.syncOnly(t.Context()); err == nil || !strings.Contains(err.Error(),
			"the ring of keys in the store has version 3, and this release knows 1 at most") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if !in.good(sealed) || started.Ring.Ready() || a.Text() != newerKeys("3") {
		t.Errorf("in the store's archive: good %t, started %t, replaced %t", in.good(sealed), started.Ring.Ready(),
			a.Text() != newerKeys("3"))
	}
}

// withFields returns keys.json with fields that this release does not know.
func withFields(text string) string {
	text = strings.Replace(text, `"version":1,`, `"version":1,"policy":{"a":[1]},`, 1)
	return strings.Replace(text, `"created":`, `"uses":"all","created":`, 1)
}

// Fields that a later release adds to the keys stay when this release writes the keys, with
// each kind of archive. A file of the first release has no version.
func TestKeysKeepFields(t *testing.T) {
	t.Parallel()
	check := func(what, text string, keys int) {
		t.Helper()
		for _, field := range []string{`"version":1`, `"policy":{"a":[1]}`, `"uses":"all"`} {
			if strings.Count(text, field) != 1 {
				t.Errorf("%s, %s is there %d times", what, field, strings.Count(text, field))
			}
		}
		var read session.Keys
		if err := json.Unmarshal([]byte(text), &read); err != nil || len(read.Sealing) != keys {
			t.Errorf("%s there are %d keys: %v", what, len(read.Sealing), err)
		}
	}
	now, storage := harness.NewFakeClock(), newMemStorage()
	v := vaultOn(t, storage, now.Now)
	_, sealed := v.issue(t, "+6421234567", "")
	text, _ := storage.get(keysFile)
	before := strings.Replace(text, `"version":1,`, "", 1)
	if before == text {
		t.Fatalf("no version is written")
	}
	storage.put(keysFile, before)
	if restarted := vaultOn(t, storage, now.Now); !restarted.good(sealed) {
		t.Error("a file of the release before is not read")
	}
	storage.put(keysFile, withFields(text))
	now.Advance(30 * day)
	vaultOn(t, storage, now.Now)
	text, _ = storage.get(keysFile)
	check("rotated at a start", text, 2)
	now.Advance(30 * day)
	v.mustMaintain(t)
	text, _ = storage.get(keysFile)
	check("rotated by one that had read it before they were added", text, 3)

	a := vaulttest.NewArchive()
	in := vaultIn(t, a, now.Now)
	a.SetText(withFields(a.Text()))
	now.Advance(session.KeyAge + time.Hour)
	mustSync(t, in)
	check("in the store's archive", a.Text(), 2)
	a.Empty()
	mustSync(t, in)
	check("put back into it", a.Text(), 2)
}
