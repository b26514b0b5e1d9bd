package websmstest_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-websms/websms/websmstest"
)

func TestFaults(t *testing.T) {
	a := open(t, websmstest.Options{})
	for _, tc := range []struct {
		name     string
		fault    websmstest.Fault
		status   int
		accepted bool
		body     string // <ID> and <CODE> stand for the values of the message
		header   string // "Name: value"; with no value, absent
	}{
		{"none", websmstest.Fault{}, 200, true, `{"status":"success","messageId":"<ID>","code":"<CODE>"}` + "\n",
			"Content-Type: application/json"},
		{"insufficient funds", websmstest.InsufficientFunds200(), 200, false,
			`{"success":false,"message":"Insufficient funds","required":0.115}`, "Content-Type: application/json"},
		{"forbidden", websmstest.Forbidden(), 403, false, `{"error":"forbidden","message":"Insufficient funds"}`,
			"Content-Type: application/json"},
		{"invalid request", websmstest.InvalidRequest(), 400, false,
			`{"error":"invalid_request","message":"Invalid parameters"}`, "Content-Type: application/json"},
		{"unauthorized", websmstest.Unauthorized(), 401, false, `{"error":"unauthorized"}`, "Content-Type: application/json"},
		{"throttled", websmstest.Throttled(2 * time.Second), 429, false,
			`{"error":"too_many_requests","message":"Rate limit exceeded"}`, "Retry-After: 2"},
		{"throttled, rounded up", websmstest.Throttled(1), 429, false,
			`{"error":"too_many_requests","message":"Rate limit exceeded"}`, "Retry-After: 1"},
		{"throttled, no hint", websmstest.Throttled(-1), 429, false,
			`{"error":"too_many_requests","message":"Rate limit exceeded"}`, "Retry-After: "},
		{"unavailable", websmstest.Unavailable(0), 503, false, `{"error":"unavailable","message":"Try again later"}`, "Retry-After: 0"},
		{"server error", websmstest.ServerError(), 500, false, `{"error":"server_error"}`, "Content-Type: application/json"},
		{"broken JSON", websmstest.BrokenJSON(), 200, true, `{"status":"success","messageId":"<ID>","co`, "Content-Type: application/json"},
		{"accepted", websmstest.Status("accepted"), 200, true,
			`{"status":"accepted","messageId":"<ID>","code":"<CODE>"}`, "Content-Type: application/json"},
		{"success true", websmstest.SuccessTrue(), 200, true, `{"success":true,"messageId":"<ID>","code":"<CODE>"}`,
			"Content-Type: application/json"},
		{"message_id", websmstest.IDField("message_id"), 200, true,
			`{"status":"success","message_id":"<ID>","code":"<CODE>"}`, "Content-Type: application/json"},
		{"numeric id", websmstest.NumericID(), 200, true,
			`{"status":"success","messageId":<ID>,"code":"<CODE>"}` + "\n", "Content-Type: application/json"},
		{"no id", websmstest.NoID(), 200, true, `{"status":"success","code":"<CODE>"}`, "Content-Type: application/json"},
		{"no content", websmstest.NoContent(), 204, true, "", "Content-Type: "},
		{"late", websmstest.LateReply(time.Millisecond), 200, true,
			`{"status":"success","messageId":"<ID>","code":"<CODE>"}` + "\n", "Content-Type: application/json"},
		{"own", websmstest.Fault{Status: 418, Body: "tea", ContentType: "text/plain",
			Header: http.Header{"X-Tea": {"green"}}}, 418, false, "tea", "X-Tea: green"},
		{"header alone", websmstest.Fault{Header: http.Header{"X-Tea": {"black"}}}, 200, true,
			`{"status":"success","messageId":"<ID>","code":"<CODE>"}` + "\n", "X-Tea: black"},
	} {
		before := a.sim.Counts().Accepted
		a.sim.Next(tc.fault)
		r, err := a.post("/sms/otp", form())
		if err != nil || r.err != nil || r.status != tc.status {
			t.Errorf("%s: got %d, %v, %v, want %d", tc.name, r.status, err, r.err, tc.status)
		}
		if accepted := a.sim.Counts().Accepted > before; accepted != tc.accepted {
			t.Errorf("%s: accepted %t, want %t", tc.name, accepted, tc.accepted)
		}
		want := tc.body
		if tc.accepted {
			m := a.sim.Messages()[0]
			want = strings.NewReplacer("<ID>", m.ID, "<CODE>", m.Code).Replace(want)
		}
		if r.body != want {
			t.Errorf("%s: body %q, want %q", tc.name, r.body, want)
		}
		name, value, _ := strings.Cut(tc.header, ": ")
		if got := r.header.Get(name); got != value {
			t.Errorf("%s: %s is %q, want %q", tc.name, name, got, value)
		}
	}
	a.sim.Next(websmstest.HTMLError())
	r, err := a.post("/sms/otp", form())
	if err != nil || r.status != 502 || !strings.HasPrefix(r.header.Get("Content-Type"), "text/html") || json.Valid([]byte(r.body)) {
		t.Errorf("HTML error: got %d %v %q %v", r.status, r.header, r.body, err)
	}
	a.send() // no fault is left
}

