package websms_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
)

// challengeOf matches the name of a challenge in the form of a page.
var challengeOf = regexp.MustCompile(`name="challenge" value="([-_0-9A-Za-z]+)"`)

// formOf opens the code page and returns the name of its challenge.
func formOf(t *testing.T, b *harness.Browser) string {
	t.Helper()
	a := b.Get("/.websms/verify", harness.Page)
	found := challengeOf.FindStringSubmatch(a.Text)
	if found == nil {
		t.Fatalf("the code page names no challenge: %s %s", a.Status, harness.Excerpt(a.Text))
	}
	return found[1]
}

// A person who asks again for the same number gets the same code. Within the cooldown nothing is sent.
// Another number, and a challenge that is over, get a code of their own.
func TestAskAgain(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: "code {\n attempts 3\n ttl 2m\n}\n" +
		"limits {\n per_number 5/1h\n per_ip 1000/1h\n cooldown 30s\n}"})
	w.Sim.SetWebhook("", "")
	for _, kind := range []http.Header{harness.API, harness.Page} {
		number, b := harness.FreshNumber(), w.Browser().Visit()
		status := http.StatusAccepted
		if kind.Get("Accept") == harness.Page.Get("Accept") {
			status = http.StatusSeeOther
		}
		ask := func(phone string) harness.Answer {
			return b.Post("/.websms/send", []string{"phone", phone, "rd", "/b"}, kind)
		}
		harness.WantStatus(t, "the first ask", ask(number), status)
		code := w.CodeFor(number, 1)
		harness.WantStatus(t, "a wrong code", b.AnswerWith(harness.OtherCode(code)), http.StatusUnprocessableEntity)
		before := b.Get("/.websms/verify", harness.API).Text
		now.Advance(29 * time.Second)
		w.WantSends("within the cooldown", 0, harness.FreshNumber(), func() {
			for _, spelling := range []string{number, "0" + number[3:], "0064 " + number[3:]} {
				harness.WantStatus(t, "within the cooldown", ask(spelling), status)
			}
		})
		if after := b.Get("/.websms/verify", harness.API).Text; after != before {
			t.Errorf("within the cooldown the challenge became %s; want %s", after, before)
		}
		now.Advance(time.Second)
		harness.WantStatus(t, "after the cooldown", ask(number), status)
		if got := w.CodeFor(number, 2); got != code {
			t.Error("the second message has another code")
		}
		after := b.Get("/.websms/verify", harness.API)
		if after.JSON("attempts_left") != float64(2) {
			t.Errorf("asking again: %s; want 2 attempts left", after.Text)
		}
		other := harness.FreshNumber()
		harness.WantStatus(t, "another number", ask(other), status)
		w.CodeFor(other, 1)
		harness.WantStatus(t, "the replaced code", b.AnswerWith(code), http.StatusUnprocessableEntity)

		b = w.Browser().Visit()
		harness.WantStatus(t, "another browser", ask(number), status)
		mine := w.CodeFor(number, 3)
		now.Advance(2 * time.Minute)
		harness.WantStatus(t, "after the code has expired", ask(number), status)
		if fresh := w.CodeFor(number, 4); fresh == mine || fresh == code {
			t.Error("after the code has expired, the same code is sent") // one in 500,000
		}
		a := b.Post("/.websms/verify", []string{"code", w.CodeFor(number, 4)}, harness.Page)
		if a.Header.Get("Location") != "/b" {
			t.Errorf("the login leads to %q; want /b", a.Header.Get("Location"))
		}
	}
}

// An ask or a resend that is refused leaves the code page open, and the code good.
func TestRefusedAskKeepsCode(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: "code {\n ttl 10m\n}\n" +
		"limits {\n per_number 1/1h\n per_ip 1000/1h\n budget 3/1h\n cooldown 1s\n}"})
	b, number := w.Browser().Visit(), harness.FreshNumber()
	harness.WantStatus(t, "the first ask", b.Request(number), http.StatusAccepted)
	code := w.CodeFor(number, 1)
	w.Browser().Ask(harness.FreshNumber())
	w.Browser().Ask(harness.FreshNumber()) // the budget is used up
	now.Advance(time.Second)
	for what, a := range map[string]harness.Answer{
		"a resend":       b.Post("/.websms/resend", nil, harness.Page),
		"the same":       b.Post("/.websms/send", []string{"phone", number}, harness.Page),
		"another number": b.Post("/.websms/send", []string{"phone", harness.FreshNumber()}, harness.Page),
	} {
		if a.StatusCode != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" || challengeOf.FindString(a.Text) == "" ||
			!strings.Contains(a.Text, "The code that you have still works.") {
			t.Errorf("%s: %s %s", what, a.Status, harness.Excerpt(a.Text))
		}
	}
	for _, phone := range []string{number, harness.FreshNumber()} {
		a := b.Post("/.websms/send", []string{"phone", phone, "rd", "/orders?open=7"}, harness.Page)
		if !strings.Contains(a.Text, `name="rd" value="/orders?open=7"`) {
			t.Errorf("the refusal forgets where the person wants to go: %s", harness.Excerpt(a.Text))
		}
	}
	harness.WantProblem(t, "a resend of a program", b.Resend(), http.StatusTooManyRequests, "rate_limited")
	harness.WantProblem(t, "an ask of a program", b.Request(number), http.StatusTooManyRequests, "rate_limited")
	if a := w.Browser().Visit().Post("/.websms/send", []string{"phone", number}, harness.Page); challengeOf.FindString(a.Text) != "" ||
		a.StatusCode != http.StatusTooManyRequests {
		t.Errorf("without a code: %s %s", a.Status, harness.Excerpt(a.Text))
	}
	harness.WantStatus(t, "the code", b.AnswerWith(code), http.StatusOK)
}

