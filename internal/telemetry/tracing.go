package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
)

// StartSpan starts a span below the span of Caddy's tracing handler. Without that
// handler it starts none, and costs next to nothing. The caller must end the span. A
// span holds no number, user, address or code.
func StartSpan(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.SpanContext().IsValid() {
		return ctx, parent // a span that records nothing
	}
	return parent.TracerProvider().Tracer("github.com/caddy-websms/websms").Start(ctx, name, options...)
}

// NoteResult sets the attribute websms.result on the current span.
func NoteResult(ctx context.Context, result string) {
	trace.SpanFromContext(ctx).SetAttributes(attribute.String("websms.result", result))
}

// TracedSender is a client of the API that records a span for each send. Such a span may
// end after the request that caused it.
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
