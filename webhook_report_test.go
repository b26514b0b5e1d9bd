package websms_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/websmstest"
)

// reported is a browser that has asked for a code, with its message.
type reported struct {
	*harness.Browser
	message websmstest.Message
}

// askAs asks for a code to that number in a new browser.
func askAs(w *harness.World, t *testing.T, number string) reported {
	t.Helper()
	b := w.Browser()
	if a := b.Post("/.websms/send", []string{"phone", number}, harness.API); a.StatusCode != http.StatusAccepted {
		t.Fatalf("send: %s %s", a.Status, a.Text)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	m, err := w.Sim.WaitMessage(ctx, func(m websmstest.Message) bool { return "+"+m.To == number })
	if err != nil {
		t.Fatal(err)
	}
	return reported{b, m}
}

func (r reported) status() any { return r.Get("/.websms/status", harness.API).JSON("status") }

// becomes waits for a status, as the page does.
func (r reported) becomes(t *testing.T, status string) {
	t.Helper()
	harness.Eventually(t, "status "+status, func() bool { return r.status() == status })
}

// report posts a delivery report. The webhook has handled it when it answers.
func (r reported) report(t *testing.T, code int) {
	t.Helper()
	harness.WantAnswer(t, fmt.Sprintf("report %d", code),
		harness.Deliver(r.Browser, fmt.Sprintf(`{"type":"dlr","messageId":%q,"statusCode":%d}`, r.message.ID, code)),
		http.StatusOK, harness.Acknowledged)
}

func (r reported) verifies(t *testing.T) {
	t.Helper()
	if a := r.Post("/.websms/verify", []string{"code", r.message.Code}, harness.API); a.StatusCode != http.StatusOK {
		t.Errorf("the code is not taken: %s %s", a.Status, a.Text)
	}
}

// numbered returns the i-th mobile number.
func numbered(i int) string { return fmt.Sprintf("+6421555%04d", i) }

// The reports of the simulated WebSMS change the status of the challenge.
func TestReportsMoveChallenge(t *testing.T) {
	w := harness.Start(t, harness.Setup{})
	for i, c := range []struct {
		delivery websmstest.Delivery
		fault    websmstest.Fault
		want     string
	}{
		{websmstest.DeliverNow, websmstest.Fault{}, "delivered"},
		{websmstest.Undelivered, websmstest.Fault{}, "delivered"}, // by the second try
		{websmstest.Rejected, websmstest.Fault{}, "delivered"},
		{websmstest.Blocked, websmstest.Fault{}, "failed"},
		{websmstest.Silent, websmstest.Fault{}, "accepted"},
		{websmstest.DeliverNow, websmstest.NumericID(), "delivered"},
		{websmstest.DeliverNow, websmstest.IDField("websms_id"), "delivered"},
		{websmstest.DeliverNow, websmstest.NoID(), "accepted"}, // no message id connects the report with the challenge
	} {
		t.Run(fmt.Sprintf("%s as %d", c.delivery, i), func(t *testing.T) {
			w.Sim.SetDelivery(c.delivery)
			w.Sim.Next(c.fault)
			r := askAs(w, t, numbered(i))
			r.becomes(t, c.want)
			r.verifies(t) // verification never waits for a report
		})
	}
}

// noSecondTry holds the options of a gate that never sends a code twice.
const noSecondTry = "limits {\n per_number 1/1h\n per_ip 10000/1h\n budget 10000/1h\n}"

// Reports arrive late, twice, and in any order. A final state stays, but a late delivery replaces a
// failure.
func TestReportOrder(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: noSecondTry})
	for i, c := range []struct {
		codes []int
		want  []string // the status after each report
	}{
		{[]int{8, 1}, []string{"accepted", "delivered"}},
		{[]int{4, 8, 1}, []string{"accepted", "accepted", "delivered"}},
		{[]int{1, 8, 4, 1}, []string{"delivered", "delivered", "delivered", "delivered"}},
		{[]int{1, 2, 16, -1}, []string{"delivered", "delivered", "delivered", "delivered"}},
		{[]int{2, 8, 4}, []string{"failed", "failed", "failed"}},
		{[]int{2, 1, 2}, []string{"failed", "delivered", "delivered"}},
		{[]int{16, 1}, []string{"failed", "delivered"}},
		{[]int{-1, 8, 1}, []string{"failed", "failed", "failed"}},
		{[]int{99, 0, -7, 1}, []string{"accepted", "accepted", "accepted", "delivered"}},
	} {
		t.Run(fmt.Sprint(c.codes), func(t *testing.T) {
			w.Sim.SetDelivery(websmstest.Silent)
			r := askAs(w, t, numbered(i))
			r.becomes(t, "accepted")
			for j, code := range c.codes {
				r.report(t, code)
				if got := r.status(); got != c.want[j] {
					t.Errorf("after %v: %v, want %s", c.codes[:j+1], got, c.want[j])
				}
			}
			r.verifies(t)
			r.report(t, 2) // for a challenge that has ended: no error
		})
	}
	for _, line := range w.Logged("websms.webhook") {
		t.Errorf("that is no matter for a warning: %v", line)
	}
}

