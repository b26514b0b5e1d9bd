package doctor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/internal/operator"
	"github.com/caddy-websms/websms/internal/secret"
)

// checkConfiguration loads the configuration as "caddy validate" does: nothing
// of it is started. It writes to no log of the configuration's, which may
// belong to another user.
func (p *patient) checkConfiguration() finding {
	const check = "configuration"
	var config caddy.Config
	if err := json.Unmarshal(p.text, &config); err != nil {
		return finding{check, ill, err.Error(), "correct " + p.name}
	}
	config.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		caddy.DefaultLoggerName: {BaseLog: caddy.BaseLog{Level: zapcore.FatalLevel.CapitalString()}},
	}}
	if err := caddy.Validate(&config); err != nil {
		return finding{check, ill, err.Error(), "correct " + p.name + ", or set what it asks for where this command runs"}
	}
	return finding{check, well, fmt.Sprintf("%s loads: %s, %s", p.name, count(len(p.Gates), "gate"), count(len(p.Webhooks), "webhook")), ""}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// maxSkew is by how much this machine's clock may differ from WebSMS's: a code
// lives minutes, a token is renewed minutes before its end.
const maxSkew = 30 * time.Second

// checkAccount asks WebSMS for a token, and looks at its clock meanwhile.
func (p *patient) checkAccount(ctx context.Context) []finding {
	var clock clockNote
	client, err := p.client(func(c *connexus.Config) {
		clock.RoundTripper = http.DefaultTransport.(*http.Transport).Clone()
		c.HTTPClient = &http.Client{Transport: &clock}
	})
	if err != nil {
		if len(p.Gates) == 0 {
			return []finding{{"credentials", unknown, "there is no gate, and so no need of an account", ""}}
		}
		return []finding{
			{"credentials", ill, err.Error(), "set them where Caddy runs, and run this command with the same environment"},
			{"WebSMS", unknown, "nothing to ask with", ""},
		}
	}
	defer client.Close()
	found := []finding{{"credentials", well, "are set", ""}}
	_, err = client.Token(ctx)
	switch {
	case err == nil:
		found = append(found, finding{"WebSMS", well, "gave a token", ""})
	case errors.Is(err, connexus.ErrCredentials):
		found = append(found, finding{"WebSMS", ill, err.Error(), "compare client_id and client_secret with Members Area, API Keys; the secret is shown there once: make a new key if it is lost"})
	case errors.Is(err, connexus.ErrTimeout):
		found = append(found, finding{"WebSMS", ill, err.Error(), "see that this machine may reach base_url: a firewall that drops looks like this"})
	case errors.Is(err, connexus.ErrUnavailable):
		found = append(found, finding{"WebSMS", ill, err.Error(), "see that base_url is right, its name resolves here, its certificate is trusted, and no proxy is in between"})
	default:
		found = append(found, finding{"WebSMS", ill, err.Error(), "see that base_url is that of the API"})
	}
	return append(found, clock.finding())
}

// clockNote notes what time a server says it is.
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
		c.skew, c.asked = middle.Sub(date.Add(500*time.Millisecond)), true // a Date is cut to its second
	}
	return res, nil
}

func (c *clockNote) finding() finding {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.asked:
		return finding{"clock", unknown, "WebSMS did not say what time it is", ""}
	case c.skew.Abs() > maxSkew:
		return finding{"clock", ill, fmt.Sprintf("differs from WebSMS's by %s", c.skew.Round(time.Second)), "set it, and keep it right with NTP: codes and sessions live by it"}
	}
	return finding{"clock", well, "agrees with WebSMS's", ""}
}

// storeTime is how long a store is waited for.
const storeTime = 5 * time.Second

// checkStore opens the store, and asks it something, unless it is a part of the
// Caddy that runs: then there is nothing to reach.
func (p *patient) checkStore(ctx context.Context) finding {
	if p.Store.Open == nil {
		return finding{"store", well, "memory: challenges live in the Caddy that runs", ""}
	}
	check := "store " + p.Store.Kind
	store, release, err := p.Store.Open(ctx)
	if err != nil {
		return finding{check, ill, err.Error(), "correct the block store"}
	}
	defer release()
	for deadline := time.Now().Add(storeTime); ; time.Sleep(100 * time.Millisecond) {
		live, err := store.Live(ctx, time.Now().Truncate(time.Microsecond))
		if err == nil {
			return finding{check, well, fmt.Sprintf("answers; %s live", count(live, "challenge")), ""}
		}
		if time.Now().After(deadline) {
			return finding{check, ill, err.Error(), "see that it runs, that address, user, password and tls are right, and that this machine may reach it; sessions go on meanwhile, codes do not"}
		}
	}
}

// probeTime bounds one request to the webhook.
const probeTime = 10 * time.Second

