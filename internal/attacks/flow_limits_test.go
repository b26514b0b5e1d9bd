package attacks_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/websmstest"
)

// wantWait checks that a was refused with this Retry-After.
func wantWait(t *testing.T, what string, a harness.Answer, slug string, d string) {
	t.Helper()
	status := map[string]int{"rate_limited": http.StatusTooManyRequests, "unavailable": http.StatusServiceUnavailable}[slug]
	harness.WantProblem(t, what, a, status, slug)
	if got := a.Header.Get("Retry-After"); got != d {
		t.Errorf("%s: Retry-After is %q; want %q", what, got, d)
	}
}

// A resend sends the same code, after a cooldown that doubles. The code then lives on, at most
// until ten minutes after its first sending.
func TestResend(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: "code {\n ttl 5m\n}\n limits {\n per_number 100/24h\n cooldown 30s\n}"})
	w.Sim.SetWebhook("", "")
	b := w.Browser()
	harness.WantProblem(t, "without a challenge", b.Resend(), http.StatusConflict, "no_challenge")
	const number = "+6421234567"
	b.Request(number)
	code := w.CodeFor(number, 1)
	b.AnswerWith(harness.OtherCode(code))

	now.Advance(200 * time.Millisecond)
	wantWait(t, "at once", b.Resend(), "rate_limited", "30") // 29.8 s, in whole seconds
	now.Advance(29 * time.Second)
	wantWait(t, "a little early", b.Resend(), "rate_limited", "1")
	for i, c := range []struct {
		wait             time.Duration
		expires, another string // of the sending that is allowed then
	}{
		{time.Second, "2026-07-01T09:05:30Z", "2026-07-01T09:01:31Z"},
		{61 * time.Second, "2026-07-01T09:06:31Z", "2026-07-01T09:03:32Z"},
		{2 * time.Minute, "2026-07-01T09:08:31Z", "2026-07-01T09:07:32Z"},
		{4 * time.Minute, "2026-07-01T09:10:00Z", "2026-07-01T09:15:32Z"},
	} {
		now.Advance(c.wait)
		a := b.Resend()
		if a.StatusCode != http.StatusAccepted || a.JSON("expires_at") != c.expires || a.JSON("resend_at") != c.another ||
			a.JSON("attempts_left") != 4.0 {
			t.Errorf("resend %d: %s %s; want it to expire at %s, the next from %s, 4 attempts left", i+1, a.Status, a.Text, c.expires, c.another)
		}
		if got := w.CodeFor(number, i+2); got != code {
			t.Errorf("resend %d sends another code", i+1)
		}
		harness.WantStatus(t, "once more", b.Resend(), http.StatusTooManyRequests)
	}
	now.Advance(2*time.Minute + 28*time.Second) // 9:09:59.2
	harness.WantStatus(t, "the code, in the last second", b.AnswerWith(code), http.StatusOK)
	if n := len(w.MessagesTo(number)); n != 5 {
		t.Errorf("%d messages were sent; want 5", n)
	}
}

// For a browser, a resend leads back to the code form.
func TestResendByPerson(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b := w.Browser()
	if a := b.Post("/.websms/resend", nil, harness.Page); a.StatusCode != http.StatusConflict ||
		!strings.Contains(a.Text, "You need a new code") {
		t.Errorf("without a challenge: %s %s", a.Status, harness.Excerpt(a.Text))
	}
	b.Ask("+6421234567")
	if a := b.Post("/.websms/resend", nil, harness.Page); a.StatusCode != http.StatusSeeOther ||
		a.Header.Get("Location") != "/.websms/verify" {
		t.Errorf("resend: %s to %q", a.Status, a.Header.Get("Location"))
	}
	w.CodeFor("+6421234567", 2)
}

