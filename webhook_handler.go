package websms

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/internal/secret"
	"github.com/caddy-websms/websms/otp"
)

func init() {
	caddy.RegisterModule(Webhook{})
}

// Webhook takes what WebSMS posts: replies to messages, and delivery reports.
// It logs each before it acknowledges it, and tells the page that waits for a
// code what became of the message.
//
// Replies are logged by the logger `websms.mo`, delivery reports by
// `websms.dlr`, so that a configuration can send each to a place of its own.
type Webhook struct {
	// What WebSMS must show, as `?secret=…`, as `Authorization: Bearer …` or
	// as the password of Basic authentication. Give it as
	// `{env.WEBSMS_WEBHOOK_SECRET}`, so that it stands in no configuration. Required.
	Secret string `json:"secret,omitempty"`

	// For how long the same event is acknowledged and not handled again. WebSMS
	// repeats what it believes was not taken. From 1m to 168h. Default: `24h`.
	Dedupe caddy.Duration `json:"dedupe,omitempty"`

	// Hands the request, its body intact, to the next handler, whose answer is
	// then the answer. If that is no success, WebSMS's repetition is handled.
	Passthrough bool `json:"passthrough,omitempty"`

	engine           *engine
	secret           [sha256.Size]byte
	replies, reports *zap.Logger
	logger           *zap.Logger
	events           *emitter
}

const defaultDedupe = caddy.Duration(24 * time.Hour)

// CaddyModule returns the Caddy module information.
func (Webhook) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.websms_webhook",
		New: func() caddy.Module { return new(Webhook) },
	}
}

// webhookLog names the loggers of a webhook.
type webhookLog string

// CaddyModule returns the name that the logger has.
func (l webhookLog) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: caddy.ModuleID("websms." + string(l))}
}

// check returns what is wrong with the options, without loading anything.
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
	h.replies, h.reports, h.logger = ctx.Logger(webhookLog("mo")), ctx.Logger(webhookLog("dlr")), ctx.Logger(webhookLog("webhook"))
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
	h.secret = sha256.Sum256([]byte(resolved))
	app, err := ctx.App("websms")
	if err != nil {
		return fmt.Errorf("websms_webhook: %w", err)
	}
	h.engine = app.(*App).engine
	if h.events, err = newEmitter(ctx, h.logger); err != nil {
		return fmt.Errorf("websms_webhook: %w", err)
	}
	return nil
}

const (
	// maxEvent bounds the body of an event, in bytes.
	maxEvent = 64 << 10
	// answerTime is within the 5 seconds that WebSMS waits (its developer
	// guide, step 6), with room for the answer's way.
	answerTime = 4500 * time.Millisecond
	// maxLogged bounds a field in the log, in bytes.
	maxLogged = 4 << 10
)

// ServeHTTP takes one event.
func (h *Webhook) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	ctx, span := startSpan(r.Context(), "websms webhook")
	defer span.End()
	kind, result, err := h.take(w, r.WithContext(ctx), next)
	webhooks.WithLabelValues(kind, result).Inc()
	span.SetAttributes(attribute.String("websms.type", kind), attribute.String("websms.result", result))
	return err
}

