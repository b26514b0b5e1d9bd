package websms

import (
	"context"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/internal/logtext"
	"github.com/caddy-websms/websms/internal/telemetry"
	"github.com/caddy-websms/websms/otp"
)

// kindOf returns the type of an event for metrics. All unknown types count as one, so
// that a client cannot add labels.
func kindOf(event connexus.Event) string {
	switch event.(type) {
	case connexus.Reply:
		return telemetry.TypeReply
	case connexus.Report:
		return telemetry.TypeReport
	}
	return telemetry.TypeUnknown
}

// dedupeKey returns the key of an event. Two events with the same key are repetitions of
// each other. An event without a message ID has no key: dedupeKey returns nil.
func dedupeKey(event connexus.Event) []string {
	switch e := event.(type) {
	case connexus.Reply:
		if e.MessageID != "" {
			return []string{e.EventType(), e.MessageID, ""}
		}
	case connexus.Report:
		if e.MessageID != "" {
			code := e.Status // an event without a status code has only its text
			if e.HasStatusCode {
				code = strconv.Itoa(e.StatusCode)
			}
			if e.State() == connexus.StateExpired { // "expired" and "queued" have the same status code
				code += " expired"
			}
			return []string{e.EventType(), e.MessageID, code}
		}
	}
	return nil
}

// handle logs an event, emits it, and applies a delivery report to its challenge.
func (h *Webhook) handle(ctx context.Context, event connexus.Event) {
	switch e := event.(type) {
	case connexus.Reply:
		h.replies.Info("incoming reply",
			logged("message_id", e.MessageID), logged("from", e.From), logged("to", e.To), logged("body", e.Body),
			loggedTime(e.Timestamp), logged("encoding", e.Encoding), logged("network", e.Network))
		h.events.Emit(telemetry.EventReply, map[string]any{
			"message_id": bounded(e.MessageID), "from": bounded(e.From), "to": bounded(e.To), "body": bounded(e.Body),
			"timestamp": emittedTime(e.Timestamp),
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
		h.engine.Retry(e.MessageID, state, func(t otp.SecondTry) { h.sends.Record(telemetry.EntryOf(t), t.MessageID, t.Err) })
		h.events.Emit(telemetry.EventReport, map[string]any{
			"message_id": bounded(e.MessageID), "status": bounded(e.Status), "status_code": e.StatusCode,
			"state": state.String(), "timestamp": emittedTime(e.Timestamp),
		})
	case connexus.Unknown:
		h.logger.Warn("unknown webhook type", logged("type", e.Type))
	}
}

// maxLogged is the longest value of a field in the log, in bytes.
const maxLogged = 4 << 10

// logged returns a log field with at most maxLogged bytes of a value. The logger escapes
// it: see logtext.Escaping.
func logged(name, value string) zap.Field { return zap.String(name, bounded(value)) }

// bounded returns a value, cut to maxLogged bytes if it is longer.
func bounded(value string) string { return logtext.Cut(value, maxLogged) }

// loggedTime returns the log field with the time of an event. It is null if the event has
// no time.
func loggedTime(t time.Time) zap.Field {
	if t.IsZero() {
		return zap.Reflect("timestamp", nil)
	}
	return zap.Time("timestamp", t)
}

// emittedTime returns the time of an event for Caddy's events app, in RFC 3339. It is ""
// if the event has no time.
func emittedTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
