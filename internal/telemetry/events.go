package telemetry

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"
)

// The events that this plugin emits to Caddy's events app. A configuration can act on
// them, for example with a command.
const (
	EventSent     = "websms.sent"
	EventVerified = "websms.verified"
	EventFailed   = "websms.failed"
	EventReply    = "websms.mo"
	EventReport   = "websms.dlr"
)

const (
	// maxEmitting is the most events of one gate or webhook that are being handled.
	maxEmitting = 64
	// emitWait is how long a further event waits for its turn.
	emitWait = time.Second
)

// Emitter sends events to Caddy's events app. A handler of an event may take long, for
// example because it runs a command. So each event has a goroutine, and a request waits
// for its turn at most emitWait.
type Emitter struct {
	ctx    caddy.Context
	app    *caddyevents.App
	places chan struct{} // holds one value for each event that is being handled
	logger *zap.Logger
}

// NewEmitter returns an emitter for one gate or webhook of a configuration.
func NewEmitter(ctx caddy.Context, logger *zap.Logger) (*Emitter, error) {
	app, err := ctx.App("events")
	if err != nil {
		return nil, fmt.Errorf("getting the events app: %w", err)
	}
	return &Emitter{ctx: ctx, app: app.(*caddyevents.App), places: make(chan struct{}, maxEmitting), logger: logger}, nil
}

// EmitEntry sends an event that has the fields of an audit entry, and one more field: name
// is its name, and fact is its value.
func (e *Emitter) EmitEntry(event string, of Entry, name, fact string) {
	e.Emit(event, map[string]any{
		"realm": of.Realm, "number": of.Masked(), "user": of.User, "client_ip": of.ClientIP,
		"challenge": of.Challenge.String(), name: fact,
	})
}

// Emit sends an event if the configuration handles it. If too many events are being
// handled, Emit waits a second for its turn, and then logs an error and drops the event.
// A nil Emitter sends nothing.
func (e *Emitter) Emit(name string, data map[string]any) {
	if e == nil || !e.app.ShouldEmit(name) {
		return
	}
	wait := time.NewTimer(emitWait)
	defer wait.Stop()
	select {
	case e.places <- struct{}{}:
	case <-wait.C:
		e.logger.Error("an event was dropped: its handlers are still busy with too many earlier events", zap.String("event", name))
		return
	}
	go func() {
		defer func() { <-e.places }()
		defer func() {
			if failure := recover(); failure != nil { // a panic of another module must not end Caddy
				e.logger.Error("the handler of an event panicked",
					zap.String("event", name), zap.Any("error", failure), zap.ByteString("stack", debug.Stack()))
			}
		}()
		e.app.Emit(e.ctx, name, data)
	}()
}
