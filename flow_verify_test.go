package websms_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
)

// A program takes a challenge from its beginning to its end.
func TestChallengeJSON(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: "code {\n length 8\n attempts 3\n ttl 90s\n}\n limits {\n cooldown 20s\n}"})
	w.Sim.SetWebhook("", "")
	b := w.Browser()
	harness.WantProblem(t, "before", b.Get("/.websms/status", harness.API), http.StatusConflict, "no_challenge")
	harness.WantProblem(t, "before", b.Get("/.websms/verify", harness.API), http.StatusConflict, "no_challenge")
	if a := b.Get("/.websms/verify", harness.Page); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/.websms/login" {
		t.Errorf("before, for a person: %s to %q", a.Status, a.Header.Get("Location"))
	}
	now.Advance(500 * time.Millisecond) // times in answers are whole seconds
	a := b.Request("021 234 567")
	want := `{"status":"queued","masked":"+64•••567","code_length":8,"attempts_left":3,` +
		`"expires_at":"2026-07-01T09:01:30Z","resend_at":"2026-07-01T09:00:21Z"}`
	if a.StatusCode != http.StatusAccepted || a.Text != want {
		t.Errorf("send: %s %s; want %s", a.Status, a.Text, want)
	}
	w.CodeFor("+6421234567", 1)
	want = strings.Replace(want, "queued", "accepted", 1)
	for _, path := range []string{"/.websms/status", "/.websms/verify"} {
		harness.Eventually(t, path+" tells of the message", func() bool { return b.Get(path, harness.API).Text == want })
	}
	if head := b.Do("HEAD", "/.websms/verify", nil, harness.Page); head.StatusCode != http.StatusOK || head.Text != "" {
		t.Errorf("HEAD: %s %q", head.Status, head.Text)
	}
	w.WantNoSecrets()
}

// Each wrong code uses up one attempt. After the last attempt, even the right code is refused.
func TestWrongCodes(t *testing.T) {
	for _, attempts := range []int{1, 5} {
		w := harness.Start(t, harness.Setup{Gate: fmt.Sprintf("code {\n attempts %d\n}\n%s", attempts, harness.Plenty)})
		for _, person := range []bool{false, true} {
			b := w.Browser()
			code := harness.AskFor(w, b)
			other := harness.OtherCode(code)
			wrong := []string{other, other[:3] + "-" + other[3:], "code " + other, other + other, strings.Repeat("０", len(code))}
			for left := attempts - 1; left >= 0; left-- {
				if person {
					a := b.Post("/.websms/verify", []string{"code", wrong[left]}, harness.Page)
					if harness.WantStatus(t, "a wrong code", a, http.StatusUnprocessableEntity); left > 0 &&
						!strings.Contains(a.Text, `name="code"`) || left == 0 && !strings.Contains(a.Text, "Too many wrong codes") {
						t.Errorf("with %d left: %s", left, harness.Excerpt(a.Text))
					}
					continue
				}
				a := b.AnswerWith(wrong[left])
				harness.WantProblem(t, "a wrong code", a, http.StatusUnprocessableEntity, "wrong_code")
				if a.JSON("attempts_left") != float64(left) {
					t.Errorf("%s; want %d left", a.Text, left)
				}
				if len(a.Cookies()) > 0 {
					t.Errorf("a wrong code sets %v", a.Cookies())
				}
			}
			for range 2 {
				harness.WantProblem(t, "the right code, too late", b.AnswerWith(code), http.StatusTooManyRequests, "too_many_attempts")
			}
			harness.WantStatus(t, "its page", b.Get("/.websms/verify", harness.Page), http.StatusTooManyRequests)
			harness.WantProblem(t, "its resend", b.Post("/.websms/resend", nil, harness.API), http.StatusTooManyRequests, "too_many_attempts")
			harness.WantStatus(t, "the app", b.Get("/", harness.API), http.StatusUnauthorized)
			harness.WantStatus(t, "a new code", b.AnswerWith(harness.AskFor(w, b)), http.StatusOK)
		}
	}
}

