package websms

import (
	"encoding/json"

	"github.com/caddy-websms/websms/internal/operator"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/internal/routes"
)

// patient is a configuration that a command looks at, without running it.
type patient struct {
	name     string // of its file
	text     []byte // as JSON
	app      App
	admin    caddy.AdminConfig
	gates    []placed[Gate]
	webhooks []placed[Webhook]
}

// placed is a handler, and where requests reach it.
type placed[H any] struct {
	handler *H
	at      routes.Place
}

// readPatient reads a configuration as Caddy does.
func readPatient(file, adapter string) (*patient, error) {
	text, name, _, err := caddycmd.LoadConfig(file, adapter)
	if err != nil {
		return nil, operator.Exitf(operator.ExitFailed, "reading the configuration: %w", err)
	}
	if len(text) == 0 {
		return nil, operator.Exitf(operator.ExitUsage, "there is no configuration here: name it with --config")
	}
	p := &patient{name: name, text: text}
	var config struct {
		Admin *caddy.AdminConfig `json:"admin"`
		Apps  struct {
			WebSMS *App           `json:"websms"`
			HTTP   *caddyhttp.App `json:"http"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(text, &config); err != nil {
		return nil, operator.Exitf(operator.ExitFailed, "reading %s: %w", name, err)
	}
	if config.Admin != nil {
		p.admin = *config.Admin
	}
	if config.Apps.WebSMS != nil {
		p.app = *config.Apps.WebSMS
	}
	if config.Apps.HTTP != nil {
		for _, s := range config.Apps.HTTP.Servers {
			at := routes.Place{Listen: s.Listen, Proxied: s.TrustedProxiesRaw != nil || s.TrustedProxiesUnix}
			routes.VisitJSON(s, at, decodeHandler, func(handler any, at routes.Place) {
				switch h := handler.(type) {
				case *Gate:
					p.gates = append(p.gates, placed[Gate]{h, at})
				case *Webhook:
					p.webhooks = append(p.webhooks, placed[Webhook]{h, at})
				}
			})
		}
	}
	if p.gates == nil && p.webhooks == nil {
		return nil, operator.Exitf(operator.ExitFailed, "%s has no websms_otp and no websms_webhook", name)
	}
	return p, nil
}

// decodeHandler returns a gate or a webhook, or nil if its JSON is malformed.
func decodeHandler(name string, raw json.RawMessage) any {
	var handler any = new(Gate)
	if name == routes.WebhookHandler {
		handler = new(Webhook)
	}
	if json.Unmarshal(raw, handler) != nil {
		return nil
	}
	return handler
}

// company returns who the first gate's messages are from.
func (p *patient) company() string {
	if len(p.gates) == 0 {
		return "Test"
	}
	return p.gates[0].handler.Company
}

// client returns a client for the account.
func (p *patient) client(note func(*connexus.Config)) (*connexus.Client, error) {
	app := p.app
	resolved, err := app.account()
	if err == nil {
		err = app.missing
	}
	if err != nil {
		return nil, err
	}
	config := connexus.Config{BaseURL: resolved.baseURL, ClientID: resolved.id, ClientSecret: resolved.secret, Timeout: resolved.timeout, Sandbox: resolved.sandbox}
	if note != nil {
		note(&config)
	}
	return connexus.New(config)
}
