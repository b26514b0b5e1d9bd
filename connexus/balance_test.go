package connexus_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-websms/websms/connexus"
)

// more is a fake WebSMS for the endpoints other than /sms/otp.
func more(t *testing.T, path string, handle http.HandlerFunc) (*connexus.Client, *atomic.Int64) {
	t.Helper()
	calls := new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/auth/token" {
			_, _ = fmt.Fprint(w, `{"access_token":"wst_new"}`)
			return
		}
		if r.Method != http.MethodPost || r.URL.Path != path || !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer wst_") {
			t.Errorf("%s %s with %q", r.Method, r.URL, r.Header.Get("Authorization"))
		}
		calls.Add(1)
		handle(w, r)
	}))
	t.Cleanup(s.Close)
	return newClient(t, hasToken, func(c *connexus.Config) { c.BaseURL = s.URL }), calls
}

func TestBalance(t *testing.T) {
	for body, want := range map[string]connexus.Balance{
		`{"balance":12.34,"currency":"NZD"}`:                      {Amount: 12.34, Currency: "NZD"},
		`{"balance":"12.34","currency":"nzd"}`:                    {Amount: 12.34, Currency: "NZD"},
		`{"balance":0,"currency":"NZD"}`:                          {Currency: "NZD"},
		`{"balance":-3.5}`:                                        {Amount: -3.5},
		`{"success":true,"balance":"1,234.50","currency":null}`:   {Amount: 1234.5},
		`{"status":"success","balance":" $12 ","currency":"AUD"}`: {Amount: 12, Currency: "AUD"},
		`{"balance":"NZ$12.5"}`:                                   {Amount: 12.5},
		`{"balance":"12.34 NZD"}`:                                 {Amount: 12.34, Currency: "NZD"},
		`{"balance":1.2e3,"currency":17}`:                         {Amount: 1200},
		`{"balance":12.34,"currency":"` + testSecret + `"}`:       {Amount: 12.34},
	} {
		c, calls := more(t, "/sms/balance", answer(200, body))
		got, err := c.Balance(t.Context())
		if err != nil || got != want || calls.Load() != 1 {
			t.Errorf("%s: got %+v, %v after %d calls; want %+v", body, got, err, calls.Load(), want)
		}
	}
	for _, test := range []struct {
		status int
		body   string
		kind   connexus.Kind
		calls  int64
	}{
		{200, `{"currency":"NZD"}`, connexus.KindMalformed, 1}, {200, `{"balance":null}`, connexus.KindMalformed, 1},
		{200, `{"balance":"much"}`, connexus.KindMalformed, 1}, {200, `{"balance":"NaN"}`, connexus.KindMalformed, 1},
		{200, `{"balance":1e999}`, connexus.KindMalformed, 1}, {200, `{"balance":[1]}`, connexus.KindMalformed, 1},
		{200, `{"balance":true}`, connexus.KindMalformed, 1}, {200, `{"balance":"1.2.3"}`, connexus.KindMalformed, 1},
		{200, `<html>`, connexus.KindMalformed, 1}, {204, ``, connexus.KindMalformed, 1},
		{200, `{"success":false,"message":"No"}`, connexus.KindBadRequest, 1},
		{200, `{"success":false,"error":"invalid_token"}`, connexus.KindCredentials, 2},
		{403, `{"message":"token expired"}`, connexus.KindCredentials, 2}, {401, ``, connexus.KindCredentials, 2},
		{403, ``, connexus.KindCredentials, 1}, {404, ``, connexus.KindBadRequest, 1}, {500, ``, connexus.KindUnavailable, 1},
		{503, ``, connexus.KindUnavailable, 1}, {429, ``, connexus.KindThrottled, 1}, {303, ``, connexus.KindMalformed, 1},
	} {
		c, calls := more(t, "/sms/balance", answer(test.status, test.body))
		_, err := c.Balance(t.Context())
		e := wantError(t, err, test.kind, false)
		if e.Endpoint != connexus.EndpointBalance || calls.Load() != test.calls {
			t.Errorf("%d %s: %d calls, want %d; %v", test.status, test.body, calls.Load(), test.calls, err)
		}
	}
}

// A hang, and a closed client.
func TestBalanceWithoutAnswer(t *testing.T) {
	calls := 0
	c := newClient(t, hasToken, withTransport(scripted(&calls, hanging)), func(c *connexus.Config) { c.Timeout = 20 * time.Millisecond })
	_, err := c.Balance(t.Context())
	wantError(t, err, connexus.KindTimeout, false)
	c.Close()
	_, err = c.Balance(t.Context())
	wantError(t, err, connexus.KindCanceled, false)
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
}

