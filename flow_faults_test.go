package websms_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/websmstest"
)

// For each reply of WebSMS: the page shows the result, a code that arrives is valid, a code that
// does not arrive is not, and no message is sent twice.
func TestFaults(t *testing.T) {
	w := harness.Start(t, harness.Setup{App: "timeout 2s", Gate: harness.Plenty})
	w.Sim.SetWebhook("", "") // delivery reports have a test of their own
	type walk struct {
		name    string
		browser *harness.Browser
		number  string
		status  string
		arrives int
	}
	var walks []walk
	for _, c := range []struct {
		name     string
		fault    websmstest.Fault
		status   string
		requests int // for this one message
		arrives  int
	}{
		{"none", websmstest.Fault{}, "accepted", 1, 1},
		{"no funds", websmstest.InsufficientFunds200(), "failed", 1, 0},
		{"no funds, by status", websmstest.Forbidden(), "failed", 1, 0},
		{"refused", websmstest.InvalidRequest(), "failed", 1, 0},
		{"a token revoked", websmstest.Unauthorized(), "accepted", 2, 1},
		{"a token refused by 403", websmstest.InvalidToken(403), "accepted", 2, 1},
		{"a token refused by 200", websmstest.InvalidToken(200), "accepted", 2, 1},
		{"a token expired, by 200", websmstest.TokenExpired200(), "accepted", 2, 1},
		{"a message refused in a success", websmstest.MessageRefused("No route"), "failed", 1, 0},
		{"an id in messages", websmstest.MessagesReply(), "accepted", 1, 1},
		{"a redirect", websmstest.Redirect(307, w.Sim.URL+"/sms/otp"), "accepted", 2, 1},
		{"a redirect elsewhere", websmstest.Redirect(308, "https://evil.example/sms/otp"), "failed", 1, 0},
		{"a redirect that loses the message", websmstest.Redirect(302, w.Sim.URL+"/sms/otp"), "failed", 1, 0},
		{"throttled for long", websmstest.Throttled(time.Minute), "failed", 1, 0},
		{"throttled for a moment", websmstest.Throttled(0), "accepted", 2, 1},
		{"throttled", websmstest.Throttled(-1), "failed", 1, 0},
		{"unavailable for a moment", websmstest.Unavailable(0), "accepted", 2, 1},
		{"unavailable", websmstest.Unavailable(-1), "failed", 1, 0},
		{"an error", websmstest.ServerError(), "failed", 1, 0},
		{"an error page", websmstest.HTMLError(), "failed", 1, 0},
		{"a reply that breaks off", websmstest.BrokenJSON(), "failed", 1, 1},
		{"a reply cut short", websmstest.TruncatedReply(), "failed", 1, 1},
		{"no reply", websmstest.HangReply(), "failed", 1, 1},
		{"a reset", websmstest.ResetReply(), "failed", 1, 0},
		{"a late reply", websmstest.LateReply(200 * time.Millisecond), "accepted", 1, 1},
		{"a reply that comes too late", websmstest.LateReply(4 * time.Second), "failed", 1, 1},
		{"accepted", websmstest.Status("accepted"), "accepted", 1, 1},
		{"queued", websmstest.Status("queued"), "accepted", 1, 1},
		{"success true", websmstest.SuccessTrue(), "accepted", 1, 1},
		{"message_id", websmstest.IDField("message_id"), "accepted", 1, 1},
		{"websms_id", websmstest.IDField("websms_id"), "accepted", 1, 1},
		{"a number for an id", websmstest.NumericID(), "accepted", 1, 1},
		{"no id", websmstest.NoID(), "accepted", 1, 1},
		{"no content", websmstest.NoContent(), "accepted", 1, 1},
	} {
		w.Sim.Next(c.fault)
		before := w.Sim.Counts().OTPRequests
		b, number := w.Browser(), harness.FreshNumber()
		begun := time.Now()
		harness.WantStatus(t, c.name, b.Request(number), http.StatusAccepted)
		if took := time.Since(begun); took > time.Second {
			t.Errorf("%s: send waited %s for WebSMS", c.name, took)
		}
		harness.Eventually(t, c.name+": the fault is over", func() bool { // otherwise the next message would meet it
			if c.arrives > 0 {
				return len(w.MessagesTo(number)) == c.arrives
			}
			return b.Get("/.websms/status", harness.API).JSON("status") == c.status
		})
		if got := w.Sim.Counts().OTPRequests - before; got != c.requests {
			t.Errorf("%s: WebSMS was asked %d times; want %d", c.name, got, c.requests)
		}
		walks = append(walks, walk{c.name, b, number, c.status, c.arrives})
	}
	for _, walk := range walks {
		harness.Eventually(t, walk.name+": the status is "+walk.status, func() bool {
			return walk.browser.Get("/.websms/status", harness.API).JSON("status") == walk.status
		})
		messages := w.MessagesTo(walk.number)
		if len(messages) != walk.arrives {
			t.Errorf("%s: %d messages arrived; want %d", walk.name, len(messages), walk.arrives)
		}
		words := map[string]string{"accepted": "The code is on its way.", "failed": "The message may not have gone out."}[walk.status]
		if a := walk.browser.Get("/.websms/verify", harness.Page); !strings.Contains(a.Text, ">"+words) {
			t.Errorf("%s: the page does not say %q", walk.name, words)
		}
		if len(messages) > 0 {
			harness.WantStatus(t, walk.name+": the code", walk.browser.AnswerWith(messages[0].Code), http.StatusOK)
		} else {
			harness.WantStatus(t, walk.name+": a resend", walk.browser.Resend(), http.StatusAccepted)
			harness.WantStatus(t, walk.name+": its code", walk.browser.AnswerWith(w.CodeFor(walk.number, 1)), http.StatusOK)
		}
	}
	w.WantNoSecrets()
}

