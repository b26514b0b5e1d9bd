package websms_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms"
	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/vault"
	"github.com/caddy-websms/websms/internal/vault/vaulttest"
	"github.com/caddy-websms/websms/memorystore"
	"github.com/caddy-websms/websms/session"
)

func init() { caddy.RegisterModule(archiveStore{}) }

// archiveStore is the memory store with an archive beside it, one for each secret.
type archiveStore struct{ memorystore.Store }

var (
	archives     map[string]*vaulttest.Archive
	archivesHeld atomic.Int32
)

func (archiveStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "websms.stores.test_archive", New: func() caddy.Module { return new(archiveStore) }}
}

func (s *archiveStore) OpenArchive(secret string) (string, session.Archive, func() error, error) {
	archivesHeld.Add(1)
	return "test " + secret, archives[secret], func() error { archivesHeld.Add(-1); return nil }, nil
}

var _ websms.ArchiveModule = (*archiveStore)(nil)

// useArchives makes an archive for each secret. Vaults sync with them all the time.
func useArchives(t *testing.T, secrets ...string) (opened []*vaulttest.Archive) {
	t.Helper()
	archives = make(map[string]*vaulttest.Archive)
	for _, secret := range secrets {
		a := vaulttest.NewArchive()
		a.Every = 5 * time.Millisecond
		archives[secret], opened = a, append(opened, a)
	}
	t.Cleanup(func() {
		if n := archivesHeld.Load(); n != 0 {
			t.Errorf("%d holds on archives are left", n)
		}
	})
	return opened
}

// linesTold counts the log lines of the app that begin with text.
func linesTold(w *harness.World, level, text string) (n int) {
	w.T.Helper()
	for _, line := range w.Logged("websms") {
		if message, _ := line["msg"].(string); line["level"] == level && strings.HasPrefix(message, text) {
			n++
		}
	}
	return n
}

