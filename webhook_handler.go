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
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/internal/secret"
	"github.com/caddy-websms/websms/internal/telemetry"
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

	// Hands the request with its whole body to the next handler. That handler's
	// answer is sent to WebSMS. If it is not a success, the repetition by WebSMS is
	// handled again. The next handler does not see the secret.
	Passthrough bool `json:"passthrough,omitempty"`

	engine           *engine
	secret           [sha256.Size]byte
	replies, reports *zap.Logger
	logger           *zap.Logger
	events           *telemetry.Emitter
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
	if h.events, err = telemetry.NewEmitter(ctx, h.logger); err != nil {
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
	ctx, span := telemetry.StartSpan(r.Context(), "websms webhook")
	defer span.End()
	kind, result, err := h.take(w, r.WithContext(ctx), next)
	telemetry.CountWebhook(kind, result)
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
		return telemetry.TypeNone, telemetry.WebhookMethod, webhookError(w, http.StatusMethodNotAllowed, "method not allowed")
	}
	if !h.authorized(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="websms"`)
		return telemetry.TypeNone, telemetry.WebhookUnauthorized, webhookError(w, http.StatusUnauthorized, "unauthorized")
	}
	ctx, cancel := context.WithTimeout(r.Context(), answerTime)
	defer cancel()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEvent))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return telemetry.TypeNone, telemetry.WebhookTooLarge, webhookError(w, http.StatusRequestEntityTooLarge, "payload too large")
		}
		return telemetry.TypeNone, telemetry.WebhookLate, webhookError(w, http.StatusRequestTimeout, "the body did not arrive")
	}
	event, err := connexus.ParseEvent(body)
	if err != nil {
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
	defer finish(false) // also if reverse_proxy panics because its upstream broke off
	h.handle(ctx, event)
	if !h.Passthrough {
		finish(true)
		return kind, telemetry.WebhookHandled, acknowledge(w)
	}
	r = h.withoutSecret(r.WithContext(ctx))
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	answer := caddyhttp.NewResponseRecorder(w, nil, nil)
	err = next.ServeHTTP(answer, r)
	status := answer.Status()
	if err != nil || status >= http.StatusMultipleChoices || status == 0 && ctx.Err() != nil { // it gave up, and said nothing
		return kind, telemetry.WebhookNotTaken, err
	}
	finish(true)
	return kind, telemetry.WebhookPassedOn, nil
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
		end, trouble := work.Forget, "an event that failed is handled again only when its lease is over, or the store can be asked"
		if done {
			end, trouble = work.Done, "an event was handled; until the store can be asked, its repetition is handled too"
		}
		if err := end(ctx); err != nil {
			h.logger.Warn(trouble, zap.Error(err))
		}
	}
}

// kindOf returns the type that an event is counted as: a few, whatever is posted.
func kindOf(event connexus.Event) string {
	switch event.(type) {
	case connexus.Reply:
		return telemetry.TypeReply
	case connexus.Report:
		return telemetry.TypeReport
	}
	return telemetry.TypeUnknown
}

// authorized reports whether a request shows the secret.
func (h *Webhook) authorized(r *http.Request) bool {
	return h.isSecret(append(shownIn(r.Header.Get("Authorization")), r.URL.Query().Get(secretParameter))...)
}

// secretParameter is the query parameter that may show the secret.
const secretParameter = "secret"

// shownIn returns what an Authorization header may show as the secret.
func shownIn(authorization string) (shown []string) {
	r := http.Request{Header: http.Header{"Authorization": {authorization}}}
	if _, password, ok := r.BasicAuth(); ok {
		shown = append(shown, password)
	}
	if scheme, token, ok := strings.Cut(authorization, " "); ok && strings.EqualFold(scheme, "Bearer") {
		shown = append(shown, strings.TrimSpace(token))
	}
	return shown
}

// isSecret compares in constant time; hashing hides the length as well.
func (h *Webhook) isSecret(shown ...string) bool {
	is := 0
	for _, s := range shown {
		sum := sha256.Sum256([]byte(s))
		is |= subtle.ConstantTimeCompare(sum[:], h.secret[:])
	}
	return is == 1
}

// withoutSecret removes the secret from a request for the next handler: each
// parameter `secret` of the query, and each Authorization header that carried the
// secret. Another Authorization header is for the next handler, and stays.
//
// The URL, the headers and Caddy's original request are changed in place,
// because Caddy's placeholders ({query}, {http.request.orig_uri.query}) read
// those of the request that Caddy itself holds. The access log still has the
// URI that the client sent.
func (h *Webhook) withoutSecret(r *http.Request) *http.Request {
	if values := r.Header["Authorization"]; len(values) > 0 {
		values = slices.DeleteFunc(slices.Clone(values), func(v string) bool { return h.isSecret(shownIn(v)...) })
		if r.Header["Authorization"] = values; len(values) == 0 {
			r.Header.Del("Authorization")
		}
	}
	h.stripURL(r.URL)
	r.RequestURI = h.stripURI(r.RequestURI)
	original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok {
		return r
	}
	if original.URL != nil {
		h.stripURL(original.URL)
	}
	original.RequestURI = h.stripURI(original.RequestURI)
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Set("http.request.orig_uri", original.RequestURI)
	}
	return r.WithContext(context.WithValue(r.Context(), caddyhttp.OriginalRequestCtxKey, original))
}

func (h *Webhook) stripURL(u *url.URL) {
	if left := h.stripQuery(u.RawQuery); left != u.RawQuery {
		u.RawQuery = left
	}
}

func (h *Webhook) stripURI(uri string) string {
	path, query, ok := strings.Cut(uri, "?")
	if left := h.stripQuery(query); ok && left != query {
		if uri = path; left != "" {
			uri += "?" + left
		}
	}
	return uri
}

// stripQuery removes the parameters `secret` from a query, and leaves all others
// byte for byte. Some readers end a parameter at a semicolon too; to all others
// the semicolon is a part of a value. So between semicolons stripQuery removes a
// parameter only if it holds the secret.
func (h *Webhook) stripQuery(query string) string {
	var left strings.Builder
	kept := false
	for piece := range strings.SplitSeq(query, "&") {
		if name, _, _ := strings.Cut(piece, "="); isSecretParameter(name) {
			continue
		}
		parts := strings.Split(piece, ";")
		parts = append(parts[:1], slices.DeleteFunc(parts[1:], func(part string) bool {
			name, value, _ := strings.Cut(part, "=")
			value, err := url.QueryUnescape(value)
			return err == nil && isSecretParameter(name) && h.isSecret(value)
		})...)
		if kept {
			left.WriteByte('&')
		}
		kept = true
		left.WriteString(strings.Join(parts, ";"))
	}
	return left.String()
}

// isSecretParameter reports whether a name is that of the secret, however it is escaped.
func isSecretParameter(name string) bool {
	name, err := url.QueryUnescape(name)
	return err == nil && name == secretParameter
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
		h.events.Emit(telemetry.EventReply, map[string]any{
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
			telemetry.ObserveDelivery(after)
		}
		h.events.Emit(telemetry.EventReport, map[string]any{
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
	return request.WriteJSON(w, http.StatusOK, "application/json", struct {
		OK bool `json:"ok"`
	}{true})
}

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
