package connexus_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-websms/websms/connexus"
)

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
