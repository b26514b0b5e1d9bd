package connexus_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/caddy-websms/websms/connexus"
)

func FuzzParseEvent(f *testing.F) {
	for _, seed := range []string{
		`{"type":"mo","messageId":"MO456","from":"+6421234567","to":"shortcode","body":"Reply text","timestamp":1234567890}`,
		`{"type":"dlr","messageId":123456789012345678901234567890,"status":"DELIVRD","statusCode":"1","timestamp":"2009-02-13T23:31:30Z"}`,
		`{"type":"dlr","statusCode":4,"status":"EXPIRED","timestamp":1e300}`,
		"\ufeff{\"type\":\"x\xff\"}", `null`, `[]`, `{"type":null}`, `{"type":"mo"}{`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		event, err := connexus.ParseEvent(body)
		if err != nil {
			if !errors.Is(err, connexus.ErrPayload) || event != nil {
				t.Fatalf("got %v, %v", event, err)
			}
			return
		}
		texts, at := []string{event.EventType()}, time.Time{}
		switch e := event.(type) {
		case connexus.Reply:
			texts, at = append(texts, e.MessageID, e.From, e.To, e.Body, e.Encoding, e.Network), e.Timestamp
		case connexus.Report:
			texts, at = append(texts, e.MessageID, e.CustomerMessageID, e.Status), e.Timestamp
			if e.State() > connexus.StateDelivered || !e.HasStatusCode && e.StatusCode != 0 {
				t.Fatalf("got %#v in state %d", e, e.State())
			}
		case connexus.Unknown:
		default:
			t.Fatalf("got a %T", e)
		}
		for _, text := range texts {
			if !utf8.ValidString(text) {
				t.Fatalf("%q is not UTF-8", text)
			}
		}
		if _, err := at.MarshalJSON(); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzSendReply answers a message with any reply. The result must be a success, with
// HTTP 2xx only, or an *Error without secrets.
func FuzzSendReply(f *testing.F) {
	for _, seed := range []struct {
		status int
		retry  string
		body   string
	}{
		{200, "", `{"status":"success","code":"048217","messageId":"MSG123"}`},
		{200, "", `{"success":false,"message":"Insufficient funds","required":0.115}`},
		{400, "", `{"error":"invalid_request","message":"` + testSecret + ` 6421 234 567"}`},
		{401, "", `{}`},
		{204, "", ``},
		{429, "60", ``},
		{503, "Fri, 31 Dec 1999 23:59:59 GMT", `<html>`},
		{302, "", ``},
		{999, "", `null`},
		{101, "", ``},
	} {
		f.Add(seed.status, seed.retry, []byte(seed.body))
	}
	f.Fuzz(func(t *testing.T, status int, retry string, body []byte) {
		calls := 0
		c := newClient(t, hasToken, func(c *connexus.Config) {
			c.Timeout = time.Second / 4 // no second try after a Retry-After
		}, withTransport(transport(func(r *http.Request) (*http.Response, error) {
			calls++
			if r.URL.Path == "/api/connexus/auth/token" {
				return response(r, 200, `{"access_token":"`+testToken+`"}`), nil
			}
			return response(r, status, string(body), "Retry-After", retry), nil
		})))
		defer c.Close()
		receipt, err := c.SendOTP(context.Background(), testOTP)
		if err == nil {
			if status/100 != 2 {
				t.Fatalf("HTTP %d became a success", status)
			}
			if n := len(receipt.Code); n != 0 && (n < 4 || n > 8) || !utf8.ValidString(receipt.MessageID) {
				t.Fatalf("got %+v", receipt)
			}
			return
		}
		checkFuzzed(t, err, status)
		if status == http.StatusUnauthorized && calls != 3 || calls != 1 && !errors.Is(err, connexus.ErrCredentials) {
			t.Fatalf("HTTP %d led to %d requests", status, calls)
		}
	})
}

// FuzzTokenReply answers a token request with any reply.
func FuzzTokenReply(f *testing.F) {
	f.Add(200, []byte(`{"access_token":"wst_x","token_type":"Bearer","expires_in":86400}`))
	f.Add(200, []byte(`{"access_token":"wst_x","expires_in":"-1e999"}`))
	f.Add(201, []byte(`{"access_token":"a b","token_type":7}`))
	f.Add(400, []byte(`{"error":"invalid_client","error_description":"`+testSecret+`"}`))
	f.Add(200, []byte(`null`))
	f.Add(500, []byte(`<html>`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		kept := new(cache)
		c := newClient(t, func(c *connexus.Config) { c.Tokens = kept }, withTransport(transport(
			func(r *http.Request) (*http.Response, error) { return response(r, status, string(body)), nil })))
		defer c.Close()
		token, err := c.Token(context.Background())
		if err == nil {
			life := kept.token.ExpiresAt.Sub(kept.token.IssuedAt)
			if status/100 != 2 || token == "" || kept.token.Value != token || life < 0 || life > 30*24*time.Hour {
				t.Fatalf("HTTP %d became a token of %d bytes that lives %s", status, len(token), life)
			}
			return
		}
		if checkFuzzed(t, err, status).MaybeAccepted || kept.stores != 0 {
			t.Fatalf("%v counts as a message or as a token", err)
		}
	})
}

func checkFuzzed(t *testing.T, err error, status int) *connexus.Error {
	t.Helper()
	var e *connexus.Error
	if !errors.As(err, &e) || e.Kind.String() == "unknown" || e.Status != status {
		t.Fatalf("HTTP %d became %#v", status, err)
	}
	if utf8.RuneCountInString(e.Message) > 200 || !utf8.ValidString(e.Message) {
		t.Fatalf("message %q is too long or not UTF-8", e.Message)
	}
	if e.RetryAfter < 0 || e.RetryAfter > 24*time.Hour {
		t.Fatalf("retry after %s", e.RetryAfter)
	}
	wantNoSecrets(t, err)
	return e
}
