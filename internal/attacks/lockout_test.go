package attacks_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
)

// Wrong codes in a row lock a number: across challenges, browsers, resends and reloads. The lock
// and its refusals are exact to the second, and a visitor cannot end it sooner.
func TestLockout(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: harness.LockoutGate})
	number := harness.FreshNumber()
	pending := w.Browser()
	code := pending.Ask(number) // its browser still waits for it
	harness.SendWrongs(w, number, 6)
	w.Load(harness.LockoutGate + "\ncomment Changed.")
	last := harness.SendWrongs(w, number, 1)
	if last.JSON("attempts_left") != 4.0 || last.Header.Get("Retry-After") != "900" {
		t.Errorf("the code that locks: %s, Retry-After %q", last.Text, last.Header.Get("Retry-After"))
	}
	locked := func(what, wait string) {
		t.Helper()
		wantWait(t, what+": the right code", pending.AnswerWith(code), "rate_limited", wait)
		wantWait(t, what+": a resend", pending.Resend(), "rate_limited", wait)
		wantWait(t, what+": another browser", w.Browser().Request(number), "rate_limited", wait)
	}
	w.WantSends("while it is locked", 0, harness.FreshNumber(), func() {
		locked("at once", "900")
		now.Advance(8 * time.Minute)
		w.Load(harness.LockoutGate)
		locked("later", "420")
	})
	a := pending.Post("/.websms/verify", []string{"code", code}, harness.Page)
	if a.StatusCode != http.StatusTooManyRequests || !strings.Contains(a.Text, "Too many wrong codes") ||
		!strings.Contains(a.Text, "7 minutes") {
		t.Errorf("for a person: %s %s", a.Status, harness.Excerpt(a.Text))
	}
	now.Advance(7*time.Minute - time.Second)
	wantWait(t, "a second early", w.Browser().Request(number), "rate_limited", "1")
	now.Advance(time.Second)
	harness.WantProblem(t, "a code that outlived its life in the lock", pending.AnswerWith(code), http.StatusGone, "code_expired")

	// Seven more lock it again. Two more after that lock it until an operator unlocks it.
	harness.SendWrongs(w, number, 7)
	now.Advance(15 * time.Minute)
	if last = harness.SendWrongs(w, number, 2); last.Header.Get("Retry-After") != "86400" {
		t.Errorf("the code that locks for good: Retry-After %q", last.Header.Get("Retry-After"))
	}
	for _, wait := range []time.Duration{0, time.Hour, 300 * 24 * time.Hour} {
		now.Advance(wait)
		// No wait ends this lock. Retry-After says 24 hours.
		wantWait(t, fmt.Sprintf("%s after it was locked for good", wait), w.Browser().Request(number), "rate_limited", "86400")
	}
	harness.WantStatus(t, "another number", w.Browser().Request(harness.FreshNumber()), http.StatusAccepted)

	events := map[string]int{}
	for _, line := range w.Logged("websms.audit") {
		events[line["event"].(string)]++
	}
	if events["locked_out"] != 3 || events["wrong_code"] != 16 {
		t.Errorf("the audit log has %v; want 3 locked_out of 16 wrong_code", events)
	}
	w.WantNoSecrets()
}

// The right code ends a run of failures, because only wrong codes in a row count.
func TestSuccessEndsRun(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.LockoutGate})
	number := harness.FreshNumber()
	for range 3 {
		harness.SendWrongs(w, number, 6)
		w.Browser().Login(number)
	}
}

// A stranger's guesses lock out strangers, but not a browser that has verified the number before.
// The mistakes of that browser do not lock others (OWASP: device cookies).
func TestDeviceHasItsOwnRun(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: harness.LockoutGate})
	number := harness.FreshNumber()
	owner := w.Browser()
	owner.Login(number)
	owner.Post("/.websms/logout", nil, harness.API)
	harness.SendWrongs(w, number, 7)
	wantWait(t, "a stranger", w.Browser().Request(number), "rate_limited", "900")
	owner.Login(number)
	wantWait(t, "a stranger, after the owner came in", w.Browser().Request(number), "rate_limited", "900")

	// The owner's browser can lock itself out, but only by its own mistakes.
	now.Advance(15 * time.Minute)
	for range 7 {
		wrong := harness.OtherCode(owner.Ask(number))
		owner.AnswerWith(wrong)
	}
	wantWait(t, "the owner's browser", owner.Request(number), "rate_limited", "900")
	stranger := w.Browser()
	stranger.Login(number)

	// A device cookie of another number or realm, or a forged one, makes a stranger.
	elsewhere := w.Browser()
	elsewhere.Login(harness.FreshNumber())
	harness.SendWrongs(w, number, 7)
	wantWait(t, "a device of another number", elsewhere.Request(number), "rate_limited", "900")
	forged := w.Browser()
	forged.Header.Set("Cookie", "websms_session_device="+strings.Repeat("A", 100))
	wantWait(t, "a forged device", forged.Request(number), "rate_limited", "900")
}

