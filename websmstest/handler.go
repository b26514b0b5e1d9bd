package websmstest

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// Bounds of a handler's delays.
const (
	maxLatency  = time.Minute
	maxDelivery = time.Hour
)

// states holds the state of each simulator by its name, as long as a configuration
// uses it.
var states = caddy.NewUsagePool()

// Handler serves a simulated WebSMS for demonstrations and tests. It needs no
// account, and no SMS leaves the machine. The Connexus API is below `/api/connexus`.
// At `/` a web page that looks like a phone shows each SMS as it arrives. The handler
// answers every request that reaches it.
//
// On the page a person can reply to a message. They can also choose that the next
// message is delivered late, not delivered, or rejected. Delivery reports and replies
// are posted to the webhook as WebSMS does it: as JSON, within 5 seconds, and with up
// to three retries.
//
// The newest 1000 messages are kept in memory. Messages, tokens and the balance
// survive a reload of the configuration.
//
// The page shows every code to every visitor. Do not use it in front of a real
// service.
type Handler struct {
	// The name of the simulator. Handlers of the same name share messages and
	// tokens. Each has its own settings. Default: `default`.
	Name string `json:"name,omitempty"`

	// The client id that gets a token. Placeholders that are known when the
	// configuration is loaded, such as `{env.NAME}` and `{file./path}`, are
	// replaced. Default: `cid_demo`.
	ClientID string `json:"client_id,omitempty"`

	// The client secret that gets a token. Placeholders are replaced as in
	// client_id. Default: `csk_demo`.
	ClientSecret string `json:"client_secret,omitempty"`

	// The http or https URL that gets delivery reports and replies. Placeholders
	// are replaced as in client_id. By default there is none, and delivery reports
	// and replies are not posted.
	Webhook string `json:"webhook,omitempty"`

	// The secret that the webhook gets as `Authorization: Bearer`. Placeholders
	// are replaced as in client_id. By default there is none, and the header is
	// not sent.
	WebhookSecret string `json:"webhook_secret,omitempty"`

	// The delay of each API reply, 0 to 1 minute. Default: 0.
	Latency caddy.Duration `json:"latency,omitempty"`

	// The time from acceptance to the final delivery report, 0 to 1 hour.
	// Default: 0.
	Delivery caddy.Duration `json:"delivery,omitempty"`

	sim  *Simulator
	pool string // the key of the reference in states, or "" if there is none
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.websms_simulator",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision replaces placeholders and takes a reference to the simulator's state.
func (h *Handler) Provision(ctx caddy.Context) error {
	repl := caddy.NewReplacer()
	options := Options{
		Latency:       time.Duration(h.Latency),
		DeliveryDelay: time.Duration(h.Delivery),
	}
	for _, setting := range []struct {
		name, value string
		resolved    *string
	}{
		{"client_id", h.ClientID, &options.ClientID},
		{"client_secret", h.ClientSecret, &options.ClientSecret},
		{"webhook", h.Webhook, &options.WebhookURL},
		{"webhook_secret", h.WebhookSecret, &options.WebhookSecret},
	} {
		var err error
		if *setting.resolved, err = repl.ReplaceOrErr(setting.value, true, true); err != nil {
			return fmt.Errorf("%s: %w", setting.name, err)
		}
		if setting.value != "" && *setting.resolved == "" {
			return fmt.Errorf("%s is empty once its placeholders are replaced", setting.name)
		}
	}
	if err := checkWebhook(options.WebhookURL); err != nil {
		return err
	}
	if h.Latency < 0 || time.Duration(h.Latency) > maxLatency {
		return fmt.Errorf("latency must be 0 to %s", maxLatency)
	}
	if h.Delivery < 0 || time.Duration(h.Delivery) > maxDelivery {
		return fmt.Errorf("delivery must be 0 to %s", maxDelivery)
	}

	name := h.Name
	if name == "" {
		name = "default"
	}
	st, _, err := states.LoadOrNew(name, func() (caddy.Destructor, error) { return newState(), nil })
	if err != nil {
		return err
	}
	h.pool = name
	h.sim = newSimulator(options, st.(*state))
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		// A server that stops waits for its requests. Those of open inbox pages
		// would never end by themselves.
		server.RegisterOnShutdown(h.sim.stop)
	}
	ctx.Logger().Info("simulated WebSMS: no SMS leaves this machine",
		zap.String("name", name),
		zap.String("webhook", publicURL(options.WebhookURL)))
	return nil
}

// checkWebhook returns an error unless raw is empty or an absolute http or https URL.
// The error does not repeat the URL, which may hold a secret.
func checkWebhook(raw string) error {
	if raw == "" {
		return nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("webhook must be an absolute http or https URL, such as http://localhost:8080/webhook")
	}
	return nil
}

// Cleanup releases the reference to the simulator's state.
func (h *Handler) Cleanup() error {
	if h.pool == "" {
		return nil
	}
	name := h.pool
	h.pool = ""
	_, err := states.Delete(name)
	return err
}

// ServeHTTP answers API calls and serves the inbox.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	h.sim.ServeHTTP(w, r)
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
