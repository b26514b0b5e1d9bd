package connexus_test

import (
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/caddy-websms/websms/connexus"
)

// Each of these replies refuses the token clearly. The message is sent once more with a
// new token, for each status.
func TestTokenRefusals(t *testing.T) {
	const challenge = `Bearer realm="websms", error="invalid_token", error_description="The access token expired"`
	for name, test := range map[string]struct {
		status  int
		body    string
		headers []string
	}{
		"401":                             {401, ``, nil},
		"401 that names no token":         {401, `{"error":"unauthorized"}`, nil},
		"403 invalid_token":               {403, `{"error":"invalid_token"}`, nil},
		"403 by its description":          {403, `{"error":"forbidden","error_description":"The access token expired"}`, nil},
		"403 by its message":              {403, `{"error":"forbidden","message":"Token expired"}`, nil},
		"403 with both":                   {403, `{"error":"forbidden","message":"No access","error_description":"Token has been revoked"}`, nil},
		"403 success false":               {403, `{"success":false,"message":"Your access token is no longer valid."}`, nil},
		"403 in an object":                {403, `{"error":{"code":"invalid_token","message":"Denied"}}`, nil},
		"403 in a list":                   {403, `{"errors":[{"code":"TOKEN_EXPIRED"}]}`, nil},
		"403 in a list of texts":          {403, `{"errors":["invalid_token"]}`, nil},
		"403 in a later error":            {403, `{"errors":[{"code":"denied"},{"detail":"Token expired"}]}`, nil},
		"403 within":                      {403, `{"success":false,"data":{"fault":{"text":"The token has expired"}}}`, nil},
		"403 by another name":             {403, `{"msg":"token expired"}`, nil},
		"200 by another name":             {200, `{"success":false,"error_message":"Token expired"}`, nil},
		"200 by another name alone":       {200, `{"msg":"token expired"}`, nil},
		"403 by its header":               {403, ``, []string{"WWW-Authenticate", challenge}},
		"403 by a bare header":            {403, `{}`, []string{"WWW-Authenticate", `bearer error=invalid_token`}},
		"403 by its second header":        {403, ``, []string{"WWW-Authenticate", `Basic realm="a, b", ` + challenge}},
		"403 in plain text":               {403, "Token expired\n", nil},
		"400 invalid_token":               {400, `{"error":"invalid_token"}`, nil},
		"400 by its message":              {400, `{"error":"invalid_request","message":"Invalid or expired token"}`, nil},
		"404 by its message":              {404, `{"message":"token not found"}`, nil},
		"498":                             {498, `{"message":"Invalid access token"}`, nil},
		"200 invalid_token":               {200, `{"error":"invalid_token"}`, nil},
		"200 success false":               {200, `{"success":false,"error":"invalid_token"}`, nil},
		"200 by its message":              {200, `{"success":false,"message":"Token expired"}`, nil},
		"200 by its message alone":        {200, `{"message":"token expired"}`, nil},
		"200 by its status":               {200, `{"status":"token_expired"}`, nil},
		"200 status failed":               {200, `{"status":"failed","error_code":"TokenExpired"}`, nil},
		"200 of the message":              {200, `{"success":true,"messages":[{"success":false,"error":"expired_token"}]}`, nil},
		"200 by its header":               {200, `{}`, []string{"WWW-Authenticate", challenge}},
		"200 in a sentence":               {200, `{"success":false,"message":"The bearer token you sent is not valid"}`, nil},
		"200 with the token":              {200, `{"success":false,"message":"Token 'wst_other' has expired"}`, nil},
		"202 in camel case":               {202, `{"error":"invalidToken"}`, nil},
		"500 that refuses clearly":        {500, `{"success":false,"message":"JWT expired"}`, nil},
		"403 in other words":              {403, `{"error":"Unable to verify your token"}`, nil},
		"403 of a token that may be old":  {403, `{"error":"Your token may have expired."}`, nil},
		"403 as the name of a text":       {403, `{"error":"auth.token.expired"}`, nil},
		"403 of an authentication server": {403, `{"error":"authentication token verification failed"}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var refuse atomic.Bool
			refuse.Store(true)
			a := newAPI(t, nil, func(w http.ResponseWriter, r *http.Request) {
				if refuse.Load() && r.Header.Get("Authorization") == "Bearer "+testToken {
					answer(test.status, test.body, test.headers...)(w, r)
					return
				}
				answer(200, `{"status":"success"}`)(w, r)
			})
			c := a.client(t, hasToken)
			if _, err := send(t, c); err != nil {
				t.Error(err)
			}
			if otps, tokens := a.otpCalls.Load(), a.tokenCalls.Load(); otps != 2 || tokens != 1 {
				t.Errorf("%d messages and %d token requests, want 2 and 1", otps, tokens)
			}
			if _, auths := a.otps(); auths[1] != "Bearer wst_1" {
				t.Errorf("the second message has %q", auths[1])
			}

			// Every token is refused: one retry, and not one more.
			a.otp = answer(test.status, test.body, test.headers...)
			_, err := send(t, c)
			wantError(t, err, connexus.KindCredentials, false)
			if otps, tokens := a.otpCalls.Load(), a.tokenCalls.Load(); otps != 4 || tokens != 2 {
				t.Errorf("refused again: %d messages and %d token requests, want 4 and 2", otps, tokens)
			}
		})
	}
}

// None of these replies is about the token. The message is sent once, and the token stays.
func TestOtherRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		status  int
		body    string
		headers []string
		kind    connexus.Kind // 0: success
		maybe   bool
	}{
		"403":                       {403, ``, nil, connexus.KindFunds, false},
		"403 funds":                 {403, `{"error":"forbidden","message":"Insufficient funds"}`, nil, connexus.KindFunds, false},
		"403 funds of a token":      {403, `{"message":"Insufficient funds for this token"}`, nil, connexus.KindFunds, false},
		"403 funds and an old card": {403, `{"message":"Insufficient credit: payment token expired"}`, nil, connexus.KindFunds, false},
		"403 an old card":           {403, `{"message":"The card token has expired"}`, nil, connexus.KindFunds, false},
		"403 a price":               {403, `{"message":"Token expired","required":0.115}`, nil, connexus.KindFunds, false},
		"403 a permission":          {403, `{"error":"insufficient_scope"}`, nil, connexus.KindFunds, false},
		"403 a permission, by its header": {403, ``, []string{"WWW-Authenticate",
			`Bearer error="insufficient_scope", error_description="the token was not made for error=invalid_token"`}, connexus.KindFunds, false},
		"403 another scheme": {403, ``, []string{"WWW-Authenticate", `Digest error="invalid_token"`}, connexus.KindFunds, false},
		"403 an account":     {403, `{"error":"forbidden","message":"Account suspended"}`, nil, connexus.KindFunds, false},
		"403 an address":     {403, `{"error":"forbidden","message":"This IP address may not use the token"}`, nil, connexus.KindFunds, false},
		"403 a client":       {403, `{"error":"unauthorized_client"}`, nil, connexus.KindCredentials, false},
		"403 a firewall": {403, `<html>Your session token expired</html>`, nil,
			connexus.KindMalformed, false},
		"402":            {402, `{"message":"Token expired"}`, nil, connexus.KindFunds, false},
		"429":            {429, `{"message":"Token limit: token expired"}`, nil, connexus.KindThrottled, false},
		"400 a message":  {400, `{"error":"invalid_request","message":"Invalid to"}`, nil, connexus.KindBadRequest, false},
		"400 a template": {400, `{"message":"unknown template token in msgComment"}`, nil, connexus.KindBadRequest, false},
		"400 a code":     {400, `{"error":"invalid_code"}`, nil, connexus.KindBadRequest, false},
		"200 funds": {200, `{"success":false,"message":"Insufficient funds","required":0.115}`, nil,
			connexus.KindFunds, false},
		"200 success, a warning":     {200, `{"success":true,"message":"Token expired soon"}`, nil, 0, false},
		"200 success and its header": {200, `{"status":"success"}`, []string{"WWW-Authenticate", `Bearer error="invalid_token"`}, 0, false},
		"200 with an id":             {200, `{"messageId":"MSG1","message":"Token expired"}`, nil, connexus.KindMalformed, true},
		"202 with an id, and its header": {202, `{"messages":[{"messageId":"MSG1"}]}`, []string{"WWW-Authenticate",
			`Bearer error="invalid_token"`}, connexus.KindMalformed, true},
		"200 both": {200, `{"success":true,"status":"failed","message":"Token expired"}`, nil,
			connexus.KindMalformed, true},
		"200 with words in a part": {200, `{"data":{"note":"token expired"}}`, nil, connexus.KindMalformed, true},
		"200 not JSON":             {200, `Token expired`, nil, connexus.KindMalformed, true},
		"200 a token that is good": {200, `{"success":false,"message":"Token not expired, but blocked"}`, nil,
			connexus.KindBadRequest, false},
		"500":                            {500, `{"error":"invalid_token"}`, nil, connexus.KindUnavailable, true},
		"503":                            {503, `{"message":"token expired"}`, nil, connexus.KindUnavailable, true},
		"302 to a page that asks for it": {302, ``, []string{"WWW-Authenticate", `Bearer error="invalid_token"`}, connexus.KindMalformed, false},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, nil, answer(test.status, test.body, test.headers...))
			_, err := send(t, a.client(t, hasToken))
			if test.kind == 0 && err != nil {
				t.Error(err)
			}
			if test.kind != 0 {
				wantError(t, err, test.kind, test.maybe)
			}
			if otps, tokens := a.otpCalls.Load(), a.tokenCalls.Load(); otps != 1 || tokens != 0 {
				t.Errorf("%d messages and %d token requests, want 1 and 0", otps, tokens)
			}
		})
	}
}

// A reply may say success of the request, and something else of its message.
func TestMessagesInReply(t *testing.T) {
	for name, test := range map[string]struct {
		body    string
		kind    connexus.Kind // 0: success
		maybe   bool
		message string
		id      string
	}{
		"id there":            {`{"success":true,"messages":[{"success":true,"messageId":"M1"}]}`, 0, false, "", "M1"},
		"id there, a number":  {`{"success":true,"messages":[{"message_id":17}]}`, 0, false, "", "17"},
		"id at both":          {`{"success":true,"messageId":"top","messages":[{"messageId":"M1"}]}`, 0, false, "", "top"},
		"success there alone": {`{"messages":[{"success":true,"websms_id":"M1"}]}`, 0, false, "", "M1"},
		"status there alone":  {`{"messages":[{"status":"queued"}]}`, 0, false, "", ""},
		"empty list":          {`{"success":true,"messages":[]}`, 0, false, "", ""},
		"list of texts":       {`{"success":true,"messages":["fine"]}`, 0, false, "", ""},
		"null":                {`{"success":true,"messages":null}`, 0, false, "", ""},
		"an object":           {`{"success":true,"messages":{"messageId":"M1"}}`, 0, false, "", "M1"},
		"failed": {`{"success":true,"messages":[{"success":false,"message":"Number is blocked"}]}`,
			connexus.KindBadRequest, false, "Number is blocked", ""},
		"failed, in an object": {`{"success":true,"messages":{"success":false,"error":"No route"}}`,
			connexus.KindBadRequest, false, "No route", ""},
		"failed, as a text": {`{"success":"true","messages":[{"success":"false","reason":"No route"}]}`,
			connexus.KindBadRequest, false, "No route", ""},
		"failed, by its status": {`{"status":"success","messages":[{"status":"rejected","error":"blocked","message":"opted out"}]}`,
			connexus.KindBadRequest, false, "blocked: opted out", ""},
		"failed, without a reason": {`{"success":true,"messages":[{"success":false}]}`, connexus.KindBadRequest, false, "", ""},
		"failed, the reason above": {`{"success":true,"message":"1 failed","messages":[{"success":false}]}`,
			connexus.KindBadRequest, false, "1 failed", ""},
		"failed for funds": {`{"success":true,"messages":[{"success":false,"message":"Insufficient funds","required":0.115}]}`,
			connexus.KindFunds, false, "Insufficient funds", ""},
		"failed for a price": {`{"success":true,"messages":[{"success":false,"required":0.115}]}`, connexus.KindFunds, false, "", ""},
		"failed, with an id": {`{"success":true,"messageId":"M1","messages":[{"success":false,"message":"No"}]}`,
			connexus.KindBadRequest, false, "No", ""},
		"failed, an error alone": {`{"messages":[{"error":"no route"}]}`, connexus.KindBadRequest, false, "", ""},
		"failed above, sent below": {`{"success":false,"messages":[{"success":true,"messageId":"M1"}]}`,
			connexus.KindMalformed, true, "", ""},
		"contradiction below": {`{"success":true,"messages":[{"success":true,"status":"failed"}]}`, connexus.KindMalformed, true, "", ""},
		"the text with its code": {`{"success":true,"messages":[{"success":false,"to":"` + testNumber + `","message":"` + testCode +
			` is your MyApp verification code."}]}`, connexus.KindBadRequest, false, "*** is your MyApp verification code.", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, nil, answer(200, test.body))
			got, err := send(t, a.client(t, hasToken))
			if test.kind == 0 {
				if err != nil || got.MessageID != test.id {
					t.Errorf("got %+v, %v; want the id %q", got, err, test.id)
				}
				return
			}
			e := wantError(t, err, test.kind, test.maybe)
			if test.message != "" && e.Message != test.message {
				t.Errorf("got message %q, want %q", e.Message, test.message)
			}
			if n := a.otpCalls.Load(); n != 1 {
				t.Errorf("sent %d times", n)
			}
		})
	}
}