// A person who has answered STOP gets no code, and the page says so. Other people do, and so
// does this person after START.
func TestStop(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	const number = "+6421234567"
	b := w.Browser()
	b.Login(number)
	first := w.MessagesTo(number)[0]
	for _, c := range []struct{ word, status string }{{"Stop", "failed"}, {"start", "delivered"}} {
		if err := w.Sim.Reply(t.Context(), first.ID, c.word); err != nil {
			t.Fatal(err)
		}
		other := w.Browser()
		harness.WantStatus(t, c.word+": send", other.Request(number), http.StatusAccepted)
		harness.Eventually(t, c.word+": the status is "+c.status, func() bool {
			return other.Get("/.websms/status", harness.API).JSON("status") == c.status
		})
		w.Browser().Login("+6421234568")
	}
}

// If WebSMS refuses even a fresh token, a send makes two requests and then stops.
func TestCredentialsAreRefused(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	w.Sim.Always(websmstest.Unauthorized())
	b := w.Browser()
	harness.WantStatus(t, "send", b.Request("+6421234567"), http.StatusAccepted)
	harness.Eventually(t, "it is known to have failed",
		func() bool { return b.Get("/.websms/status", harness.API).JSON("status") == "failed" })
	if c := w.Sim.Counts(); c.TokenRequests > 2 || c.OTPRequests != 2 {
		t.Errorf("WebSMS was asked %+v", c)
	}
	harness.Eventually(t, "the operator is told", // it is logged after the status has changed
		func() bool { return strings.Contains(w.LogText(), "check client_id and client_secret") })
	w.Sim.Always(websmstest.Fault{})
	b.Resend()
	harness.WantStatus(t, "the code, once it is mended", b.AnswerWith(w.CodeFor("+6421234567", 1)), http.StatusOK)
	w.WantNoSecrets()
}

// If WebSMS makes the code, the gate reads it from the reply. If the reply has no code, the
// challenge waits for a resend.
func TestRemoteCode(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: "code {\n source websms\n}\n" + harness.Plenty})
	w.Sim.SetWebhook("", "")
	for name, c := range map[string]struct {
		fault  websmstest.Fault
		status string
	}{
		"as usual":            {websmstest.Fault{}, "accepted"},
		"as a number":         {websmstest.Fault{Body: `{"status":"success","messageId":"M1","code":{code}}`, AcceptAnyway: true}, "accepted"},
		"not told":            {websmstest.Fault{Body: `{"status":"success","messageId":"M2"}`, AcceptAnyway: true}, "failed"},
		"no code":             {websmstest.Fault{Body: `{"status":"success","code":"12"}`, AcceptAnyway: true}, "failed"},
		"nothing at all":      {websmstest.NoContent(), "failed"},
		"a reply that breaks": {websmstest.BrokenJSON(), "failed"},
	} {
		w.Sim.Next(c.fault)
		b, number := w.Browser(), harness.FreshNumber()
		harness.WantStatus(t, name, b.Request(number), http.StatusAccepted)
		code := w.CodeFor(number, 1)
		if name == "as a number" && code[0] == '0' {
			c.status = "failed" // a JSON number cannot begin with a zero
		}
		harness.Eventually(t, name+": the status is "+c.status,
			func() bool { return b.Get("/.websms/status", harness.API).JSON("status") == c.status })
		if c.status == "accepted" {
			harness.WantStatus(t, name, b.AnswerWith(code), http.StatusOK)
			continue
		}
		harness.WantStatus(t, name+": a code that nobody knows", b.AnswerWith(code), http.StatusUnprocessableEntity)
		harness.WantStatus(t, name+": a resend", b.Resend(), http.StatusAccepted)
		code = w.CodeFor(number, 2)
		harness.Eventually(t, name+": the code is known",
			func() bool { return b.Get("/.websms/status", harness.API).JSON("status") == "accepted" })
		harness.WantStatus(t, name+": the next", b.AnswerWith(code), http.StatusOK)
	}
	w.WantNoSecrets()
}
