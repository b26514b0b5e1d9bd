package connexus_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-websms/websms/connexus"
)

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
