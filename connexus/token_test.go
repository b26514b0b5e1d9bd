package connexus_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/connexus"
)

func TestTokenRequest(t *testing.T) {
	a := newAPI(t, nil, nil)
	c := a.client(t)
	got, err := c.Token(t.Context())
	if err != nil || got != "wst_1" {
		t.Fatalf("got %q, %v; want wst_1", got, err)
	}
	if form := a.tokenForms[0]; form.Get("client_id") != testID || form.Get("client_secret") != testSecret || len(form) != 2 {
		t.Errorf("the token request holds %v", form)
	}
	if _, err := send(t, c); err != nil {
		t.Fatal(err)
	}
	if _, auths := a.otps(); auths[0] != "Bearer wst_1" {
		t.Errorf("sent with Authorization %q", auths[0])
	}
	if n := a.tokenCalls.Load(); n != 1 {
		t.Errorf("%d token requests, want 1", n)
	}
}

func TestTokenReplies(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		body   string
		kind   connexus.Kind // 0: success
	}{
		"type bearer":       {200, `{"access_token":"wst_x","token_type":"bEARER"}`, 0},
		"type absent":       {200, `{"access_token":"wst_x"}`, 0},
		"type null":         {200, `{"access_token":"wst_x","token_type":null}`, 0},
		"type empty":        {200, `{"access_token":"wst_x","token_type":""}`, 0},
		"type mac":          {200, `{"access_token":"wst_x","token_type":"mac"}`, connexus.KindMalformed},
		"type a number":     {200, `{"access_token":"wst_x","token_type":1}`, connexus.KindMalformed},
		"HTTP 201":          {201, `{"access_token":"wst_x"}`, 0},
		"no token":          {200, `{"token_type":"Bearer","expires_in":86400}`, connexus.KindMalformed},
		"token empty":       {200, `{"access_token":""}`, connexus.KindMalformed},
		"token null":        {200, `{"access_token":null}`, connexus.KindMalformed},
		"token a number":    {200, `{"access_token":12345}`, connexus.KindMalformed},
		"token with spaces": {200, `{"access_token":"a b"}`, connexus.KindMalformed},
		"token with a line": {200, `{"access_token":"a\r\nX-Evil: 1"}`, connexus.KindMalformed},
		"token not ASCII":   {200, `{"access_token":"wst_ā"}`, connexus.KindMalformed},
		"token of 4096":     {200, `{"access_token":"` + strings.Repeat("x", 4096) + `"}`, 0},
		"token of 4097":     {200, `{"access_token":"` + strings.Repeat("x", 4097) + `"}`, connexus.KindMalformed},
		"not an object":     {200, `["wst_x"]`, connexus.KindMalformed},
		"null":              {200, `null`, connexus.KindMalformed},
		"HTML":              {200, `<html>`, connexus.KindMalformed},
		"truncated":         {200, `{"access_token":"wst_`, connexus.KindMalformed},
		"204":               {204, ``, connexus.KindMalformed},
		"too long":          {200, `{"access_token":"wst_x","x":"` + strings.Repeat("x", 64<<10) + `"}`, connexus.KindMalformed},
		"success false":     {200, `{"success":false,"message":"Bad API key"}`, connexus.KindCredentials},
		"an error":          {200, `{"error":"invalid_client"}`, connexus.KindCredentials},
		"400 client":        {400, `{"error":"invalid_client"}`, connexus.KindCredentials},
		"400":               {400, `{"error":"invalid_request"}`, connexus.KindBadRequest},
		"401":               {401, `{"error":"invalid_client"}`, connexus.KindCredentials},
		"403":               {403, ``, connexus.KindCredentials},
		"403 HTML":          {403, `<html>`, connexus.KindMalformed},
		"429":               {429, ``, connexus.KindThrottled},
		"500":               {500, `<html>`, connexus.KindUnavailable},
		"503":               {503, ``, connexus.KindUnavailable},
		"echoing secrets":   {400, `{"message":"` + testSecret + ` is not it"}`, connexus.KindBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, answer(test.status, test.body), nil)
			_, err := send(t, a.client(t))
			if test.kind == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			e := wantError(t, err, test.kind, false)
			if e.Endpoint != connexus.EndpointToken || e.Status != test.status {
				t.Errorf("got status %d of %q, want %d of %q", e.Status, e.Endpoint, test.status, connexus.EndpointToken)
			}
			if tokens, otps := a.tokenCalls.Load(), a.otpCalls.Load(); tokens != 1 || otps != 0 {
				t.Errorf("%d token requests and %d messages, want 1 and 0", tokens, otps)
			}
		})
	}
}

