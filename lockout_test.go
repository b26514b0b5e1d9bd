package websms

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// wrongs answers with so many wrong codes, asking for new ones as it needs to,
// each time in a new browser. It returns the last answer.
func (w *world) wrongs(number string, count int) (last answer) {
	w.t.Helper()
	for done := 0; done < count; {
		b := w.browser()
		wrong := other(b.ask(number))
		for range 5 {
			if last = b.answerWith(wrong); last.StatusCode != http.StatusUnprocessableEntity {
				w.t.Fatalf("wrong code %d: %s %s", done+1, last.Status, redact(last.body))
			}
			if done++; done == count {
				break
			}
		}
	}
	return last
}

const lockoutGate = "code {\n ttl 10m\n}\nlimits {\n per_number 1000/1h\n cooldown 0s\n lockout 7 15m\n max_failures 16\n}"

// Wrong codes in a row lock a number: across challenges, browsers, resends
// and reloads. What locks it, and what is refused while it is, is true to the
// second, and nothing that an asker can do ends it sooner.
func TestLockout(t *testing.T) {
	now := useClock(t)
	w := start(t, setup{gate: lockoutGate})
	number := freshNumber()
	pending := w.browser()
	code := pending.ask(number) // it goes on waiting in its browser
	w.wrongs(number, 6)
	w.load(lockoutGate + "\ncomment Changed.")
	last := w.wrongs(number, 1)
	if last.json("attempts_left") != 4.0 || last.Header.Get("Retry-After") != "900" {
		t.Errorf("the code that locks: %s, Retry-After %q", last.body, last.Header.Get("Retry-After"))
	}
	locked := func(what, wait string) {
		t.Helper()
		wantWait(t, what+": the right code", pending.answerWith(code), "rate_limited", wait)
		wantWait(t, what+": a resend", pending.resend(), "rate_limited", wait)
		wantWait(t, what+": another browser", w.browser().request(number), "rate_limited", wait)
	}
	w.wantSends("while it is locked", 0, freshNumber(), func() {
		locked("at once", "900")
		now.Advance(8 * time.Minute)
		w.load(lockoutGate)
		locked("later", "420")
	})
	a := pending.post("/.websms/verify", []string{"code", code}, page)
	if a.StatusCode != http.StatusTooManyRequests || !strings.Contains(a.body, "Too many wrong codes") || !strings.Contains(a.body, "7 minutes") {
		t.Errorf("for a person: %s %s", a.Status, redact(a.body))
	}
	now.Advance(7*time.Minute - time.Second)
	wantWait(t, "a second early", w.browser().request(number), "rate_limited", "1")
	now.Advance(time.Second)
	wantProblem(t, "a code that outlived its life in the lock", pending.answerWith(code), http.StatusGone, "code_expired")

	// Seven more lock it again, and two more after that for good.
	w.wrongs(number, 7)
	now.Advance(15 * time.Minute)
	if last = w.wrongs(number, 2); last.Header.Get("Retry-After") != "86400" {
		t.Errorf("the code that locks for good: Retry-After %q", last.Header.Get("Retry-After"))
	}
	for _, wait := range []time.Duration{0, time.Hour, 300 * 24 * time.Hour} {
		now.Advance(wait)
		// No wait ends it: who asks is told to come back tomorrow.
		wantWait(t, fmt.Sprintf("%s after it was locked for good", wait), w.browser().request(number), "rate_limited", "86400")
	}
	wantStatus(t, "another number", w.browser().request(freshNumber()), http.StatusAccepted)

	events := map[string]int{}
	for _, line := range w.logged("websms.audit") {
		events[line["event"].(string)]++
	}
	if events["locked_out"] != 3 || events["wrong_code"] != 16 {
		t.Errorf("the audit log has %v; want 3 locked_out of 16 wrong_code", events)
	}
	w.wantNoSecrets()
}

