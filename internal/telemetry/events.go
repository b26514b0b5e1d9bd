package telemetry

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"
)

// The events that Caddy's events app is told of, for a configuration to act on.
const (
	EventSent     = "websms.sent"
	EventVerified = "websms.verified"
	EventFailed   = "websms.failed"
	EventReply    = "websms.mo"
	EventReport   = "websms.dlr"
)

const (
	// maxEmitting bounds the events whose handlers are under way, of one gate or webhook.
	maxEmitting = 64
	// emitWait is how long an event waits for one of them to end.
	emitWait = time.Second
)

// Emitter tells Caddy's events app what happened. Whoever handles an event may
// take long, and run a command; nobody waits for it.
type Emitter struct {
	ctx    caddy.Context
	app    *caddyevents.App
	places chan struct{}
	logger *zap.Logger
}

// NewEmitter returns an emitter for one handler of a configuration.
func NewEmitter(ctx caddy.Context, logger *zap.Logger) (*Emitter, error) {
	app, err := ctx.App("events")
	if err != nil {
		return nil, fmt.Errorf("getting the events app: %w", err)
	}
	return &Emitter{ctx: ctx, app: app.(*caddyevents.App), places: make(chan struct{}, maxEmitting), logger: logger}, nil
}

// Emit tells of an event, if anybody wants to know. A nil emitter tells nobody.
func (e *Emitter) Emit(name string, data map[string]any) {
	if e == nil || !e.app.ShouldEmit(name) {
		return
	}
	wait := time.NewTimer(emitWait)
	defer wait.Stop()
	select {
	case e.places <- struct{}{}:
	case <-wait.C:
		e.logger.Error("an event was not told to its handlers: too many of them are still at work on earlier ones", zap.String("event", name))
		return
	}
	go func() {
		defer func() { <-e.places }()
		defer func() {
			if failure := recover(); failure != nil { // somebody else's handler must not end Caddy
				e.logger.Error("the handler of an event panicked", zap.String("event", name), zap.Any("error", failure), zap.ByteString("stack", debug.Stack()))
			}
		}()
		e.app.Emit(e.ctx, name, data)
	}()
}