func TestBrokenConnections(t *testing.T) {
	a := open(t, websmstest.Options{})
	// The client of net/http does not repeat a POST, so each is one send.
	a.sim.Next(websmstest.TruncatedReply())
	r, err := a.post("/sms/otp", form())
	if err != nil || r.status != 200 || r.err == nil || json.Valid([]byte(r.body)) || r.body == "" {
		t.Errorf("truncated: got %d %q, %v, %v", r.status, r.body, err, r.err)
	}
	if m := a.sim.Messages()[0]; !strings.HasPrefix(r.body, `{"status":"success","messageId":"`) ||
		len(r.body) >= len(`{"status":"success","messageId":"","code":""}`)+len(m.ID)+len(m.Code) {
		t.Errorf("truncated body %q", r.body)
	}
	a.sim.Next(websmstest.ResetReply())
	if r, err := a.post("/sms/otp", form()); err == nil || runtime.GOOS == "linux" && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reset: got %d %q, %v", r.status, r.body, err)
	}
	if got := a.sim.Counts().Accepted; got != 1 {
		t.Errorf("%d accepted, want the truncated one alone", got)
	}

	a.sim.Next(websmstest.HangReply())
	a.client.Timeout = 50 * time.Millisecond
	if _, err := a.post("/sms/otp", form("msgCode", "4321")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hang: %v", err)
	}
	if m := a.sim.Messages()[0]; m.Code != "4321" {
		t.Errorf("hang: the message was not accepted")
	}
}

// If the client disconnects before the reply is due, the message is not accepted,
// except with AcceptAnyway.
func TestDelayedSend(t *testing.T) {
	a := open(t, websmstest.Options{})
	a.client.Timeout = 50 * time.Millisecond
	a.sim.Next(websmstest.Fault{Delay: time.Hour}, websmstest.LateReply(time.Hour))
	for _, accepted := range []int{0, 1} {
		if _, err := a.post("/sms/otp", form()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want a time-out", err)
		}
		if got := a.sim.Counts().Accepted; got != accepted {
			t.Errorf("%d accepted, want %d", got, accepted)
		}
	}
}

func TestLatency(t *testing.T) {
	const latency = 30 * time.Millisecond
	a := open(t, websmstest.Options{Latency: latency})
	start := time.Now()
	a.send()
	if took := time.Since(start); took < latency {
		t.Errorf("a reply took %s, want at least %s", took, latency)
	}
}

func TestFaultOrder(t *testing.T) {
	a := open(t, websmstest.Options{})
	a.sim.Always(websmstest.Forbidden())
	a.sim.Next(websmstest.Throttled(0), websmstest.Fault{})
	a.sim.Next(websmstest.Unavailable(0))
	token := a.token
	for i, want := range []int{400, 429, 401, 200, 503, 403, 403} {
		f := form()
		a.token = token
		switch want {
		case 400: // uses up no fault
			f.Del("to")
		case 401: // uses up no fault
			a.token = "wst_unknown"
		}
		if r, err := a.post("/sms/otp", f); err != nil || r.status != want {
			t.Errorf("call %d: got %d %v, want %d", i, r.status, err, want)
		}
	}
	a.sim.Always(websmstest.Fault{})
	a.send()
}