// The number of codes for a phone number is limited: over all clients, ways to ask, hosts, and
// changes of the configuration (CVE-2024-21500).
func TestPerNumber(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{})
	gate := "code {\n ttl 10m\n}\n limits {\n per_number 3/10m 5/1h\n cooldown 0s\n}"
	w.Serve(gate, "")
	const number = "+6421234567"
	b := w.Browser()
	b.Request(number)
	now.Advance(time.Minute)
	b.Resend()
	now.Advance(time.Minute)
	w.Browser().Request("021 234 567", harness.Host("other.test"))
	w.CodeFor(number, 3)

	refused := func(what, after string) {
		t.Helper()
		w.WantSends(what, 0, harness.FreshNumber(), func() {
			for _, asker := range []*harness.Browser{b, w.Browser()} {
				for _, at := range []string{"localhost", "other.test", "third.test:8080", ""} {
					wantWait(t, what+", asked at "+at, asker.Request("0064 21 234 567", harness.Host(at)), "rate_limited", after)
				}
			}
			wantWait(t, what+", by resend", b.Resend(), "rate_limited", after)
			a := w.Browser().Visit().Post("/.websms/send", []string{"phone", number}, harness.Page)
			if a.StatusCode != http.StatusTooManyRequests || a.Header.Get("Retry-After") != after || len(a.Cookies()) > 0 ||
				!strings.Contains(a.Text, "Please wait a little") {
				t.Errorf("%s, for a person: %s %s", what, a.Status, harness.Excerpt(a.Text))
			}
		})
	}
	refused("the fourth", "480")
	w.Load(gate + "\ncomment Changed.")
	refused("the fourth, after a reload", "480")
	harness.WantStatus(t, "another number", w.Browser().Request("+6421234568"), http.StatusAccepted)
	w.CodeFor("+6421234568", 1)
	now.Advance(8*time.Minute - time.Second)
	refused("the fourth, a second early", "1")
	now.Advance(time.Second)
	harness.WantStatus(t, "the fourth", b.Request(number), http.StatusAccepted)
	w.CodeFor(number, 4)
	refused("the fifth, with the fourth", "60")
	now.Advance(time.Minute)
	harness.WantStatus(t, "the fifth", b.Resend(), http.StatusAccepted)
	w.CodeFor(number, 5)
	refused("the sixth", "2940") // an hour after the first
	limited := 0
	for _, line := range w.Logged("websms.audit") {
		if line["event"] == "rate_limited" {
			limited++
		}
	}
	if limited != 5*10 {
		t.Errorf("the audit log tells of %d refusals; want 50", limited)
	}
}

// The number of codes that a gate sends is limited.
func TestBudget(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{})
	w.Serve("limits {\n budget 2/1h 3/24h\n cooldown 0s\n}", "")
	b := w.Browser()
	harness.WantStatus(t, "the first", b.Request(harness.FreshNumber()), http.StatusAccepted)
	now.Advance(4 * time.Minute)
	harness.WantStatus(t, "the second", b.Resend(), http.StatusAccepted)
	for _, at := range []string{"localhost", "other.test"} {
		wantWait(t, "the third, at "+at, w.Browser().Request(harness.FreshNumber(), harness.Host(at)), "rate_limited", "3360")
	}
	wantWait(t, "the third, by resend", b.Resend(), "rate_limited", "3360")
	now.Advance(56 * time.Minute)
	harness.WantStatus(t, "the third", w.Browser().Request(harness.FreshNumber()), http.StatusAccepted)
	wantWait(t, "the fourth", w.Browser().Request(harness.FreshNumber()), "rate_limited", "82800")
	harness.Eventually(t, "three are sent", func() bool { return w.Sim.Counts().OTPRequests == 3 })
}

