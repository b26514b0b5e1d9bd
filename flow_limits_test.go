package websms

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/websmstest"
)

// wantWait checks that a is refused for a while, and that the while is d.
func wantWait(t *testing.T, what string, a answer, slug string, d string) {
	t.Helper()
	status := map[string]int{"rate_limited": http.StatusTooManyRequests, "unavailable": http.StatusServiceUnavailable}[slug]
	wantProblem(t, what, a, status, slug)
	if got := a.Header.Get("Retry-After"); got != d {
		t.Errorf("%s: Retry-After is %q; want %q", what, got, d)
	}
}

func (b *browser) resend() answer {
	b.t.Helper()
	return b.post("/.websms/resend", nil, api)
}

// A resend sends the same code, after a cooldown that doubles; the code then
// lives on, up to ten minutes from its first sending.
func TestResend(t *testing.T) {
	now := useClock(t)
	w := start(t, setup{gate: "code {\n ttl 5m\n}\n limits {\n per_number 100/24h\n cooldown 30s\n}"})
	w.sim.SetWebhook("", "")
	b := w.browser()
	wantProblem(t, "without a challenge", b.resend(), http.StatusConflict, "no_challenge")
	const number = "+6421234567"
	b.request(number)
	code := w.codeFor(number, 1)
	b.answerWith(other(code))

	now.Advance(200 * time.Millisecond)
	wantWait(t, "at once", b.resend(), "rate_limited", "30") // 29.8 s, in whole seconds
	now.Advance(29 * time.Second)
	wantWait(t, "a little early", b.resend(), "rate_limited", "1")
	for i, c := range []struct {
		wait             time.Duration
		expires, another string // of the sending that then is allowed
	}{
		{time.Second, "2026-07-01T09:05:30Z", "2026-07-01T09:01:31Z"},
		{61 * time.Second, "2026-07-01T09:06:31Z", "2026-07-01T09:03:32Z"},
		{2 * time.Minute, "2026-07-01T09:08:31Z", "2026-07-01T09:07:32Z"},
		{4 * time.Minute, "2026-07-01T09:10:00Z", "2026-07-01T09:15:32Z"},
	} {
		now.Advance(c.wait)
		a := b.resend()
		if a.StatusCode != http.StatusAccepted || a.json("expires_at") != c.expires || a.json("resend_at") != c.another || a.json("attempts_left") != 4.0 {
			t.Errorf("resend %d: %s %s; want it to expire at %s, the next from %s, 4 attempts left", i+1, a.Status, a.body, c.expires, c.another)
		}
		if got := w.codeFor(number, i+2); got != code {
			t.Errorf("resend %d sends another code", i+1)
		}
		wantStatus(t, "once more", b.resend(), http.StatusTooManyRequests)
	}
	now.Advance(2*time.Minute + 28*time.Second) // 9:09:59.2
	wantStatus(t, "the code, in the last second", b.answerWith(code), http.StatusOK)
	if n := len(w.messagesTo(number)); n != 5 {
		t.Errorf("%d messages were sent; want 5", n)
	}
}

// For a person a resend leads back to the code form.
func TestResendByPerson(t *testing.T) {
	w := start(t, setup{gate: plenty})
	b := w.browser()
	if a := b.post("/.websms/resend", nil, page); a.StatusCode != http.StatusConflict || !strings.Contains(a.body, "No code is waiting") {
		t.Errorf("without a challenge: %s %s", a.Status, redact(a.body))
	}
	b.ask("+6421234567")
	if a := b.post("/.websms/resend", nil, page); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/.websms/verify" {
		t.Errorf("resend: %s to %q", a.Status, a.Header.Get("Location"))
	}
	w.codeFor("+6421234567", 2)
}