// A copy of a device cookie has a run of failures too. The owner, who goes on verifying the number,
// ends it at most once.
func TestStolenDevice(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: "code {\n attempts 10\n}\nlimits {\n per_number 1000/1h\n cooldown 0s\n" +
		" lockout 100 1s\n max_failures 30\n}"})
	number, owner := harness.FreshNumber(), w.Browser()
	owner.Login(number)
	stolen := harness.With("Cookie", "websms_session_device="+owner.Cookie("websms_session_device").Value)
	guesses := 0
	for range 10 {
		thief := w.Browser()
		a := thief.Request(number, stolen)
		if challenge := a.SetCookie("websms_session_challenge"); challenge != nil {
			w.CodeFor(number, 1)
			both := harness.With("Cookie", stolen.Get("Cookie")+"; websms_session_challenge="+challenge.Value)
			for range 10 {
				if thief.AnswerWith("000000", both).StatusCode == http.StatusUnprocessableEntity {
					guesses++
				}
			}
		}
		now.Advance(time.Hour)
		owner.Login(number)
	}
	// The first ten end with the owner's next verification, which is the last by that device
	// cookie. Thirty more lock the copy until an operator unlocks it.
	if guesses != 10+30 {
		t.Errorf("%d guesses with a stolen device cookie; want 40", guesses)
	}
}

// A device cookie is forgotten after half a year. Of more than four numbers it forgets the one that
// it verified first.
func TestDeviceForgets(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: harness.LockoutGate})
	numbers := []string{harness.FreshNumber(), harness.FreshNumber(), harness.FreshNumber(), harness.FreshNumber(), harness.FreshNumber()}
	b := w.Browser()
	for _, number := range numbers {
		b.Login(number)
	}
	for i, number := range numbers {
		harness.SendWrongs(w, number, 7)
		want := http.StatusAccepted
		if i == 0 {
			want = http.StatusTooManyRequests
		}
		harness.WantStatus(t, fmt.Sprintf("number %d of five", i+1), b.Request(number), want)
	}
	now.Advance(180 * 24 * time.Hour)
	harness.SendWrongs(w, numbers[4], 7)
	harness.WantStatus(t, "after 180 days", b.Request(numbers[4]), http.StatusTooManyRequests)
}

// The number of codes that one address may ask for is limited, over all numbers and browsers. IPv6
// addresses count by /64. Forwarded addresses count only from proxies that the configuration
// trusts.
func TestPerIP(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{
		Global: harness.TrustLocal,
		Gate:   "limits {\n per_ip 2/10m\n cooldown 0s\n}",
	})
	ask := func(ip string) harness.Answer {
		return w.Browser().Request(harness.FreshNumber(), harness.With("X-Forwarded-For", ip))
	}
	for _, c := range []struct {
		first, second, third string
		fourth               string // of another network
	}{
		{"192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"},
		{"::ffff:198.51.100.7", "198.51.100.7", "::ffff:c633:6407", "198.51.100.8"},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:2:abcd:ef01:2345:6789", "2001:db8:1:3::1"},
	} {
		harness.WantStatus(t, "the first of "+c.first, ask(c.first), http.StatusAccepted)
		now.Advance(time.Minute)
		harness.WantStatus(t, "the second, of "+c.second, ask(c.second), http.StatusAccepted)
		wantWait(t, "the third, of "+c.third, ask(c.third), "rate_limited", "540")
		harness.WantStatus(t, "another network: "+c.fourth, ask(c.fourth), http.StatusAccepted)
	}
	w.Load("limits {\n per_ip 2/10m\n cooldown 0s\n}\ncomment Changed.")
	wantWait(t, "after a reload", ask("2001:db8:1:2::1"), "rate_limited", "540")
	refused := 0
	for _, line := range w.Logged("websms.audit") {
		if line["event"] == "rate_limited" && strings.Contains(line["error"].(string), "per_ip") {
			refused++
		}
	}
	if refused != 4 {
		t.Errorf("the audit log has %d that per_ip refused; want 4", refused)
	}
}

// On a socket without addresses all clients count as one.
func TestPerIPOnSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	w := harness.Start(t, harness.Setup{Front: "bind localhost unix/" + socket, Gate: "limits {\n per_ip 2/10m\n}"})
	for i, want := range []int{http.StatusAccepted, http.StatusAccepted, http.StatusTooManyRequests} {
		b := w.Browser()
		b.Client.Transport = &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}
		harness.WantStatus(t, fmt.Sprintf("ask %d", i+1), b.Request(harness.FreshNumber()), want)
	}
}

// A resend counts as an ask.
func TestPerIPCountsAsks(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: "limits {\n per_ip 3/10m\n cooldown 0s\n}"})
	b := w.Browser()
	b.Ask(harness.FreshNumber())
	harness.WantStatus(t, "a resend", b.Resend(), http.StatusAccepted)
	harness.WantStatus(t, "a resend", b.Resend(), http.StatusAccepted)
	harness.WantStatus(t, "the fourth", w.Browser().Request(harness.FreshNumber()), http.StatusTooManyRequests)
}

// When four fifths of a budget are used, the log warns once in its window.
func TestBudgetWarning(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: "realm staff\nlimits {\n budget 10/1h\n}"})
	warnings := func() (list []map[string]any) {
		for _, line := range w.Logged("http.handlers.websms_otp") {
			if strings.Contains(line["msg"].(string), "budget") {
				list = append(list, line)
			}
		}
		return list
	}
	for window := range 2 {
		for i := range 10 {
			w.Browser().Ask(harness.FreshNumber())
			if n := len(warnings()); i == 6 && n != window || i == 9 && n != window+1 {
				t.Errorf("window %d, sending %d: %d warnings", window+1, i+1, n)
			}
		}
		harness.WantStatus(t, "the eleventh", w.Browser().Request(harness.FreshNumber()), http.StatusTooManyRequests)
		now.Advance(time.Hour)
	}
	for _, line := range warnings() {
		if line["level"] != "warn" || line["used"] != 8.0 || line["budget"] != "10/1h" || line["realm"] != "staff" {
			t.Errorf("the warning is %v", line)
		}
	}
}