// The right code is accepted in the spellings of people and programs.
func TestRightCodes(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	for _, spell := range []func(code string) string{
		func(code string) string { return code },
		func(code string) string { return " " + code + "\t" },
		func(code string) string { return code[:3] + " " + code[3:] },
		func(code string) string { return code[:3] + "-" + code[3:] },
		func(code string) string { return code[:3] + "\u00a0" + code[3:] + "\r\n" },
	} {
		b := w.Browser()
		code := harness.AskFor(w, b)
		if a := b.AnswerWith(spell(code)); a.StatusCode != http.StatusOK {
			t.Errorf("%q for %q: %s", spell("123456"), "123456", a.Status)
		}
	}
	// As a JSON number, if the code does not begin with a zero.
	for {
		b := w.Browser()
		if code := harness.AskFor(w, b); code[0] != '0' {
			harness.WantStatus(t, "a number", b.Send("/.websms/verify", "application/json", `{"code":`+code+`}`), http.StatusOK)
			break
		}
	}
}

// The right code works once. The answer says when the session ends.
func TestVerified(t *testing.T) {
	harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: "session {\n ttl 2h\n remember 48h\n}\n" + harness.Plenty})
	b := w.Browser()
	harness.WantProblem(t, "the session before", b.Get("/.websms/session", harness.API), http.StatusUnauthorized, "unverified")
	code := b.Ask("+6421234567")
	a := b.AnswerWith(code)
	want := `{"verified":true,"number":"+64•••567","expires_at":"2026-07-01T11:00:00Z","rd":"/"}`
	if a.StatusCode != http.StatusOK || a.Text != want || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("verify: %s %s; want %s", a.Status, a.Text, want)
	}
	a = b.Get("/.websms/session", harness.API)
	if want := `{"verified":true,"number":"+64•••567","means":"sms","verified_at":"2026-07-01T09:00:00Z",` +
		`"expires_at":"2026-07-01T11:00:00Z"}`; a.Text != want {
		t.Errorf("session: %s %s; want %s", a.Status, a.Text, want)
	}
	harness.WantProblem(t, "the code again", b.AnswerWith(code), http.StatusConflict, "no_challenge")
	if a := b.Post("/.websms/verify", []string{"code", code}, harness.Page); a.StatusCode != http.StatusSeeOther ||
		a.Header.Get("Location") != "/" {
		t.Errorf("the form sent twice: %s to %q", a.Status, a.Header.Get("Location"))
	}
	for remember, expires := range map[string]string{
		`"1"`: "2026-07-03T09:00:00Z", `true`: "2026-07-03T09:00:00Z", `"on"`: "2026-07-03T09:00:00Z",
		`false`: "2026-07-01T11:00:00Z", `null`: "2026-07-01T11:00:00Z", `""`: "2026-07-01T11:00:00Z",
		`0`: "2026-07-01T11:00:00Z", `"false"`: "2026-07-01T11:00:00Z",
	} {
		b := w.Browser()
		a := b.Send("/.websms/verify", "application/json", `{"code":"`+harness.AskFor(w, b)+`","remember":`+remember+`}`)
		if a.JSON("expires_at") != expires {
			t.Errorf("remember %s: %s %s; want it to expire at %s", remember, a.Status, a.Text, expires)
		}
	}
	// If the gate does not offer to remember the browser, the field has no effect.
	w.Load("session {\n ttl 2h\n}\n" + harness.Plenty)
	b = w.Browser()
	if a := b.Post("/.websms/verify", []string{"code", harness.AskFor(w, b), "remember", "1"},
		harness.API); a.JSON("expires_at") != "2026-07-01T11:00:00Z" {
		t.Errorf("remember where it is off: %s %s", a.Status, a.Text)
	}
}

