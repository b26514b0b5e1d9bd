package websms_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/internal/harness"
)

// A session ends when it is idle for too long, and at its absolute end even if it is used. Its
// cookie is renewed at most once a minute.
func TestSessionEnds(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: "session {\n ttl 3h\n idle 20m\n}\n" + harness.Plenty})
	resting, busy := w.Browser(), w.Browser()
	resting.Login(harness.FreshNumber())
	busy.Login(harness.FreshNumber())

	for _, c := range []struct {
		step    time.Duration
		renewed bool
	}{{59 * time.Second, false}, {time.Second, true}, {time.Second, false}, {58 * time.Second, false}, {time.Second, true},
		{18 * time.Minute, true}} {
		now.Advance(c.step)
		if in, renewed := harness.IsIn(busy); !in || renewed != c.renewed {
			t.Errorf("%s later: in is %t, renewed %t; want %t", c.step, in, renewed, c.renewed)
		}
	} // 20 minutes
	harness.WantIn(t, "who rested for 20 minutes", resting, false)
	now.Advance(20*time.Minute - time.Second)
	harness.WantIn(t, "who rested for a second less", busy, true)
	for range 6 { // 2:39:59
		now.Advance(20*time.Minute - time.Second)
		harness.WantIn(t, "who is busy", busy, true)
	}
	now.Advance(19 * time.Minute)
	harness.WantIn(t, "in the last minute of the absolute life", busy, true)
	if a := busy.Get("/.websms/session", harness.API); a.JSON("expires_at") != "2026-07-01T12:00:00Z" {
		t.Errorf("session: %s", a.Text)
	}
	now.Advance(67 * time.Second)
	harness.WantIn(t, "at the end of the absolute life", busy, false)
}

// The session options set the idle time and the absolute end.
func TestSessionLife(t *testing.T) {
	for _, c := range []struct {
		name, options string
		remember      bool
		rests         time.Duration // idle time after which it is still valid
		ends          time.Duration // further idle time after which it is not
	}{
		{"the defaults", "", false, time.Hour - time.Second, time.Hour},
		{"without idle", "session {\n ttl 24h\n idle 0\n}", false, 24*time.Hour - time.Second, time.Second},
		{"idle longer than ttl", "session {\n ttl 1h\n idle 2h\n}", false, time.Hour - time.Second, time.Second},
		{"remembered", "session {\n ttl 1h\n idle 10m\n remember 720h\n}", true, 720*time.Hour - time.Second, time.Second},
		{"not remembered where it is offered", "session {\n ttl 2h\n idle 10m\n remember 720h\n}", false,
			10*time.Minute - time.Second, 10 * time.Minute},
		{"remembered where it is not offered", "session {\n ttl 2h\n}", true, time.Hour - time.Second, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := harness.UseClock(t)
			w := harness.Start(t, harness.Setup{Gate: c.options + "\n" + harness.Plenty})
			b := w.Browser()
			b.Client.Jar = nil // the jar would expire cookies by its own clock
			form := []string{"phone", "+6421234567"}
			challenge := b.Post("/.websms/send", form, harness.API).SetCookie("websms_session_challenge")
			form = []string{"code", w.CodeFor("+6421234567", 1)}
			if c.remember {
				form = append(form, "remember", "1")
			}
			s := b.Post("/.websms/verify", form, harness.API, harness.With("Cookie", challenge.Name+"="+challenge.Value)).SetCookie("websms_session")
			opens := func() bool {
				return b.Get("/", harness.API, harness.With("Cookie", s.Name+"="+s.Value)).StatusCode == http.StatusOK
			}
			now.Advance(c.rests)
			if !opens() {
				t.Errorf("after %s of rest it is out", c.rests)
			}
			now.Advance(c.ends)
			if opens() {
				t.Errorf("after %s more it is in", c.ends)
			}
		})
	}
}

// A reload with shorter sessions ends the older ones. A reload with longer sessions revives none.
func TestSessionLifeChanges(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: "session {\n ttl 4h\n idle 0\n}\n" + harness.Plenty})
	b := w.Browser()
	b.Login(harness.FreshNumber())
	now.Advance(2 * time.Hour)
	harness.WantIn(t, "after 2 of 4 hours", b, true)
	w.Load("session {\n ttl 1h\n idle 0\n}\n" + harness.Plenty)
	harness.WantIn(t, "after 2 of 1 hours", b, false)
	w.Load("session {\n ttl 4h\n idle 0\n}\n" + harness.Plenty)
	harness.WantIn(t, "after 2 of 4 hours again", b, true)
	now.Advance(2 * time.Hour)
	w.Load("session {\n ttl 24h\n idle 0\n}\n" + harness.Plenty)
	harness.WantIn(t, "after its 4 hours", b, false)
}