func TestTokenFaults(t *testing.T) {
	a := open(t, websmstest.Options{})
	credentials := form("client_id", "cid_demo", "client_secret", "csk_demo")
	a.sim.NextToken(websmstest.Unavailable(time.Second), websmstest.HTMLError(), websmstest.TruncatedReply(),
		websmstest.Fault{Body: `{"access_token":"{token}"}`, AcceptAnyway: true})
	for _, want := range []int{503, 502} {
		if r, err := a.post("/auth/token", credentials); err != nil || r.status != want {
			t.Errorf("got %d %v, want %d", r.status, err, want)
		}
	}
	if r, err := a.post("/auth/token", credentials); err != nil || r.err == nil {
		t.Errorf("truncated: got %d %q %v", r.status, r.body, err)
	}
	r, err := a.post("/auth/token", credentials)
	if err != nil || r.field(t, "expires_in") != nil {
		t.Errorf("without expiry: %d %q %v", r.status, r.body, err)
	}
	a.token = r.field(t, "access_token").(string)
	a.send()
	a.login()
	a.send()
	if got := a.sim.Counts().TokenRequests; got != 6 {
		t.Errorf("%d token requests counted, want 6", got)
	}
}

// Close ends hanging and waiting requests.
func TestCloseEndsRequests(t *testing.T) {
	for name, fault := range map[string]websmstest.Fault{
		"hang":  websmstest.HangReply(),
		"delay": websmstest.LateReply(time.Hour),
	} {
		a := open(t, websmstest.Options{})
		a.sim.Next(fault)
		ended := make(chan error)
		go func() {
			_, err := a.post("/sms/otp", form())
			ended <- err
		}()
		if _, err := a.sim.WaitMessage(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		a.sim.Close()
		if err := <-ended; err == nil {
			t.Errorf("%s: the request got a reply", name)
		}
	}
}

func TestWaitMessage(t *testing.T) {
	a := open(t, websmstest.Options{})
	waiting := make(chan websmstest.Message)
	go func() {
		m, err := a.sim.WaitMessage(t.Context(), func(m websmstest.Message) bool { return m.To == "64275550123" && m.State == "delivered" })
		if err != nil {
			t.Error(err)
		}
		waiting <- m
	}()
	a.send()
	sent := a.send("to", "64275550123")
	if m := <-waiting; m.ID != sent.ID || m.State != "delivered" {
		t.Errorf("waited for %s, got %+v", sent.ID, m)
	}
	if m, err := a.sim.WaitMessage(t.Context(), nil); err != nil || m.ID != sent.ID {
		t.Errorf("the newest is %s, got %s, %v", sent.ID, m.ID, err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	never := func(websmstest.Message) bool { return false }
	if _, err := a.sim.WaitMessage(ctx, never); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting in vain: %v", err)
	}
	ended := make(chan error)
	go func() {
		_, err := a.sim.WaitMessage(t.Context(), never)
		ended <- err
	}()
	a.sim.Close()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("waiting on a closed simulator: %v", err)
	}
}

// A waiting call is woken by a change and not by the clock. In a synctest bubble, time
// moves only when all goroutines wait. So no time passes here.
func TestWaitMessageDoesNotPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := websmstest.New(websmstest.Options{})
		defer sim.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		asked := 0
		start := time.Now()
		_, err := sim.WaitMessage(ctx, func(websmstest.Message) bool { asked++; return false })
		if !errors.Is(err, context.DeadlineExceeded) || asked != 0 || time.Since(start) != time.Hour {
			t.Errorf("%v after %s, asked %d times", err, time.Since(start), asked)
		}
	})
}
