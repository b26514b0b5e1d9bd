package websms

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// A challenge as programs see it, from its beginning to its end.
func TestChallengeJSON(t *testing.T) {
	now := useClock(t)
	w := start(t, setup{gate: "code {\n length 8\n attempts 3\n ttl 90s\n}\n limits {\n cooldown 20s\n}"})
	w.sim.SetWebhook("", "")
	b := w.browser()
	wantProblem(t, "before", b.get("/.websms/status", api), http.StatusConflict, "no_challenge")
	wantProblem(t, "before", b.get("/.websms/verify", api), http.StatusConflict, "no_challenge")
	if a := b.get("/.websms/verify", page); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/.websms/login" {
		t.Errorf("before, for a person: %s to %q", a.Status, a.Header.Get("Location"))
	}
	now.Advance(500 * time.Millisecond) // times are told in whole seconds
	a := b.request("021 234 567")
	want := `{"status":"queued","masked":"+64•••567","code_length":8,"attempts_left":3,` +
		`"expires_at":"2026-07-01T09:01:30Z","resend_at":"2026-07-01T09:00:21Z"}`
	if a.StatusCode != http.StatusAccepted || a.body != want {
		t.Errorf("send: %s %s; want %s", a.Status, a.body, want)
	}
	w.codeFor("+6421234567", 1)
	want = strings.Replace(want, "queued", "accepted", 1)
	for _, path := range []string{"/.websms/status", "/.websms/verify"} {
		eventually(t, path+" tells of the message", func() bool { return b.get(path, api).body == want })
	}
	if head := b.do("HEAD", "/.websms/verify", nil, page); head.StatusCode != http.StatusOK || head.body != "" {
		t.Errorf("HEAD: %s %q", head.Status, head.body)
	}
	w.wantNoSecrets()
}

// Each wrong code costs an attempt; when none is left the challenge is dead,
// also to the right one.
func TestWrongCodes(t *testing.T) {
	for _, attempts := range []int{1, 5} {
		w := start(t, setup{gate: fmt.Sprintf("code {\n attempts %d\n}\n%s", attempts, plenty)})
		for _, person := range []bool{false, true} {
			b := w.browser()
			code := w.askFor(b)
			wrong := []string{other(code), "", "1", code + "0", code[1:], "abcdef", strings.Repeat("9", 5000), "０００００００"}
			for left := attempts - 1; left >= 0; left-- {
				if person {
					a := b.post("/.websms/verify", []string{"code", wrong[left]}, page)
					if wantStatus(t, "a wrong code", a, http.StatusUnprocessableEntity); left > 0 && !strings.Contains(a.body, `name="code"`) || left == 0 && !strings.Contains(a.body, "Too many wrong codes") {
						t.Errorf("with %d left: %s", left, redact(a.body))
					}
					continue
				}
				a := b.answerWith(wrong[left])
				wantProblem(t, "a wrong code", a, http.StatusUnprocessableEntity, "wrong_code")
				if a.json("attempts_left") != float64(left) {
					t.Errorf("%s; want %d left", a.body, left)
				}
				if len(a.Cookies()) > 0 {
					t.Errorf("a wrong code sets %v", a.Cookies())
				}
			}
			for range 2 {
				wantProblem(t, "the right code, too late", b.answerWith(code), http.StatusTooManyRequests, "too_many_attempts")
			}
			wantStatus(t, "its page", b.get("/.websms/verify", page), http.StatusTooManyRequests)
			wantProblem(t, "its resend", b.post("/.websms/resend", nil, api), http.StatusTooManyRequests, "too_many_attempts")
			wantStatus(t, "the app", b.get("/", api), http.StatusUnauthorized)
			wantStatus(t, "a new code", b.answerWith(w.askFor(b)), http.StatusOK)
		}
	}
}

// askFor asks for a code to a fresh number and returns it.
func (w *world) askFor(b *browser) string {
	w.t.Helper()
	number := freshNumber()
	if a := b.request(number); a.StatusCode != http.StatusAccepted {
		w.t.Fatalf("send: %s %s", a.Status, a.body)
	}
	return w.codeFor(number, 1)
}

// How people and programs write the right code.
func TestRightCodes(t *testing.T) {
	w := start(t, setup{gate: plenty})
	for _, spell := range []func(code string) string{
		func(code string) string { return code },
		func(code string) string { return " " + code + "\t" },
		func(code string) string { return code[:3] + " " + code[3:] },
		func(code string) string { return code[:3] + "-" + code[3:] },
		func(code string) string { return code[:3] + "\u00a0" + code[3:] + "\r\n" },
	} {
		b := w.browser()
		code := w.askFor(b)
		if a := b.answerWith(spell(code)); a.StatusCode != http.StatusOK {
			t.Errorf("%q for %q: %s", spell("123456"), "123456", a.Status)
		}
	}
	// As a number of JSON, where it does not begin with a zero.
	for {
		b := w.browser()
		if code := w.askFor(b); code[0] != '0' {
			wantStatus(t, "a number", b.send("/.websms/verify", "application/json", `{"code":`+code+`}`), http.StatusOK)
			break
		}
	}
}