// A number gets so many codes and no more, whoever asks, by whatever way, at
// whatever host, with whatever configuration in between (CVE-2024-21500).
func TestPerNumber(t *testing.T) {
	now := useClock(t)
	w := start(t, setup{})
	gate := "code {\n ttl 10m\n}\n limits {\n per_number 3/10m 5/1h\n cooldown 0s\n}"
	w.serve(gate, "")
	const number = "+6421234567"
	b := w.browser()
	b.request(number)
	now.Advance(time.Minute)
	b.resend()
	now.Advance(time.Minute)
	w.browser().request("021 234 567", host("other.test"))
	w.codeFor(number, 3)

	refused := func(what, after string) {
		t.Helper()
		w.wantSends(what, 0, freshNumber(), func() {
			for _, asker := range []*browser{b, w.browser()} {
				for _, at := range []string{"localhost", "other.test", "third.test:8080", ""} {
					wantWait(t, what+", asked at "+at, asker.request("0064 21 234 567", host(at)), "rate_limited", after)
				}
			}
			wantWait(t, what+", by resend", b.resend(), "rate_limited", after)
			a := w.browser().post("/.websms/send", []string{"phone", number}, page)
			if a.StatusCode != http.StatusTooManyRequests || a.Header.Get("Retry-After") != after || len(a.Cookies()) > 0 || !strings.Contains(a.body, "Please wait a little") {
				t.Errorf("%s, for a person: %s %s", what, a.Status, redact(a.body))
			}
		})
	}
	refused("the fourth", "480")
	w.load(gate + "\ncomment Changed.")
	refused("the fourth, after a reload", "480")
	wantStatus(t, "another number", w.browser().request("+6421234568"), http.StatusAccepted)
	w.codeFor("+6421234568", 1)
	now.Advance(8*time.Minute - time.Second)
	refused("the fourth, a second early", "1")
	now.Advance(time.Second)
	wantStatus(t, "the fourth", b.request(number), http.StatusAccepted)
	w.codeFor(number, 4)
	refused("the fifth, with the fourth", "60")
	now.Advance(time.Minute)
	wantStatus(t, "the fifth", b.resend(), http.StatusAccepted)
	w.codeFor(number, 5)
	refused("the sixth", "2940") // an hour after the first
	limited := 0
	for _, line := range w.logged("websms.audit") {
		if line["event"] == "rate_limited" {
			limited++
		}
	}
	if limited != 5*10 {
		t.Errorf("the audit log tells of %d refusals; want 50", limited)
	}
}

// A gate sends so many codes and no more.
func TestBudget(t *testing.T) {
	now := useClock(t)
	w := start(t, setup{})
	w.serve("limits {\n budget 2/1h 3/24h\n cooldown 0s\n}", "")
	b := w.browser()
	wantStatus(t, "the first", b.request(freshNumber()), http.StatusAccepted)
	now.Advance(4 * time.Minute)
	wantStatus(t, "the second", b.resend(), http.StatusAccepted)
	for _, at := range []string{"localhost", "other.test"} {
		wantWait(t, "the third, at "+at, w.browser().request(freshNumber(), host(at)), "rate_limited", "3360")
	}
	wantWait(t, "the third, by resend", b.resend(), "rate_limited", "3360")
	now.Advance(56 * time.Minute)
	wantStatus(t, "the third", w.browser().request(freshNumber()), http.StatusAccepted)
	wantWait(t, "the fourth", w.browser().request(freshNumber()), "rate_limited", "82800")
	eventually(t, "three are sent", func() bool { return w.sim.Counts().OTPRequests == 3 })
}