func TestMessagesOfBalance(t *testing.T) {
	for _, test := range []struct {
		balance connexus.Balance
		text    string
		n       int
		ok      bool
	}{
		{connexus.Balance{Amount: 11.5, Currency: "NZD"}, "11.50 NZD", 100, true},
		{connexus.Balance{Amount: 11.49}, "11.49", 99, true},
		{connexus.Balance{Amount: 0.345, Currency: "NZD"}, "0.34 NZD", 3, true},
		{connexus.Balance{Amount: -1, Currency: "NZD"}, "-1.00 NZD", 0, true},
		{connexus.Balance{Amount: 1e300}, "", 1<<31 - 1, true},
		{connexus.Balance{Amount: 100, Currency: "AUD"}, "100.00 AUD", 0, false},
	} {
		n, ok := test.balance.Messages()
		if n != test.n || ok != test.ok || test.text != "" && test.balance.String() != test.text {
			t.Errorf("%+v: %d, %t, %q", test.balance, n, ok, test.balance)
		}
	}
}

// A message without a code has the replies and the retries of one with a code.
func TestSendText(t *testing.T) {
	const taken = `{"success":true,"messages":[{"success":true,"messageId":"M1"}]}`
	text := connexus.Text{To: "+" + testNumber, Body: "A passkey was added.\nWas it you? \u014c"}
	c, calls := more(t, "/sms/out", func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		if r.PostForm.Get("to") != testNumber || r.PostForm.Get("body") != text.Body || len(r.PostForm) != 2 {
			t.Errorf("sent %v", r.PostForm)
		}
		if r.Header.Get("Authorization") == "Bearer "+testToken {
			answer(403, `{"error":"invalid_token"}`)(w, r)
			return
		}
		answer(200, taken)(w, r)
	})
	got, err := c.SendText(t.Context(), text)
	if err != nil || got != (connexus.Receipt{MessageID: "M1"}) || calls.Load() != 2 {
		t.Errorf("got %+v, %v after %d calls", got, err, calls.Load())
	}
	for _, test := range []struct {
		status  int
		body    string
		headers []string
		kind    connexus.Kind // 0: success
		maybe   bool
		calls   int64
	}{
		{204, ``, nil, 0, false, 1}, {200, `{"status":"queued"}`, nil, 0, false, 1},
		{200, `{}`, nil, connexus.KindMalformed, true, 1}, {403, ``, nil, connexus.KindFunds, false, 1},
		{500, ``, nil, connexus.KindUnavailable, true, 1}, {429, ``, []string{"Retry-After", "0"}, connexus.KindThrottled, false, 2},
		{200, `{"success":true,"messages":[{"success":false,"message":"opted out"}]}`, nil, connexus.KindBadRequest, false, 1},
	} {
		c, calls := more(t, "/sms/out", answer(test.status, test.body, test.headers...))
		_, err := c.SendText(t.Context(), text)
		if test.kind == 0 && err != nil {
			t.Errorf("%d %s: %v", test.status, test.body, err)
		}
		if test.kind != 0 {
			if e := wantError(t, err, test.kind, test.maybe); e.Endpoint != connexus.EndpointText {
				t.Error(err)
			}
		}
		if calls.Load() != test.calls {
			t.Errorf("%d %s: %d calls, want %d", test.status, test.body, calls.Load(), test.calls)
		}
	}
	c, calls = more(t, "/sms/out", answer(200, taken))
	for name, wrong := range map[string]connexus.Text{
		"no number": {Body: "x"}, "a local number": {To: "021234567", Body: "x"}, "no body": {To: testNumber},
		"white space":         {To: testNumber, Body: " \n"},
		"a control character": {To: testNumber, Body: "a\x1b[31m"}, "not UTF-8": {To: testNumber, Body: "a\xff"},
	} {
		_, err := c.SendText(t.Context(), wrong)
		if wantError(t, err, connexus.KindBadRequest, false); calls.Load() != 0 {
			t.Errorf("%s: it was sent", name)
		}
	}
}

// A time-out leaves a text in doubt, and it is not sent again.
func TestSendTextAndTimeout(t *testing.T) {
	calls := 0
	c := newClient(t, hasToken, withTransport(scripted(&calls, hanging, success)), func(c *connexus.Config) {
		c.Timeout, c.Sandbox = 20*time.Millisecond, true
	})
	_, err := c.SendText(t.Context(), connexus.Text{To: testNumber, Body: "x"})
	wantError(t, err, connexus.KindTimeout, true)
	if calls != 1 {
		t.Errorf("sent %d times", calls)
	}
}
