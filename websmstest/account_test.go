package websmstest_test

import (
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/websmstest"
)

// sdk returns a client of the SDK for the simulator.
func (a *account) sdk() *connexus.Client {
	a.t.Helper()
	c, err := connexus.New(connexus.Config{BaseURL: a.sim.URL, ClientID: "cid_demo", ClientSecret: "csk_demo"})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(c.Close)
	return c
}

// until waits for the message of that id to get a state.
func (a *account) until(id, state string) websmstest.Message {
	a.t.Helper()
	m, err := a.sim.WaitMessage(a.t.Context(), func(m websmstest.Message) bool { return m.ID == id && m.State == state })
	if err != nil {
		a.t.Fatal(err)
	}
	return m
}

// The balance is as it was set, less the price of each message.
func TestBalanceEndpoint(t *testing.T) {
	a := open(t, websmstest.Options{})
	c := a.sdk()
	want := func(amount float64) {
		t.Helper()
		got, err := c.Balance(t.Context())
		if err != nil || math.Abs(got.Amount-amount) > 1e-9 || got.Currency != "NZD" {
			t.Errorf("the balance is %v, %v; want %v NZD", got, err, amount)
		}
	}
	want(100)
	a.send()
	want(100) // nothing is billed yet
	a.sim.SetBalance(0.25)
	want(0.25)
	a.send()
	want(0.135)
	a.send("sandbox", "1")
	want(0.135)
	a.sim.Next(websmstest.Unavailable(-1))
	if r, err := a.post("/sms/otp", form()); err != nil || r.status != 503 {
		t.Errorf("got %d %v", r.status, err)
	}
	want(0.135)
	a.send()
	want(0.02)
	if r, err := a.post("/sms/otp", form()); err != nil || r.field(t, "required") != 0.115 {
		t.Errorf("without funds: %d %s %v", r.status, r.body, err)
	}
	want(0.02)
	if r, err := a.do(http.MethodGet, "/sms/balance", "", ""); err != nil || r.status != 405 {
		t.Errorf("a GET: %d %v", r.status, err)
	}
	a.token = "wst_wrong"
	if r, err := a.post("/sms/balance", nil); err != nil || r.status != 401 {
		t.Errorf("a wrong token: %d %v", r.status, err)
	}
	a.sim.NextBalance(websmstest.ServerError())
	if _, err := c.Balance(t.Context()); err == nil {
		t.Error("the fault had no effect")
	}
	want(0.02)
	if n := a.sim.Counts().Balances; n != 12 {
		t.Errorf("%d balances counted, want 12", n)
	}
}

// The SDK gets through each kind of refusal of a token.
func TestTokenRefusalFaults(t *testing.T) {
	a := open(t, websmstest.Options{})
	c := a.sdk()
	otp := connexus.OTP{To: "6421234567", Company: "MyApp", Code: "482174"}
	for name, f := range map[string]websmstest.Fault{
		"401": {}, "403": websmstest.InvalidToken(403), "200": websmstest.InvalidToken(200), "400": websmstest.InvalidToken(400),
		"expired": websmstest.TokenExpired200(),
	} {
		a.sim.RefuseTokensWith(f)
		before := a.sim.Counts()
		if _, err := c.SendOTP(t.Context(), otp); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		a.sim.RevokeTokens()
		if _, err := c.SendOTP(t.Context(), otp); err != nil {
			t.Errorf("%s, revoked: %v", name, err)
		}
		if name != "401" {
			a.sim.Next(f)
			if _, err := c.SendOTP(t.Context(), otp); err != nil {
				t.Errorf("%s, of a valid token: %v", name, err)
			}
		}
		after := a.sim.Counts()
		if n := after.Accepted - before.Accepted; n != 2 && name == "401" || n != 3 && name != "401" {
			t.Errorf("%s: %d accepted", name, n)
		}
		if after.TokenRequests == before.TokenRequests {
			t.Errorf("%s: no token was requested", name)
		}
	}
}