// While the keys are not known, the gate lets nobody in and keeps all session cookies. Once
// they are known, everything works, without a reload.
func TestGateWithoutKeys(t *testing.T) {
	a := useArchives(t, "csk_demo")[0]
	gate := "bypass {\n path /open\n}\n" + harness.Plenty
	w := harness.Start(t, harness.Setup{App: "store test_archive", Gate: gate})
	admin := harness.StartAdmin(w, gate)
	w.Sim.SetWebhook("", "")
	in, out := w.Browser(), w.Browser()
	in.Login("+6421234567")
	out.Login("+6421234568")
	asset := ""
	if _, rest, ok := strings.Cut(w.Browser().Get("/.websms/login", harness.Page).Text, `href="/.websms/assets/`); ok {
		name, _, _ := strings.Cut(rest, `"`)
		asset = "/.websms/assets/" + name
	}
	harness.WantStatus(t, "signing out", out.Post("/.websms/logout", nil, harness.API), http.StatusNoContent)
	seen := len(w.App.Seen())
	a.Fail(vaulttest.Everything...)
	harness.Restart(w, gate)
	for _, b := range []*harness.Browser{in, out} {
		b.Client.CloseIdleConnections()
	}
	forged := http.Header{"X-Verified-Number": {"+6421234567"}, "Accept": {"text/html"}}
	for _, c := range []struct {
		method, path string
		header       http.Header
		kind         string
	}{
		{"GET", "/", harness.Page, "text/html"},
		{"GET", "/", harness.API, "application/problem+json"},
		{"GET", "/data", nil, "application/problem+json"},
		{"POST", "/", harness.Page, "text/html"},
		{"GET", "/.websms", harness.Page, "text/html"},
		{"GET", "/.websms/login", harness.Page, "text/html"},
		{"GET", "/.websms/login", harness.API, "application/problem+json"},
		{"POST", "/.websms/send", harness.Page, "text/html"},
		{"POST", "/.websms/send", harness.API, "application/problem+json"},
		{"POST", "/.websms/verify", harness.API, "application/problem+json"},
		{"GET", "/.websms/verify", harness.Page, "text/html"},
		{"POST", "/.websms/resend", harness.Page, "text/html"},
		{"POST", "/.websms/logout", harness.Page, "text/html"},
		{"GET", "/.websms/session", harness.Page, "application/problem+json"},
		{"GET", "/.websms/status", http.Header{"Accept": {"text/event-stream"}}, "application/problem+json"},
		{"GET", "/.websms/nothing", harness.Page, "text/html"},
		{"GET", "/", forged, "text/html"},
	} {
		got := in.Do(c.method, c.path, nil, c.header)
		if got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") != "5" ||
			!strings.HasPrefix(got.Header.Get("Content-Type"), c.kind) {
			t.Errorf("%s %s: %s %v", c.method, c.path, got.Status, got.Header)
		}
		if got.Header.Values("Set-Cookie") != nil || got.Header.Get("Cache-Control") != "no-store" ||
			c.kind != "text/html" && got.JSON("type") != "unavailable" {
			t.Errorf("%s %s: %v %s", c.method, c.path, got.Header, harness.Excerpt(got.Text))
		}
	}
	if n := len(w.App.Seen()); n != seen {
		t.Errorf("%d requests reached the app", n-seen)
	}
	harness.WantStatus(t, "an asset", in.Get(asset), http.StatusOK)
	harness.WantStatus(t, "a bypass", in.Get("/open", forged), http.StatusOK)
	if all := w.App.Seen(); all[len(all)-1].Header.Get("X-Verified-Number") != "" {
		t.Error("a client names itself verified")
	}
	hook := in.Send(w.HookPath+"?secret="+harness.WebhookSecret, "application/json",
		`{"type":"dlr","messageId":"MSG1","status":"DELIVRD","statusCode":1}`)
	if harness.WantStatus(t, "the webhook", hook, http.StatusOK); len(w.Logged("websms.dlr")) == 0 {
		t.Error("the event is not logged")
	}
	for _, path := range []string{"/websms/revoke", "/websms/unlock"} {
		got := harness.AdminPost(t, admin, path, `{"number": "+6421234567"}`)
		if harness.WantStatus(t, path, got, http.StatusServiceUnavailable); !strings.Contains(got.Text, "the keys are not known yet") {
			t.Errorf("%s: %s", path, got.Text)
		}
	}
	a.Fail()
	harness.Eventually(t, "the keys are known", harness.Held(t, "vault").(*vault.Vault).Ring.Ready)
	harness.WantIn(t, "who was in before", in, true)
	harness.WantIn(t, "who had signed out", out, false)
	w.Browser().Login("+6421234569")
	const away, back = "the keys that seal sessions are not known", "keys and ended sessions are up to date with the store again"
	harness.Eventually(t, "the end is told", func() bool { return linesTold(w, "info", back) == 1 })
	if n := linesTold(w, "warn", away); n != 1 {
		t.Errorf("that it is away is told %d times", n)
	}
	w.WantNoSecrets()
}

// An archive is away, and then loses everything. Sessions hold, and a session that was ended
// stays ended. The log has one line when the trouble begins and one when it ends.
func TestGateArchiveFails(t *testing.T) {
	a := useArchives(t, "csk_demo")[0]
	w := harness.Start(t, harness.Setup{App: "store test_archive", Gate: harness.Plenty})
	in, out, later := w.Browser(), w.Browser(), w.Browser()
	for b, number := range map[*harness.Browser]string{in: "+6421234567", out: "+6421234568", later: "+6421234569"} {
		b.Login(number)
	}
	stolen := w.Browser()
	stolen.Header.Set("Cookie", "websms_session="+later.Cookie("websms_session").Value)
	harness.WantStatus(t, "signing out", out.Post("/.websms/logout", nil, harness.API), http.StatusNoContent)
	const (
		away = "keys and ended sessions cannot be brought up to date with the store"
		back = "keys and ended sessions are up to date with the store again"
	)
	for round := 1; round <= 2; round++ {
		a.Fail(vaulttest.Everything...)
		harness.Eventually(t, "it is told that it is away", func() bool { return linesTold(w, "warn", away) == round })
		asked := a.Count("Keys")
		harness.Eventually(t, "it is asked again", func() bool { return a.Count("Keys") > asked+5 })
		harness.WantIn(t, "away, who is in", in, true)
		harness.WantStatus(t, "signing out while it is away", later.Post("/.websms/logout", nil, harness.API), http.StatusNoContent)
		harness.WantIn(t, "away, a copy of who signed out", stolen, false)
		a.Empty()
		a.Fail()
		harness.Eventually(t, "it is told that it is back", func() bool { return linesTold(w, "info", back) == round })
		harness.Eventually(t, "all is in it again", func() bool { return len(a.Names()) == 2 })
		harness.WantIn(t, "back, who is in", in, true)
		harness.WantIn(t, "back, a copy of who signed out", stolen, false)
	}
	if n := linesTold(w, "warn", away); n != 2 {
		t.Errorf("that it is away is told %d times", n)
	}
	harness.Restart(w, harness.Plenty)
	in.Client.CloseIdleConnections()
	stolen.Client.CloseIdleConnections()
	harness.WantIn(t, "after a restart, who is in", in, true)
	harness.WantIn(t, "after a restart, a copy of who signed out", stolen, false)
	w.WantNoSecrets()
}