// The right code lets in once, and says until when.
func TestVerified(t *testing.T) {
	useClock(t)
	w := start(t, setup{gate: "session {\n ttl 2h\n remember 48h\n}\n" + plenty})
	b := w.browser()
	wantProblem(t, "the session before", b.get("/.websms/session", api), http.StatusUnauthorized, "unverified")
	code := b.ask("+6421234567")
	a := b.answerWith(code)
	want := `{"verified":true,"number":"+64•••567","expires_at":"2026-07-01T11:00:00Z","rd":"/"}`
	if a.StatusCode != http.StatusOK || a.body != want || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("verify: %s %s; want %s", a.Status, a.body, want)
	}
	a = b.get("/.websms/session", api)
	if want := `{"verified":true,"number":"+64•••567","means":"sms","verified_at":"2026-07-01T09:00:00Z","expires_at":"2026-07-01T11:00:00Z"}`; a.body != want {
		t.Errorf("session: %s %s; want %s", a.Status, a.body, want)
	}
	wantProblem(t, "the code again", b.answerWith(code), http.StatusConflict, "no_challenge")
	if a := b.post("/.websms/verify", []string{"code", code}, page); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/" {
		t.Errorf("the form sent twice: %s to %q", a.Status, a.Header.Get("Location"))
	}
	for remember, expires := range map[string]string{
		`"1"`: "2026-07-03T09:00:00Z", `true`: "2026-07-03T09:00:00Z", `"on"`: "2026-07-03T09:00:00Z",
		`false`: "2026-07-01T11:00:00Z", `null`: "2026-07-01T11:00:00Z", `""`: "2026-07-01T11:00:00Z", `0`: "2026-07-01T11:00:00Z", `"false"`: "2026-07-01T11:00:00Z",
	} {
		b := w.browser()
		a := b.send("/.websms/verify", "application/json", `{"code":"`+w.askFor(b)+`","remember":`+remember+`}`)
		if a.json("expires_at") != expires {
			t.Errorf("remember %s: %s %s; want it to expire at %s", remember, a.Status, a.body, expires)
		}
	}
	// Where remembering is not offered, ticking a box that is not there does nothing.
	w.load("session {\n ttl 2h\n}\n" + plenty)
	b = w.browser()
	if a := b.post("/.websms/verify", []string{"code", w.askFor(b), "remember", "1"}, api); a.json("expires_at") != "2026-07-01T11:00:00Z" {
		t.Errorf("remember where it is off: %s %s", a.Status, a.body)
	}
}

// Of a thousand right answers at once one is right.
func TestThousandRightCodes(t *testing.T) {
	w := start(t, setup{gate: plenty})
	b := w.browser()
	code := b.ask("+6421234567")
	cookies := b.cookies()
	transport := &http.Transport{MaxConnsPerHost: 100, MaxIdleConnsPerHost: 100}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	var mu sync.Mutex
	answers := make(map[string]int)
	begin := make(chan struct{})
	var group sync.WaitGroup
	for range 1000 {
		group.Go(func() {
			<-begin
			req, _ := http.NewRequest(http.MethodPost, w.url+"/.websms/verify", strings.NewReader(`{"code":"`+code+`"}`))
			req.Header = http.Header{"Content-Type": {"application/json"}, "Cookie": {cookies}}
			res, err := client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			var body struct{ Type string }
			_ = json.NewDecoder(res.Body).Decode(&body)
			session := ""
			if strings.Contains(strings.Join(res.Header["Set-Cookie"], "\n"), "websms_session=") {
				session = " with a session"
			}
			mu.Lock()
			defer mu.Unlock()
			answers[fmt.Sprint(res.StatusCode, " ", body.Type, session)]++
		})
	}
	close(begin)
	group.Wait()
	if answers["200  with a session"] != 1 || answers["409 no_challenge"] != 999 {
		t.Errorf("a thousand right codes were answered %v", answers)
	}
}

