package websms

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/session"
)

func init() { caddy.RegisterModule(archiveStore{}) }

// archiveStore is the memory store with an archive beside it: one for each secret.
type archiveStore struct{ MemoryStore }

var (
	archives     map[string]*memArchive
	archivesHeld atomic.Int32
)

func (archiveStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "websms.stores.test_archive", New: func() caddy.Module { return new(archiveStore) }}
}

func (s *archiveStore) OpenArchive(secret string) (string, session.Archive, func() error, error) {
	archivesHeld.Add(1)
	return "test " + secret, archives[secret], func() error { archivesHeld.Add(-1); return nil }, nil
}

var _ ArchiveModule = (*archiveStore)(nil)

// useArchives gives the secrets archives, which are followed all the time.
func useArchives(t *testing.T, secrets ...string) (opened []*memArchive) {
	t.Helper()
	archives = make(map[string]*memArchive)
	for _, secret := range secrets {
		a := newMemArchive()
		a.every = 5 * time.Millisecond
		archives[secret], opened = a, append(opened, a)
	}
	t.Cleanup(func() {
		if n := archivesHeld.Load(); n != 0 {
			t.Errorf("%d holds on archives are left", n)
		}
	})
	return opened
}

// told counts the lines of the app's log that begin with text.
func (w *world) told(level, text string) (n int) {
	w.t.Helper()
	for _, line := range w.logged("websms") {
		if message, _ := line["msg"].(string); line["level"] == level && strings.HasPrefix(message, text) {
			n++
		}
	}
	return n
}

// While the keys are not known nobody is let in and nobody's session is
// touched; when they are, everything works, without a reload.
func TestGateWithoutKeys(t *testing.T) {
	a := useArchives(t, "csk_demo")[0]
	gate := "bypass {\n path /open\n}\n" + plenty
	w := start(t, setup{app: "store test_archive", gate: gate})
	admin := w.admin(gate)
	w.sim.SetWebhook("", "")
	in, out := w.browser(), w.browser()
	in.login("+6421234567")
	out.login("+6421234568")
	asset := ""
	if _, rest, ok := strings.Cut(w.browser().get("/.websms/login", page).body, `href="/.websms/assets/`); ok {
		name, _, _ := strings.Cut(rest, `"`)
		asset = "/.websms/assets/" + name
	}
	wantStatus(t, "signing out", out.post("/.websms/logout", nil, api), http.StatusNoContent)
	seen := len(w.app.seen())
	a.failing(everything...)
	w.restart(gate)
	for _, b := range []*browser{in, out} {
		b.client.CloseIdleConnections()
	}
	forged := http.Header{"X-Verified-Number": {"+6421234567"}, "Accept": {"text/html"}}
	for _, c := range []struct {
		method, path string
		header       http.Header
		kind         string
	}{
		{"GET", "/", page, "text/html"}, {"GET", "/", api, "application/problem+json"}, {"GET", "/data", nil, "application/problem+json"},
		{"POST", "/", page, "text/html"}, {"GET", "/.websms", page, "text/html"}, {"GET", "/.websms/login", page, "text/html"},
		{"GET", "/.websms/login", api, "application/problem+json"}, {"POST", "/.websms/send", page, "text/html"},
		{"POST", "/.websms/send", api, "application/problem+json"}, {"POST", "/.websms/verify", api, "application/problem+json"},
		{"GET", "/.websms/verify", page, "text/html"}, {"POST", "/.websms/resend", page, "text/html"},
		{"POST", "/.websms/logout", page, "text/html"}, {"GET", "/.websms/session", page, "application/problem+json"},
		{"GET", "/.websms/status", http.Header{"Accept": {"text/event-stream"}}, "application/problem+json"}, {"GET", "/.websms/nothing", page, "text/html"},
		{"GET", "/", forged, "text/html"},
	} {
		got := in.do(c.method, c.path, nil, c.header)
		if got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") != "5" || !strings.HasPrefix(got.Header.Get("Content-Type"), c.kind) {
			t.Errorf("%s %s: %s %v", c.method, c.path, got.Status, got.Header)
		}
		if got.Header.Values("Set-Cookie") != nil || got.Header.Get("Cache-Control") != "no-store" || c.kind != "text/html" && got.json("type") != "unavailable" {
			t.Errorf("%s %s: %v %s", c.method, c.path, got.Header, redact(got.body))
		}
	}
	if n := len(w.app.seen()); n != seen {
		t.Errorf("%d requests reached the app", n-seen)
	}
	wantStatus(t, "an asset", in.get(asset), http.StatusOK)
	wantStatus(t, "a bypass", in.get("/open", forged), http.StatusOK)
	if all := w.app.seen(); all[len(all)-1].Header.Get("X-Verified-Number") != "" {
		t.Error("a client names itself verified")
	}
	hook := in.send(w.hookPath+"?secret="+webhookSecret, "application/json", `{"type":"dlr","messageId":"MSG1","status":"DELIVRD","statusCode":1}`)
	if wantStatus(t, "the webhook", hook, http.StatusOK); len(w.logged("websms.dlr")) == 0 {
		t.Error("the event is not logged")
	}
	for _, path := range []string{"/websms/revoke", "/websms/unlock"} {
		got := adminPost(t, admin, path, `{"number": "+6421234567"}`)
		if wantStatus(t, path, got, http.StatusServiceUnavailable); !strings.Contains(got.body, "the keys are not known yet") {
			t.Errorf("%s: %s", path, got.body)
		}
	}
	a.failing()
	eventually(t, "the keys are known", activeEngine(t).vault.ring.Ready)
	wantIn(t, "who was in before", in, true)
	wantIn(t, "who had signed out", out, false)
	w.browser().login("+6421234569")
	const away, back = "the keys that seal sessions are not known", "keys and ended sessions are up to date with the store again"
	eventually(t, "the end is told", func() bool { return w.told("info", back) == 1 })
	if n := w.told("warn", away); n != 1 {
		t.Errorf("that it is away is told %d times", n)
	}
	w.wantNoSecrets()
}