func TestMessageFaults(t *testing.T) {
	a := open(t, websmstest.Options{})
	c := a.sdk()
	otp := connexus.OTP{To: "6421234567", Company: "MyApp", Code: "482174"}
	a.sim.Next(websmstest.MessageRefused(`no "route"`), websmstest.MessagesReply())
	if _, err := c.SendOTP(t.Context(), otp); err == nil || !strings.Contains(err.Error(), `no \"route\"`) {
		t.Errorf("refused: %v", err)
	}
	if got, err := c.SendOTP(t.Context(), otp); err != nil || got.MessageID != a.sim.Messages()[0].ID {
		t.Errorf("got %+v, %v", got, err)
	}
	if n := a.sim.Counts().Accepted; n != 1 {
		t.Errorf("%d accepted, want 1", n)
	}
}

// A call is redirected to another simulator, on another port.
func TestRedirectFault(t *testing.T) {
	a, b := open(t, websmstest.Options{}), open(t, websmstest.Options{})
	c := a.sdk()
	a.sim.NextToken(websmstest.Redirect(308, b.sim.URL+"/auth/token"))
	a.sim.Next(websmstest.Redirect(307, b.sim.URL+"/sms/otp"))
	otp := connexus.OTP{To: "6421234567", Company: "MyApp", Code: "482174"}
	// The token is of the second simulator, so the first one refuses it, and gives its own.
	if _, err := c.SendOTP(t.Context(), otp); err == nil || a.sim.Counts().OTPRequests != 2 || b.sim.Counts().OTPRequests != 1 {
		t.Errorf("%v: %+v, %+v", err, a.sim.Counts(), b.sim.Counts())
	}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was followed") }))
	defer elsewhere.Close()
	a.sim.Next(websmstest.Redirect(302, elsewhere.URL), websmstest.Redirect(307, strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1)))
	for range 2 {
		if _, err := c.SendOTP(t.Context(), otp); err == nil || !strings.Contains(err.Error(), "redirect") {
			t.Errorf("got %v", err)
		}
	}
}

func TestTextEndpoint(t *testing.T) {
	a := open(t, websmstest.Options{})
	a.sim.SetBalance(1)
	got, err := a.sdk().SendText(t.Context(), connexus.Text{To: "+6421234567", Body: "A passkey was added.\nWas it you?"})
	if err != nil {
		t.Fatal(err)
	}
	m := a.until(got.MessageID, "delivered")
	if m.Body != "A passkey was added.\nWas it you?" || m.Code != "" || m.Company != "" || m.OwnCode || m.To != "6421234567" {
		t.Errorf("got %+v", m)
	}
	r, err := a.post("/sms/out", url.Values{"to": {"6421234567"}, "body": {"x"}, "sandbox": {"1"}})
	if err != nil || r.status != 200 || r.field(t, "code") != nil || r.field(t, "status") != "success" {
		t.Errorf("got %d %s %v", r.status, r.body, err)
	}
	for _, wrong := range []url.Values{{"to": {"021234567"}, "body": {"x"}}, {"to": {"6421234567"}}, {"to": {"6421234567"}, "body": {" "}},
		{"to": {"6421234567"}, "body": {strings.Repeat("x", 1001)}}} {
		if r, err := a.post("/sms/out", wrong); err != nil || r.status != 400 {
			t.Errorf("%.80v: %d %v", wrong, r.status, err)
		}
	}
	page := a.inbox("GET", "", nil)
	if !strings.Contains(page.body, `<p class="sms">A passkey was added.`+"\n"+`Was it you?</p>`) {
		t.Error("the page does not show the text")
	}
	if n := a.sim.Counts(); n.TextRequests != 6 || n.OTPRequests != 0 || n.Accepted != 2 {
		t.Errorf("counts %+v", n)
	}
}

