package websms_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/internal/harness"
)

// report posts a delivery report for the latest message to a number.
func report(w *harness.World, number string, code int) {
	w.T.Helper()
	id := w.MessagesTo(number)[0].ID
	a := harness.Deliver(w.Browser(), fmt.Sprintf(`{"type":"dlr","messageId":%q,"statusCode":%d}`, id, code))
	if a.StatusCode != http.StatusOK {
		w.T.Fatalf("the report: %s %s", a.Status, a.Text)
	}
}

// auditedSends returns how many sendings the audit log has.
func auditedSends(w *harness.World) (n int) {
	for _, line := range w.Logged("websms.audit") {
		if line["event"] == "code_sent" {
			n++
		}
	}
	return n
}

// If a message was not delivered, the same code is sent once more. The browser sees no change until
// that message arrives.
func TestSecondTry(t *testing.T) {
	for _, code := range []int{2, 16} {
		w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
		w.Sim.SetWebhook("", "") // the test reports
		b, number := w.Browser(), harness.FreshNumber()
		first := b.Ask(number)
		harness.Eventually(t, "the sending is settled", func() bool { return auditedSends(w) == 1 })
		report(w, number, code)
		failed := b.Get("/.websms/status", harness.API).Text
		if !strings.Contains(failed, `"status":"failed"`) {
			t.Errorf("after the report %d: %s", code, failed)
		}
		if second := w.CodeFor(number, 2); second != first {
			t.Errorf("report %d: the second message has another code", code)
		}
		harness.Eventually(t, "the second try is in the audit log", func() bool { return auditedSends(w) == 2 })
		if now := b.Get("/.websms/status", harness.API).Text; now != failed {
			t.Errorf("the second try changes the challenge to %s; want %s", now, failed)
		}
		lines := w.Logged("websms.audit")
		if a, z := lines[len(lines)-2], lines[len(lines)-1]; a["challenge"] != z["challenge"] || a["realm"] != z["realm"] ||
			a["client_ip"] != z["client_ip"] || a["number"] != z["number"] || a["message_id"] == z["message_id"] {
			t.Errorf("the audit log has %v and %v", a, z)
		}
		w.WantSends("a third try", 0, harness.FreshNumber(), func() { report(w, number, 2) })
		report(w, number, 1)
		harness.Eventually(t, "the second message arrives", func() bool {
			return b.Get("/.websms/status", harness.API).JSON("status") == "delivered"
		})
		harness.WantStatus(t, "the code", b.AnswerWith(first), http.StatusOK)
		w.WantNoSecrets()
	}
}

// There is no second try after other reports, after the challenge has ended, or after a second
// try.
func TestNoSecondTry(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: "limits {\n per_number 100/10m\n per_ip 10000/1h\n budget 10000/1h\n cooldown 0s\n}"})
	w.Sim.SetWebhook("", "") // the test reports
	sends := func() int { return auditedSends(w) }
	b, number := w.Browser(), ""
	begin := func() string {
		before := sends()
		b, number = w.Browser(), harness.FreshNumber()
		code := b.Ask(number)
		harness.Eventually(t, "the sending is settled", func() bool { return sends() > before })
		return code
	}
	for _, code := range []int{1, 4, 8, -1, 99} {
		begin()
		w.WantSends(fmt.Sprintf("after the report %d", code), 0, harness.FreshNumber(), func() { report(w, number, code) })
	}
	code := begin()
	harness.WantStatus(t, "the code", b.AnswerWith(code), http.StatusOK)
	w.WantSends("after the code was used", 0, harness.FreshNumber(), func() { report(w, number, 2) })
	begin()
	now.Advance(5 * time.Minute)
	w.WantSends("after the code has expired", 0, harness.FreshNumber(), func() { report(w, number, 2) })
	begin()
	old := number
	b.Ask(harness.FreshNumber())
	w.WantSends("after another number was asked for", 0, harness.FreshNumber(), func() { report(w, old, 2) })

	// Many reports at once, and the same one again, cause one second try.
	begin()
	w.WantSends("reports at once", 1, harness.FreshNumber(), func() {
		id := w.MessagesTo(number)[0].ID
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				harness.Deliver(w.Browser(), fmt.Sprintf(`{"type":"dlr","messageId":%q,"statusCode":%d}`, id, []int{2, 16}[i%2]))
			})
		}
		wg.Wait()
		w.CodeFor(number, 2)
	})
}

// A gate with a list has no second try, because it would tell which numbers are listed. Nor has one whose
// budget is used up.
func TestNoSecondTryHere(t *testing.T) {
	for what, gate := range map[string]string{
		"a list":              harness.ListGate + harness.Plenty,
		"a budget":            "limits {\n budget 1/1h\n}",
		"the longest rate":    "limits {\n per_number 5/1m 1/1h\n}",
		"the longest of more": "limits {\n per_number 3/1m 1/24h 5/1h\n}",
	} {
		t.Run(what, func(t *testing.T) { // one after the other, because they share a store
			w := harness.Start(t, harness.Setup{Gate: gate})
			w.Sim.SetWebhook("", "") // the test reports
			b, number := w.Browser(), harness.FreshNumber()
			if what == "a list" {
				number = harness.Listed
			}
			b.Ask(number)
			harness.Eventually(t, "the sending is settled", func() bool { return auditedSends(w) == 1 })
			report(w, number, 2)
			if err := caddy.Stop(); err != nil { // it waits for sendings that have begun, and so for a second try
				t.Fatal(err)
			}
			if n := len(w.MessagesTo(number)); n != 1 {
				t.Errorf("%s: %d messages, want 1", what, n)
			}
		})
	}
}

// A second try counts in the longest rate of its number, and not in the others.
func TestSecondTryCounts(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: "limits {\n per_number 2/10m 3/1h\n cooldown 1s\n}"})
	w.Sim.SetWebhook("", "") // the test reports
	b, number := w.Browser(), harness.FreshNumber()
	b.Ask(number)
	harness.Eventually(t, "the sending is settled", func() bool { return auditedSends(w) == 1 })
	report(w, number, 2)
	w.CodeFor(number, 2)
	now.Advance(2 * time.Second)
	harness.WantStatus(t, "the second code of the short rate", b.Resend(), http.StatusAccepted)
	w.CodeFor(number, 3)
	now.Advance(15 * time.Minute)
	harness.WantProblem(t, "the fourth of the long rate", b.Request(number), http.StatusTooManyRequests, "rate_limited")
}
