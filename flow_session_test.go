package websms

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// in reports whether the gate lets a browser pass, and whether it renewed the
// browser's session.
func (b *browser) in() (passed, renewed bool) {
	b.t.Helper()
	a := b.get("/", api)
	return a.StatusCode == http.StatusOK, a.setCookie("websms_session") != nil
}

func wantIn(t *testing.T, what string, b *browser, want bool) {
	t.Helper()
	if in, _ := b.in(); in != want {
		t.Errorf("%s: in is %t", what, in)
	}
}

// A session ends when it rests, and at its absolute end whatever it does; it
// is renewed at most once a minute.
func TestSessionEnds(t *testing.T) {
	now := useClock(t)
	w := start(t, setup{gate: "session {\n ttl 3h\n idle 20m\n}\n" + plenty})
	resting, busy := w.browser(), w.browser()
	resting.login(freshNumber())
	busy.login(freshNumber())

	for _, c := range []struct {
		step    time.Duration
		renewed bool
	}{{59 * time.Second, false}, {time.Second, true}, {time.Second, false}, {58 * time.Second, false}, {time.Second, true}, {18 * time.Minute, true}} {
		now.Advance(c.step)
		if in, renewed := busy.in(); !in || renewed != c.renewed {
			t.Errorf("%s later: in is %t, renewed %t; want %t", c.step, in, renewed, c.renewed)
		}
	} // 20 minutes
	wantIn(t, "who rested for 20 minutes", resting, false)
	now.Advance(20*time.Minute - time.Second)
	wantIn(t, "who rested for a second less", busy, true)
	for range 6 { // 2:39:59
		now.Advance(20*time.Minute - time.Second)
		wantIn(t, "who is busy", busy, true)
	}
	now.Advance(19 * time.Minute)
	wantIn(t, "in the last minute of the absolute life", busy, true)
	if a := busy.get("/.websms/session", api); a.json("expires_at") != "2026-07-01T12:00:00Z" {
		t.Errorf("session: %s", a.body)
	}
	now.Advance(67 * time.Second)
	wantIn(t, "at the end of the absolute life", busy, false)
}

