package connexus_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/connexus"
)

func TestAcceptedReplies(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		body   string
		want   connexus.Receipt
	}{
		"status success": {200, `{"status":"success","code":"048217","messageId":"MSG123"}`,
			connexus.Receipt{MessageID: "MSG123", Code: "048217"}},
		"status accepted":          {200, `{"status":"accepted","messageId":"MSG123"}`, connexus.Receipt{MessageID: "MSG123"}},
		"status queued":            {200, `{"status":"queued","messageId":"MSG123"}`, connexus.Receipt{MessageID: "MSG123"}},
		"status in capitals":       {200, `{"status":" SUCCESS "}`, connexus.Receipt{}},
		"success true":             {200, `{"success":true,"messageId":"MSG123"}`, connexus.Receipt{MessageID: "MSG123"}},
		"success true as a string": {200, `{"success":"true"}`, connexus.Receipt{}},
		"success 1":                {200, `{"success":1}`, connexus.Receipt{}},
		"success and a null error": {200, `{"success":true,"error":null,"message":null}`, connexus.Receipt{}},
		"success and an error":     {200, `{"success":true,"error":"none"}`, connexus.Receipt{}},
		"HTTP 201":                 {201, `{"status":"success"}`, connexus.Receipt{}},
		"HTTP 202":                 {202, `{"status":"queued"}`, connexus.Receipt{}},
		"empty 204":                {204, ``, connexus.Receipt{}},
		"byte order mark":          {200, "\ufeff" + `{"status":"success"}`, connexus.Receipt{}},
		"id messageId":             {200, `{"success":true,"messageId":"a"}`, connexus.Receipt{MessageID: "a"}},
		"id message_id":            {200, `{"success":true,"message_id":"b"}`, connexus.Receipt{MessageID: "b"}},
		"id websms_id":             {200, `{"success":true,"websms_id":"c"}`, connexus.Receipt{MessageID: "c"}},
		"id a number":              {200, `{"success":true,"messageId":123}`, connexus.Receipt{MessageID: "123"}},
		"id a number of many digits": {200, `{"success":true,"messageId":123456789012345678901234567890}`,
			connexus.Receipt{MessageID: "123456789012345678901234567890"}},
		"id null, then the next": {200, `{"success":true,"messageId":null,"message_id":"","websms_id":7}`,
			connexus.Receipt{MessageID: "7"}},
		"id of a wrong type":         {200, `{"success":true,"messageId":["a"],"message_id":{}}`, connexus.Receipt{}},
		"id absent":                  {200, `{"success":true}`, connexus.Receipt{}},
		"code a number":              {200, `{"success":true,"code":482174}`, connexus.Receipt{Code: "482174"}},
		"code lost its leading zero": {200, `{"success":true,"code":48217}`, connexus.Receipt{Code: "048217"}},
		"code another than sent":     {200, `{"success":true,"code":"1234"}`, connexus.Receipt{Code: "1234"}},
		"code not digits":            {200, `{"success":true,"code":"abcdef"}`, connexus.Receipt{}},
		"code too long":              {200, `{"success":true,"code":123456789}`, connexus.Receipt{}},
		"code negative":              {200, `{"success":true,"code":-48217}`, connexus.Receipt{}},
		"code of a wrong type":       {200, `{"success":true,"code":[4,8,2]}`, connexus.Receipt{}},
		"fields unknown":             {200, `{"status":"success","cost":0.115,"x":{"status":"failed"}}`, connexus.Receipt{}},
		"key twice, the last counts": {200, `{"status":"failed","status":"success"}`, connexus.Receipt{}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, nil, answer(test.status, test.body))
			got, err := send(t, a.client(t))
			if err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			if n := a.otpCalls.Load(); n != 1 {
				t.Errorf("sent %d times", n)
			}
		})
	}
}

