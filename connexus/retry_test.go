package connexus_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-websms/websms/connexus"
)

// scripted is a transport that gives one reply after the other, and repeats the last.
func scripted(calls *int, replies ...func(*http.Request) (*http.Response, error)) transport {
	return func(r *http.Request) (*http.Response, error) {
		reply := replies[min(*calls, len(replies)-1)]
		*calls++
		return reply(r)
	}
}

func replying(status int, body string, headers ...string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) { return response(r, status, body, headers...), nil }
}

var success = replying(200, `{"status":"success"}`)

func dialRefused(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}

// Each test has a synctest bubble of its own, so that waits are exact and take no time.
func TestRetry(t *testing.T) {
	const sure, maybe = false, true
	date := func(d time.Duration) string {
		// The bubble's clock starts at this time.
		return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(d).Format(http.TimeFormat)
	}
	type script = []func(*http.Request) (*http.Response, error)
	for name, test := range map[string]struct {
		replies script
		kind    connexus.Kind // 0: success
		maybe   bool
		after   time.Duration // Error.RetryAfter
		calls   int
		took    time.Duration
	}{
		"refused connection, then taken": {script{dialRefused, success}, 0, sure, 0, 2, 250 * time.Millisecond},
		"refused connection twice":       {script{dialRefused}, connexus.KindUnavailable, sure, 0, 2, 250 * time.Millisecond},

		"429 with Retry-After, then taken": {script{replying(429, "", "Retry-After", "2"), success}, 0, sure, 0, 2, 2 * time.Second},
		"429 with a date, then taken": {script{replying(429, "", "Retry-After", date(3*time.Second)), success}, 0,
			sure, 0, 2, 3 * time.Second},
		"429 with a past date": {script{replying(429, "", "Retry-After", date(-time.Hour)), success}, 0,
			sure, 0, 2, 250 * time.Millisecond},
		"429 with Retry-After 0": {script{replying(429, "", "Retry-After", "0"), success}, 0, sure, 0, 2, 250 * time.Millisecond},
		"429 for ever": {script{replying(429, "", "Retry-After", "2")}, connexus.KindThrottled,
			sure, 2 * time.Second, 2, 2 * time.Second},
		"429 with a long Retry-After": {script{replying(429, "", "Retry-After", "60")}, connexus.KindThrottled,
			sure, time.Minute, 1, 0},
		"429 with a huge Retry-After": {script{replying(429, "", "Retry-After", "18446744073709551615")},
			connexus.KindThrottled, sure, 24 * time.Hour, 1, 0},
		"429 with nonsense":               {script{replying(429, "", "Retry-After", "soon")}, connexus.KindThrottled, sure, 0, 1, 0},
		"429 with a negative Retry-After": {script{replying(429, "", "Retry-After", "-1")}, connexus.KindThrottled, sure, 0, 1, 0},
		"429 without":                     {script{replying(429, "")}, connexus.KindThrottled, sure, 0, 1, 0},

		"503 with Retry-After, then taken": {script{replying(503, "", "Retry-After", "1"), success}, 0, sure, 0, 2, time.Second},
		"503 with a long Retry-After": {script{replying(503, "", "Retry-After", "6")},
			connexus.KindUnavailable, sure, 6 * time.Second, 1, 0},
		"503 without": {script{replying(503, "")}, connexus.KindUnavailable, maybe, 0, 1, 0},
		"503 with Retry-After that says success": {script{replying(503, `{"success":true}`, "Retry-After", "1")},
			connexus.KindUnavailable, maybe, 0, 1, 0},
		"500 with Retry-After": {script{replying(500, "", "Retry-After", "1")},
			connexus.KindUnavailable, maybe, 0, 1, 0},
		"refused connection, then 429, and no more": {script{dialRefused, replying(429, "", "Retry-After", "1"),
			success}, connexus.KindThrottled, sure, time.Second, 2, 250 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls, start := 0, time.Now()
				c := newClient(t, hasToken, withTransport(scripted(&calls, test.replies...)))
				_, err := c.SendOTP(t.Context(), testOTP)
				if test.kind == 0 && err != nil {
					t.Fatal(err)
				}
				if test.kind != 0 {
					if e := wantError(t, err, test.kind, test.maybe); e.RetryAfter != test.after {
						t.Errorf("got RetryAfter %s, want %s", e.RetryAfter, test.after)
					}
				}
				if calls != test.calls {
					t.Errorf("sent %d times, want %d", calls, test.calls)
				}
				if took := time.Since(start); took != test.took {
					t.Errorf("took %s, want %s", took, test.took)
				}
			})
		})
	}
}

