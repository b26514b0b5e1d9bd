package websms

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/clock"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

// recoveryCode asks an operator for a recovery code.
func recoveryCodeOf(t *testing.T, admin, body string) string {
	t.Helper()
	a := adminPost(t, admin, "/websms/recovery-code", body)
	var made struct {
		Code      string    `json:"code"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	if err := json.Unmarshal([]byte(a.body), &made); err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("recovery-code %s: %s %s", body, a.Status, a.body)
	}
	if left := made.ExpiresAt.Sub(clock.Now()); len(made.Code) != 16 || left < 9*time.Minute || left > 10*time.Minute {
		t.Fatalf("recovery-code: %d characters, for another %s", len(made.Code), left)
	}
	return made.Code
}

func (b *browser) recoverWith(code string, more ...string) answer {
	b.t.Helper()
	return b.post("/.websms/recover", append([]string{"code", code}, more...), api)
}

// How a session was proved shows to programs, to the log and to what stands
// behind the gate, and a renewal of the cookie changes nothing of it.
func TestMeans(t *testing.T) {
	now := useClock(t)
	w := start(t, setup{
		front: "@recovered expression {http.websms.means} == \"recovery_code\"\n request_header @recovered App-Recovered yes\n request_header App-Means {http.websms.means}",
		gate:  plenty,
	})
	code := recoveryCodeOf(t, w.admin(""), `{"number":"+6421000779"}`)
	by := map[string]*browser{"sms": w.browser(), "recovery_code": w.browser()}
	by["sms"].login("+6421000778")
	wantStatus(t, "the recovery code", by["recovery_code"].recoverWith(code), http.StatusOK)
	for range 3 {
		for means, b := range by {
			if a := b.get("/.websms/session", api); a.json("means") != means {
				t.Errorf("by %s: the session is %s", means, a.body)
			}
			before := b.cookie("websms_session").Value
			now.Advance(2 * session.Renewal)
			wantStatus(t, "the app", b.get("/", api), http.StatusOK)
			if b.cookie("websms_session").Value == before {
				t.Error("the cookie was not renewed")
			}
			seen := w.app.seen()
			header := seen[len(seen)-1].Header
			if got := header.Get("App-Means"); got != means {
				t.Errorf("by %s: the app is told %q", means, got)
			}
			if got := header.Get("App-Recovered"); (got == "yes") != (means == "recovery_code") {
				t.Errorf("by %s: an expression finds %q", means, got)
			}
		}
	}
	told := map[any]int{}
	for _, line := range w.logged("websms.audit") {
		if line["event"] == "verified" {
			told[line["means"]]++
		}
	}
	if told["sms"] != 1 || told["recovery_code"] != 1 || len(told) != 2 {
		t.Errorf("the audit log has %v", told)
	}
}

// A recovery code lets one user in, once, and leaves no trace but the audit's.
func TestRecoveryCode(t *testing.T) {
	now := useClock(t)
	w := start(t, setup{})
	admin := w.admin("")
	const number = "+6421000777"
	code := recoveryCodeOf(t, admin, fmt.Sprintf(`{"number":%q}`, number))
	b := w.browser()
	if a := b.get("/.websms/recover?rd=/reports", page); a.StatusCode != http.StatusOK || !strings.Contains(a.body, `value="/reports"`) {
		t.Fatalf("the form: %s", a.Status)
	}
	wantStatus(t, "a wrong one", b.recoverWith("0000-0000-0000-0"), http.StatusUnprocessableEntity)
	wantStatus(t, "the form of a code by SMS", b.post("/.websms/verify", []string{"code", code}, api), http.StatusConflict)
	a := b.recoverWith(strings.ToLower(strings.ReplaceAll(code, "-", " ")), "rd", "/reports")
	if a.StatusCode != http.StatusOK || a.json("verified") != true || a.json("number") != "+64•••777" || a.json("rd") != "/reports" {
		t.Fatalf("the code: %s %s", a.Status, a.body)
	}
	wantStatus(t, "the app", b.get("/reports", page), http.StatusOK)
	if seen := w.app.seen(); seen[len(seen)-1].Header.Get("X-Verified-Number") != number {
		t.Error("the app was not told the number")
	}
	if b.cookie("websms_session_device") != nil {
		t.Error("the browser passes for one that has verified the number")
	}
	wantStatus(t, "the same code again", w.browser().recoverWith(code), http.StatusUnprocessableEntity)

	late := recoveryCodeOf(t, admin, fmt.Sprintf(`{"number":%q}`, number))
	now.Advance(10 * time.Minute)
	wantStatus(t, "an expired one", w.browser().recoverWith(late), http.StatusUnprocessableEntity)

	if sent := len(w.sim.Messages()); sent != 0 {
		t.Errorf("%d messages were sent", sent)
	}
	events := map[any]int{}
	for _, line := range w.logged("websms.audit") {
		events[line["event"]]++
		if line["event"] == "verified" && (line["means"] != "recovery_code" || line["number"] != "+64•••777") {
			t.Errorf("the audit log has %v", line)
		}
	}
	if events["recovery_code_made"] != 2 || events["verified"] != 1 || events["wrong_code"] != 3 {
		t.Errorf("the audit log has %v", events)
	}
	w.wantNoSecrets(number[1:], code, strings.ReplaceAll(code, "-", ""), late)
}

// The first of many wins.
func TestRecoveryCodeOnce(t *testing.T) {
	w := start(t, setup{})
	code := recoveryCodeOf(t, w.admin(""), `{"number":"+6421000778"}`)
	var in atomic.Int32
	var wg sync.WaitGroup
	for range 9 { // one less than the tries that an address has
		b := w.browser()
		wg.Go(func() {
			if b.recoverWith(code).StatusCode == http.StatusOK {
				in.Add(1)
			}
		})
	}
	wg.Wait()
	if in.Load() != 1 {
		t.Errorf("%d of 9 were let in", in.Load())
	}
}

// Whom a code is not for it does not let in, and they cannot spend it.
func TestRecoveryCodeOfAUser(t *testing.T) {
	file := directory(t, "alice,"+alicePhone, "bob,"+bobPhone)
	w := start(t, setup{front: passwords, gate: withDirectory(file)})
	admin := w.admin(withDirectory(file))
	code := recoveryCodeOf(t, admin, `{"user":"alice"}`)
	bob, alice, nobody := w.browser().as("bob"), w.browser().as("alice"), w.browser().as("carol")
	wantStatus(t, "bob", bob.recoverWith(code), http.StatusUnprocessableEntity)
	wantStatus(t, "who has no number", nobody.recoverWith(code), http.StatusForbidden)
	wantStatus(t, "alice", alice.recoverWith(code), http.StatusOK)
	wantStatus(t, "alice at the app", alice.get("/", page), http.StatusOK)
	wantStatus(t, "bob at the app", bob.get("/", page), http.StatusFound)
	wantStatus(t, "alice again", w.browser().as("alice").recoverWith(code), http.StatusUnprocessableEntity)
}

// A code is for a gate that there is, and for a number that is allowed there.
func TestRecoveryCodeWhere(t *testing.T) {
	const gate = "realm staff\nnumbers {\n allow +6421000100\n}"
	w := start(t, setup{gate: gate})
	admin := w.admin(gate)
	for body, status := range map[string]int{
		`{"number":"+6421000100"}`:                                 http.StatusNotFound,
		`{"number":"+6421000100","realm":"guests"}`:                http.StatusNotFound,
		`{"user":"alice","realm":"staff"}`:                         http.StatusNotFound,
		`{"number":"021 000 100","realm":"staff"}`:                 http.StatusBadRequest,
		`{"realm":"staff"}`:                                        http.StatusBadRequest,
		`{"number":"+6421000100","user":"alice","realm":"staff"}`:  http.StatusBadRequest,
		`{"number":"+6421000100","session":"00","realm":"staff"}`:  http.StatusBadRequest,
		`{"user":"a\u0000b","realm":"staff"}`:                      http.StatusBadRequest,
		`{"number":"+6421000100","realm":"staff","more":"fields"}`: http.StatusBadRequest,
	} {
		wantStatus(t, body, adminPost(t, admin, "/websms/recovery-code", body), status)
	}
	listed := recoveryCodeOf(t, admin, `{"number":"+6421000100","realm":"staff"}`)
	unlisted := recoveryCodeOf(t, admin, `{"number":"+6421000101","realm":"staff"}`)
	wantStatus(t, "a number that is not allowed", w.browser().recoverWith(unlisted), http.StatusUnprocessableEntity)
	w.load(gate + "\n") // a reload
	wantStatus(t, "one that is, after a reload", w.browser().recoverWith(listed), http.StatusOK)
}

// Neither are many made for one person, nor many tried from one place.
func TestRecoveryCodeLimits(t *testing.T) {
	now := useClock(t)
	w := start(t, setup{})
	admin := w.admin("")
	for range 5 {
		recoveryCodeOf(t, admin, `{"number":"+6421000779"}`)
	}
	wantStatus(t, "the sixth within an hour", adminPost(t, admin, "/websms/recovery-code", `{"number":"+6421000779"}`), http.StatusTooManyRequests)
	now.Advance(time.Hour)
	code := recoveryCodeOf(t, admin, `{"number":"+6421000779"}`)
	for range 10 {
		wantStatus(t, "a wrong one", w.browser().recoverWith("0000-0000-0000-0"), http.StatusUnprocessableEntity)
	}
	a := w.browser().recoverWith(code)
	if a.StatusCode != http.StatusTooManyRequests || a.Header.Get("Retry-After") != "600" || a.json("type") != "rate_limited" {
		t.Errorf("the eleventh: %s, Retry-After %s, %s", a.Status, a.Header.Get("Retry-After"), a.body)
	}
	now.Advance(9 * time.Minute)
	wantStatus(t, "after nine minutes", w.browser().recoverWith(code), http.StatusTooManyRequests)
	now.Advance(time.Minute)
	wantStatus(t, "after ten, the code that is as old", w.browser().recoverWith(code), http.StatusUnprocessableEntity)
}

// Whoever has no tries left fills no log: one line a second at most.
func TestRecoveryRefusalsAreSampled(t *testing.T) {
	w := start(t, setup{})
	b := w.browser()
	for range 10 {
		wantStatus(t, "a wrong one", b.recoverWith("0000-0000-0000-0"), http.StatusUnprocessableEntity)
	}
	const refused = 60
	begun := time.Now()
	for range refused {
		wantStatus(t, "one too many", b.recoverWith("0000-0000-0000-0"), http.StatusTooManyRequests)
	}
	seconds := int(time.Since(begun)/time.Second) + 2 // the first and the last begin within
	limited, wrong := 0, 0
	for _, line := range w.logged("websms.audit") {
		switch line["event"] {
		case "rate_limited":
			if limited++; line["means"] != "recovery_code" {
				t.Errorf("the line is %v", line)
			}
		case "wrong_code":
			wrong++
		}
	}
	if limited < 1 || limited > min(seconds, refused-1) || wrong != 10 {
		t.Errorf("%d lines in %d seconds for %d refusals, and %d for 10 wrong codes", limited, seconds, refused, wrong)
	}
}

// Strangers who try recovery codes push out no mark of a webhook's event.
func TestRecoveryTriesPushNothingOut(t *testing.T) {
	withEngine(t, nil, func(e *engineBench) {
		work, err := e.Begin(ctxBg, 24*time.Hour, "mo", "MO1", "")
		if err == nil {
			err = work.Done(ctxBg)
		}
		if err != nil {
			t.Fatal(err)
		}
		seen := len(e.store.seen.places)
		for i := range maxTries + 1000 {
			if err := e.store.Try(ctxBg, "app", memoryCounter(i, otp.Rate{Count: 10, Window: otp.RecoveryLife}), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.Recover(ctxBg, "app", "192.0.2.1", "0000-0000-0000-0", nil); !errors.Is(err, otp.ErrWrongCode) {
			t.Fatal(err)
		}
		if n := len(e.store.tries.places); n != maxTries {
			t.Errorf("%d addresses are kept, want %d", n, maxTries)
		}
		if len(e.store.seen.places) != seen || len(e.store.counters.places) != 0 {
			t.Error("tries are kept among other things")
		}
		if _, err := e.Begin(ctxBg, 24*time.Hour, "mo", "MO1", ""); !errors.Is(err, otp.ErrDone) {
			t.Errorf("the event: %v", err)
		}
	})
}
