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

// While the old token works, no call waits for a slow new one.
func TestBackgroundRefresh(t *testing.T) {
	k := newClock()
	release, told := make(chan struct{}), make(chan error, 100)
	a := newAPI(t, nil, nil)
	a.token = func(w http.ResponseWriter, _ *http.Request) {
		n := a.tokenCalls.Load()
		if n > 1 {
			<-release
		}
		fmt.Fprintf(w, `{"access_token":"wst_%d","expires_in":86400}`, n)
	}
	c := a.client(t, withClock(k), func(c *connexus.Config) {
		c.OnCall = func(endpoint string, _ time.Duration, err error) {
			if endpoint == connexus.EndpointToken {
				told <- err
			}
		}
	})
	if _, err := c.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-told
	k.advance(24*time.Hour - 4*time.Minute)
	for range callers {
		if got, err := c.Token(t.Context()); err != nil || got != "wst_1" {
			t.Fatalf("got %q, %v; want the old token", got, err)
		}
	}
	close(release)
	if err := <-told; err != nil {
		t.Fatal(err)
	}
	// OnCall is called just before the token is stored. Because the old token has
	// expired, the next call waits for the new one.
	k.advance(5 * time.Minute)
	if got, err := c.Token(t.Context()); err != nil || got != "wst_2" {
		t.Errorf("got %q, %v; want the new token", got, err)
	}
	if n := a.tokenCalls.Load(); n != 2 {
		t.Errorf("%d token requests, want 2", n)
	}
}

// A clock was ahead when a token was issued. Once the clock is right, the token is
// used and renewed in the background, although its end seems far away. The same
// holds if that clock has delayed the renewal.
func TestTokenOfAClockAhead(t *testing.T) {
	const leap = 720 * time.Hour
	for name, ahead := range map[string]time.Duration{"a new token": 0, "a renewal put off": 24*time.Hour - 5*time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var offset atomic.Int64
				offset.Store(int64(leap))
				calls := 0
				script := []func(*http.Request) (*http.Response, error){replying(200, `{"access_token":"wst_1"}`)}
				if ahead > 0 {
					script = append(script, replying(500, ""))
				}
				c := newClient(t,
					withTransport(scripted(&calls, append(script, replying(200, `{"access_token":"wst_2"}`))...)),
					func(c *connexus.Config) {
						c.Now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
					})
				use := func(want string) {
					t.Helper()
					got, err := c.Token(t.Context())
					if synctest.Wait(); err != nil || got != want {
						t.Fatalf("got %q, %v; want %q", got, err, want)
					}
				}
				use("wst_1")
				time.Sleep(ahead)
				use("wst_1")
				offset.Store(0)
				use("wst_1")
				use("wst_2")
				if calls != len(script)+1 {
					t.Errorf("%d token requests, want %d", calls, len(script)+1)
				}
			})
		})
	}
}

// A background refresh that fails is tried again after half a minute, or at the time
// that WebSMS asks for. While the old token works, no call fails.
func TestFailingRefreshPauses(t *testing.T) {
	for name, test := range map[string]struct {
		fail  func(*http.Request) (*http.Response, error)
		pause time.Duration
	}{
		"HTTP 500":             {replying(500, ""), 30 * time.Second},
		"429 with Retry-After": {replying(429, "", "Retry-After", "90"), 90 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				c := newClient(t, withTransport(scripted(&calls, replying(200, `{"access_token":"wst_1"}`), test.fail)))
				use := func(wantCalls int) {
					t.Helper()
					for range callers {
						if got, err := c.Token(t.Context()); err != nil || got != "wst_1" {
							t.Fatalf("got %q, %v; want the old token", got, err)
						}
						synctest.Wait()
					}
					if calls != wantCalls {
						t.Fatalf("%d token requests, want %d", calls, wantCalls)
					}
				}
				use(1)
				time.Sleep(24*time.Hour - 5*time.Minute)
				use(2)
				time.Sleep(test.pause - 1)
				use(2)
				time.Sleep(time.Nanosecond)
				use(3)
				time.Sleep(5 * time.Minute)
				if _, err := c.Token(t.Context()); err == nil {
					t.Error("the expired token was used")
				}
			})
		})
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

// Close cancels a refresh, fails the calls that wait for it, and waits for the calls
// that are sending.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sending := make(chan struct{})
		c := newClient(t, withTransport(transport(func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == "/api/connexus/sms/otp" {
				close(sending)
				time.Sleep(3 * time.Second)
				return response(r, 204, ""), nil
			}
			return hanging(r)
		})), func(c *connexus.Config) {
			now := time.Now() // the token is due for renewal, and still works
			c.Tokens = &cache{token: connexus.Token{Value: testToken, IssuedAt: now.Add(-time.Hour), ExpiresAt: now.Add(2 * time.Minute)}}
		})
		sent := make(chan error, 1)
		go func() {
			_, err := c.SendOTP(context.Background(), testOTP)
			sent <- err
		}()
		<-sending
		start := time.Now()
		c.Close()
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("closed in %s, want 3s", took)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		c.Close()
		_, err := c.SendOTP(t.Context(), testOTP)
		wantError(t, err, connexus.KindCanceled, false)
		if _, tokenErr := c.Token(t.Context()); !errors.Is(err, connexus.ErrClosed) || !errors.Is(tokenErr, connexus.ErrClosed) {
			t.Errorf("got %v and %v, want ErrClosed", err, tokenErr)
		}
	})
}

func TestCloseFailsCallsThatWaitForAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, withTransport(transport(hanging)))
		waiting := make(chan error)
		go func() {
			_, err := c.SendOTP(context.Background(), testOTP)
			waiting <- err
		}()
		synctest.Wait()
		go c.Close()
		err := <-waiting
		wantError(t, err, connexus.KindCanceled, false)
		if !errors.Is(err, connexus.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	})
}