// A phone that has replied STOP gets no message, until it replies START. Other phones do.
func TestStop(t *testing.T) {
	for _, word := range []string{"STOP", " unsubscribe\n", "OptOut"} {
		h := newHook(t)
		a := open(t, websmstest.Options{})
		first := a.send()
		a.until(first.ID, "delivered")
		a.sim.SetWebhook(h.URL, "")
		if err := a.sim.Reply(t.Context(), first.ID, "Please stop it"); err != nil {
			t.Fatal(err)
		}
		h.next(t)
		m := a.send()
		a.until(m.ID, "delivered")
		h.next(t)
		h.next(t)
		if err := a.sim.Reply(t.Context(), first.ID, word); err != nil {
			t.Fatal(err)
		}
		if d := h.next(t); d.fields["type"] != "mo" || d.fields["body"] != word {
			t.Errorf("%q: the webhook got %s", word, d.raw)
		}
		a.sim.SetBalance(1)
		m = a.send()
		if d := h.next(t); d.fields["messageId"] != m.ID || d.fields["statusCode"] != -1.0 || d.fields["status"] != "BLOCKED" {
			t.Errorf("%q: the webhook got %s", word, d.raw)
		}
		a.until(m.ID, "blocked")
		if page := a.inbox("GET", "", nil); !strings.Contains(page.body, "this phone has answered STOP") {
			t.Errorf("%q: the page does not say it", word)
		}
		other := a.send("to", "64275550123")
		a.until(other.ID, "delivered")
		if err := a.sim.Reply(t.Context(), m.ID, "start"); err != nil {
			t.Fatal(err)
		}
		m = a.send()
		a.until(m.ID, "delivered")
		if r, err := a.post("/sms/balance", nil); err != nil || r.field(t, "balance") != 0.77 {
			t.Errorf("%q: the balance is %s, want two messages less than 1", word, r.body)
		}
	}
}

// A message with a domain in its text waits until the domain is whitelisted.
func TestHeldMessages(t *testing.T) {
	a := open(t, websmstest.Options{})
	for _, pairs := range [][]string{
		{"msgCompany", "Dr. Smith & Co"}, {"msgCompany", "St.John"}, {"msgComment", "Valid for 5 minutes.Thanks"},
		{"msgComment", "It is 3.50", "webOtpDomain", "app.kowhai.nz"},
	} {
		if m := a.until(a.send(pairs...).ID, "delivered"); m.Held != "" {
			t.Errorf("%q: held for %s", pairs, m.Held)
		}
	}
	for _, test := range []struct{ company, comment, held, whitelist string }{
		{"Kowhai.nz", "", "kowhai.nz", "KOWHAI.nz"},
		{"MyApp", "Help: https://help.example.com/x?y", "help.example.com", "example.com"},
		{"MyApp", "Help: http://intranet/", "intranet", "intranet"},
	} {
		m := a.send("msgCompany", test.company, "msgComment", test.comment)
		if m.Held != test.held || m.State != "queued" {
			t.Errorf("%s %s: held for %q, %s", test.company, test.comment, m.Held, m.State)
		}
		page := a.inbox("GET", "", nil)
		if !strings.Contains(page.body, "Held back: its text names "+test.held) || !strings.Contains(page.body, "Whitelist "+test.held) {
			t.Errorf("%s: the page does not say it", test.held)
		}
		a.sim.Whitelist("another.nz")
		if r := a.inbox("POST", "whitelist", url.Values{"domain": {test.whitelist}}); r.status != http.StatusSeeOther {
			t.Errorf("%s: %d %s", test.whitelist, r.status, r.body)
		}
		a.until(m.ID, "delivered")
		if m := a.until(a.send("msgCompany", test.company, "msgComment", test.comment).ID, "delivered"); m.Held != "" {
			t.Errorf("%s: still held for %s", test.whitelist, m.Held)
		}
	}
	a.sim.SetDelivery(websmstest.Rejected)
	m := a.send("msgCompany", "Tui.nz")
	a.sim.Whitelist("tui.nz")
	a.until(m.ID, "rejected")
	for _, domain := range []string{"", strings.Repeat("x", 254)} {
		if r := a.inbox("POST", "whitelist", url.Values{"domain": {domain}}); r.status != http.StatusUnprocessableEntity {
			t.Errorf("whitelist %.5q: %d", domain, r.status)
		}
	}
}

// A message can be blocked without a STOP.
func TestBlockedDelivery(t *testing.T) {
	a := open(t, websmstest.Options{})
	a.sim.SetDelivery(websmstest.Blocked)
	a.until(a.send().ID, "blocked")
	a.until(a.send().ID, "delivered")
}
