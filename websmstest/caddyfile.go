package websmstest

import (
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("websms_simulator", parseCaddyfile)
	httpcaddyfile.RegisterDirectiveOrder("websms_simulator", httpcaddyfile.Before, "respond")
}

func parseCaddyfile(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return handler, nil
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	websms_simulator [<matcher>] {
//		name           <name>
//		client_id      <id>
//		client_secret  <secret>
//		webhook        <url>
//		webhook_secret <secret>
//		latency        <duration>
//		delivery       <duration>
//	}
//
// Every option may be left out, and none may be repeated. Handler describes them.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume directive name
	if d.NextArg() {
		return d.Errf("websms_simulator takes no argument but a matcher, got %q: put options in a block, { … }", d.Val())
	}
	options := map[string]struct {
		example string
		set     func(value string) error
	}{
		"name":           {"default", setText(&h.Name)},
		"client_id":      {"cid_demo", setText(&h.ClientID)},
		"client_secret":  {"csk_demo", setText(&h.ClientSecret)},
		"webhook":        {"http://localhost:8080/webhook", setURL(d, &h.Webhook)},
		"webhook_secret": {"demo", setText(&h.WebhookSecret)},
		"latency":        {"150ms", setDuration(d, &h.Latency, maxLatency)},
		"delivery":       {"2s", setDuration(d, &h.Delivery, maxDelivery)},
	}
	given := make(map[string]bool)
	for d.NextBlock(0) {
		name := d.Val()
		option, known := options[name]
		if !known {
			return d.Errf("unknown option %q: websms_simulator has name, client_id, client_secret, "+
				"webhook, webhook_secret, latency and delivery", name)
		}
		if given[name] {
			return d.Errf("%s is given twice: keep one", name)
		}
		given[name] = true
		args := d.RemainingArgs()
		if len(args) != 1 || args[0] == "" {
			return d.Errf("%s takes one value, such as: %s %s", name, name, option.example)
		}
		if err := option.set(args[0]); err != nil {
			return err
		}
		// An empty block ends at once and leaves its closing brace behind.
		if d.NextBlock(1) || d.Val() != args[0] {
			return d.Errf("%s takes no block: write %s %s", name, name, option.example)
		}
	}
	if h.WebhookSecret != "" && h.Webhook == "" {
		return d.Errf("webhook_secret needs a webhook to go to: add webhook http://localhost:8080/webhook")
	}
	return nil
}

func setText(to *string) func(string) error {
	return func(value string) error {
		*to = value
		return nil
	}
}

// setURL checks a URL at once, unless it holds a placeholder. Then Provision checks it.
func setURL(d *caddyfile.Dispenser, to *string) func(string) error {
	return func(value string) error {
		*to = value
		if strings.Contains(value, "{") {
			return nil
		}
		if err := checkWebhook(value); err != nil {
			return d.WrapErr(err)
		}
		return nil
	}
}

func setDuration(d *caddyfile.Dispenser, to *caddy.Duration, most time.Duration) func(string) error {
	return func(value string) error {
		v, err := caddy.ParseDuration(value)
		if err != nil || v < 0 || v > most {
			return d.Errf("%q is not a duration of 0 to %s: write a number with its unit, such as 150ms or 2s", value, most)
		}
		*to = caddy.Duration(v)
		return nil
	}
}

var _ caddyfile.Unmarshaler = (*Handler)(nil)
