package websms

import (
	"context"
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/caddy-websms/websms/otp"
)

// stoppingModule is a StoreModule that has something to do when its
// configuration begins to stop, for example to write what is pending. It is
// called before Stop, more than once, and also at a reload, when the next
// configuration has started already.
type stoppingModule interface {
	Stopping(store otp.Store)
}

// watch has the app told when its configuration has started, and when it
// begins to stop. Caddy emits "stopping" before it stops any app, and then stops
// them one after another: the http app may wait for a download for ever, if no
// grace_period bounds it. Gates register stopping with their server too, in
// case another handler of the event ends its propagation.
func (a *App) watch(ctx caddy.Context) error {
	app, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("getting the events app: %w", err)
	}
	events := app.(*caddyevents.App)
	return errors.Join(events.On("started", hook{a.placeGates}), events.On("stopping", hook{a.stopping}))
}

// stopping tells the vault and the store.
func (a *App) stopping() {
	if a.engine == nil {
		return
	}
	a.engine.vault.keepSoon()
	if module, ok := a.store.(stoppingModule); ok {
		module.Stopping(a.engine.store)
	}
}

// hook handles an event of Caddy's. Caddy logs it at level debug, so it has
// nothing that JSON would show.
type hook struct{ run func() }

// Handle implements caddyevents.Handler.
func (h hook) Handle(context.Context, caddy.Event) error {
	h.run()
	return nil
}