// The right code ends a run: what is counted is in a row.
func TestSuccessEndsRun(t *testing.T) {
	w := start(t, setup{gate: lockoutGate})
	number := freshNumber()
	for range 3 {
		w.wrongs(number, 6)
		w.browser().login(number)
	}
}

// A stranger's guesses lock strangers out, and not a browser that has verified
// the number before; nor do that one's mistakes lock others (OWASP: device cookies).
func TestDeviceHasItsOwnRun(t *testing.T) {
	now := useClock(t)
	w := start(t, setup{gate: lockoutGate})
	number := freshNumber()
	owner := w.browser()
	owner.login(number)
	owner.post("/.websms/logout", nil, api)
	w.wrongs(number, 7)
	wantWait(t, "a stranger", w.browser().request(number), "rate_limited", "900")
	owner.login(number)
	wantWait(t, "a stranger, after the owner came in", w.browser().request(number), "rate_limited", "900")

	// The owner's browser may lock itself out, by its own mistakes alone.
	now.Advance(15 * time.Minute)
	for range 7 {
		wrong := other(owner.ask(number))
		owner.answerWith(wrong)
	}
	wantWait(t, "the owner's browser", owner.request(number), "rate_limited", "900")
	stranger := w.browser()
	stranger.login(number)

	// A device cookie of another number, of another realm, or made up, is a stranger's.
	elsewhere := w.browser()
	elsewhere.login(freshNumber())
	w.wrongs(number, 7)
	wantWait(t, "a device of another number", elsewhere.request(number), "rate_limited", "900")
	forged := w.browser()
	forged.header.Set("Cookie", "websms_session_device="+strings.Repeat("A", 100))
	wantWait(t, "a forged device", forged.request(number), "rate_limited", "900")
}

// Whoever has a copy of a device cookie has a run of failures as well, and the
// owner, who goes on verifying the number, ends it once at most.
func TestStolenDevice(t *testing.T) {
	now := useClock(t)
	w := start(t, setup{gate: "code {\n attempts 10\n}\nlimits {\n per_number 1000/1h\n cooldown 0s\n lockout 100 1s\n max_failures 30\n}"})
	number, owner := freshNumber(), w.browser()
	owner.login(number)
	stolen := with("Cookie", "websms_session_device="+owner.cookie("websms_session_device").Value)
	guesses := 0
	for range 10 {
		thief := w.browser()
		a := thief.request(number, stolen)
		if challenge := a.setCookie("websms_session_challenge"); challenge != nil {
			w.codeFor(number, 1)
			both := with("Cookie", stolen.Get("Cookie")+"; websms_session_challenge="+challenge.Value)
			for range 10 {
				if thief.answerWith("00", both).StatusCode == http.StatusUnprocessableEntity {
					guesses++
				}
			}
		}
		now.Advance(time.Hour)
		owner.login(number)
	}
	// The first ten end with the owner's next verification, which is the last
	// by the same device; thirty more lock the copy for good.
	if guesses != 10+30 {
		t.Errorf("%d guesses with a stolen device cookie; want 40", guesses)
	}
}

// A device is forgotten after half a year, and of five numbers the one that it
// verified first.
func TestDeviceForgets(t *testing.T) {
	now := useClock(t)
	w := start(t, setup{gate: lockoutGate})
	numbers := []string{freshNumber(), freshNumber(), freshNumber(), freshNumber(), freshNumber()}
	b := w.browser()
	for _, number := range numbers {
		b.login(number)
	}
	for i, number := range numbers {
		w.wrongs(number, 7)
		want := http.StatusAccepted
		if i == 0 {
			want = http.StatusTooManyRequests
		}
		wantStatus(t, fmt.Sprintf("number %d of five", i+1), b.request(number), want)
	}
	now.Advance(180 * 24 * time.Hour)
	w.wrongs(numbers[4], 7)
	wantStatus(t, "after 180 days", b.request(numbers[4]), http.StatusTooManyRequests)
}