// While it runs, an archive may be away or lose all it has: sessions hold, who
// signed out stays out, and the operator is told once each way.
func TestGateArchiveFails(t *testing.T) {
	a := useArchives(t, "csk_demo")[0]
	w := start(t, setup{app: "store test_archive", gate: plenty})
	in, out, later := w.browser(), w.browser(), w.browser()
	for b, number := range map[*browser]string{in: "+6421234567", out: "+6421234568", later: "+6421234569"} {
		b.login(number)
	}
	stolen := w.browser()
	stolen.header.Set("Cookie", "websms_session="+later.cookie("websms_session").Value)
	wantStatus(t, "signing out", out.post("/.websms/logout", nil, api), http.StatusNoContent)
	const away, back = "keys and ended sessions cannot be brought up to date with the store", "keys and ended sessions are up to date with the store again"
	for round := 1; round <= 2; round++ {
		a.failing(everything...)
		eventually(t, "it is told that it is away", func() bool { return w.told("warn", away) == round })
		asked := a.count("Keys")
		eventually(t, "it is asked again", func() bool { return a.count("Keys") > asked+5 })
		wantIn(t, "away, who is in", in, true)
		wantStatus(t, "signing out while it is away", later.post("/.websms/logout", nil, api), http.StatusNoContent)
		wantIn(t, "away, a copy of who signed out", stolen, false)
		a.empty()
		a.failing()
		eventually(t, "it is told that it is back", func() bool { return w.told("info", back) == round })
		eventually(t, "all is in it again", func() bool { return len(a.names()) == 2 })
		wantIn(t, "back, who is in", in, true)
		wantIn(t, "back, a copy of who signed out", stolen, false)
	}
	if n := w.told("warn", away); n != 2 {
		t.Errorf("that it is away is told %d times", n)
	}
	w.restart(plenty)
	in.client.CloseIdleConnections()
	stolen.client.CloseIdleConnections()
	wantIn(t, "after a restart, who is in", in, true)
	wantIn(t, "after a restart, a copy of who signed out", stolen, false)
	w.wantNoSecrets()
}

// A reload that moves to an archive, or to another secret and so another
// archive, logs nobody out, and nobody in.
func TestGateMovesToArchive(t *testing.T) {
	opened := useArchives(t, "csk_demo", "csk_rotated")
	w := start(t, setup{gate: plenty})
	in, out := w.browser(), w.browser()
	in.login("+6421234567")
	out.login("+6421234568")
	stolen := w.browser()
	stolen.header.Set("Cookie", "websms_session="+out.cookie("websms_session").Value)
	wantStatus(t, "signing out", out.post("/.websms/logout", nil, api), http.StatusNoContent)
	former := w.config
	for i, change := range []func(string) string{
		func(text string) string { return strings.Replace(text, "websms {", "websms {\nstore test_archive", 1) },
		func(text string) string {
			return strings.Replace(strings.Replace(text, "websms {", "websms {\nstore test_archive", 1), "csk_demo", "csk_rotated", 1)
		},
	} {
		w.config = func(options string) string { return change(former(options)) }
		opened[i].failing(everything...) // also while it is not there yet
		w.load(plenty)
		check := func(when string) {
			t.Helper()
			in.client.CloseIdleConnections()
			stolen.client.CloseIdleConnections()
			wantIn(t, when+", who is in", in, true)
			wantIn(t, when+", a copy of who signed out", stolen, false)
		}
		check("after the reload")
		opened[i].failing()
		eventually(t, "all is in the archive", func() bool { return len(opened[i].names()) == 1 })
		check("when it is there")
		w.restart(plenty)
		check("after a restart")
	}
	if n := archivesHeld.Load(); n != 1 {
		t.Errorf("%d archives are held", n)
	}
}