// A number that is removed from the list is signed out at once. The other numbers stay signed in.
func TestNumberIsTakenOff(t *testing.T) {
	file := filepath.Join(t.TempDir(), "numbers")
	write := func(lines string) {
		if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# staff\n021 234 567\n+64 21 234 568 # Aroha\n\n")
	gate := "numbers {\n allow +6421234569\n allow_file " + file + "\n}\n" + harness.Plenty
	w := harness.Start(t, harness.Setup{Gate: gate})
	numbers := []string{"+6421234567", "+6421234568", "+6421234569"}
	var in []*harness.Browser
	for _, number := range numbers {
		b := w.Browser()
		b.Login(number)
		in = append(in, b)
	}
	pending := w.Browser()
	code := pending.Ask("+6421234567")

	check := func(want ...bool) {
		t.Helper()
		for i, b := range in {
			harness.WantIn(t, numbers[i], b, want[i])
		}
	}
	check(true, true, true)
	write("021 234 568\n")
	check(true, true, true) // the file is read when the configuration loads
	w.Load(gate)
	check(false, true, true)
	harness.WantProblem(t, "its session", in[0].Get("/.websms/session", harness.API), http.StatusUnauthorized, "unverified")
	w.WantSends("a resend", 0, "+6421234568", func() {
		harness.WantStatus(t, "a resend", pending.Resend(), http.StatusAccepted)
	})
	if a := pending.AnswerWith(code); a.StatusCode == http.StatusOK || a.SetCookie("websms_session") != nil {
		t.Errorf("its code: %s", a.Status)
	}
	w.Load("numbers {\n countries AU\n}\n" + harness.Plenty)
	check(false, false, false)
	w.Load(gate)
	check(false, true, true)
}

// Signing out ends the session at the server. So a copied cookie stops working too, also after a
// restart on the same storage.
func TestLogout(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b, thief, other := w.Browser(), w.Browser(), w.Browser()
	b.Login("+6421234567")
	other.Login("+6421234567") // the same number in another browser
	b.Ask("+6421234567")
	thief.Header.Set("Cookie", "websms_session="+b.Cookie("websms_session").Value)
	harness.WantIn(t, "who copied the cookie", thief, true)

	a := b.Post("/.websms/logout", nil, harness.API)
	if a.StatusCode != http.StatusNoContent || a.Text != "" || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("logout: %s %q", a.Status, a.Text)
	}
	if b.Cookie("websms_session") != nil || b.Cookie("websms_session_challenge") != nil {
		t.Error("logout leaves cookies")
	}
	harness.WantIn(t, "who signed out", b, false)
	harness.WantIn(t, "who copied the cookie", thief, false)
	harness.WantIn(t, "another browser", other, true)
	harness.WantProblem(t, "the thief's session", thief.Get("/.websms/session", harness.API), http.StatusUnauthorized, "unverified")
	for range 2 { // the second time without a session
		harness.WantStatus(t, "logout of nobody", b.Post("/.websms/logout", nil, harness.API), http.StatusNoContent)
		harness.WantStatus(t, "logout of an ended session", thief.Post("/.websms/logout", nil, harness.API), http.StatusNoContent)
	}
	if a := b.Post("/.websms/logout", nil, harness.Page); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/" {
		t.Errorf("logout of a person: %s to %q", a.Status, a.Header.Get("Location"))
	}
	w.Load("comment Changed.\n" + harness.Plenty)
	harness.WantIn(t, "the thief after a reload", thief, false)

	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	w.Load(harness.Plenty)
	harness.WantIn(t, "the thief after a restart", thief, false)
	harness.WantIn(t, "another browser after a restart", other, true)
	b.Login("+6421234567")
	harness.WantIn(t, "who signs in anew", b, true)
}

// Signing out also ends a session that is idle for too long. A later configuration with a longer
// idle time does not revive it.
func TestLogoutOfResting(t *testing.T) {
	now := harness.UseClock(t)
	gate := "session {\n ttl 12h\n idle %s\n}\n" + harness.Plenty
	w := harness.Start(t, harness.Setup{Gate: fmt.Sprintf(gate, "10m")})
	leaves, stays, thief := w.Browser(), w.Browser(), w.Browser()
	leaves.Login("+6421234567")
	stays.Login("+6421234568")
	thief.Header.Set("Cookie", leaves.Cookies())
	now.Advance(20 * time.Minute)
	harness.WantStatus(t, "logout", leaves.Post("/.websms/logout", nil, harness.API), http.StatusNoContent)
	w.Load(fmt.Sprintf(gate, "1h"))
	harness.WantIn(t, "who only rested, by a longer idle", stays, true)
	harness.WantIn(t, "who signed out while it rested", thief, false)
}

