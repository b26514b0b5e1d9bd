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

// probeTime bounds one request to the webhook.
const probeTime = 10 * time.Second

// checkWebhooks posts, with the right secret, what is no event: a webhook that
// is there refuses it, and handles and logs nothing. The secret goes to the
// configuration's own hosts alone, or to where the operator says.
func (file *configFile) checkWebhooks(ctx context.Context, address string) (found []finding) {
	for _, h := range file.Webhooks {
		urls := h.At.URLs()
		if address != "" {
			urls = []string{address}
		}
		resolved, err := secret.Resolve("secret", h.Secret)
		if err != nil {
			found = append(found, finding{"webhook", stateFailed, err.Error(), "set it where Caddy runs, and run this command with the same environment"})
			continue
		}
		for _, u := range urls {
			found = append(found, probeWebhook(ctx, u, resolved))
		}
	}
	if file.Webhooks == nil {
		found = append(found, finding{"webhook", stateRisk, "there is none: nobody learns whether a code was delivered, or what people reply", "add websms_webhook, and give its address to WebSMS"})
	}
	return found
}

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
		return finding{check, stateFailed, "does not take the secret of this configuration", "reload Caddy, or see that another Caddy with another secret does not answer there"}
	case res.StatusCode == http.StatusUnauthorized && strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "WebSMS "):
		return finding{check, stateFailed, "is behind the gate, which asks WebSMS for a phone", "see that the path is that of websms_webhook, and that Caddy runs this configuration"}
	case res.StatusCode == http.StatusUnauthorized, res.StatusCode == http.StatusForbidden:
		return finding{check, stateFailed, "something in front of it refuses: " + res.Status, "let WebSMS through: put websms_webhook in front of what asks for a password"}
	case 300 <= res.StatusCode && res.StatusCode < 400:
		return finding{check, stateFailed, "leads elsewhere: " + res.Status, "WebSMS posts to the address it has: give it the final one, and see that no gate stands in front"}
	}
	return finding{check, stateFailed, "answers " + res.Status + ", which is not the webhook", "see that the path is that of websms_webhook, and no other handler comes first"}
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