// The reply says how long a token lives, and so when it is renewed.
func TestTokenLife(t *testing.T) {
	const day = 24 * time.Hour
	for expiresIn, want := range map[string]struct{ life, refresh time.Duration }{
		`86400`:                  {day, day - 5*time.Minute},
		`"86400"`:                {day, day - 5*time.Minute},
		`" 3600 "`:               {time.Hour, 55 * time.Minute},
		`3600.5`:                 {time.Hour + time.Second/2, 55*time.Minute + time.Second/2},
		`3.6e3`:                  {time.Hour, 55 * time.Minute},
		`600`:                    {10 * time.Minute, 5 * time.Minute},
		`599`:                    {599 * time.Second, 599 * time.Second * 4 / 5},
		`300`:                    {5 * time.Minute, 4 * time.Minute},
		`10`:                     {10 * time.Second, 8 * time.Second},
		`null`:                   {day, day - 5*time.Minute},
		`"tomorrow"`:             {day, day - 5*time.Minute},
		`"NaN"`:                  {day, day - 5*time.Minute},
		`[1]`:                    {day, day - 5*time.Minute},
		`true`:                   {day, day - 5*time.Minute},
		`0`:                      {time.Minute, 48 * time.Second},
		`-86400`:                 {time.Minute, 48 * time.Second},
		`-1e999`:                 {time.Minute, 48 * time.Second},
		`1e999`:                  {30 * day, 30*day - 5*time.Minute},
		`9223372036854775808000`: {30 * day, 30*day - 5*time.Minute},
	} {
		t.Run(expiresIn, func(t *testing.T) {
			k, kept := newClock(), new(cache)
			var refreshed = make(chan struct{}, 10)
			a := newAPI(t, answer(200, fmt.Sprintf(`{"access_token":"wst_x","expires_in":%s}`, expiresIn)), nil)
			c := a.client(t, withClock(k), func(c *connexus.Config) {
				c.Tokens = kept
				c.OnCall = func(string, time.Duration, error) { refreshed <- struct{}{} }
			})
			if _, err := c.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
			<-refreshed
			token, _ := kept.Load()
			if life := token.ExpiresAt.Sub(k.Now()); life != want.life || !token.IssuedAt.Equal(k.Now()) {
				t.Errorf("lives %s, want %s", life, want.life)
			}
			k.advance(want.refresh - 1)
			if _, err := c.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := a.tokenCalls.Load(); n != 1 {
				t.Fatalf("renewed before its time")
			}
			k.advance(1)
			if _, err := c.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
			<-refreshed
			if n := a.tokenCalls.Load(); n != 2 {
				t.Errorf("%d token requests when it was time to renew, want 2", n)
			}
		})
	}
}

func TestExpiredTokenIsNotUsed(t *testing.T) {
	k := newClock()
	a := newAPI(t, nil, nil)
	c := a.client(t, withClock(k))
	for want := range 3 {
		if got, err := c.Token(t.Context()); err != nil || got != fmt.Sprintf("wst_%d", want+1) {
			t.Fatalf("got %q, %v; want wst_%d", got, err, want+1)
		}
		k.advance(24 * time.Hour)
	}
}

// A cache that forgets at once, or holds a useless token, costs token requests only.
func TestUselessCache(t *testing.T) {
	for name, useless := range map[string]connexus.TokenCache{
		"forgets":       forgetful{},
		"never expires": &cache{token: connexus.Token{Value: "", ExpiresAt: time.Now().Add(time.Hour)}},
		"long expired":  &cache{token: connexus.Token{Value: "wst_old"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, nil, nil)
			c := a.client(t, func(c *connexus.Config) { c.Tokens = useless })
			if _, err := send(t, c); err != nil {
				t.Fatal(err)
			}
			if _, auths := a.otps(); auths[0] != "Bearer wst_1" {
				t.Errorf("sent with Authorization %q", auths[0])
			}
		})
	}
}

type forgetful struct{}

func (forgetful) Load() (connexus.Token, bool) { return connexus.Token{}, false }
func (forgetful) Store(connexus.Token)         {}
func (forgetful) Drop(string)                  {}

// A running refresh may find the rejected token still in the cache. The caller must
// not get that token again. If the cache cannot drop it, the call must still end.
func TestRejectedTokenStillInTheCache(t *testing.T) {
	for name, test := range map[string]struct {
		ignoredDrops int
		kind         connexus.Kind // 0: success
		tokenCalls   int64
	}{
		"dropped late":  {1, 0, 1},
		"never dropped": {1000, connexus.KindCredentials, 0},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, nil, nil)
			a.otp = revoking(1)
			_, err := send(t, a.client(t, hasToken, func(c *connexus.Config) {
				c.Tokens = &stubborn{TokenCache: c.Tokens, ignore: test.ignoredDrops}
			}))
			if test.kind != 0 {
				wantError(t, err, test.kind, false)
			} else if err != nil {
				t.Error(err)
			}
			if n := a.tokenCalls.Load(); n != test.tokenCalls {
				t.Errorf("%d token requests, want %d", n, test.tokenCalls)
			}
		})
	}
}

// stubborn is a TokenCache that ignores the first drops.
type stubborn struct {
	connexus.TokenCache
	ignore int
}

func (s *stubborn) Drop(value string) {
	if s.ignore--; s.ignore < 0 {
		s.TokenCache.Drop(value)
	}
}

// A foreign TokenCache may lose IssuedAt. Such a token is renewed five minutes before
// its end.
func TestTokenWithoutIssue(t *testing.T) {
	k := newClock()
	refused := make(chan error, 1)
	a := newAPI(t, answer(http.StatusInternalServerError, ""), nil)
	c := a.client(t, withClock(k), func(c *connexus.Config) {
		c.Tokens = &cache{token: connexus.Token{Value: "wst_old", ExpiresAt: k.Now().Add(time.Hour)}}
		c.OnCall = func(_ string, _ time.Duration, err error) { refused <- err }
	})
	for _, wait := range []time.Duration{0, 55*time.Minute - 1, 1} {
		k.advance(wait)
		if n := a.tokenCalls.Load(); n != 0 {
			t.Fatalf("%d token requests before it was time", n)
		}
		if got, err := c.Token(t.Context()); err != nil || got != "wst_old" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	wantError(t, <-refused, connexus.KindUnavailable, false)
}