// A refused message costs nothing. A message that may have been sent costs.
func TestRefund(t *testing.T) {
	w := harness.Start(t, harness.Setup{App: "timeout 1s", Gate: "limits {\n per_number 1/1h\n budget 6/1h\n cooldown 0s\n}"})
	w.Sim.SetWebhook("", "")
	for _, c := range []struct {
		name  string
		fault websmstest.Fault
		back  bool
	}{
		{"no funds", websmstest.InsufficientFunds200(), true},
		{"no funds, by status", websmstest.Forbidden(), true},
		{"refused", websmstest.InvalidRequest(), true},
		{"throttled", websmstest.Throttled(-1), true},
		{"no reply", websmstest.HangReply(), false},
		{"a reply cut short", websmstest.TruncatedReply(), false},
		{"a reply that makes no sense", websmstest.BrokenJSON(), false},
		{"an error page", websmstest.HTMLError(), false},
	} {
		w.Sim.Next(c.fault)
		b, number := w.Browser(), harness.FreshNumber()
		harness.WantStatus(t, c.name, b.Request(number), http.StatusAccepted)
		harness.Eventually(t, c.name+": it is known how it went",
			func() bool { return b.Get("/.websms/status", harness.API).JSON("status") == "failed" })
		a := b.Request(number)
		if c.back {
			if harness.WantStatus(t, c.name+", once more", a, http.StatusAccepted); a.StatusCode == http.StatusAccepted {
				w.CodeFor(number, 1)
			}
		} else {
			harness.WantProblem(t, c.name+", once more", a, http.StatusTooManyRequests, "rate_limited")
		}
		if c.name == "throttled" { // 4 of the budget's 6 were sent; begin anew
			w.Load("realm anew\n limits {\n per_number 1/1h\n budget 4/1h\n cooldown 0s\n}")
		}
	}
	a := w.Browser().Request(harness.FreshNumber())
	harness.WantProblem(t, "a fifth where four may have been sent", a, http.StatusTooManyRequests, "rate_limited")
	w.WantNoSecrets()
}

// Refusals by WebSMS lift no limit. An attacker can cause them, with a blocked number or while the
// account is empty. Such an attacker gets no more codes to guess than others, and a code that was
// never sent is right for nobody.
func TestRefusalsLiftNoLimit(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: "code {\n length 4\n attempts 10\n}\n limits {\n per_number 3/1h\n" +
		" budget 100/1h\n cooldown 0s\n}"})
	w.Sim.Always(websmstest.InsufficientFunds200())
	b, number, asked := w.Browser(), harness.FreshNumber(), 0
	for ; asked < 50; asked++ {
		if a := b.Request(number); a.StatusCode != http.StatusAccepted {
			harness.WantProblem(t, "an ask", a, http.StatusTooManyRequests, "rate_limited")
			break
		}
		for guess := range 10 { // in flight as well as after
			if a := b.Post("/.websms/verify", []string{"code", fmt.Sprintf("%04d", asked*10+guess)}, harness.API); a.StatusCode == http.StatusOK {
				t.Fatal("a code that was never sent is taken")
			}
		}
	}
	if asked > 6 { // three, and at the most three that are given back
		t.Errorf("%d codes could be asked for, on a limit of 3", asked)
	}
}

// A full store refuses before anything is sent. A challenge that has ended makes room.
func TestStoreIsFull(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{App: "store memory {\n capacity 2\n}", Gate: harness.Plenty})
	first, second := w.Browser(), w.Browser()
	code := harness.AskFor(w, first)
	now.Advance(time.Minute)
	harness.AskFor(w, second)
	sent := w.Sim.Counts().OTPRequests
	wantWait(t, "a third", w.Browser().Request(harness.FreshNumber()), "unavailable", "240")
	a := w.Browser().Visit().Post("/.websms/send", []string{"phone", harness.FreshNumber()}, harness.Page)
	if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") != "240" {
		t.Errorf("a third, for a person: %s", a.Status)
	}
	harness.AskFor(w, second) // it replaces its own challenge
	harness.WantStatus(t, "the first", first.AnswerWith(code), http.StatusOK)
	harness.AskFor(w, w.Browser())
	harness.WantStatus(t, "a fourth", w.Browser().Request(harness.FreshNumber()), http.StatusServiceUnavailable)
	now.Advance(5 * time.Minute)
	harness.AskFor(w, w.Browser())
	if got := w.Sim.Counts().OTPRequests - sent; got != 3 {
		t.Errorf("%d messages were sent; want 3", got)
	}
}

// Refusals are logged for the operator, at a limited rate.
func TestRefusalsInTheLog(t *testing.T) {
	w := harness.Start(t, harness.Setup{App: "store memory {\n capacity 1\n}", Gate: harness.Plenty})
	harness.AskFor(w, w.Browser())
	began := time.Now()
	for range 50 {
		harness.WantStatus(t, "another", w.Browser().Request(harness.FreshNumber()), http.StatusServiceUnavailable)
	}
	told := strings.Count(w.LogText(), "refusing for now")
	if most := 2 + int(time.Since(began).Seconds()); told < 1 || told > most {
		t.Errorf("50 refusals: %d lines in the log; want one a second, so no more than %d", told, most)
	}
}