// A message that expired on the way has failed. A late delivery report replaces that state.
func TestReportExpired(t *testing.T) {
	w := harness.Start(t, harness.Setup{})
	w.Sim.SetDelivery(websmstest.Silent)
	r := askAs(w, t, numbered(0))
	r.becomes(t, "accepted")
	harness.Deliver(r.Browser, fmt.Sprintf(`{"type":"dlr","messageId":%q,"status":"EXPIRED","statusCode":4}`, r.message.ID))
	if got := r.status(); got != "failed" {
		t.Errorf("expired: %v", got)
	}
	r.report(t, 1)
	if got := r.status(); got != "delivered" {
		t.Errorf("then delivered: %v", got)
	}
}

// The same report twice causes one log line. Both are acknowledged.
func TestReportTwice(t *testing.T) {
	w := harness.Start(t, harness.Setup{})
	w.Sim.SetDelivery(websmstest.Silent)
	r := askAs(w, t, numbered(0))
	r.becomes(t, "accepted")
	for range 3 {
		if err := w.Sim.Report(t.Context(), r.message.ID, 1); err != nil {
			t.Errorf("WebSMS is not content: %v", err)
		}
	}
	if n := len(w.Logged("websms.dlr")); n != 1 {
		t.Errorf("%d lines, want 1", n)
	}
	if got := r.status(); got != "delivered" {
		t.Errorf("status is %v", got)
	}
}

// A report may come before the reply to its send. It is kept and applied after the reply.
func TestReportBeforeReply(t *testing.T) {
	w := harness.Start(t, harness.Setup{})
	cases := []struct {
		delivery websmstest.Delivery
		numeric  bool
		want     string
	}{
		{websmstest.DeliverNow, false, "delivered"},
		{websmstest.Undelivered, false, "delivered"}, // by the second try
		{websmstest.DeliverNow, true, "delivered"},
	}
	var asked []reported
	for i, c := range cases {
		late := websmstest.LateReply(2 * time.Second)
		late.NumericID = c.numeric
		w.Sim.SetDelivery(c.delivery)
		w.Sim.Next(late)
		asked = append(asked, askAs(w, t, numbered(i)))
	}
	harness.Eventually(t, "two reports of each", func() bool { return len(w.Logged("websms.dlr")) == 2*len(cases) })
	for i, r := range asked {
		if got := r.status(); got != "queued" {
			t.Errorf("%d: status is %v before WebSMS has replied: the test is too slow, or something is amiss", i, got)
		}
	}
	for i, r := range asked {
		r.becomes(t, cases[i].want)
	}
}

// A report for an unknown message is logged and has no other effect.
func TestReportOfStranger(t *testing.T) {
	w := harness.Start(t, harness.Setup{})
	b := w.Browser()
	harness.WantAnswer(t, "a stranger's report", harness.Deliver(b, `{"type":"dlr","messageId":"of another system","statusCode":2}`),
		http.StatusOK, harness.Acknowledged)
	if n := len(w.Logged("websms.dlr")); n != 1 {
		t.Errorf("%d lines, want 1", n)
	}
}

// The open code page shows a report within a second.
func TestReportReachesStream(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: noSecondTry}) // else the status is failed for a moment only
	w.Sim.SetDelivery(websmstest.Silent)
	r := askAs(w, t, numbered(0))
	r.becomes(t, "accepted")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.URL+"/.websms/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	res, err := r.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	events := bufio.NewScanner(res.Body)
	next := func(status string) {
		t.Helper()
		for events.Scan() {
			if data, ok := strings.CutPrefix(events.Text(), "data: "); ok {
				if !strings.Contains(data, `"status":"`+status+`"`) {
					t.Errorf("the event is %s, want %s", data, status)
				}
				return
			}
		}
		t.Fatalf("no event %s: %v", status, events.Err())
	}
	next("accepted")
	for _, c := range []struct {
		code   int
		status string
	}{{2, "failed"}, {1, "delivered"}} {
		sent := time.Now()
		r.report(t, c.code)
		next(c.status)
		if took := time.Since(sent); took > time.Second {
			t.Errorf("%s took %s", c.status, took)
		}
	}
}