// checkWebhooks posts, with the right secret, what is no event: a webhook that
// is there refuses it, and handles and logs nothing. The secret goes to the
// configuration's own hosts alone, or to where the operator says.
func (p *patient) checkWebhooks(ctx context.Context, address string) (found []finding) {
	for _, h := range p.Webhooks {
		urls := h.At.URLs()
		if address != "" {
			urls = []string{address}
		}
		resolved, err := secret.Resolve("secret", h.Secret)
		if err != nil {
			found = append(found, finding{"webhook", ill, err.Error(), "set it where Caddy runs, and run this command with the same environment"})
			continue
		}
		for _, u := range urls {
			found = append(found, probeWebhook(ctx, u, resolved))
		}
	}
	if p.Webhooks == nil {
		found = append(found, finding{"webhook", risky, "there is none: nobody learns whether a code was delivered, or what people reply", "add websms_webhook, and give its address to WebSMS"})
	}
	return found
}

func probeWebhook(ctx context.Context, address, secret string) finding {
	check := "webhook " + address
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return finding{"webhook", ill, "--webhook is no URL", "write it like https://hooks.example.com/websms"}
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader("a question of caddy websms doctor"))
	if err != nil {
		return finding{check, ill, err.Error(), ""}
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		return finding{check, ill, "cannot be reached from here: " + reason(err), adviceOn(err)}
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 1024))
	switch {
	case res.StatusCode == http.StatusBadRequest && strings.Contains(string(body), "invalid payload"):
		return finding{check, well, "is reached, and takes the secret", ""}
	case res.StatusCode == http.StatusUnauthorized && strings.Contains(res.Header.Get("WWW-Authenticate"), `realm="websms"`):
		return finding{check, ill, "does not take the secret of this configuration", "reload Caddy, or see that another Caddy with another secret does not answer there"}
	case res.StatusCode == http.StatusUnauthorized && strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "WebSMS "):
		return finding{check, ill, "is behind the gate, which asks WebSMS for a phone", "see that the path is that of websms_webhook, and that Caddy runs this configuration"}
	case res.StatusCode == http.StatusUnauthorized, res.StatusCode == http.StatusForbidden:
		return finding{check, ill, "something in front of it refuses: " + res.Status, "let WebSMS through: put websms_webhook in front of what asks for a password"}
	case 300 <= res.StatusCode && res.StatusCode < 400:
		return finding{check, ill, "leads elsewhere: " + res.Status, "WebSMS posts to the address it has: give it the final one, and see that no gate stands in front"}
	}
	return finding{check, ill, "answers " + res.Status + ", which is not the webhook", "see that the path is that of websms_webhook, and no other handler comes first"}
}

// reason returns why a request failed, without its address.
func reason(err error) string {
	if failure := (*url.Error)(nil); errors.As(err, &failure) {
		err = failure.Err
	}
	return err.Error()
}

func adviceOn(err error) string {
	switch {
	case errors.As(err, new(*net.DNSError)):
		return "see that its name has an address in the DNS, or name another with --webhook"
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return "see that its certificate is one that everybody trusts: WebSMS asks for it too"
	case errors.Is(err, context.DeadlineExceeded):
		return "see that no firewall drops it"
	}
	return "see that Caddy runs, and listens there; from outside, that the port is open"
}

// checkRunning asks the Caddy that runs how it is.
func (p *patient) checkRunning(address string) finding {
	const check = "running Caddy"
	if p.Admin.Disabled && address == "" {
		return finding{check, unknown, "its admin endpoint is off", "no command but doctor and send works without it; neither do revocations"}
	}
	if address == "" {
		address = p.Admin.Listen
	}
	if address == "" {
		address = caddy.DefaultAdminListen
	}
	var s operator.Status
	err := operator.AskAt(address, http.MethodGet, operator.StatusPath, nil, &s)
	if operator.ExitCode(err) == operator.ExitNothing {
		return finding{check, ill, "runs another configuration, without a gate", "reload it: caddy reload --config " + p.name}
	}
	if err != nil {
		return finding{check, unknown, err.Error(), "start it, or name its admin endpoint with --address"}
	}
	for _, e := range s.Engines {
		switch {
		case !e.Store.Up:
			return finding{check, ill, "its store does not answer: " + e.Store.Error, "sessions go on, codes do not: bring the store back; Caddy goes on by itself"}
		case !e.KeysReady:
			return finding{check, ill, "does not know its keys yet: nobody gets in", "bring the store back; Caddy goes on by itself"}
		case e.LastError != nil && time.Since(e.LastError.At) < time.Hour:
			return finding{check, risky, fmt.Sprintf("runs; within the hour WebSMS failed it: %s", e.LastError.Message), "caddy websms status shows more"}
		}
	}
	return finding{check, well, "runs, and its store answers", ""}
}
