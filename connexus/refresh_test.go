package connexus_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-websms/websms/connexus"
)

const callers = 20

// revoking is a fake WebSMS that accepts only the tokens from the nth on.
func revoking(nth int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var n int
		if _, err := fmt.Sscanf(r.Header.Get("Authorization"), "Bearer wst_%d", &n); err != nil || n < nth {
			answer(401, `{"error":"invalid_token"}`)(w, r)
			return
		}
		answer(200, `{"status":"success"}`)(w, r)
	}
}

func TestRevokedTokenIsRenewedOnce(t *testing.T) {
	kept := new(cache)
	a := newAPI(t, nil, nil)
	a.otp = revoking(2)
	if _, err := send(t, a.client(t, func(c *connexus.Config) { c.Tokens = kept })); err != nil {
		t.Fatal(err)
	}
	if tokens, otps := a.tokenCalls.Load(), a.otpCalls.Load(); tokens != 2 || otps != 2 {
		t.Errorf("%d token requests and %d messages, want 2 and 2", tokens, otps)
	}
	if kept.drops != 1 || kept.stores != 2 || kept.token.Value != "wst_2" {
		t.Errorf("%d drops, %d stores, keeps %q", kept.drops, kept.stores, kept.token.Value)
	}
}

func TestEndless401(t *testing.T) {
	for name, token := range map[string]http.HandlerFunc{
		"new tokens":            nil,
		"the same token always": answer(200, `{"access_token":"wst_same"}`),
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, token, answer(401, `{"error":"invalid_token"}`))
			_, err := send(t, a.client(t))
			e := wantError(t, err, connexus.KindCredentials, false)
			if e.Endpoint != connexus.EndpointOTP || e.Status != 401 {
				t.Errorf("got status %d of %q", e.Status, e.Endpoint)
			}
			if tokens, otps := a.tokenCalls.Load(), a.otpCalls.Load(); tokens != 2 || otps != 2 {
				t.Errorf("%d token requests and %d messages, want 2 and 2", tokens, otps)
			}
		})
	}
}

// Twenty callers have a revoked token. They are refused in any order, and also all at
// the same moment.
func TestManyCallersOnARevokedToken(t *testing.T) {
	for name, together := range map[string]bool{"as it comes": false, "refused together": true} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, nil, nil)
			var arrived sync.WaitGroup
			arrived.Add(callers)
			judge := revoking(2)
			a.otp = func(w http.ResponseWriter, r *http.Request) {
				if together && r.Header.Get("Authorization") == "Bearer wst_1" {
					arrived.Done()
					arrived.Wait()
				}
				judge(w, r)
			}
			c := a.client(t)
			if _, err := c.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
			sendAll(t, c, func(err error) {
				if err != nil {
					t.Error(err)
				}
			})
			if n := a.tokenCalls.Load(); n != 2 {
				t.Errorf("%d token requests, want 2", n)
			}
		})
	}
}

func TestManyCallersOnAnEndless401(t *testing.T) {
	a := newAPI(t, nil, nil)
	var arrived sync.WaitGroup
	arrived.Add(callers)
	a.otp = func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer wst_1" {
			arrived.Done()
			arrived.Wait()
		}
		answer(401, "")(w, r)
	}
	sendAll(t, a.client(t), func(err error) { wantError(t, err, connexus.KindCredentials, false) })
	if n := a.tokenCalls.Load(); n != 2 {
		t.Errorf("%d token requests, want 2", n)
	}
}

// If other callers have replaced a refused token, the new token is used, also if
// WebSMS gives out the same value again.
func TestLate401UsesTheNewerToken(t *testing.T) {
	for name, token := range map[string]http.HandlerFunc{
		"another value":  nil,
		"the same value": answer(200, `{"access_token":"wst_same"}`),
	} {
		t.Run(name, func(t *testing.T) {
			late, release := make(chan struct{}), make(chan struct{})
			k := newClock()
			a := newAPI(t, token, nil)
			a.otp = func(w http.ResponseWriter, r *http.Request) {
				switch a.otpCalls.Load() {
				case 1:
					close(late)
					<-release
					answer(401, "")(w, r)
				case 2:
					answer(401, "")(w, r)
				default:
					answer(204, "")(w, r)
				}
			}
			c := a.client(t, withClock(k))
			done := make(chan error)
			go func() {
				_, err := c.SendOTP(context.Background(), testOTP)
				done <- err
			}()
			<-late
			k.advance(time.Second)
			_, err := send(t, c)
			close(release)
			if err := errors.Join(err, <-done); err != nil {
				t.Fatal(err)
			}
			if n := a.tokenCalls.Load(); n != 2 {
				t.Errorf("%d token requests, want 2", n)
			}
		})
	}
}

func TestManyCallersShareTheFirstToken(t *testing.T) {
	a := newAPI(t, nil, nil)
	sendAll(t, a.client(t), func(err error) {
		if err != nil {
			t.Error(err)
		}
	})
	if tokens, otps := a.tokenCalls.Load(), a.otpCalls.Load(); tokens != 1 || otps != callers {
		t.Errorf("%d token requests and %d messages, want 1 and %d", tokens, otps, callers)
	}
}

func sendAll(t *testing.T, c *connexus.Client, check func(error)) {
	t.Helper()
	outcomes := make(chan error, callers)
	for range callers {
		go func() {
			_, err := c.SendOTP(context.Background(), testOTP)
			outcomes <- err
		}()
	}
	for range callers {
		check(<-outcomes)
	}
}

// A token request is tried again in the same cases as a message.
func TestTokenRequestIsRetried(t *testing.T) {
	for name, first := range map[string]func(*http.Request) (*http.Response, error){
		"refused connection":   dialRefused,
		"503 with Retry-After": replying(503, "", "Retry-After", "2"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				c := newClient(t, withTransport(scripted(&calls, first, replying(200, `{"access_token":"wst_1"}`))))
				if got, err := c.Token(t.Context()); err != nil || got != "wst_1" || calls != 2 {
					t.Errorf("got %q, %v after %d requests; want wst_1 after 2", got, err, calls)
				}
			})
		})
	}
}

// A caller that gives up does not wait for the refresh, and does not end it for the
// callers that still wait.
func TestCallersContextIsItsOwn(t *testing.T) {
	for name, test := range map[string]struct {
		context func() (context.Context, context.CancelFunc)
		kind    connexus.Kind
	}{
		"canceled": {func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		}, connexus.KindCanceled},
		"timed out": {func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), time.Second)
		}, connexus.KindTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls atomic.Int64
				c := newClient(t, withTransport(transport(func(r *http.Request) (*http.Response, error) {
					calls.Add(1)
					select {
					case <-time.After(3 * time.Second):
						return response(r, 200, `{"access_token":"wst_1"}`), nil
					case <-r.Context().Done():
						return nil, r.Context().Err()
					}
				})))
				start := time.Now()
				ctx, cancel := test.context()
				defer cancel()
				patient := make(chan error)
				go func() {
					time.Sleep(time.Second / 2)
					_, err := c.Token(context.Background())
					patient <- err
				}()
				_, err := c.Token(ctx) // starts the refresh
				wantError(t, err, test.kind, false)
				if took := time.Since(start); took != time.Second {
					t.Errorf("gave up after %s, want 1s", took)
				}
				if err := <-patient; err != nil {
					t.Error(err)
				}
				if n := calls.Load(); n != 1 {
					t.Errorf("%d token requests, want 1", n)
				}
			})
		})
	}
}
