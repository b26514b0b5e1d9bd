package flow

import (
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-websms/websms/internal/cookies"
	"github.com/caddy-websms/websms/internal/firstfactor"
	"github.com/caddy-websms/websms/internal/pages"
	"github.com/caddy-websms/websms/internal/telemetry"
	"github.com/caddy-websms/websms/number"
	"github.com/caddy-websms/websms/otp"
)

// Flow serves the gate's own pages and endpoints, and denies requests without a
// session. Its exported fields are set before the first request, and do not change.
type Flow struct {
	Prefix  string // the path under which the endpoints lie
	Company string // the sender, as people read it
	Realm   string // of the configuration; "" if there is none
	WebOTP  string // the host that messages are bound to; "off", or "" for that of a request
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

	Log     *zap.Logger
	Sampled *zap.Logger // for lines that many clients cause: each text once a second
	Audit   *zap.Logger
	Crowded *zap.Logger // the audit log, sampled in the same way

	origin  *http.CrossOriginProtection
	streams *streams
}

// New returns f, ready for requests.
func New(f Flow) *Flow {
	f.origin, f.streams = http.NewCrossOriginProtection(), newStreams()
	return &f
}

// Close ends the open status streams, and those that begin later. A server waits for
// its requests before it stops, and a stream would last.
func (f *Flow) Close() { f.streams.close() }