// One address may ask for so many codes, whatever the numbers and browsers; of
// an IPv6 address the /64 counts. Who forwards is believed only where the
// server's configuration says so.
func TestPerIP(t *testing.T) {
	now := useClock(t)
	w := start(t, setup{
		global: trustLocal,
		gate:   "limits {\n per_ip 2/10m\n cooldown 0s\n}",
	})
	ask := func(ip string) answer {
		return w.browser().request(freshNumber(), with("X-Forwarded-For", ip))
	}
	for _, c := range []struct {
		first, second, third string
		fourth               string // of another network
	}{
		{"192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"},
		{"::ffff:198.51.100.7", "198.51.100.7", "::ffff:c633:6407", "198.51.100.8"},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:2:abcd:ef01:2345:6789", "2001:db8:1:3::1"},
	} {
		wantStatus(t, "the first of "+c.first, ask(c.first), http.StatusAccepted)
		now.Advance(time.Minute)
		wantStatus(t, "the second, of "+c.second, ask(c.second), http.StatusAccepted)
		wantWait(t, "the third, of "+c.third, ask(c.third), "rate_limited", "540")
		wantStatus(t, "another network: "+c.fourth, ask(c.fourth), http.StatusAccepted)
	}
	w.load("limits {\n per_ip 2/10m\n cooldown 0s\n}\ncomment Changed.")
	wantWait(t, "after a reload", ask("2001:db8:1:2::1"), "rate_limited", "540")
	refused := 0
	for _, line := range w.logged("websms.audit") {
		if line["event"] == "rate_limited" && strings.Contains(line["error"].(string), "per_ip") {
			refused++
		}
	}
	if refused != 4 {
		t.Errorf("the audit log has %d that per_ip refused; want 4", refused)
	}
}

// On a socket without addresses all are one client.
func TestPerIPOnSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	w := start(t, setup{front: "bind localhost unix/" + socket, gate: "limits {\n per_ip 2/10m\n}"})
	for i, want := range []int{http.StatusAccepted, http.StatusAccepted, http.StatusTooManyRequests} {
		b := w.browser()
		b.client.Transport = &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}
		wantStatus(t, fmt.Sprintf("ask %d", i+1), b.request(freshNumber()), want)
	}
}

// A resend is an ask as well.
func TestPerIPCountsAsks(t *testing.T) {
	w := start(t, setup{gate: "limits {\n per_ip 3/10m\n cooldown 0s\n}"})
	b := w.browser()
	b.ask(freshNumber())
	wantStatus(t, "a resend", b.resend(), http.StatusAccepted)
	wantStatus(t, "a resend", b.resend(), http.StatusAccepted)
	wantStatus(t, "the fourth", w.browser().request(freshNumber()), http.StatusTooManyRequests)
}

// When four fifths of a budget are used the operator is told, once in its window.
func TestBudgetWarning(t *testing.T) {
	now := useClock(t)
	w := start(t, setup{gate: "realm staff\nlimits {\n budget 10/1h\n}"})
	warnings := func() (list []map[string]any) {
		for _, line := range w.logged("http.handlers.websms_otp") {
			if strings.Contains(line["msg"].(string), "budget") {
				list = append(list, line)
			}
		}
		return list
	}
	for window := range 2 {
		for i := range 10 {
			w.browser().ask(freshNumber())
			if n := len(warnings()); i == 6 && n != window || i == 9 && n != window+1 {
				t.Errorf("window %d, sending %d: %d warnings", window+1, i+1, n)
			}
		}
		wantStatus(t, "the eleventh", w.browser().request(freshNumber()), http.StatusTooManyRequests)
		now.Advance(time.Hour)
	}
	for _, line := range warnings() {
		if line["level"] != "warn" || line["used"] != 8.0 || line["budget"] != "10/1h" || line["realm"] != "staff" {
			t.Errorf("the warning is %v", line)
		}
	}
}