// What was refused costs nothing; what may have been sent costs.
func TestRefund(t *testing.T) {
	w := start(t, setup{app: "timeout 1s", gate: "limits {\n per_number 1/1h\n budget 6/1h\n cooldown 0s\n}"})
	w.sim.SetWebhook("", "")
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
		w.sim.Next(c.fault)
		b, number := w.browser(), freshNumber()
		wantStatus(t, c.name, b.request(number), http.StatusAccepted)
		eventually(t, c.name+": it is known how it went", func() bool { return b.get("/.websms/status", api).json("status") == "failed" })
		a := b.request(number)
		if c.back {
			if wantStatus(t, c.name+", once more", a, http.StatusAccepted); a.StatusCode == http.StatusAccepted {
				w.codeFor(number, 1)
			}
		} else {
			wantProblem(t, c.name+", once more", a, http.StatusTooManyRequests, "rate_limited")
		}
		if c.name == "throttled" { // 4 of the budget's 6 were sent; begin anew
			w.load("realm anew\n limits {\n per_number 1/1h\n budget 4/1h\n cooldown 0s\n}")
		}
	}
	a := w.browser().request(freshNumber())
	wantProblem(t, "a fifth where four may have been sent", a, http.StatusTooManyRequests, "rate_limited")
	w.wantNoSecrets()
}

// Refusals lift no limit: who can bring them about, with a number that WebSMS
// will not text or while the account is empty, gets no more codes to guess than
// anybody else, and what was never sent is right for nobody.
func TestRefusalsLiftNoLimit(t *testing.T) {
	w := start(t, setup{gate: "code {\n length 4\n attempts 10\n}\n limits {\n per_number 3/1h\n budget 100/1h\n cooldown 0s\n}"})
	w.sim.Always(websmstest.InsufficientFunds200())
	b, number, asked := w.browser(), freshNumber(), 0
	for ; asked < 50; asked++ {
		if a := b.request(number); a.StatusCode != http.StatusAccepted {
			wantProblem(t, "an ask", a, http.StatusTooManyRequests, "rate_limited")
			break
		}
		for guess := range 10 { // in flight as well as after
			if a := b.post("/.websms/verify", []string{"code", fmt.Sprintf("%04d", asked*10+guess)}, api); a.StatusCode == http.StatusOK {
				t.Fatal("a code that was never sent is taken")
			}
		}
	}
	if asked > 6 { // three, and at the most three that are given back
		t.Errorf("%d codes could be asked for, on a limit of 3", asked)
	}
}

// A full store refuses before anything is sent, and a challenge that is over
// makes room.
func TestStoreIsFull(t *testing.T) {
	now := useClock(t)
	w := start(t, setup{app: "store memory {\n capacity 2\n}", gate: plenty})
	first, second := w.browser(), w.browser()
	code := w.askFor(first)
	now.Advance(time.Minute)
	w.askFor(second)
	sent := w.sim.Counts().OTPRequests
	wantWait(t, "a third", w.browser().request(freshNumber()), "unavailable", "240")
	a := w.browser().post("/.websms/send", []string{"phone", freshNumber()}, page)
	if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") != "240" {
		t.Errorf("a third, for a person: %s", a.Status)
	}
	w.askFor(second) // in place of its own
	wantStatus(t, "the first", first.answerWith(code), http.StatusOK)
	w.askFor(w.browser())
	wantStatus(t, "a fourth", w.browser().request(freshNumber()), http.StatusServiceUnavailable)
	now.Advance(5 * time.Minute)
	w.askFor(w.browser())
	if got := w.sim.Counts().OTPRequests - sent; got != 3 {
		t.Errorf("%d messages were sent; want 3", got)
	}
}

// Refusals are told to the operator, but a crowd that is refused does not
// drown his log.
func TestRefusalsInTheLog(t *testing.T) {
	w := start(t, setup{app: "store memory {\n capacity 1\n}", gate: plenty})
	w.askFor(w.browser())
	began := time.Now()
	for range 50 {
		wantStatus(t, "another", w.browser().request(freshNumber()), http.StatusServiceUnavailable)
	}
	told := strings.Count(w.logText(), "refusing for now")
	if most := 2 + int(time.Since(began).Seconds()); told < 1 || told > most {
		t.Errorf("50 refusals: %d lines in the log; want one a second, so no more than %d", told, most)
	}
}
