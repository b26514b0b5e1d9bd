package telemetry

import (
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-websms/websms/internal/logtext"
)

// Reason says why the webhook refuses a request.
type Reason int

// The reasons. The log has their names.
const (
	ReasonInvalidJSON  Reason = iota // the body is not JSON
	ReasonNoType                     // the body is not an object with a string "type"
	ReasonUnauthorized               // the secret is wrong or missing
	ReasonTooLarge                   // the body is larger than an event may be
	ReasonNotArrived                 // the body did not arrive in time, or the client broke off
	reasons
)

// String returns the name of the reason in the log.
func (r Reason) String() string {
	return [reasons]string{"invalid_json", "no_type", "unauthorized", "too_large", "not_arrived"}[r]
}

// maxContentType is how much of a Content-Type header the log shows, in bytes.
const maxContentType = 200

// Refusal is a request that the webhook refuses. It has no part of the body, and not the
// secret.
type Refusal struct {
	Reason      Reason
	ContentType string // as the client sent it
	Length      int    // the bytes of the body that were read
	ClientIP    string
}

// Refusals logs the requests that a webhook refuses. It writes at most one line a second
// for each reason, because any client can cause these lines. Many goroutines may use it
// at once. A nil Refusals logs nothing.
type Refusals struct {
	logger *zap.Logger
	now    func() time.Time
	last   [reasons]atomic.Int64 // when the latest line was written, in Unix nanoseconds
}

// NewRefusals returns Refusals that write to a log.
func NewRefusals(logger *zap.Logger, now func() time.Time) *Refusals {
	return &Refusals{logger: logger, now: now}
}

// Log writes one line, unless a line with the same reason was written less than a second
// ago.
func (l *Refusals) Log(refusal Refusal) {
	if l == nil {
		return
	}
	last, now := &l.last[refusal.Reason], l.now().UnixNano()
	before := last.Load()
	// The difference is negative if two goroutines come in another order than their
	// times. It is below a second then. After a step of the clock, it can be more.
	if before != 0 && time.Duration(now-before).Abs() < time.Second || !last.CompareAndSwap(before, now) {
		return
	}
	l.logger.Warn("webhook refused",
		zap.String("reason", refusal.Reason.String()), zap.String("content_type", logtext.Cut(refusal.ContentType, maxContentType)),
		zap.Int("length", refusal.Length), zap.String("client_ip", refusal.ClientIP))
}
