package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
)

// StartSpan begins a span under the one that Caddy's tracing handler has begun
// for the request, with that one's provider; without one it costs next to
// nothing. A span holds no number, user, address or code.
func StartSpan(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.SpanContext().IsValid() {
		return ctx, parent // which does nothing
	}
	return parent.TracerProvider().Tracer("github.com/caddy-websms/websms").Start(ctx, name, options...)
}

// NoteResult says on the span that is open what came of it.
func NoteResult(ctx context.Context, result string) {
	trace.SpanFromContext(ctx).SetAttributes(attribute.String("websms.result", result))
}

// TracedSender shows the calls of the API as spans, which end after the request
// that asked for them.
type TracedSender struct{ *connexus.Client }

// SendOTP implements otp.Sender.
func (s TracedSender) SendOTP(ctx context.Context, m connexus.OTP) (connexus.Receipt, error) {
	ctx, span := StartSpan(ctx, "websms api "+connexus.EndpointOTP, trace.WithSpanKind(trace.SpanKindClient))
	defer span.End()
	receipt, err := s.Client.SendOTP(ctx, m)
	NoteResult(ctx, SendResult(err))
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	return receipt, err
}

// Interface guard
var _ otp.Sender = TracedSender{}