// A new challenge of the same browser replaces its former one; those of other
// browsers stand.
func TestChallengeIsReplaced(t *testing.T) {
	w := start(t, setup{gate: plenty})
	b, neighbour := w.browser(), w.browser()
	theirs := w.askFor(neighbour)
	first := w.askFor(b)
	old := b.cookies()
	second := w.askFor(b)
	if first == second {
		second = w.askFor(b) // one in a million
	}
	stale := w.browser()
	wantProblem(t, "the replaced challenge", stale.answerWith(first, with("Cookie", old)), http.StatusConflict, "no_challenge")
	a := b.answerWith(first)
	wantProblem(t, "the replaced challenge's code", a, http.StatusUnprocessableEntity, "wrong_code")
	wantStatus(t, "the code", b.answerWith(second), http.StatusOK)
	wantStatus(t, "the neighbour's", neighbour.answerWith(theirs), http.StatusOK)

	// A code belongs to the browser that asked: nobody else can use it or use it up.
	code := w.askFor(b)
	for range 10 {
		wantProblem(t, "a stranger with the code", w.browser().answerWith(code), http.StatusConflict, "no_challenge")
		x := w.browser()
		w.askFor(x)
		x.answerWith(other(code))
	}
	wantStatus(t, "the browser that asked", b.answerWith(code), http.StatusOK)

	// To the same number: two browsers, two challenges.
	x, y := w.browser(), w.browser()
	number := freshNumber()
	x.request(number)
	codeX := w.codeFor(number, 1)
	y.request(number)
	codeY := w.codeFor(number, 2)
	for range 5 {
		y.answerWith(other(codeY))
	}
	wantProblem(t, "the one who guesses", y.answerWith(codeY), http.StatusTooManyRequests, "too_many_attempts")
	wantStatus(t, "the other", x.answerWith(codeX), http.StatusOK)
}

// A code that is late is told so, for as long as the browser remembers.
func TestExpiredCode(t *testing.T) {
	now := useClock(t)
	w := start(t, setup{gate: "code {\n ttl 2m\n}\n" + plenty})
	b := w.browser()
	code := w.askFor(b)
	now.Advance(2*time.Minute - time.Second)
	wantProblem(t, "in the last second", b.answerWith(other(code)), http.StatusUnprocessableEntity, "wrong_code")
	now.Advance(time.Second)
	for _, step := range []time.Duration{0, 3 * time.Minute, 5 * time.Minute} {
		now.Advance(step)
		wantProblem(t, "verify", b.answerWith(code), http.StatusGone, "code_expired")
		wantProblem(t, "status", b.get("/.websms/status", api), http.StatusGone, "code_expired")
		wantProblem(t, "resend", b.post("/.websms/resend", nil, api), http.StatusGone, "code_expired")
		a := b.get("/.websms/verify", page)
		if a.StatusCode != http.StatusGone || !strings.Contains(a.body, "This code has expired") {
			t.Errorf("its page: %s %s", a.Status, redact(a.body))
		}
		w.askFor(w.browser()) // the store makes room, and forgets it
	}
	wantStatus(t, "a new one", b.answerWith(w.askFor(b)), http.StatusOK)
}

// Looking at a page, however often, sends nothing and costs no attempt.
func TestReloadingSendsNothing(t *testing.T) {
	w := start(t, setup{gate: plenty})
	b := w.browser()
	code := w.askFor(b)
	w.wantSends("looking", 0, "+64274000001", func() {
		for range 3 {
			for _, path := range []string{"", "/", "/login", "/login?phone=%2B6421234567", "/verify", "/verify?code=" + code, "/status", "/session", "/send?phone=021234567", "/resend", "/logout"} {
				b.get("/.websms"+path, page)
				b.do("HEAD", "/.websms"+path, nil, page)
				b.get("/.websms"+path, api)
			}
		}
	})
	if a := b.get("/.websms/status", api); a.json("attempts_left") != 5.0 {
		t.Errorf("status: %s %s", a.Status, a.body)
	}
	wantStatus(t, "the code", b.answerWith(code), http.StatusOK)
}

// Pages tell browsers to keep, frame and run nothing.
func TestPageHeaders(t *testing.T) {
	w := start(t, setup{gate: plenty})
	b := w.browser()
	check := func(what string, a answer) {
		t.Helper()
		csp := a.Header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: Content-Security-Policy is %q", what, csp)
		}
		for name, want := range map[string]string{
			"Permissions-Policy": "otp-credentials=(self)", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
			"X-Content-Type-Options": "nosniff", "Content-Type": "text/html; charset=utf-8",
		} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q; want %q", what, name, got, want)
			}
		}
	}
	check("login", b.get("/.websms/login", page))
	check("a wrong number", b.post("/.websms/send", []string{"phone", "1"}, page))
	check("not found", b.get("/.websms/x", page))
	check("a form that was not sent", b.post("/x", nil, page))
	code := w.askFor(b)
	check("verify", b.get("/.websms/verify", page))
	check("a wrong code", b.post("/.websms/verify", []string{"code", other(code)}, page))
}