// A thousand right answers arrive at the same time. One is accepted.
func TestThousandRightCodes(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b := w.Browser()
	code := b.Ask("+6421234567")
	cookies := b.Cookies()
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
			req, _ := http.NewRequest(http.MethodPost, w.URL+"/.websms/verify", strings.NewReader(`{"code":"`+code+`"}`))
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

// A new challenge replaces the earlier one of the same browser. Challenges of other browsers stay.
func TestChallengeIsReplaced(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b, neighbour := w.Browser(), w.Browser()
	theirs := harness.AskFor(w, neighbour)
	first := harness.AskFor(w, b)
	old := b.Cookies()
	second := harness.AskFor(w, b)
	if first == second {
		second = harness.AskFor(w, b) // one in a million is the same
	}
	stale := w.Browser()
	harness.WantProblem(t, "the replaced challenge", stale.AnswerWith(first, harness.With("Cookie", old)), http.StatusConflict, "no_challenge")
	a := b.AnswerWith(first)
	harness.WantProblem(t, "the replaced challenge's code", a, http.StatusUnprocessableEntity, "wrong_code")
	harness.WantStatus(t, "the code", b.AnswerWith(second), http.StatusOK)
	harness.WantStatus(t, "the neighbour's", neighbour.AnswerWith(theirs), http.StatusOK)

	// A code is valid only in the browser that asked. Another browser can neither use it nor use it
	// up.
	code := harness.AskFor(w, b)
	for range 10 {
		harness.WantProblem(t, "a stranger with the code", w.Browser().AnswerWith(code), http.StatusConflict, "no_challenge")
		x := w.Browser()
		harness.AskFor(w, x)
		x.AnswerWith(harness.OtherCode(code))
	}
	harness.WantStatus(t, "the browser that asked", b.AnswerWith(code), http.StatusOK)

	// Two browsers with the same number have two challenges.
	x, y := w.Browser(), w.Browser()
	number := harness.FreshNumber()
	x.Request(number)
	codeX := w.CodeFor(number, 1)
	y.Request(number)
	codeY := w.CodeFor(number, 2)
	for range 5 {
		y.AnswerWith(harness.OtherCode(codeY))
	}
	harness.WantProblem(t, "the one who guesses", y.AnswerWith(codeY), http.StatusTooManyRequests, "too_many_attempts")
	harness.WantStatus(t, "the other", x.AnswerWith(codeX), http.StatusOK)
}

// A late code gets an answer that it has expired, as long as the browser keeps the cookie.
func TestExpiredCode(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: "code {\n ttl 2m\n}\n" + harness.Plenty})
	b := w.Browser()
	code := harness.AskFor(w, b)
	now.Advance(2*time.Minute - time.Second)
	harness.WantProblem(t, "in the last second", b.AnswerWith(harness.OtherCode(code)), http.StatusUnprocessableEntity, "wrong_code")
	now.Advance(time.Second)
	for _, step := range []time.Duration{0, 3 * time.Minute, 5 * time.Minute} {
		now.Advance(step)
		harness.WantProblem(t, "verify", b.AnswerWith(code), http.StatusGone, "code_expired")
		harness.WantProblem(t, "status", b.Get("/.websms/status", harness.API), http.StatusGone, "code_expired")
		harness.WantProblem(t, "resend", b.Post("/.websms/resend", nil, harness.API), http.StatusGone, "code_expired")
		a := b.Get("/.websms/verify", harness.Page)
		if a.StatusCode != http.StatusGone || !strings.Contains(a.Text, "This code has expired") {
			t.Errorf("its page: %s %s", a.Status, harness.Excerpt(a.Text))
		}
		harness.AskFor(w, w.Browser()) // the store removes the expired challenge
	}
	harness.WantStatus(t, "a new one", b.AnswerWith(harness.AskFor(w, b)), http.StatusOK)
}

// Loading a page, however often, sends no code and uses up no attempt.
func TestReloadingSendsNothing(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b := w.Browser()
	code := harness.AskFor(w, b)
	w.WantSends("looking", 0, "+64274000001", func() {
		for range 3 {
			for _, path := range []string{"", "/", "/login", "/login?phone=%2B6421234567", "/verify", "/verify?code=" + code,
				"/status", "/session", "/send?phone=021234567", "/resend", "/logout"} {
				b.Get("/.websms"+path, harness.Page)
				b.Do("HEAD", "/.websms"+path, nil, harness.Page)
				b.Get("/.websms"+path, harness.API)
			}
		}
	})
	if a := b.Get("/.websms/status", harness.API); a.JSON("attempts_left") != 5.0 {
		t.Errorf("status: %s %s", a.Status, a.Text)
	}
	harness.WantStatus(t, "the code", b.AnswerWith(code), http.StatusOK)
}

// The headers of a page forbid browsers to store it, to frame it, and to run unsafe scripts.
func TestPageHeaders(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b := w.Browser()
	check := func(what string, a harness.Answer) {
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
	check("login", b.Get("/.websms/login", harness.Page))
	check("a wrong number", b.Post("/.websms/send", []string{"phone", "1"}, harness.Page))
	check("not found", b.Get("/.websms/x", harness.Page))
	check("a form that was not sent", b.Post("/x", nil, harness.Page))
	code := harness.AskFor(w, b)
	check("verify", b.Get("/.websms/verify", harness.Page))
	check("a wrong code", b.Post("/.websms/verify", []string{"code", harness.OtherCode(code)}, harness.Page))
}
