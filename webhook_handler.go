package websms

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/internal/clock"
	"github.com/caddy-websms/websms/internal/logtext"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/internal/secret"
	"github.com/caddy-websms/websms/internal/telemetry"
	"github.com/caddy-websms/websms/otp"
)

func init() {
	caddy.RegisterModule(Webhook{})
}

// Webhook receives the events that WebSMS posts: replies to messages, and
// delivery reports. It logs each event before it acknowledges it. A delivery
// report also updates the page that waits for the code.
//
// The logger `websms.mo` logs replies, and `websms.dlr` logs delivery reports.
// So a configuration can write each to a file of its own.
type Webhook struct {
	// The secret that WebSMS must show: as `?secret=…`, as `Authorization: Bearer …`
	// or as the password of Basic authentication. Write
	// `{env.WEBSMS_WEBHOOK_SECRET}`, so that no configuration holds the secret.
	// Required.
	Secret string `json:"secret,omitempty"`

	// How long the webhook remembers an event. WebSMS repeats an event if it saw
	// no acknowledgement; the webhook acknowledges a repetition and does not
	// handle it again. From 1m to 168h. Default: `24h`.
	Dedupe caddy.Duration `json:"dedupe,omitempty"`

	// Passes the request with its whole body to the next handler, and that
	// handler's answer to WebSMS. If the answer is not a success, the webhook
	// handles the repetition by WebSMS again. The next handler does not see the
	// secret. Off by default.
	Passthrough bool `json:"passthrough,omitempty"`

	engine           *engine
	secret           request.Secret
	replies, reports *zap.Logger
	logger           *zap.Logger
	events           *telemetry.Emitter
	sends            telemetry.Sends // the outcomes of second tries
	refusals         *telemetry.Refusals
}

// defaultDedupe is the option dedupe, if it is missing.
const defaultDedupe = caddy.Duration(24 * time.Hour)

// CaddyModule returns the Caddy module information.
func (Webhook) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.websms_webhook",
		New: func() caddy.Module { return new(Webhook) },
	}
}

// webhookLog gives a logger of the webhook the name `websms.` and its value.
type webhookLog string

// CaddyModule returns the name of the logger.
func (l webhookLog) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: caddy.ModuleID("websms." + string(l))}
}

// check returns an error if an option is missing or out of range. It loads nothing.
func (h *Webhook) check() error {
	if h.Secret == "" {
		return wrongf("secret", "is missing: without it anybody could post delivery reports; give {env.WEBSMS_WEBHOOK_SECRET}")
	}
	if d := time.Duration(h.Dedupe); d != 0 && (d < time.Minute || d > 168*time.Hour) {
		return wrongf("dedupe", "is %s: give 1m to 168h", short(d))
	}
	return nil
}

// Provision sets up the webhook.
func (h *Webhook) Provision(ctx caddy.Context) error {
	logger := func(name string) *zap.Logger { return logtext.Escaping(ctx.Logger(webhookLog(name))) }
	h.replies, h.reports, h.logger = logger("mo"), logger("dlr"), logger("webhook")
	h.refusals = telemetry.NewRefusals(h.logger, clock.Now)
	if h.Dedupe == 0 {
		h.Dedupe = defaultDedupe
	}
	if err := h.check(); err != nil {
		return fmt.Errorf("websms_webhook: %w", err)
	}
	resolved, err := secret.Resolve("secret", h.Secret)
	if err != nil {
		return fmt.Errorf("websms_webhook: %w", err)
	}
	h.secret = request.NewSecret(resolved)
	app, err := ctx.App("websms")
	if err != nil {
		return fmt.Errorf("websms_webhook: %w", err)
	}
	h.engine = app.(*App).engine
	if h.events, err = telemetry.NewEmitter(ctx, h.logger); err != nil {
		return fmt.Errorf("websms_webhook: %w", err)
	}
	h.sends = telemetry.Sends{Audit: logtext.Escaping(ctx.Logger(telemetry.AuditLog{})), Log: h.logger, Events: h.events}
	return nil
}

const (
	// maxEvent is the largest body of an event, in bytes.
	maxEvent = 64 << 10
	// answerTime is how long the webhook takes at most. WebSMS waits 5 seconds (its
	// developer guide, step 6), and the answer needs some time on its way.
	answerTime = 4500 * time.Millisecond
)

// ServeHTTP receives one event.
func (h *Webhook) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	ctx, span := telemetry.StartSpan(r.Context(), "websms webhook")
	defer span.End()
	kind, result, err := h.take(w, r.WithContext(ctx), next)
	telemetry.CountWebhook(kind, result)
	span.SetAttributes(attribute.String("websms.type", kind), attribute.String("websms.result", result))
	return err
}