// A reload moves to an archive, or to another secret and so to another archive. It ends no
// session, and makes no ended session good.
func TestGateMovesToArchive(t *testing.T) {
	opened := useArchives(t, "csk_demo", "csk_rotated")
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	in, out := w.Browser(), w.Browser()
	in.Login("+6421234567")
	out.Login("+6421234568")
	stolen := w.Browser()
	stolen.Header.Set("Cookie", "websms_session="+out.Cookie("websms_session").Value)
	harness.WantStatus(t, "signing out", out.Post("/.websms/logout", nil, harness.API), http.StatusNoContent)
	former := w.Config
	for i, change := range []func(string) string{
		func(text string) string { return strings.Replace(text, "websms {", "websms {\nstore test_archive", 1) },
		func(text string) string {
			return strings.Replace(strings.Replace(text, "websms {", "websms {\nstore test_archive", 1), "csk_demo", "csk_rotated", 1)
		},
	} {
		w.Config = func(options string) string { return change(former(options)) }
		opened[i].Fail(vaulttest.Everything...) // the archive fails before it opens, too
		w.Load(harness.Plenty)
		check := func(when string) {
			t.Helper()
			in.Client.CloseIdleConnections()
			stolen.Client.CloseIdleConnections()
			harness.WantIn(t, when+", who is in", in, true)
			harness.WantIn(t, when+", a copy of who signed out", stolen, false)
		}
		check("after the reload")
		opened[i].Fail()
		harness.Eventually(t, "all is in the archive", func() bool { return len(opened[i].Names()) == 1 })
		check("when it is there")
		harness.Restart(w, harness.Plenty)
		check("after a restart")
	}
	if n := archivesHeld.Load(); n != 1 {
		t.Errorf("%d archives are held", n)
	}
}

// A reload moves from a store with an archive to the memory store, or to another storage. It
// ends no session, and makes no ended session good.
func TestGateMovesToStorage(t *testing.T) {
	useArchives(t, "csk_demo")
	w := harness.Start(t, harness.Setup{App: "store test_archive", Gate: harness.Plenty})
	in, out, stolen := w.Browser(), w.Browser(), w.Browser()
	in.Login("+6421234567")
	out.Login("+6421234568")
	stolen.Header.Set("Cookie", "websms_session="+out.Cookie("websms_session").Value)
	harness.WantStatus(t, "signing out", out.Post("/.websms/logout", nil, harness.API), http.StatusNoContent)
	former, elsewhere := w.Config, t.TempDir()
	for what, change := range map[string]func(text string) string{
		"the memory store": func(text string) string { return strings.Replace(text, "store test_archive", "", 1) },
		"another storage": func(text string) string {
			return strings.Replace(strings.Replace(text, "store test_archive", "", 1), w.Dir, elsewhere, 1)
		},
	} {
		w.Config = former
		w.Load(harness.Plenty)
		w.Config = func(options string) string { return change(former(options)) }
		w.Load(harness.Plenty)
		check := func(when string) {
			t.Helper()
			in.Client.CloseIdleConnections()
			stolen.Client.CloseIdleConnections()
			harness.WantIn(t, when+", who is in", in, true)
			harness.WantIn(t, when+", a copy of who signed out", stolen, false)
		}
		check(what + ", after the reload")
		harness.Restart(w, harness.Plenty)
		check(what + ", after a restart")
	}
	w.WantNoSecrets()
}
