package websmstest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-websms/websms/websmstest"
)

func TestToken(t *testing.T) {
	a := open(t, websmstest.Options{})
	a.token = ""
	r, err := a.post("/auth/token", url.Values{"client_id": {"cid_demo"}, "client_secret": {"csk_demo"}})
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`^\{"access_token":"wst_[A-Z2-7]{26}","token_type":"Bearer","expires_in":86400\}\n$`)
	if !want.MatchString(r.body) {
		t.Errorf("token reply %q", r.body)
	}
	if got := r.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
	for _, tc := range []struct {
		name, id, secret string
		status           int
		code             string
	}{
		{"wrong secret", "cid_demo", "csk_other", 401, "invalid_client"},
		{"wrong id", "cid_other", "csk_demo", 401, "invalid_client"},
		{"swapped", "csk_demo", "cid_demo", 401, "invalid_client"},
		{"no secret", "cid_demo", "", 400, "invalid_request"},
		{"no id", "", "csk_demo", 400, "invalid_request"},
	} {
		r, err := a.post("/auth/token", url.Values{"client_id": {tc.id}, "client_secret": {tc.secret}})
		if err != nil || r.status != tc.status || r.field(t, "error") != tc.code {
			t.Errorf("%s: got %d %s %v", tc.name, r.status, r.body, err)
		}
		if strings.Contains(r.body, "csk_") {
			t.Errorf("%s: the reply repeats a secret: %s", tc.name, r.body)
		}
	}
	if got := a.sim.Counts().TokenRequests; got != 7 {
		t.Errorf("%d token requests counted, want 7", got)
	}
}

func TestTokenExpiresAndIsRevoked(t *testing.T) {
	now := time.Now()
	var mu sync.Mutex
	a := open(t, websmstest.Options{TokenTTL: time.Hour, Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}})
	advance := func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(d)
	}
	unauthorized := func(what string) {
		t.Helper()
		r, err := a.post("/sms/otp", form())
		if err != nil || r.status != 401 || r.field(t, "error") != "unauthorized" {
			t.Errorf("%s: got %d %s %v", what, r.status, r.body, err)
		}
		if r.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s: WWW-Authenticate %q", what, r.header.Get("WWW-Authenticate"))
		}
	}
	advance(time.Hour - time.Nanosecond)
	a.send()
	advance(time.Nanosecond)
	unauthorized("expired")

	a.login()
	a.send()
	a.sim.RevokeTokens()
	unauthorized("revoked")

	a.login()
	token := a.token
	for _, wrong := range []string{"", "wst_nonsense", token[:len(token)-1], token + "A"} {
		a.token = wrong
		unauthorized(fmt.Sprintf("token of %d characters", len(wrong)))
	}
	a.login()
	next := a.token
	for range 1000 { // the oldest ones end
		a.login()
	}
	newest := a.token
	for _, old := range []string{token, next} {
		a.token = old
		unauthorized("a token with 1000 newer ones")
	}
	a.token = newest
	a.send()
}