// While a code can still be entered, the login page leads to its form. A link with a return target
// leads there after the code.
func TestLoginLeadsBack(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b := w.Browser()
	back := func() bool {
		text := harness.UnescapeHTML(b.Get("/.websms/login?rd=/orders", harness.Page).Text)
		return strings.Contains(text, `href="/.websms/verify?rd=%2forders"`)
	}
	if back() {
		t.Error("without a challenge, the login page leads to the code form")
	}
	code := harness.AskFor(w, b)
	if !back() {
		t.Error("the login page does not lead back to the code form")
	}
	a := b.Get("/.websms/verify?rd=/orders", harness.Page)
	if !strings.Contains(a.Text, `name="rd" value="/orders"`) {
		t.Errorf("the code form does not keep the target: %s", harness.Excerpt(a.Text))
	}
	a = b.Post("/.websms/verify", []string{"code", code, "rd", "/orders", "challenge", formOf(t, b)}, harness.Page)
	if a.Header.Get("Location") != "/orders" {
		t.Errorf("the code leads to %q", a.Header.Get("Location"))
	}
	b.Post("/.websms/logout", nil, harness.API)
	if back() {
		t.Error("after the code was used, the login page leads to the code form")
	}
	harness.AskFor(w, b)
	now.Advance(5 * time.Minute)
	if back() {
		t.Error("after the code has expired, the login page leads to its form")
	}
}

// A form of an older tab does not count against the challenge of a newer one.
func TestOtherChallenge(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b := w.Browser()
	first := harness.AskFor(w, b)
	old := formOf(t, b)
	second := harness.AskFor(w, b)
	if old == formOf(t, b) {
		t.Fatal("two challenges have one name")
	}
	for range 7 {
		for _, kind := range []http.Header{harness.API, harness.Page} {
			a := b.Post("/.websms/verify", []string{"code", first, "challenge", old}, kind)
			if a.StatusCode != http.StatusConflict {
				t.Fatalf("the form of an older tab: %s %s", a.Status, harness.Excerpt(a.Text))
			}
			if kind.Get("Accept") == harness.API.Get("Accept") {
				harness.WantProblem(t, "the form of an older tab", a, http.StatusConflict, "other_challenge")
			} else if found := challengeOf.FindStringSubmatch(a.Text); found == nil || found[1] != formOf(t, b) {
				t.Errorf("the answer is no form for the latest code: %s", harness.Excerpt(a.Text))
			}
		}
	}
	if left := b.Get("/.websms/verify", harness.API).JSON("attempts_left"); left != float64(5) {
		t.Errorf("%v attempts left, want 5", left)
	}
	harness.WantProblem(t, "another text", b.Post("/.websms/verify", []string{"code", second, "challenge", "x"}, harness.API),
		http.StatusConflict, "other_challenge")
	latest := []string{"code", second, "challenge", formOf(t, b)}
	harness.WantStatus(t, "the latest", b.Post("/.websms/verify", latest, harness.API), http.StatusOK)
}

// The code page offers no resend that a limit would refuse, and says when there will be one.
func TestResendIsOfferedInTime(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: "code {\n ttl 5m\n}\nlimits {\n per_number 2/10m\n cooldown 30s\n}"})
	b, number := w.Browser(), harness.FreshNumber()
	b.Ask(number)
	offered := func() (bool, string) {
		text := b.Get("/.websms/verify", harness.Page).Text
		_, form, _ := strings.Cut(text, `action="/.websms/resend"`)
		head, _, _ := strings.Cut(form, ">")
		return !strings.Contains(head, "hidden"), text
	}
	if yes, text := offered(); !yes || b.Get("/.websms/status", harness.API).JSON("resend_at") != "2026-07-01T09:00:30Z" {
		t.Errorf("the first message: no resend is offered: %s", harness.Excerpt(text))
	}
	now.Advance(45500 * time.Millisecond)
	if at := b.Get("/.websms/status", harness.API).JSON("resend_at"); at != "2026-07-01T09:00:30Z" {
		t.Errorf("after the cooldown, the next message is said to be at %v", at)
	}
	now.Advance(14500 * time.Millisecond)
	harness.WantStatus(t, "a resend", b.Resend(), http.StatusAccepted)
	w.CodeFor(number, 2)
	if yes, text := offered(); yes || !strings.Contains(text, "You can have another message 9 minutes after this page opened.") {
		t.Errorf("the limit is reached: a resend is offered: %v, %s", yes, text)
	}
	if at := b.Get("/.websms/status", harness.API).JSON("resend_at"); at != "2026-07-01T09:10:00Z" {
		t.Errorf("the next message is said to be at %v", at)
	}
	harness.WantProblem(t, "a resend", b.Resend(), http.StatusTooManyRequests, "rate_limited")
}
