package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-websms/websms/internal/secret"
)

// probeTime is how long the doctor waits for the webhook.
const probeTime = 10 * time.Second

// checkWebhooks posts a body that is no event to each webhook, with the right
// secret. The webhook refuses such a body with an answer of its own: it handles no event,
// and logs the line "webhook refused". The secret goes only to the hosts in the
// configuration, or to the address, if the operator gives one.
func (file *configFile) checkWebhooks(ctx context.Context, address string) (found []finding) {
	for _, h := range file.Webhooks {
		urls := h.At.URLs()
		if address != "" {
			urls = []string{address}
		}
		resolved, err := secret.Resolve("secret", h.Secret)
		if err != nil {
			found = append(found, finding{"webhook", stateFailed, err.Error(),
				"set it where Caddy runs, and run this command with the same environment"})
			continue
		}
		for _, u := range urls {
			found = append(found, probeWebhook(ctx, u, resolved))
		}
	}
	if file.Webhooks == nil {
		found = append(found, finding{"webhook", stateRisk, "there is none, so delivery reports and replies do not arrive",
			"add websms_webhook, and give its address to WebSMS"})
	}
	return found
}

// probeWebhook posts to one address of a webhook.
func probeWebhook(ctx context.Context, address, secret string) finding {
	check := "webhook " + address
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return finding{"webhook", stateFailed, "--webhook is no URL", "write it like https://hooks.example.com/websms"}
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader("a question of caddy websms doctor"))
	if err != nil {
		return finding{check, stateFailed, err.Error(), ""}
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		return finding{check, stateFailed, "cannot be reached from here: " + reason(err), adviceOn(err)}
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 1024))
	switch {
	case res.StatusCode == http.StatusBadRequest && strings.Contains(string(body), "invalid payload"):
		return finding{check, stateOK, "is reached, and takes the secret", ""}
	case res.StatusCode == http.StatusUnauthorized && strings.Contains(res.Header.Get("WWW-Authenticate"), `realm="websms"`):
		return finding{check, stateFailed, "does not take the secret of this configuration",
			"reload Caddy, or check that no other Caddy with another secret answers there"}
	case res.StatusCode == http.StatusUnauthorized && strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "WebSMS "):
		return finding{check, stateFailed, "is behind the gate, which asks for a phone number",
			"check that the path is that of websms_webhook, and that Caddy runs this configuration"}
	case res.StatusCode == http.StatusUnauthorized, res.StatusCode == http.StatusForbidden:
		return finding{check, stateFailed, "something in front of it refuses: " + res.Status,
			"let WebSMS through: put websms_webhook in front of the handler that asks for a password"}
	case 300 <= res.StatusCode && res.StatusCode < 400:
		return finding{check, stateFailed, "redirects elsewhere: " + res.Status,
			"give WebSMS the final address, and check that no gate stands in front"}
	}
	return finding{check, stateFailed, "answers " + res.Status + ", which is not the answer of a webhook",
		"check that the path is that of websms_webhook, and that no other handler comes first"}
}

// reason returns why a request failed. It leaves out the address.
func reason(err error) string {
	if failure := (*url.Error)(nil); errors.As(err, &failure) {
		err = failure.Err
	}
	return err.Error()
}

// adviceOn returns the remedy for a request that failed.
func adviceOn(err error) string {
	switch {
	case errors.As(err, new(*net.DNSError)):
		return "check that its name has an address in the DNS, or name another URL with --webhook"
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return "give it a certificate that everybody trusts; WebSMS checks it too"
	case errors.Is(err, context.DeadlineExceeded):
		return "check that no firewall drops the connection"
	}
	return "check that Caddy runs and listens there, and that the port is open"
}