func TestSend(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	a := open(t, websmstest.Options{Now: func() time.Time { return now }})
	for _, tc := range []struct {
		name string
		form url.Values
		body string // %s: the code
	}{
		{"made-up code", form("msgComment", "Valid for 5 minutes."), "%s is your MyApp verification code. Valid for 5 minutes."},
		{"own code", form("msgCode", "482174", "msgComment", "Valid for 5 minutes."),
			"%s is your MyApp verification code. Valid for 5 minutes."},
		{"no comment", form("msgCode", "0000"), "%s is your MyApp verification code."},
		{"WebOTP", form("msgCode", "12345678", "webOtpDomain", "example.com", "sandbox", "1"),
			"%s is your MyApp verification code.\n@example.com #%[1]s"},
		{"macrons", form("msgCompany", "Kōwhai", "webOtpDomain", "localhost"), "%s is your Kōwhai verification code.\n@localhost #%[1]s"},
	} {
		for _, encoding := range []string{"form", "JSON"} {
			name := tc.name + ", " + encoding
			var r reply
			var err error
			if encoding == "form" {
				r, err = a.post("/sms/otp", tc.form)
			} else {
				r, err = a.do(http.MethodPost, "/sms/otp", "application/json; charset=utf-8", asJSON(t, tc.form))
			}
			if err != nil {
				t.Fatal(err)
			}
			if !regexp.MustCompile(`^\{"status":"success","messageId":"MSG[A-Z2-7]{16}","code":"[0-9]{4,8}"\}\n$`).MatchString(r.body) {
				t.Errorf("%s: reply %q", name, r.body)
			}
			m := a.sim.Messages()[0]
			if own := tc.form.Get("msgCode"); m.OwnCode != (own != "") || own != "" && m.Code != own || own == "" && len(m.Code) != 6 {
				t.Errorf("%s: code %q, own %t", name, m.Code, m.OwnCode)
			}
			if r.field(t, "code") != m.Code || r.field(t, "messageId") != m.ID {
				t.Errorf("%s: reply %s for message %+v", name, r.body, m)
			}
			if want := fmt.Sprintf(tc.body, m.Code); m.Body != want {
				t.Errorf("%s: body %q, want %q", name, m.Body, want)
			}
			if m.To != tc.form.Get("to") || m.Company != tc.form.Get("msgCompany") || m.Comment != tc.form.Get("msgComment") ||
				m.WebOTPDomain != tc.form.Get("webOtpDomain") || m.Sandbox != tc.form.Has("sandbox") || !m.At.Equal(now) {
				t.Errorf("%s: message %+v", name, m)
			}
		}
	}
	if got := a.sim.Counts(); got.Accepted != 10 || got.OTPRequests != 10 || got.Dropped != 0 || got.WebhookPosts != 0 {
		t.Errorf("counts %+v", got)
	}
}

func asJSON(t *testing.T, form url.Values) string {
	var fields []string
	for name := range form {
		fields = append(fields, fmt.Sprintf("%q:%q", name, form.Get(name)))
	}
	return "{" + strings.Join(fields, ",") + "}"
}

func TestSendRefusals(t *testing.T) {
	a := open(t, websmstest.Options{})
	const formType, jsonType = "application/x-www-form-urlencoded", "application/json"
	long := strings.Repeat("x", 161)
	for _, tc := range []struct {
		name, contentType, body string
		status                  int
		problem                 string // part of the message
	}{
		{"no to", formType, "msgCompany=MyApp", 400, "to must be"},
		{"to with +", formType, "to=%2B6421234567&msgCompany=MyApp", 400, "without the leading '+'"},
		{"national to", formType, "to=0211234567&msgCompany=MyApp", 400, "to must be"},
		{"short to", formType, "to=642123&msgCompany=MyApp", 400, "to must be"},
		{"long to", formType, "to=6421234567890123&msgCompany=MyApp", 400, "to must be"},
		{"spaced to", formType, "to=64+21234567&msgCompany=MyApp", 400, "to must be"},
		{"no company", formType, "to=6421234567", 400, "msgCompany"},
		{"blank company", formType, "to=6421234567&msgCompany=+", 400, "msgCompany"},
		{"two-line company", formType, "to=6421234567&msgCompany=a%0Ab", 400, "msgCompany"},
		{"company not UTF-8", formType, "to=6421234567&msgCompany=%ff", 400, "msgCompany"},
		{"long company", formType, "to=6421234567&msgCompany=" + long, 400, "msgCompany"},
		{"long comment", formType, "to=6421234567&msgCompany=a&msgComment=" + long, 400, "msgComment"},
		{"3-digit code", formType, "to=6421234567&msgCompany=a&msgCode=123", 400, "msgCode"},
		{"9-digit code", formType, "to=6421234567&msgCompany=a&msgCode=123456789", 400, "msgCode"},
		{"code of letters", formType, "to=6421234567&msgCompany=a&msgCode=12a4", 400, "msgCode"},
		{"code of other digits", formType, "to=6421234567&msgCompany=a&msgCode=%D9%A1%D9%A2%D9%A3%D9%A4", 400, "msgCode"},
		{"domain with a scheme", formType, "to=6421234567&msgCompany=a&webOtpDomain=https://example.com", 400, "webOtpDomain"},
		{"domain with a port", formType, "to=6421234567&msgCompany=a&webOtpDomain=example.com:443", 400, "webOtpDomain"},
		{"domain with an empty label", formType, "to=6421234567&msgCompany=a&webOtpDomain=a..b", 400, "webOtpDomain"},
		{"repeated field", formType, "to=6421234567&to=6421234568&msgCompany=a", 400, "more than once"},
		{"broken form", formType, "to=%zz", 400, "not a form"},
		{"JSON null", jsonType, "null", 400, "not a JSON object"},
		{"JSON list", jsonType, "[]", 400, "not a JSON object"},
		{"JSON cut short", jsonType, `{"to":"6421234567"`, 400, "not a JSON object"},
		{"two JSON objects", jsonType, `{"to":"6421234567"}{}`, 400, "goes on"},
		{"nested JSON", jsonType, `{"to":["6421234567"]}`, 400, "neither text nor a number"},
		{"JSON null to", jsonType, `{"to":null,"msgCompany":"a"}`, 400, "to must be"},
		{"no type", "", "to=6421234567&msgCompany=a", 400, "Content-Type"},
		{"text", "text/plain", "to=6421234567&msgCompany=a", 400, "Content-Type"},
		{"too large", formType, "to=6421234567&msgCompany=a&x=" + strings.Repeat("x", 16<<10), 413, "16384 bytes"},
	} {
		r, err := a.do(http.MethodPost, "/sms/otp", tc.contentType, tc.body)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if r.status != tc.status || r.field(t, "error") != "invalid_request" ||
			!strings.Contains(r.field(t, "message").(string), tc.problem) {
			t.Errorf("%s: got %d %s", tc.name, r.status, r.body)
		}
	}
	if n := len(a.sim.Messages()); n != 0 {
		t.Errorf("%d messages accepted", n)
	}
	// A number instead of a text is accepted.
	r, err := a.do(http.MethodPost, "/sms/otp", jsonType, `{"to":6421234567,"msgCompany":"a","msgCode":482174,"sandbox":true}`)
	if err != nil || r.status != 200 {
		t.Fatalf("numbers in JSON: %d %s %v", r.status, r.body, err)
	}
	if m := a.sim.Messages()[0]; m.To != "6421234567" || m.Code != "482174" || !m.Sandbox {
		t.Errorf("numbers in JSON: %+v", m)
	}
}

