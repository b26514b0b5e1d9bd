package websms_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/vault"
	"github.com/caddy-websms/websms/session"
)

const day = 24 * time.Hour

// loginToStay signs in and asks the gate to remember the browser.
func loginToStay(b *harness.Browser, number string) {
	b.T.Helper()
	if a := b.Post("/.websms/verify", []string{"code", b.Ask(number), "remember", "1"}, harness.API); a.StatusCode != http.StatusOK {
		b.T.Fatalf("verify: %s %s", a.Status, a.Text)
	}
}

// sealingKey returns the ID of the key that seals a browser's session. The cookie begins
// with it.
func sealingKey(b *harness.Browser) string { return b.Cookie("websms_session").Value[:5] }

// Sessions stay good through a rotation of the keys, whether they began before it, during
// it, or after it. That also holds after a reload and a restart.
func TestGateRotation(t *testing.T) {
	now := harness.UseClock(t)
	gate := "session {\n remember 1440h\n}\n" + harness.Plenty
	w := harness.Start(t, harness.Setup{Gate: gate})
	w.Sim.SetWebhook("", "")
	before, during, after, pending := w.Browser(), w.Browser(), w.Browser(), w.Browser()
	loginToStay(before, "+6421234567")
	reload := func(comment string) {
		t.Helper()
		w.Load("comment " + comment + "\n" + gate)
		for _, b := range []*harness.Browser{before, during, after, pending} {
			b.Client.CloseIdleConnections()
		}
	}
	now.Advance(31 * day)
	harness.WantIn(t, "before any rotation", before, true)
	reload("One.") // makes a new key
	harness.WantIn(t, "who is a month old", before, true)
	loginToStay(during, "+6421234568")
	if sealingKey(during) != sealingKey(before) {
		t.Error("the new key seals at once")
	}
	now.Advance(session.Settling - time.Minute)
	code := pending.Ask("+6421234560")
	now.Advance(time.Minute)
	reload("Two.") // from now on the new key seals
	loginToStay(after, "+6421234569")
	if sealingKey(after) == sealingKey(before) {
		t.Error("the new key does not seal")
	}
	all := map[string]*harness.Browser{"before": before, "during": during, "after": after}
	for name, b := range all {
		harness.WantIn(t, "signed in "+name+" the rotation", b, true)
	}
	harness.WantStatus(t, "a code that was on its way", pending.AnswerWith(code), http.StatusOK)
	harness.WantIn(t, "who answered it", pending, true)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	reload("Three.")
	for name, b := range all {
		harness.WantIn(t, "after a restart, signed in "+name+" the rotation", b, true)
	}
	now.Advance(29*day - session.Settling)
	harness.WantIn(t, "at the end of its own life", before, false)
	harness.WantIn(t, "a month younger", during, true)
	w.WantNoSecrets()
}

// A process goes on when its stored keys are damaged, and logs it.
func TestGateKeysDamaged(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b := w.Browser()
	b.Login("+6421234567")
	file := filepath.Join(w.Dir, filepath.FromSlash(harness.KeysFile))
	sound, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	harness.WriteFile(t, file, string(sound[:len(sound)/2]))
	w.Load("comment Changed.\n" + harness.Plenty)
	b.Client.CloseIdleConnections()
	harness.WantIn(t, "who signed in before", b, true)
	other := w.Browser()
	other.Login("+6421234568")
	harness.WantIn(t, "who signs in now", other, true)
	said := 0
	for _, line := range w.Logged("websms") {
		if line["level"] == "error" && strings.Contains(line["error"].(string), "websms/keys.json in Caddy's storage is not JSON") {
			said++
		}
	}
	if said != 1 {
		t.Errorf("it is said %d times", said)
	}
	harness.WriteFile(t, file, string(sound))
	now.Advance(30 * day)
	w.Load(harness.Plenty)
	if made := string(mustRead(t, file)); len(made) <= len(sound) {
		t.Error("when they are restored, no key is made")
	}
	w.WantNoSecrets(strings.Split(string(sound), `"`)[3])
}

func mustRead(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A number is revoked. Its session ends at once and for good. A person who verifies the
// number again within the same second is signed in. All other sessions stay good.
func TestGateRevokedNumber(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	w.Sim.SetWebhook("", "")
	lost, again, other := w.Browser(), w.Browser(), w.Browser()
	lost.Login("+6421234567")
	other.Login("+6421234568")
	code := again.Ask("+6421234567")
	v := harness.Held(t, "vault").(*vault.Vault)
	if err := v.RevokeNumber("localhost", "+6421234567", now.Now()); err != nil {
		t.Fatal(err)
	}
	harness.WantIn(t, "who holds the lost phone's session", lost, false)
	harness.WantIn(t, "somebody else", other, true)
	now.Advance(time.Nanosecond)
	harness.WantStatus(t, "a code from before", again.AnswerWith(code), http.StatusOK)
	check := func(when string) {
		t.Helper()
		for _, b := range []*harness.Browser{lost, again, other} {
			b.Client.CloseIdleConnections()
		}
		harness.WantIn(t, when+", who holds the lost phone's session", lost, false)
		harness.WantIn(t, when+", who verified again", again, true)
		harness.WantIn(t, when+", somebody else", other, true)
	}
	check("within the second")
	if a := lost.Get("/.websms/session", harness.API); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("session: %s %s", a.Status, a.Text)
	}
	w.Load("comment Changed.\n" + harness.Plenty)
	check("after a reload")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	w.Load(harness.Plenty)
	check("after a restart")
	if got := harness.Held(t, "vault").(*vault.Vault).NotBefore(session.ByNumber, "localhost", "+6421234567"); !got.Equal(now.Now().Add(-1)) {
		t.Errorf("the number is good from %s on", got)
	}
	if err := harness.Held(t, "vault").(*vault.Vault).RevokeNumber("elsewhere", "+6421234568", now.Now()); err != nil {
		t.Fatal(err)
	}
	check("when another realm's is revoked")
	err := filepath.WalkDir(filepath.Join(w.Dir, "websms"), func(file string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(file+string(mustRead(t, file)), "21234567") {
			t.Errorf("%s tells the number", file)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	w.WantNoSecrets()
}

// The session endpoint answers with times in whole seconds.
func TestGateTimesAreWholeSeconds(t *testing.T) {
	now := harness.UseClock(t)
	now.Advance(123456789 * time.Nanosecond)
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b := w.Browser()
	a := b.AnswerWith(b.Ask("+6421234567"))
	harness.WantStatus(t, "verify", a, http.StatusOK)
	if a.JSON("expires_at") != "2026-07-01T21:00:00Z" {
		t.Errorf("verify: %s", a.Text)
	}
	if a = b.Get("/.websms/session", harness.API); a.JSON("expires_at") != "2026-07-01T21:00:00Z" ||
		a.JSON("verified_at") != "2026-07-01T09:00:00Z" {
		t.Errorf("session: %s", a.Text)
	}
}
