package websms

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/internal/doctor"
	"github.com/caddy-websms/websms/internal/operator"
	"github.com/caddy-websms/websms/internal/risk"
	"github.com/caddy-websms/websms/internal/routes"
)

func init() {
	caddycmd.RegisterCommand(operator.Command(DefaultPrefix, doctor.Commands(readConfig)))
}

// readConfig reads a configuration in JSON for the commands doctor and send. It is
// a doctor.Reader.
func readConfig(text []byte) (*doctor.Config, error) {
	var config struct {
		Admin *caddy.AdminConfig `json:"admin"`
		Apps  struct {
			WebSMS *App           `json:"websms"`
			HTTP   *caddyhttp.App `json:"http"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(text, &config); err != nil {
		return nil, err
	}
	app := new(App)
	if config.Apps.WebSMS != nil {
		app = config.Apps.WebSMS
	}
	read := &doctor.Config{
		Account: doctor.Account{Sandbox: app.Sandbox, Resolve: app.connexusConfig, Risks: app.risks},
		Store:   app.storeToCheck(),
	}
	if config.Admin != nil {
		read.Admin = *config.Admin
	}
	if config.Apps.HTTP == nil {
		return read, nil
	}
	var placed []placedGate
	for _, name := range slices.Sorted(maps.Keys(config.Apps.HTTP.Servers)) {
		s := config.Apps.HTTP.Servers[name]
		at := routes.Place{
			Listen: s.Listen, HTTPPort: config.Apps.HTTP.HTTPPort, Proxied: s.TrustedProxiesRaw != nil || s.TrustedProxiesUnix,
		}
		routes.VisitJSON(s, at, decodeHandler, func(handler any, at routes.Place) {
			switch h := handler.(type) {
			case *Gate:
				placed = append(placed, placedGate{h, name, at})
			case *Webhook:
				read.Webhooks = append(read.Webhooks, doctor.Webhook{Secret: h.Secret, At: at, Risks: func() []risk.Risk {
					return h.risks(&at)
				}})
			}
		})
	}
	for i, g := range placed {
		read.Gates = append(read.Gates, doctor.Gate{Company: g.Company, At: g.at, Risks: func() []risk.Risk {
			return slices.Concat(g.optionRisks(), g.placeRisks(&g.at), g.risksAmong(placed[:i], placed[i+1:]))
		}})
	}
	return read, nil
}

// decodeHandler returns a handler of this plugin, or nil if its JSON is malformed.
func decodeHandler(name string, raw json.RawMessage) any {
	var handler any = new(Gate)
	switch name {
	case routes.WebhookHandler:
		handler = new(Webhook)
	case routes.IdentityHandler:
		handler = new(Identity)
	}
	if json.Unmarshal(raw, handler) != nil {
		return nil
	}
	return handler
}

// connexusConfig returns the account as a client of the API takes it.
func (a *App) connexusConfig() (connexus.Config, error) {
	resolved, err := a.account()
	if err == nil {
		err = a.missing
	}
	return connexus.Config{
		BaseURL: resolved.baseURL, ClientID: resolved.id, ClientSecret: resolved.secret,
		Timeout: resolved.timeout, Sandbox: resolved.sandbox,
	}, err
}

// storeToCheck returns the store for the doctor. The doctor cannot open the memory
// store, because that is inside the running Caddy.
func (a *App) storeToCheck() doctor.Store {
	raw := a.StoreRaw
	if raw == nil {
		raw = json.RawMessage(defaultStore)
	}
	kind, err := storeKind(raw)
	if err != nil || kind == "memory" {
		return doctor.Store{Kind: "memory", Risks: a.storeRisks}
	}
	return doctor.Store{Kind: kind, Risks: a.storeRisks, Open: func(ctx context.Context) (doctor.LiveStore, func(), error) {
		loaded := App{StoreRaw: raw} // LoadModule clears StoreRaw
		inner, cancel := caddy.NewContext(caddy.Context{Context: ctx})
		module, err := inner.LoadModule(&loaded, "StoreRaw")
		if err != nil {
			cancel()
			return nil, nil, storeError(raw, err)
		}
		store, release, err := module.(StoreModule).Open()
		if err != nil {
			cancel()
			return nil, nil, err
		}
		return store, func() {
			_ = release() // the doctor has its answer by then
			cancel()
		}, nil
	}}
}

// storeKind returns the name of the module of a store in JSON.
func storeKind(raw json.RawMessage) (string, error) {
	var named struct {
		Module string `json:"module"`
	}
	err := json.Unmarshal(raw, &named)
	return named.Module, err
}
