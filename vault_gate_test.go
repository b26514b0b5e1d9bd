package websms

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/session"
)

// loginToStay signs in on a device that is to be trusted.
func (b *browser) loginToStay(number string) {
	b.t.Helper()
	if a := b.post("/.websms/verify", []string{"code", b.ask(number), "remember", "1"}, api); a.StatusCode != http.StatusOK {
		b.t.Fatalf("verify: %s %s", a.Status, a.body)
	}
}

// key tells the key that a browser's session is sealed with: its id is in front.
func (b *browser) key() string { return b.cookie("websms_session").Value[:5] }

// Keys are replaced behind everybody's back: who signed in before a rotation,
// in its midst and after it is in, also after a reload and a restart.
func TestGateRotation(t *testing.T) {
	now := useClock(t)
	gate := "session {\n remember 1440h\n}\n" + plenty
	w := start(t, setup{gate: gate})
	w.sim.SetWebhook("", "")
	before, during, after, pending := w.browser(), w.browser(), w.browser(), w.browser()
	before.loginToStay("+6421234567")
	reload := func(comment string) {
		t.Helper()
		w.load("comment " + comment + "\n" + gate)
		for _, b := range []*browser{before, during, after, pending} {
			b.client.CloseIdleConnections()
		}
	}
	now.Advance(31 * day)
	wantIn(t, "before any rotation", before, true)
	reload("One.") // which makes a key
	wantIn(t, "who is a month old", before, true)
	during.loginToStay("+6421234568")
	if during.key() != before.key() {
		t.Error("the new key seals at once")
	}
	now.Advance(session.Settling - time.Minute)
	code := pending.ask("+6421234560")
	now.Advance(time.Minute)
	reload("Two.") // by which the new key seals
	after.loginToStay("+6421234569")
	if after.key() == before.key() {
		t.Error("the new key does not seal")
	}
	all := map[string]*browser{"before": before, "during": during, "after": after}
	for name, b := range all {
		wantIn(t, "signed in "+name+" the rotation", b, true)
	}
	wantStatus(t, "a code that was on its way", pending.answerWith(code), http.StatusOK)
	wantIn(t, "who answered it", pending, true)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	reload("Three.")
	for name, b := range all {
		wantIn(t, "after a restart, signed in "+name+" the rotation", b, true)
	}
	now.Advance(29*day - session.Settling)
	wantIn(t, "at the end of its own life", before, false)
	wantIn(t, "a month younger", during, true)
	w.wantNoSecrets()
}

// A process whose keys are damaged under it goes on, and says so.
func TestGateKeysDamaged(t *testing.T) {
	now := useClock(t)
	w := start(t, setup{gate: plenty})
	b := w.browser()
	b.login("+6421234567")
	file := filepath.Join(w.dir, filepath.FromSlash(keysFile))
	sound, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, string(sound[:len(sound)/2]))
	w.load("comment Changed.\n" + plenty)
	b.client.CloseIdleConnections()
	wantIn(t, "who signed in before", b, true)
	other := w.browser()
	other.login("+6421234568")
	wantIn(t, "who signs in now", other, true)
	said := 0
	for _, line := range w.logged("websms") {
		if line["level"] == "error" && strings.Contains(line["error"].(string), "websms/keys.json in Caddy's storage is not JSON") {
			said++
		}
	}
	if said != 1 {
		t.Errorf("it is said %d times", said)
	}
	writeFile(t, file, string(sound))
	now.Advance(30 * day)
	w.load(plenty)
	if made := string(mustRead(t, file)); len(made) <= len(sound) {
		t.Error("when they are restored, no key is made")
	}
	w.wantNoSecrets(strings.Split(string(sound), `"`)[3])
}

func mustRead(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A number that is revoked is out at once and for good; who verifies it again
// within the same second is in, and so is everybody else.
func TestGateRevokedNumber(t *testing.T) {
	now := useClock(t)
	w := start(t, setup{gate: plenty})
	w.sim.SetWebhook("", "")
	lost, again, other := w.browser(), w.browser(), w.browser()
	lost.login("+6421234567")
	other.login("+6421234568")
	code := again.ask("+6421234567")
	vault := activeEngine(t).vault
	if err := vault.revokeNumber("localhost", "+6421234567", now.Now()); err != nil {
		t.Fatal(err)
	}
	wantIn(t, "who holds the lost phone's session", lost, false)
	wantIn(t, "somebody else", other, true)
	now.Advance(time.Nanosecond)
	wantStatus(t, "a code from before", again.answerWith(code), http.StatusOK)
	check := func(when string) {
		t.Helper()
		for _, b := range []*browser{lost, again, other} {
			b.client.CloseIdleConnections()
		}
		wantIn(t, when+", who holds the lost phone's session", lost, false)
		wantIn(t, when+", who verified again", again, true)
		wantIn(t, when+", somebody else", other, true)
	}
	check("within the second")
	if a := lost.get("/.websms/session", api); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("session: %s %s", a.Status, a.body)
	}
	w.load("comment Changed.\n" + plenty)
	check("after a reload")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	w.load(plenty)
	check("after a restart")
	if got := activeEngine(t).vault.revoked.NotBefore(session.ByNumber, "localhost", "+6421234567"); !got.Equal(now.Now().Add(-1)) {
		t.Errorf("the number is good from %s on", got)
	}
	if err := activeEngine(t).vault.revokeNumber("elsewhere", "+6421234568", now.Now()); err != nil {
		t.Fatal(err)
	}
	check("when another realm's is revoked")
	err := filepath.WalkDir(filepath.Join(w.dir, "websms"), func(file string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(file+string(mustRead(t, file)), "21234567") {
			t.Errorf("%s tells the number", file)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	w.wantNoSecrets()
}

// What the session endpoint says is in whole seconds, as everything else.
func TestGateTimesAreWholeSeconds(t *testing.T) {
	now := useClock(t)
	now.Advance(123456789 * time.Nanosecond)
	w := start(t, setup{gate: plenty})
	b := w.browser()
	a := b.answerWith(b.ask("+6421234567"))
	wantStatus(t, "verify", a, http.StatusOK)
	if a.json("expires_at") != "2026-07-01T21:00:00Z" {
		t.Errorf("verify: %s", a.body)
	}
	if a = b.get("/.websms/session", api); a.json("expires_at") != "2026-07-01T21:00:00Z" || a.json("verified_at") != "2026-07-01T09:00:00Z" {
		t.Errorf("session: %s", a.body)
	}
}