// A Retry-After that is longer than the rest of the call is not waited for.
func TestRetryFitsTheCall(t *testing.T) {
	for name, test := range map[string]struct {
		timeout, deadline time.Duration
	}{
		"the client's Timeout":  {2 * time.Second, time.Hour},
		"the caller's deadline": {0, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls, start := 0, time.Now()
				c := newClient(t, hasToken,
					func(c *connexus.Config) { c.Timeout = test.timeout },
					withTransport(scripted(&calls, replying(429, "", "Retry-After", "2"), success)))
				ctx, cancel := context.WithTimeout(t.Context(), test.deadline)
				defer cancel()
				_, err := c.SendOTP(ctx, testOTP)
				wantError(t, err, connexus.KindThrottled, false)
				if took := time.Since(start); calls != 1 || took != 0 {
					t.Errorf("sent %d times in %s, want once and no wait", calls, took)
				}
			})
		})
	}
}

func TestCancelledWhileItWaitsToRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, start := 0, time.Now()
		c := newClient(t, hasToken, withTransport(scripted(&calls, replying(429, "", "Retry-After", "4"))))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := c.SendOTP(ctx, testOTP)
		wantError(t, err, connexus.KindThrottled, false)
		if took := time.Since(start); calls != 1 || took != time.Second {
			t.Errorf("sent %d times in %s, want once in 1s", calls, took)
		}
	})
}

// hanging is a transport that never gets an answer.
func hanging(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, context.Cause(r.Context())
}

func TestTimeoutIsNeverRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, start := 0, time.Now()
		c := newClient(t, hasToken, withTransport(scripted(&calls, hanging, success)))
		_, err := c.SendOTP(t.Context(), testOTP)
		wantError(t, err, connexus.KindTimeout, true)
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, connexus.ErrTimeout) {
			t.Errorf("%v is neither a DeadlineExceeded nor ErrTimeout", err)
		}
		if took := time.Since(start); calls != 1 || took != connexus.DefaultTimeout {
			t.Errorf("sent %d times in %s, want once in %s", calls, took, connexus.DefaultTimeout)
		}
	})
}

func TestCallerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		c := newClient(t, hasToken, withTransport(scripted(&calls, hanging, success)))
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(errors.New("went home")) })
		_, err := c.SendOTP(ctx, testOTP)
		wantError(t, err, connexus.KindCanceled, true)
		if calls != 1 {
			t.Errorf("sent %d times", calls)
		}
	})
}

// Connecting may take 5 s of the call, or less if the call is shorter. A message
// without a connection was not accepted.
func TestConnectTimeout(t *testing.T) {
	for timeout, want := range map[time.Duration]time.Duration{
		0:                connexus.MaxConnect,
		time.Minute:      connexus.MaxConnect,
		2 * time.Second:  2 * time.Second,
		5 * time.Second:  5 * time.Second,
		30 * time.Second: connexus.MaxConnect,
	} {
		t.Run(fmt.Sprint(timeout), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				}}
				start := time.Now()
				c := newClient(t, hasToken, withTransport(tr), func(c *connexus.Config) {
					c.BaseURL = "http://websms.test/api"
					c.Timeout = timeout
				})
				_, err := c.SendOTP(t.Context(), testOTP)
				wantError(t, err, connexus.KindTimeout, false)
				if took := time.Since(start); took != want {
					t.Errorf("gave up after %s, want %s", took, want)
				}
				tr.CloseIdleConnections()
			})
		})
	}
}

// MaxConnect bounds connecting only: a reply may take longer.
func TestSlowReplyAfterConnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return here, nil }}
		go func() {
			defer there.Close()
			buf := make([]byte, 4096)
			_, _ = there.Read(buf)
			time.Sleep(8 * time.Second) // by the clock of the bubble
			_, _ = there.Write([]byte("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"))
		}()
		c := newClient(t, hasToken, withTransport(tr), func(c *connexus.Config) { c.BaseURL = "http://websms.test" })
		if _, err := c.SendOTP(t.Context(), testOTP); err != nil {
			t.Error(err)
		}
	})
}

// A connection that timed out in the operating system is not tried again.
func TestDialTimeoutIsNotRetried(t *testing.T) {
	calls := 0
	c := newClient(t, hasToken, withTransport(&http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			calls++
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ETIMEDOUT}
		},
	}))
	_, err := send(t, c)
	wantError(t, err, connexus.KindTimeout, false)
	if calls != 1 {
		t.Errorf("dialed %d times", calls)
	}
}