// Each verification makes a new session. Without a verification there is no session.
func TestSessionIsNew(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b := w.Browser()
	b.Login("+6421234567")
	first := b.Cookie("websms_session").Value
	thief := w.Browser()
	thief.Header.Set("Cookie", "websms_session="+first)
	harness.WantIn(t, "the first session", thief, true)
	b.Login("+6421234567")
	if b.Cookie("websms_session").Value == first {
		t.Error("the session stays the same at a new verification")
	}
	harness.WantIn(t, "the first session, whose place is taken", thief, false)
	harness.WantIn(t, "the second session", b, true)
	if strings.Contains(first, "21234567") {
		t.Error("the cookie can be read")
	}
	// With a session, the login page redirects to the target.
	if a := b.Get("/.websms/login?rd=%2Fa%3Fb", harness.Page); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/a?b" {
		t.Errorf("login: %s to %q", a.Status, a.Header.Get("Location"))
	}
	if a := b.Get("/.websms/login", harness.API); a.StatusCode != http.StatusOK || a.Text != `{"mode":"number","masked":null}` {
		t.Errorf("login, for a program: %s %s", a.Status, a.Text)
	}
}

// Each line of the audit log names the subject, the action and the place, and nothing more.
func TestAudit(t *testing.T) {
	w := harness.Start(t, harness.Setup{
		Global: "servers {\n trusted_proxies static private_ranges\n}",
		Gate:   "realm staff\n code {\n attempts 1\n}\n limits {\n per_number 2/1h\n cooldown 0s\n}",
	})
	w.Sim.SetWebhook("", "")
	from := harness.With("X-Forwarded-For", "203.0.113.7")
	b := w.Browser()
	const number = "+6421234567"
	b.Request(number, from)
	code := w.CodeFor(number, 1)
	b.AnswerWith(harness.OtherCode(code), from)
	b.Request(number, from)
	code = w.CodeFor(number, 2)
	b.AnswerWith(code, from)
	b.Request(number, from)
	b.Post("/.websms/logout", nil, harness.API, from)
	w.Sim.SetBalance(0)
	b.Request("+6421234568", from)
	events := func() (list []string) {
		for _, line := range w.Logged("websms.audit") {
			list = append(list, fmt.Sprint(line["event"]))
		}
		return list
	}
	want := map[string]int{"code_requested": 3, "code_sent": 2, "wrong_code": 1, "verified": 1, "rate_limited": 1,
		"logged_out": 1, "send_failed": 1}
	harness.Eventually(t, "ten lines are logged", func() bool { return len(events()) == 10 })
	for _, line := range w.Logged("websms.audit") {
		event := fmt.Sprint(line["event"])
		want[event]--
		masked := "+64•••567"
		if event == "send_failed" || fmt.Sprint(line["number"]) == "+64•••568" {
			masked = "+64•••568"
		}
		if line["msg"] != event || line["realm"] != "staff" || line["number"] != masked || line["user"] != "" ||
			line["client_ip"] != "203.0.113.7" || line["level"] != "info" {
			t.Errorf("the audit log has %v", line)
		}
		if means := line["means"]; (means == "sms") != (event == "verified") {
			t.Errorf("the means of %s is %v", event, means)
		}
		id, _ := line["challenge"].(string)
		if none := event == "logged_out" || event == "rate_limited"; none && id != "" || !none && len(id) != 32 {
			t.Errorf("the challenge of %s is %q", event, id)
		}
	}
	for event, missing := range want {
		if missing != 0 {
			t.Errorf("%s: %d lines too few", event, missing)
		}
	}
	if !strings.Contains(w.LogText(), "the account's funds are used up") {
		t.Error("the operator is not told that the funds are used up")
	}
	w.WantNoSecrets()
}

// Signing out ends every session that the browser holds, not only the first.
func TestLogoutEndsAll(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	var cookies []string
	for range 3 {
		b := w.Browser()
		b.Login(harness.FreshNumber())
		cookies = append(cookies, "websms_session="+b.Cookie("websms_session").Value)
	}
	all := w.Browser()
	all.Header.Set("Cookie", strings.Join(cookies, "; "))
	harness.WantStatus(t, "with three sessions", all.Get("/", harness.Page), http.StatusOK)
	all.Post("/.websms/logout", nil, harness.API)
	harness.WantStatus(t, "after signing out", all.Get("/", harness.Page), http.StatusFound)
}
