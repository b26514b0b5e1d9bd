package websms

import (
	"context"
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/caddy-websms/websms/memorystore"
	"github.com/caddy-websms/websms/otp"
)

// stoppingModule is a StoreModule that must act when its configuration begins to stop,
// for example to write pending challenges. The app calls Stopping before Stop, and may
// call it more than once. It also does so at a reload, when the next configuration has
// started already.
type stoppingModule interface {
	Stopping(store otp.Store)
}

// watch subscribes the app to Caddy's events "started" and "stopping". Caddy emits
// "stopping" before it stops any app, and then stops them one after another. If no
// grace_period is set, the http app may wait for a download for ever. Gates also
// register stopping with their server, because another handler of the event could end
// its propagation.
func (a *App) watch(ctx caddy.Context) error {
	app, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("getting the events app: %w", err)
	}
	events := app.(*caddyevents.App)
	return errors.Join(events.On("started", hook{a.placeGates}), events.On("stopping", hook{a.stopping}))
}

// stopping tells the vault and the store that the configuration begins to stop.
func (a *App) stopping() {
	if a.engine == nil {
		return
	}
	a.engine.vault.KeepSoon()
	if module, ok := a.store.(stoppingModule); ok {
		module.Stopping(a.engine.store)
	}
}

// hook handles an event of Caddy's. Caddy logs its handlers at level debug, so hook
// has no field that would appear in JSON.
type hook struct{ run func() }

// Handle implements caddyevents.Handler.
func (h hook) Handle(context.Context, caddy.Event) error {
	h.run()
	return nil
}

// Interface guards
var _ stoppingModule = (*memorystore.Store)(nil)
