// Package flow serves the gate's own pages and JSON endpoints, and denies requests
// without a session. Each endpoint has a file; routing.go has the table of endpoints.
// The gate decides which requests pass, and calls this package for all others.
package flow

import (
	"time"

	"go.uber.org/zap"

	"github.com/caddy-websms/websms/internal/cookies"
	"github.com/caddy-websms/websms/internal/firstfactor"
	"github.com/caddy-websms/websms/internal/pages"
	"github.com/caddy-websms/websms/internal/telemetry"
	"github.com/caddy-websms/websms/number"
	"github.com/caddy-websms/websms/otp"
)

// Flow serves the endpoints of one gate. The caller sets the exported fields before
// New, and nothing changes them afterwards.
type Flow struct {
	Prefix  string // the path under which the endpoints lie
	Company string // the sender that people read in the message
	Realm   string // the configured realm; "" if there is none
	WebOTP  string // the host that messages are bound to; "off" for none, "" for the host of the request

	// Proves reports whether this Caddy can prove that a host is its own.
	Proves func(host string) bool

	Engine      *otp.Engine
	Policy      otp.Policy
	Jar         *cookies.Jar
	Numbers     *number.Policy
	FirstFactor *firstfactor.Resolver // nil: people type their number
	Pages       *pages.Pages
	Events      *telemetry.Emitter
	Now         func() time.Time

	Log          *zap.Logger
	Sampled      *zap.Logger // for lines that many clients cause: each text once a second
	Audit        *zap.Logger
	SampledAudit *zap.Logger // the audit log, sampled in the same way

	streams *streams
}

// New returns a copy of f that is ready for requests.
func New(f Flow) *Flow {
	f.streams = newStreams()
	return &f
}

// Close ends the open status streams, and every stream that begins later. A server
// waits for its requests before it stops, and a stream can last ten minutes. Close may
// be called more than once.
func (f *Flow) Close() { f.streams.close() }