// What the session options make of a session's life.
func TestSessionLife(t *testing.T) {
	for _, c := range []struct {
		name, options string
		remember      bool
		rests         time.Duration // for so long, and is still in
		ends          time.Duration // after so much more it is out, having rested
	}{
		{"the defaults", "", false, time.Hour - time.Second, time.Hour},
		{"without idle", "session {\n ttl 24h\n idle 0\n}", false, 24*time.Hour - time.Second, time.Second},
		{"idle longer than ttl", "session {\n ttl 1h\n idle 2h\n}", false, time.Hour - time.Second, time.Second},
		{"remembered", "session {\n ttl 1h\n idle 10m\n remember 720h\n}", true, 720*time.Hour - time.Second, time.Second},
		{"not remembered where it is offered", "session {\n ttl 2h\n idle 10m\n remember 720h\n}", false, 10*time.Minute - time.Second, 10 * time.Minute},
		{"remembered where it is not offered", "session {\n ttl 2h\n}", true, time.Hour - time.Second, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := useClock(t)
			w := start(t, setup{gate: c.options + "\n" + plenty})
			b := w.browser()
			b.client.Jar = nil // it forgets what Max-Age says by a clock of its own
			form := []string{"phone", "+6421234567"}
			challenge := b.post("/.websms/send", form, api).setCookie("websms_session_challenge")
			form = []string{"code", w.codeFor("+6421234567", 1)}
			if c.remember {
				form = append(form, "remember", "1")
			}
			s := b.post("/.websms/verify", form, api, with("Cookie", challenge.Name+"="+challenge.Value)).setCookie("websms_session")
			opens := func() bool { return b.get("/", api, with("Cookie", s.Name+"="+s.Value)).StatusCode == http.StatusOK }
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

// A reload that shortens sessions ends the older; one that lengthens them
// revives none.
func TestSessionLifeChanges(t *testing.T) {
	now := useClock(t)
	w := start(t, setup{gate: "session {\n ttl 4h\n idle 0\n}\n" + plenty})
	b := w.browser()
	b.login(freshNumber())
	now.Advance(2 * time.Hour)
	wantIn(t, "after 2 of 4 hours", b, true)
	w.load("session {\n ttl 1h\n idle 0\n}\n" + plenty)
	wantIn(t, "after 2 of 1 hours", b, false)
	w.load("session {\n ttl 4h\n idle 0\n}\n" + plenty)
	wantIn(t, "after 2 of 4 hours again", b, true)
	now.Advance(2 * time.Hour)
	w.load("session {\n ttl 24h\n idle 0\n}\n" + plenty)
	wantIn(t, "after its 4 hours", b, false)
}

// A number that is taken off the list is out at once; the others stay.
func TestNumberIsTakenOff(t *testing.T) {
	file := filepath.Join(t.TempDir(), "numbers")
	write := func(lines string) {
		if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# staff\n021 234 567\n+64 21 234 568 # Aroha\n\n")
	gate := "numbers {\n allow +6421234569\n allow_file " + file + "\n}\n" + plenty
	w := start(t, setup{gate: gate})
	numbers := []string{"+6421234567", "+6421234568", "+6421234569"}
	var in []*browser
	for _, number := range numbers {
		b := w.browser()
		b.login(number)
		in = append(in, b)
	}
	pending := w.browser()
	code := pending.ask("+6421234567")

	check := func(want ...bool) {
		t.Helper()
		for i, b := range in {
			wantIn(t, numbers[i], b, want[i])
		}
	}
	check(true, true, true)
	write("021 234 568\n")
	check(true, true, true) // the file is read when the configuration is loaded
	w.load(gate)
	check(false, true, true)
	wantProblem(t, "its session", in[0].get("/.websms/session", api), http.StatusUnauthorized, "unverified")
	w.wantSends("a resend", 0, "+6421234568", func() {
		wantStatus(t, "a resend", pending.resend(), http.StatusAccepted)
	})
	if a := pending.answerWith(code); a.StatusCode == http.StatusOK || a.setCookie("websms_session") != nil {
		t.Errorf("its code: %s", a.Status)
	}
	w.load("numbers {\n countries AU\n}\n" + plenty)
	check(false, false, false)
	w.load(gate)
	check(false, true, true)
}

// Signing out ends the session at the server: whoever has copied the cookie
// is out too, also after a restart on the same storage.
func TestLogout(t *testing.T) {
	w := start(t, setup{gate: plenty})
	b, thief, other := w.browser(), w.browser(), w.browser()
	b.login("+6421234567")
	other.login("+6421234567") // the same number in another browser
	b.ask("+6421234567")
	thief.header.Set("Cookie", "websms_session="+b.cookie("websms_session").Value)
	wantIn(t, "who copied the cookie", thief, true)

	a := b.post("/.websms/logout", nil, api)
	if a.StatusCode != http.StatusNoContent || a.body != "" || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("logout: %s %q", a.Status, a.body)
	}
	if b.cookie("websms_session") != nil || b.cookie("websms_session_challenge") != nil {
		t.Error("logout leaves cookies")
	}
	wantIn(t, "who signed out", b, false)
	wantIn(t, "who copied the cookie", thief, false)
	wantIn(t, "another browser", other, true)
	wantProblem(t, "the thief's session", thief.get("/.websms/session", api), http.StatusUnauthorized, "unverified")
	for range 2 { // twice, and of nobody
		wantStatus(t, "logout of nobody", b.post("/.websms/logout", nil, api), http.StatusNoContent)
		wantStatus(t, "logout of an ended session", thief.post("/.websms/logout", nil, api), http.StatusNoContent)
	}
	if a := b.post("/.websms/logout", nil, page); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/" {
		t.Errorf("logout of a person: %s to %q", a.Status, a.Header.Get("Location"))
	}
	w.load("comment Changed.\n" + plenty)
	wantIn(t, "the thief after a reload", thief, false)

	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	w.load(plenty)
	wantIn(t, "the thief after a restart", thief, false)
	wantIn(t, "another browser after a restart", other, true)
	b.login("+6421234567")
	wantIn(t, "who signs in anew", b, true)
}

// A session that rests ends for good when its browser signs out: no later
// configuration revives it.
func TestLogoutOfResting(t *testing.T) {
	now := useClock(t)
	gate := "session {\n ttl 12h\n idle %s\n}\n" + plenty
	w := start(t, setup{gate: fmt.Sprintf(gate, "10m")})
	leaves, stays, thief := w.browser(), w.browser(), w.browser()
	leaves.login("+6421234567")
	stays.login("+6421234568")
	thief.header.Set("Cookie", leaves.cookies())
	now.Advance(20 * time.Minute)
	wantStatus(t, "logout", leaves.post("/.websms/logout", nil, api), http.StatusNoContent)
	w.load(fmt.Sprintf(gate, "1h"))
	wantIn(t, "who only rested, by a longer idle", stays, true)
	wantIn(t, "who signed out while it rested", thief, false)
}

// A new verification makes a new session, and who holds none is given none.
func TestSessionIsNew(t *testing.T) {
	w := start(t, setup{gate: plenty})
	b := w.browser()
	b.login("+6421234567")
	first := b.cookie("websms_session").Value
	thief := w.browser()
	thief.header.Set("Cookie", "websms_session="+first)
	wantIn(t, "the first session", thief, true)
	b.login("+6421234567")
	if b.cookie("websms_session").Value == first {
		t.Error("the session stays the same at a new verification")
	}
	wantIn(t, "the first session, whose place is taken", thief, false)
	wantIn(t, "the second session", b, true)
	if strings.Contains(first, "21234567") {
		t.Error("the cookie can be read")
	}
	// With a session the way to the form leads on.
	if a := b.get("/.websms/login?rd=%2Fa%3Fb", page); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/a?b" {
		t.Errorf("login: %s to %q", a.Status, a.Header.Get("Location"))
	}
	if a := b.get("/.websms/login", api); a.StatusCode != http.StatusOK || a.body != `{"mode":"number","masked":null}` {
		t.Errorf("login, for a program: %s %s", a.Status, a.body)
	}
}

// Each line of the audit log tells who, what, where, and no more.
func TestAudit(t *testing.T) {
	w := start(t, setup{
		global: "servers {\n trusted_proxies static private_ranges\n}",
		gate:   "realm staff\n code {\n attempts 1\n}\n limits {\n per_number 2/1h\n cooldown 0s\n}",
	})
	w.sim.SetWebhook("", "")
	from := with("X-Forwarded-For", "203.0.113.7")
	b := w.browser()
	const number = "+6421234567"
	b.request(number, from)
	code := w.codeFor(number, 1)
	b.answerWith(other(code), from)
	b.request(number, from)
	code = w.codeFor(number, 2)
	b.answerWith(code, from)
	b.request(number, from)
	b.post("/.websms/logout", nil, api, from)
	w.sim.SetBalance(0)
	b.request("+6421234568", from)
	events := func() (list []string) {
		for _, line := range w.logged("websms.audit") {
			list = append(list, fmt.Sprint(line["event"]))
		}
		return list
	}
	want := map[string]int{"code_requested": 3, "code_sent": 2, "wrong_code": 1, "verified": 1, "rate_limited": 1, "logged_out": 1, "send_failed": 1}
	eventually(t, "ten lines are logged", func() bool { return len(events()) == 10 })
	for _, line := range w.logged("websms.audit") {
		event := fmt.Sprint(line["event"])
		want[event]--
		masked := "+64•••567"
		if event == "send_failed" || fmt.Sprint(line["number"]) == "+64•••568" {
			masked = "+64•••568"
		}
		if line["msg"] != event || line["realm"] != "staff" || line["number"] != masked || line["user"] != "" || line["client_ip"] != "203.0.113.7" || line["level"] != "info" {
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
	if !strings.Contains(w.logText(), "the account's funds are used up") {
		t.Error("the operator is not told that the funds are used up")
	}
	w.wantNoSecrets()
}

// Signing out ends every session that the browser holds, not only the first.
func TestLogoutEndsAll(t *testing.T) {
	w := start(t, setup{gate: plenty})
	var cookies []string
	for range 3 {
		b := w.browser()
		b.login(freshNumber())
		cookies = append(cookies, "websms_session="+b.cookie("websms_session").Value)
	}
	all := w.browser()
	all.header.Set("Cookie", strings.Join(cookies, "; "))
	wantStatus(t, "with three sessions", all.get("/", page), http.StatusOK)
	all.post("/.websms/logout", nil, api)
	wantStatus(t, "after signing out", all.get("/", page), http.StatusFound)
}
