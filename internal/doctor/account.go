package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/internal/operator"
)

// maxSkew is how much this machine's clock may differ from the clock of WebSMS. A
// code is valid for minutes, and a token is renewed minutes before it ends.
const maxSkew = 30 * time.Second

// checkAccount asks WebSMS for a token. It compares the clocks with the same answer.
func (file *configFile) checkAccount(ctx context.Context) []finding {
	var clock clockNote
	client, err := file.client(func(c *connexus.Config) {
		clock.RoundTripper = http.DefaultTransport.(*http.Transport).Clone()
		c.HTTPClient = &http.Client{Transport: &clock}
	})
	if err != nil {
		if len(file.Gates) == 0 {
			return []finding{{"credentials", stateSkipped, "not needed, because there is no gate", ""}}
		}
		return []finding{
			{"credentials", stateFailed, err.Error(), "set them where Caddy runs, and run this command with the same environment"},
			{"WebSMS", stateSkipped, "was not asked, because the credentials are missing", ""},
		}
	}
	defer client.Close()
	found := []finding{{"credentials", stateOK, "are set", ""}}
	_, err = client.Token(ctx)
	switch {
	case err == nil:
		found = append(found, finding{"WebSMS", stateOK, "gave a token", ""})
	case errors.Is(err, connexus.ErrCredentials):
		found = append(found, finding{"WebSMS", stateFailed, err.Error(),
			"compare client_id and client_secret with Members Area, API Keys; the secret is shown there once: make a new key if it is lost"})
	case errors.Is(err, connexus.ErrTimeout):
		found = append(found, finding{"WebSMS", stateFailed, err.Error(),
			"check that this machine can reach base_url; a firewall that drops packets causes this too"})
	case errors.Is(err, connexus.ErrUnavailable):
		found = append(found, finding{"WebSMS", stateFailed, err.Error(),
			"check that base_url is right, that its name resolves here, that its certificate is trusted, and that no proxy stands in between"})
	default:
		found = append(found, finding{"WebSMS", stateFailed, err.Error(), "check that base_url is the address of the API"})
	}
	if err == nil {
		found = append(found, file.checkBalance(ctx, client))
	}
	return append(found, clock.finding())
}

// checkBalance asks WebSMS for the balance of the account. Codes can be sent without the
// answer, so a missing one is no fault.
func (file *configFile) checkBalance(ctx context.Context, client *connexus.Client) finding {
	const check = "balance"
	b, err := client.Balance(ctx)
	if err != nil {
		return finding{check, stateSkipped, "WebSMS did not tell it: " + err.Error(), ""}
	}
	n, ok := b.Messages()
	if !ok {
		return finding{check, stateOK, b.String(), ""}
	}
	found := fmt.Sprintf("%s, enough for about %d messages", b, n)
	if n < operator.LowBalance && !file.Account.Sandbox {
		return finding{check, stateRisk, found, "top the account up at websms.co.nz; with nothing left, nobody new gets in"}
	}
	return finding{check, stateOK, found, ""}
}

// clockNote is a transport that compares the clock with the Date of an answer.
type clockNote struct {
	http.RoundTripper
	mu    sync.Mutex
	skew  time.Duration
	asked bool
}

// RoundTrip implements http.RoundTripper.
func (c *clockNote) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	res, err := c.RoundTripper.RoundTrip(r)
	if err != nil {
		return res, err
	}
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		middle := began.Add(time.Since(began) / 2)
		c.skew, c.asked = middle.Sub(date.Add(500*time.Millisecond)), true // a Date has whole seconds, rounded down
	}
	return res, nil
}

func (c *clockNote) finding() finding {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.asked:
		return finding{"clock", stateSkipped, "WebSMS did not tell the time", ""}
	case c.skew.Abs() > maxSkew:
		return finding{"clock", stateFailed, fmt.Sprintf("differs from the clock of WebSMS by %s", c.skew.Round(time.Second)),
			"set the clock, and keep it right with NTP: codes and sessions end by it"}
	}
	return finding{"clock", stateOK, "agrees with the clock of WebSMS", ""}
}
