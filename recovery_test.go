package websms_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/clock"
	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/session"
)

// recoveryCodeOf asks the admin endpoint for a recovery code.
func recoveryCodeOf(t *testing.T, admin, body string) string {
	t.Helper()
	a := harness.AdminPost(t, admin, "/websms/recovery-code", body)
	var made struct {
		Code      string    `json:"code"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	if err := json.Unmarshal([]byte(a.Text), &made); err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("recovery-code %s: %s %s", body, a.Status, a.Text)
	}
	if left := made.ExpiresAt.Sub(clock.Now()); len(made.Code) != 16 || left < 9*time.Minute || left > 10*time.Minute {
		t.Fatalf("recovery-code: %d characters, for another %s", len(made.Code), left)
	}
	return made.Code
}

func recoverWith(b *harness.Browser, code string, more ...string) harness.Answer {
	b.T.Helper()
	return b.Post("/.websms/recover", append([]string{"code", code}, more...), harness.API)
}

// Programs, the log and the application see the means of a session. A renewed cookie keeps it.
func TestMeans(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{
		Front: "@recovered expression {http.websms.means} == \"recovery_code\"\n" +
			" request_header @recovered App-Recovered yes\n request_header App-Means {http.websms.means}",
		Gate: harness.Plenty,
	})
	code := recoveryCodeOf(t, harness.StartAdmin(w, ""), `{"number":"+6421000779"}`)
	by := map[string]*harness.Browser{"sms": w.Browser(), "recovery_code": w.Browser()}
	by["sms"].Login("+6421000778")
	harness.WantStatus(t, "the recovery code", recoverWith(by["recovery_code"], code), http.StatusOK)
	for range 3 {
		for means, b := range by {
			if a := b.Get("/.websms/session", harness.API); a.JSON("means") != means {
				t.Errorf("by %s: the session is %s", means, a.Text)
			}
			before := b.Cookie("websms_session").Value
			now.Advance(2 * session.Renewal)
			harness.WantStatus(t, "the app", b.Get("/", harness.API), http.StatusOK)
			if b.Cookie("websms_session").Value == before {
				t.Error("the cookie was not renewed")
			}
			seen := w.App.Seen()
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
	for _, line := range w.Logged("websms.audit") {
		if line["event"] == "verified" {
			told[line["means"]]++
		}
	}
	if told["sms"] != 1 || told["recovery_code"] != 1 || len(told) != 2 {
		t.Errorf("the audit log has %v", told)
	}
}

// A recovery code signs in one person, once. It sends no SMS and sets no device cookie, and the
// audit log has each step.
func TestRecoveryCode(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{})
	admin := harness.StartAdmin(w, "")
	const number = "+6421000777"
	code := recoveryCodeOf(t, admin, fmt.Sprintf(`{"number":%q}`, number))
	b := w.Browser()
	if a := b.Get("/.websms/recover?rd=/reports", harness.Page); a.StatusCode != http.StatusOK ||
		!strings.Contains(a.Text, `value="/reports"`) {
		t.Fatalf("the form: %s", a.Status)
	}
	harness.WantStatus(t, "a wrong one", recoverWith(b, "0000-0000-0000-0"), http.StatusUnprocessableEntity)
	harness.WantStatus(t, "the form of a code by SMS", b.Post("/.websms/verify", []string{"code", code}, harness.API), http.StatusConflict)
	a := recoverWith(b, strings.ToLower(strings.ReplaceAll(code, "-", " ")), "rd", "/reports")
	if a.StatusCode != http.StatusOK || a.JSON("verified") != true || a.JSON("number") != "+64•••777" || a.JSON("rd") != "/reports" {
		t.Fatalf("the code: %s %s", a.Status, a.Text)
	}
	harness.WantStatus(t, "the app", b.Get("/reports", harness.Page), http.StatusOK)
	if seen := w.App.Seen(); seen[len(seen)-1].Header.Get("X-Verified-Number") != number {
		t.Error("the app was not told the number")
	}
	if b.Cookie("websms_session_device") != nil {
		t.Error("the browser passes for one that has verified the number")
	}
	harness.WantStatus(t, "the same code again", recoverWith(w.Browser(), code), http.StatusUnprocessableEntity)

	late := recoveryCodeOf(t, admin, fmt.Sprintf(`{"number":%q}`, number))
	now.Advance(10 * time.Minute)
	harness.WantStatus(t, "an expired one", recoverWith(w.Browser(), late), http.StatusUnprocessableEntity)

	if sent := len(w.Sim.Messages()); sent != 0 {
		t.Errorf("%d messages were sent", sent)
	}
	events := map[any]int{}
	for _, line := range w.Logged("websms.audit") {
		events[line["event"]]++
		if line["event"] == "verified" && (line["means"] != "recovery_code" || line["number"] != "+64•••777") {
			t.Errorf("the audit log has %v", line)
		}
	}
	if events["recovery_code_made"] != 2 || events["verified"] != 1 || events["wrong_code"] != 3 {
		t.Errorf("the audit log has %v", events)
	}
	w.WantNoSecrets(number[1:], code, strings.ReplaceAll(code, "-", ""), late)
}

// Of many tries at the same time, only the first one succeeds.
func TestRecoveryCodeOnce(t *testing.T) {
	w := harness.Start(t, harness.Setup{})
	code := recoveryCodeOf(t, harness.StartAdmin(w, ""), `{"number":"+6421000778"}`)
	var in atomic.Int32
	var wg sync.WaitGroup
	for range 9 { // one less than an address may make
		b := w.Browser()
		wg.Go(func() {
			if recoverWith(b, code).StatusCode == http.StatusOK {
				in.Add(1)
			}
		})
	}
	wg.Wait()
	if in.Load() != 1 {
		t.Errorf("%d of 9 were let in", in.Load())
	}
}

// A recovery code does not work for another user, and another user cannot use it up.
func TestRecoveryCodeOfAUser(t *testing.T) {
	file := harness.PhoneFile(t, "alice,"+harness.AlicePhone, "bob,"+harness.BobPhone)
	w := harness.Start(t, harness.Setup{Front: harness.Passwords, Gate: harness.WithDirectory(file)})
	admin := harness.StartAdmin(w, harness.WithDirectory(file))
	code := recoveryCodeOf(t, admin, `{"user":"alice"}`)
	bob, alice, nobody := w.Browser().As("bob"), w.Browser().As("alice"), w.Browser().As("carol")
	harness.WantStatus(t, "bob", recoverWith(bob, code), http.StatusUnprocessableEntity)
	harness.WantStatus(t, "who has no number", recoverWith(nobody, code), http.StatusForbidden)
	harness.WantStatus(t, "alice", recoverWith(alice, code), http.StatusOK)
	harness.WantStatus(t, "alice at the app", alice.Get("/", harness.Page), http.StatusOK)
	harness.WantStatus(t, "bob at the app", bob.Get("/", harness.Page), http.StatusFound)
	harness.WantStatus(t, "alice again", recoverWith(w.Browser().As("alice"), code), http.StatusUnprocessableEntity)
}

// A recovery code needs an existing gate and a number that the gate allows.
func TestRecoveryCodeWhere(t *testing.T) {
	const gate = "realm staff\nnumbers {\n allow +6421000100\n}"
	w := harness.Start(t, harness.Setup{Gate: gate})
	admin := harness.StartAdmin(w, gate)
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
		harness.WantStatus(t, body, harness.AdminPost(t, admin, "/websms/recovery-code", body), status)
	}
	listed := recoveryCodeOf(t, admin, `{"number":"+6421000100","realm":"staff"}`)
	unlisted := recoveryCodeOf(t, admin, `{"number":"+6421000101","realm":"staff"}`)
	harness.WantStatus(t, "a number that is not allowed", recoverWith(w.Browser(), unlisted), http.StatusUnprocessableEntity)
	w.Load(gate + "\n") // a reload
	harness.WantStatus(t, "one that is, after a reload", recoverWith(w.Browser(), listed), http.StatusOK)
}

// One person gets a limited number of recovery codes, and one address has a limited number of
// tries.
func TestRecoveryCodeLimits(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{})
	admin := harness.StartAdmin(w, "")
	for range 5 {
		recoveryCodeOf(t, admin, `{"number":"+6421000779"}`)
	}
	harness.WantStatus(t, "the sixth within an hour", harness.AdminPost(t, admin, "/websms/recovery-code", `{"number":"+6421000779"}`),
		http.StatusTooManyRequests)
	now.Advance(time.Hour)
	code := recoveryCodeOf(t, admin, `{"number":"+6421000779"}`)
	for range 10 {
		harness.WantStatus(t, "a wrong one", recoverWith(w.Browser(), "0000-0000-0000-0"), http.StatusUnprocessableEntity)
	}
	a := recoverWith(w.Browser(), code)
	if a.StatusCode != http.StatusTooManyRequests || a.Header.Get("Retry-After") != "600" || a.JSON("type") != "rate_limited" {
		t.Errorf("the eleventh: %s, Retry-After %s, %s", a.Status, a.Header.Get("Retry-After"), a.Text)
	}
	now.Advance(9 * time.Minute)
	harness.WantStatus(t, "after nine minutes", recoverWith(w.Browser(), code), http.StatusTooManyRequests)
	now.Advance(time.Minute)
	harness.WantStatus(t, "after ten, the code that is as old", recoverWith(w.Browser(), code), http.StatusUnprocessableEntity)
}

// Refused tries do not fill the log: there is at most one line a second.
func TestRecoveryRefusalsAreSampled(t *testing.T) {
	w := harness.Start(t, harness.Setup{})
	b := w.Browser()
	for range 10 {
		harness.WantStatus(t, "a wrong one", recoverWith(b, "0000-0000-0000-0"), http.StatusUnprocessableEntity)
	}
	const refused = 60
	begun := time.Now()
	for range refused {
		harness.WantStatus(t, "one too many", recoverWith(b, "0000-0000-0000-0"), http.StatusTooManyRequests)
	}
	seconds := int(time.Since(begun)/time.Second) + 2 // the first and the last begin within
	limited, wrong := 0, 0
	for _, line := range w.Logged("websms.audit") {
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