// take takes one event, and returns its type and what became of it, as they
// are counted.
func (h *Webhook) take(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) (kind, result string, err error) {
	// First of all: also who is refused unread would keep the connection as
	// long as a body trickles in.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(answerTime)) // where it can be set
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return typeNone, eventMethod, webhookError(w, http.StatusMethodNotAllowed, "method not allowed")
	}
	if !h.authorized(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="websms"`)
		return typeNone, eventUnauthorized, webhookError(w, http.StatusUnauthorized, "unauthorized")
	}
	ctx, cancel := context.WithTimeout(r.Context(), answerTime)
	defer cancel()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEvent))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return typeNone, eventTooLarge, webhookError(w, http.StatusRequestEntityTooLarge, "payload too large")
		}
		return typeNone, eventLate, webhookError(w, http.StatusRequestTimeout, "the body did not arrive")
	}
	event, err := connexus.ParseEvent(body)
	if err != nil {
		return typeNone, eventInvalid, webhookError(w, http.StatusBadRequest, "invalid payload")
	}
	kind = kindOf(event)
	key := dedupeKey(event)
	if key != nil {
		first, err := h.engine.First(ctx, time.Duration(h.Dedupe), key...)
		if err != nil {
			h.logger.Warn("handling an event that may be a repetition", zap.Error(err))
		} else if !first {
			return kind, eventRepeated, acknowledge(w)
		}
	}
	h.handle(ctx, event)
	if !h.Passthrough {
		return kind, eventHandled, acknowledge(w)
	}
	r = r.WithContext(ctx)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	answer, taken := caddyhttp.NewResponseRecorder(w, nil, nil), false
	defer func() { // also when a proxy panics, because its upstream broke off
		if taken || key == nil {
			return
		}
		if err := h.engine.Forget(context.WithoutCancel(ctx), key...); err != nil {
			h.logger.Warn("WebSMS's repetition of an event will not be handled", zap.Error(err))
		}
	}()
	err = next.ServeHTTP(answer, r)
	if taken = err == nil && answer.Status() < http.StatusMultipleChoices; taken {
		return kind, eventPassedOn, nil
	}
	return kind, eventNotTaken, err
}

// kindOf returns the type that an event is counted as: a few, whatever is posted.
func kindOf(event connexus.Event) string {
	switch event.(type) {
	case connexus.Reply:
		return typeReply
	case connexus.Report:
		return typeReport
	}
	return typeUnknown
}

// authorized compares in constant time; hashing hides the length as well.
func (h *Webhook) authorized(r *http.Request) bool {
	shown := []string{r.URL.Query().Get("secret")}
	if _, password, ok := r.BasicAuth(); ok {
		shown = append(shown, password)
	}
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		shown = append(shown, strings.TrimSpace(token))
	}
	authorized := 0
	for _, s := range shown {
		sum := sha256.Sum256([]byte(s))
		authorized |= subtle.ConstantTimeCompare(sum[:], h.secret[:])
	}
	return authorized == 1
}

// dedupeKey returns what makes an event the same as another; nil: nothing does.
func dedupeKey(event connexus.Event) []string {
	switch e := event.(type) {
	case connexus.Reply:
		if e.MessageID != "" {
			return []string{e.EventType(), e.MessageID, ""}
		}
	case connexus.Report:
		if e.MessageID != "" {
			code := e.Status // where there is no code, the text is what there is
			if e.HasStatusCode {
				code = strconv.Itoa(e.StatusCode)
			}
			if e.State() == connexus.StateExpired { // which shares its code with "queued"
				code += " expired"
			}
			return []string{e.EventType(), e.MessageID, code}
		}
	}
	return nil
}

// handle logs an event, and applies it.
func (h *Webhook) handle(ctx context.Context, event connexus.Event) {
	switch e := event.(type) {
	case connexus.Reply:
		h.replies.Info("incoming reply",
			logged("message_id", e.MessageID), logged("from", e.From), logged("to", e.To), logged("body", e.Body),
			loggedTime(e.Timestamp), logged("encoding", e.Encoding), logged("network", e.Network))
		h.events.emit(caddyEventReply, map[string]any{
			"message_id": bounded(e.MessageID), "from": bounded(e.From), "to": bounded(e.To), "body": bounded(e.Body), "timestamp": toldTime(e.Timestamp),
		})
	case connexus.Report:
		state := e.State()
		h.reports.Info("delivery report",
			logged("message_id", e.MessageID), logged("status", e.Status), zap.Int("status_code", e.StatusCode),
			zap.Stringer("state", state), loggedTime(e.Timestamp))
		after, moved, err := h.engine.Report(ctx, e.MessageID, state)
		if err != nil {
			h.logger.Error("a delivery report was logged and could not be applied yet", logged("message_id", e.MessageID), zap.Error(err))
		}
		if moved && state.Final() {
			deliverySeconds.Observe(after.Seconds())
		}
		h.events.emit(caddyEventReport, map[string]any{
			"message_id": bounded(e.MessageID), "status": bounded(e.Status), "status_code": e.StatusCode,
			"state": state.String(), "timestamp": toldTime(e.Timestamp),
		})
	case connexus.Unknown:
		h.logger.Warn("unknown webhook type", logged("type", e.Type))
	}
}

// logged is a field of bounded length.
func logged(name, value string) zap.Field { return zap.String(name, bounded(value)) }

func bounded(value string) string {
	if len(value) > maxLogged {
		return strings.ToValidUTF8(value[:maxLogged], "") + "…"
	}
	return value
}

// loggedTime is when an event happened, null if it does not say.
func loggedTime(t time.Time) zap.Field {
	if t.IsZero() {
		return zap.Reflect("timestamp", nil)
	}
	return zap.Time("timestamp", t)
}

// toldTime is the same for who handles an event: "" if it does not say.
func toldTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func acknowledge(w http.ResponseWriter) error {
	return writeJSON(w, http.StatusOK, "application/json", struct {
		OK bool `json:"ok"`
	}{true})
}

func webhookError(w http.ResponseWriter, status int, text string) error {
	return writeJSON(w, status, "application/json", struct {
		Error string `json:"error"`
	}{text})
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Webhook)(nil)
	_ caddyhttp.MiddlewareHandler = (*Webhook)(nil)
	_ otp.Sender                  = (*connexus.Client)(nil)
)