func TestMethodsAndPaths(t *testing.T) {
	a := open(t, websmstest.Options{BasePath: "/v1/"})
	for _, path := range []string{"/auth/token", "/sms/otp"} {
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE"} {
			r, err := a.do(method, path, "", "")
			if err != nil || r.status != 405 || r.header.Get("Allow") != "POST" {
				t.Errorf("%s %s: got %d %v %v", method, path, r.status, r.header, err)
			}
		}
	}
	r, err := a.post("/sms/other", form())
	if err != nil || r.status != 404 || r.field(t, "error") != "not_found" {
		t.Errorf("unknown endpoint: got %d %s %v", r.status, r.body, err)
	}
	if !strings.HasSuffix(a.sim.URL, "/v1") {
		t.Errorf("URL %q", a.sim.URL)
	}
	a.send()
}

func TestBalance(t *testing.T) {
	a := open(t, websmstest.Options{})
	a.sim.SetBalance(0.3)
	a.send()
	a.send()
	r, err := a.post("/sms/otp", form())
	if err != nil || r.status != 200 || r.body != `{"success":false,"message":"Insufficient funds","required":0.115}` {
		t.Errorf("third send: %d %s %v", r.status, r.body, err)
	}
	if got := a.sim.Counts().Accepted; got != 2 {
		t.Errorf("%d accepted, want 2", got)
	}
	a.send("sandbox", "1")
	a.sim.SetBalance(0.115) // enough for exactly one message
	a.send()
	if r, err := a.post("/sms/otp", form()); err != nil || !strings.Contains(r.body, "Insufficient") {
		t.Errorf("after the last cent: %d %s %v", r.status, r.body, err)
	}
}

func TestKeepsNewest1000(t *testing.T) {
	a := open(t, websmstest.Options{})
	first := a.send()
	for i := range 1000 {
		if r, err := a.post("/sms/otp", form("msgCode", fmt.Sprintf("%04d", i))); err != nil || r.status != 200 {
			t.Fatal(r, err)
		}
	}
	kept := a.sim.Messages()
	if len(kept) != 1000 || kept[0].Code != "0999" || kept[999].Code != "0000" {
		t.Errorf("%d kept, from %s to %s", len(kept), kept[0].Code, kept[len(kept)-1].Code)
	}
	if err := a.sim.Report(t.Context(), first.ID, 1); err == nil || !strings.Contains(err.Error(), "no message") {
		t.Errorf("report of a message no longer kept: %v", err)
	}
}