// take receives one event. It returns the type and the result for
// telemetry.CountWebhook.
func (h *Webhook) take(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) (kind, result string, err error) {
	// The deadline comes first, because the body of a refused request could arrive so
	// slowly that it keeps the connection.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(answerTime)) // some writers have no deadline
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return telemetry.TypeNone, telemetry.WebhookMethod, webhookError(w, http.StatusMethodNotAllowed, "method not allowed")
	}
	if !h.secret.ShownBy(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="websms"`)
		h.logRefusal(r, telemetry.ReasonUnauthorized, 0)
		return telemetry.TypeNone, telemetry.WebhookUnauthorized, webhookError(w, http.StatusUnauthorized, "unauthorized")
	}
	ctx, cancel := context.WithTimeout(r.Context(), answerTime)
	defer cancel()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEvent))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			h.logRefusal(r, telemetry.ReasonTooLarge, len(body))
			return telemetry.TypeNone, telemetry.WebhookTooLarge, webhookError(w, http.StatusRequestEntityTooLarge, "payload too large")
		}
		h.logRefusal(r, telemetry.ReasonNotArrived, len(body))
		return telemetry.TypeNone, telemetry.WebhookLate, webhookError(w, http.StatusRequestTimeout, "the body did not arrive")
	}
	event, err := connexus.ParseEvent(body)
	if err != nil {
		reason := telemetry.ReasonInvalidJSON
		if json.Valid(bytes.TrimPrefix(body, []byte("\ufeff"))) { // ParseEvent ignores a byte order mark
			reason = telemetry.ReasonNoType
		}
		h.logRefusal(r, reason, len(body))
		return telemetry.TypeNone, telemetry.WebhookInvalid, webhookError(w, http.StatusBadRequest, "invalid payload")
	}
	kind = kindOf(event)
	var work *otp.Work
	if key := dedupeKey(event); key != nil {
		work, err = h.engine.Begin(ctx, time.Duration(h.Dedupe), key...)
		var other *otp.InWorkError
		switch {
		case errors.Is(err, otp.ErrDone):
			return kind, telemetry.WebhookRepeated, acknowledge(w)
		case errors.As(err, &other):
			w.Header().Set("Retry-After", strconv.Itoa(int(request.WholeSeconds(other.RetryAfter)/time.Second)))
			return kind, telemetry.WebhookInWork, webhookError(w, http.StatusServiceUnavailable, "the event is in work")
		case err != nil:
			h.logger.Warn("handling an event that may be a repetition", zap.Error(err))
		}
	}
	finish := h.hold(ctx, work)
	defer finish(false) // reverse_proxy panics if its upstream breaks off
	h.handle(ctx, event)
	if !h.Passthrough {
		finish(true)
		return kind, telemetry.WebhookHandled, acknowledge(w)
	}
	r = h.secret.Strip(r.WithContext(ctx))
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	answer := caddyhttp.NewResponseRecorder(w, nil, nil)
	err = next.ServeHTTP(answer, r)
	status := answer.Status()
	silent := status == 0 && ctx.Err() != nil // the next handler gave up without an answer
	if err != nil || status >= http.StatusMultipleChoices || silent {
		return kind, telemetry.WebhookNotTaken, err
	}
	finish(true)
	return kind, telemetry.WebhookPassedOn, nil
}

// logRefusal logs a request that the webhook refuses. length is how many bytes of the
// body were read.
func (h *Webhook) logRefusal(r *http.Request, reason telemetry.Reason, length int) {
	h.refusals.Log(telemetry.Refusal{
		Reason: reason, ContentType: r.Header.Get("Content-Type"), Length: length, ClientIP: request.ClientIP(r),
	})
}

// renewEvery is how often the lease of an event in work is renewed.
var renewEvery = otp.RenewTime

// hold renews the lease of an event until finish is called. finish(true) marks the
// event as done: its repetition is acknowledged. finish(false) forgets the event:
// its repetition is handled. Only the first call of finish counts.
func (h *Webhook) hold(ctx context.Context, work *otp.Work) (finish func(done bool)) {
	if work == nil {
		return func(bool) {}
	}
	ctx = context.WithoutCancel(ctx) // WebSMS may hang up; the work goes on
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(renewEvery)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
				if err := work.Renew(ctx); err != nil {
					h.logger.Warn("the lease of an event in work was not renewed", zap.Error(err))
				}
			}
		}
	}()
	finished := false
	return func(done bool) {
		if finished {
			return
		}
		finished = true
		close(stop)
		<-stopped // a renewal after Forget would take the lease again
		end, trouble := work.Forget, "an event failed and could not be forgotten: its repetition is handled only after its lease"
		if done {
			end, trouble = work.Done, "an event was handled and could not be remembered: its repetition may be handled again"
		}
		if err := end(ctx); err != nil {
			h.logger.Warn(trouble, zap.Error(err))
		}
	}
}

// acknowledge answers that the event is taken.
func acknowledge(w http.ResponseWriter) error {
	return request.WriteJSON(w, http.StatusOK, "application/json", struct {
		OK bool `json:"ok"`
	}{true})
}

// webhookError answers with a status and an error in JSON.
func webhookError(w http.ResponseWriter, status int, text string) error {
	return request.WriteJSON(w, status, "application/json", struct {
		Error string `json:"error"`
	}{text})
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Webhook)(nil)
	_ caddyhttp.MiddlewareHandler = (*Webhook)(nil)
	_ otp.Sender                  = (*connexus.Client)(nil)
)