func TestOtherReplies(t *testing.T) {
	const (
		sure  = false
		maybe = true
	)
	page := "<!DOCTYPE html><html><body>It works!</body></html>"
	for name, test := range map[string]struct {
		status  int
		body    string
		kind    connexus.Kind
		maybe   bool
		message string
	}{
		"success false, insufficient funds": {200, `{"success":false,"message":"Insufficient funds","required":0.115}`,
			connexus.KindFunds, sure, "Insufficient funds"},
		"success false, required alone": {200, `{"success":false,"required":0.115}`, connexus.KindFunds, sure, ""},
		"success false, another reason": {200, `{"success":false,"message":"Company name not allowed"}`,
			connexus.KindBadRequest, sure, "Company name not allowed"},
		"success false, no reason":  {200, `{"success":false}`, connexus.KindBadRequest, sure, ""},
		"success false as a string": {200, `{"success":"false"}`, connexus.KindBadRequest, sure, ""},
		"success false, invalid token": {200, `{"success":false,"error":"invalid_token"}`,
			connexus.KindCredentials, sure, "invalid_token"},
		"success false, rate limit": {200, `{"success":false,"message":"Rate limit exceeded"}`,
			connexus.KindThrottled, sure, "Rate limit exceeded"},
		"status failed":               {200, `{"status":"failed","message":"No route"}`, connexus.KindBadRequest, sure, "No route"},
		"error alone in a 200":        {200, `{"error":"invalid_request"}`, connexus.KindBadRequest, sure, "invalid_request"},
		"success and failure at once": {200, `{"success":false,"status":"success"}`, connexus.KindMalformed, maybe, ""},

		"400 invalid_request": {400, `{"error":"invalid_request","message":"to is required"}`,
			connexus.KindBadRequest, sure, "invalid_request: to is required"},
		"400 that says funds":   {400, `{"error":"insufficient_funds"}`, connexus.KindFunds, sure, "insufficient_funds"},
		"400 without a body":    {400, ``, connexus.KindBadRequest, sure, ""},
		"400 that says success": {400, `{"success":true}`, connexus.KindBadRequest, sure, ""},
		"401":                   {401, `{"error":"invalid_token"}`, connexus.KindCredentials, sure, "invalid_token"},
		"402":                   {402, ``, connexus.KindFunds, sure, ""},
		"403 funds": {403, `{"success":false,"message":"Insufficient funds"}`,
			connexus.KindFunds, sure, "Insufficient funds"},
		"403 without a body": {403, ``, connexus.KindFunds, sure, ""},
		"403 that says credentials": {403, `{"error":"unauthorized_client"}`, connexus.KindCredentials,
			sure, "unauthorized_client"},
		"403 from a firewall":     {403, page, connexus.KindMalformed, sure, ""},
		"404 HTML":                {404, page, connexus.KindBadRequest, sure, ""},
		"408":                     {408, ``, connexus.KindUnavailable, sure, ""},
		"429 without Retry-After": {429, `{"message":"slow down"}`, connexus.KindThrottled, sure, "slow down"},
		"500":                     {500, `{"error":"internal"}`, connexus.KindUnavailable, maybe, "internal"},
		"500 that refuses clearly": {500, `{"success":false,"message":"no route"}`,
			connexus.KindUnavailable, sure, "no route"},
		"500 that says funds": {500, `{"success":false,"message":"Insufficient funds"}`,
			connexus.KindFunds, sure, "Insufficient funds"},
		"500 that says success":        {500, `{"success":true}`, connexus.KindUnavailable, maybe, ""},
		"502 HTML":                     {502, page, connexus.KindUnavailable, maybe, ""},
		"503 without Retry-After":      {503, ``, connexus.KindUnavailable, maybe, ""},
		"504":                          {504, ``, connexus.KindUnavailable, maybe, ""},
		"600, which is no HTTP status": {600, ``, connexus.KindUnavailable, maybe, ""},
		"303":                          {303, ``, connexus.KindMalformed, maybe, ""},
		"304":                          {304, ``, connexus.KindMalformed, sure, ""},
		"200 HTML":                     {200, page, connexus.KindMalformed, maybe, ""},
		"200 empty":                    {200, ``, connexus.KindMalformed, maybe, ""},
		"200 null":                     {200, `null`, connexus.KindMalformed, maybe, ""},
		"200 an array":                 {200, `[{"status":"success"}]`, connexus.KindMalformed, maybe, ""},
		"200 a string":                 {200, `"success"`, connexus.KindMalformed, maybe, ""},
		"200 a number":                 {200, `1`, connexus.KindMalformed, maybe, ""},
		"200 an empty object":          {200, `{}`, connexus.KindMalformed, maybe, ""},
		"200 truncated JSON":           {200, `{"status":"succ`, connexus.KindMalformed, maybe, ""},
		"200 something after the JSON": {200, `{"status":"success"}<br>`, connexus.KindMalformed, maybe, ""},
		"200 unknown status":           {200, `{"status":"perhaps"}`, connexus.KindMalformed, maybe, ""},
		"200 status a number":          {200, `{"status":200}`, connexus.KindMalformed, maybe, ""},
		"200 status null":              {200, `{"status":null,"success":null}`, connexus.KindMalformed, maybe, ""},
		"200 success a string":         {200, `{"success":"yes"}`, connexus.KindMalformed, maybe, ""},
		"200 success in another case":  {200, `{"Success":true}`, connexus.KindMalformed, maybe, ""},
		"200 nested without end":       {200, strings.Repeat(`{"a":`, 12000), connexus.KindMalformed, maybe, ""},
		"200 longer than the bound": {200,
			`{"status":"success","x":"` + strings.Repeat("x", 64<<10) + `"}`, connexus.KindMalformed, maybe, ""},
		"200 with white space past the bound": {200, `{"status":"success"}` + strings.Repeat(" ", 64<<10),
			connexus.KindMalformed, maybe, ""},
		"message with the secret as it was sent": {400,
			`{"message":"got client_secret=` + url.QueryEscape(testSecret) + `"}`, connexus.KindBadRequest, sure, "got client_secret=***"},
		"400 message of a wrong type": {400, `{"error":{"code":1},"message":["x"]}`, connexus.KindBadRequest, sure, ""},
		"400 message a number":        {400, `{"error":17}`, connexus.KindBadRequest, sure, "17"},
		"400 longer than the bound":   {400, strings.Repeat(" ", 65<<10), connexus.KindBadRequest, sure, ""},
		"message with the secrets": {400,
			`{"message":"to ` + testNumber + `, 021 234-567, ` + testCode + ` by ` + testSecret + ` and ` + testToken + `"}`,
			connexus.KindBadRequest, sure, "to ***, ***, *** by *** and ***"},
		"message with a hidden secret": {400,
			`{"message":"x` + testToken[:5] + `\u0000\u200b` + testToken[5:] + ` 64\n21\t234567\u001b[31m"}`,
			connexus.KindBadRequest, sure, "x*** ***[31m"},
		"message that is long": {400, `{"message":"` + strings.Repeat("ā", 300) + `"}`,
			connexus.KindBadRequest, sure, strings.Repeat("ā", 199) + "…"},
		"message with short numbers": {400, `{"message":"error 12, limit 3.50"}`, connexus.KindBadRequest,
			sure, "error 12, limit 3.50"},
		"message that is not all UTF-8": {400, "{\"message\":\"a\xffb\"}", connexus.KindBadRequest, sure, "a\ufffdb"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, nil, answer(test.status, test.body))
			_, err := send(t, a.client(t, hasToken))
			e := wantError(t, err, test.kind, test.maybe)
			if e.Message != test.message {
				t.Errorf("got message %q, want %q", e.Message, test.message)
			}
			if e.Status != test.status || e.Endpoint != connexus.EndpointOTP {
				t.Errorf("got status %d of %q, want %d of %q", e.Status, e.Endpoint, test.status, connexus.EndpointOTP)
			}
			want := int64(1)
			if test.status == http.StatusUnauthorized || test.message == "invalid_token" { // with a new token
				want = 2
			}
			if n := a.otpCalls.Load(); n != want {
				t.Errorf("sent %d times, want %d", n, want)
			}
		})
	}
}

// The code that WebSMS makes has six digits (developer guide, step 4).
func TestAutomaticCode(t *testing.T) {
	for body, want := range map[string]string{
		`"048217"`: "048217",
		`"4821"`:   "4821",
		`48217`:    "048217",
		`7`:        "000007",
		`1234567`:  "1234567",
		`null`:     "",
		`""`:       "",
	} {
		a := newAPI(t, nil, answer(200, fmt.Sprintf(`{"status":"success","code":%s}`, body)))
		otp := testOTP
		otp.Code = ""
		got, err := a.client(t).SendOTP(t.Context(), otp)
		if err != nil || got.Code != want {
			t.Errorf("code %s: got %q, %v; want %q", body, got.Code, err, want)
		}
		forms, _ := a.otps()
		if _, sent := forms[0]["msgCode"]; sent {
			t.Errorf("code %s: an empty msgCode was sent", body)
		}
	}
}
