package websms

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-websms/websms/internal/clock"
	"github.com/caddy-websms/websms/internal/cookies"
	"github.com/caddy-websms/websms/internal/firstfactor"
	"github.com/caddy-websms/websms/internal/flow"
	"github.com/caddy-websms/websms/internal/identity"
	"github.com/caddy-websms/websms/internal/pages"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/internal/risk"
	"github.com/caddy-websms/websms/internal/telemetry"
	"github.com/caddy-websms/websms/number"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

func init() {
	caddy.RegisterModule(Gate{})
}

// Gate lets only requests pass that hold a session: the proof that a code,
// sent by SMS to the number they belong to, came back. Anybody else is led to
// a form that asks for the number, and then for the code.
//
// What passes carries the number in a request header (X-Verified-Number by
// default), which nobody else can set, and in these placeholders:
//
// Placeholder | Description
// ------------|-------------
// `{http.auth.user.id}` | The user whom a first factor in front named, else the number
// `{http.auth.user.phone}` | The verified number, in E.164
// `{http.websms.number}` | The same
// `{http.websms.verified_at}` | When it was verified, in RFC 3339
// `{http.websms.means}` | How it was verified: `sms` or `recovery_code`
//
// The gate's own pages live under its prefix, of which nothing ever reaches
// the handlers behind it.
type Gate struct {
	// Who sends the code: "482174 is your <company> verification code."
	// Required.
	Company string `json:"company,omitempty"`

	// A sentence that follows in the message, such as "Never share it."
	Comment string `json:"comment,omitempty"`

	// The path under which the gate's pages and its JSON API live. Default: `/.websms`.
	Prefix string `json:"prefix,omitempty"`

	// Sessions of one realm do not open another, and limits, the budget too,
	// count within one. Default: the session's domain, if it has one, else the
	// host of each request; limits then count over all gates without a realm,
	// those with a second factor apart, because whoever asks chooses the Host
	// header.
	Realm string `json:"realm,omitempty"`

	// What codes are like.
	Code CodeConfig `json:"code,omitzero"`

	// The host that messages are bound to, so that browsers offer to fill in
	// the code (WebOTP), or `off`. Default: the host of a request over TLS, if
	// the TLS handshake named it too and this Caddy can prove that it is its
	// own. It is a host of the site's address, or one of a certificate that was
	// not made on demand, and has at most 64 characters.
	WebOTP string `json:"web_otp,omitempty"`

	// Which numbers may ask for a code.
	Numbers NumbersConfig `json:"numbers,omitzero"`

	// Makes the code a second factor: a first one in front of the gate has
	// named the user, and the user's number is known already.
	SecondFactor *SecondFactorConfig `json:"second_factor,omitempty"`

	// How long a verification lasts, and how it is remembered.
	Session SessionConfig `json:"session,omitzero"`

	// How many codes may be sent, and how many wrong ones may come back.
	Limits LimitsConfig `json:"limits,omitzero"`

	// Requests that are let through unverified.
	BypassRaw caddyhttp.RawMatcherSets `json:"bypass,omitempty" caddy:"namespace=http.matchers"`

	// How the handlers behind learn who was verified.
	Headers HeadersConfig `json:"headers,omitzero"`

	engine     *engine
	policy     otp.Policy
	numbers    *number.Policy
	second     *firstfactor.Resolver // nil: people type their number
	jar        cookies.Jar
	identity   identity.Headers
	bypass     caddyhttp.MatcherSets
	bypassSets caddyhttp.RawMatcherSets    // the JSON of bypass
	hosts      *atomic.Pointer[boundHosts] // holds nil until Caddy has started
	flow       *flow.Flow                  // the gate's own pages
	logger     *zap.Logger
	now        func() time.Time
}

// DefaultPrefix is where a gate's pages live unless it is told otherwise.
const DefaultPrefix = "/.websms"

// CaddyModule returns the Caddy module information.
func (Gate) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.websms_otp",
		New: func() caddy.Module { return new(Gate) },
	}
}

// check returns what is wrong with the options, without loading anything.
func (g *Gate) check() error { return within("websms_otp", g.checkOptions()) }

func (g *Gate) checkOptions() error {
	if strings.TrimSpace(g.Company) == "" {
		return wrongf("company", "is missing: say who sends the code, as people are to read it in the message")
	}
	for _, o := range []struct{ option, text string }{{"company", g.Company}, {"comment", g.Comment}, {"realm", g.Realm}} {
		if strings.ContainsFunc(o.text, unicode.IsControl) || utf8.RuneCountInString(o.text) > maxText {
			return wrongf(o.option, "is too long, or of several lines: give at most %d characters on one line", maxText)
		}
		if strings.Contains(o.text, "{") {
			return wrongf(o.option, "holds a brace, and takes no placeholders: write the text itself, or {$NAME}, which is replaced while the Caddyfile is read")
		}
	}
	if c := g.SecondFactor; c != nil {
		if err := within("second_factor", c.check()); err != nil {
			return err
		}
		if err := c.checkHeaders(g.Headers); err != nil {
			return err
		}
	}
	for _, err := range []error{
		checkPrefix(g.prefix()), checkWebOTP(g.WebOTP),
		within("code", g.Code.check()), within("numbers", g.Numbers.check()), within("session", g.Session.check()),
		within("limits", g.Limits.check()), within("headers", g.Headers.check()),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// maxText bounds what a message quotes, in characters.
const maxText = 120

func (g *Gate) prefix() string {
	if g.Prefix == "" {
		return DefaultPrefix
	}
	return g.Prefix
}

// Provision sets up the gate.
func (g *Gate) Provision(ctx caddy.Context) error {
	g.logger, g.now = ctx.Logger(), clock.Now
	g.Prefix = g.prefix()
	if err := g.check(); err != nil {
		return err
	}
	if err := g.provision(ctx); err != nil {
		return fmt.Errorf("websms_otp: %w", err)
	}
	risk.Log(g.logger, g.optionRisks())
	return nil
}

func (g *Gate) provision(ctx caddy.Context) error {
	loaded, err := ctx.App("websms")
	if err != nil {
		return err
	}
	app := loaded.(*App)
	if g.engine = app.engine; app.missing != nil {
		return app.missing
	}
	if g.numbers, err = g.numberPolicy(); err != nil {
		return err
	}
	if g.SecondFactor != nil {
		if g.second, err = g.SecondFactor.provision(ctx, g.numbers, g.logger, g.now); err != nil {
			return err
		}
	}
	g.identity = g.Headers.identity()
	g.identity.ByNumber = g.second == nil
	if err := g.loadBypass(ctx); err != nil {
		return fmt.Errorf("bypass: %w", err)
	}
	if err := g.newFlow(ctx); err != nil {
		return err
	}
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		server.RegisterOnShutdown(g.flow.Close)
		server.RegisterOnShutdown(app.stopping)
	}
	app.gates = append(app.gates, g) // Caddy provisions one gate after the other
	return nil
}

func (g *Gate) loadBypass(ctx caddy.Context) error {
	if g.BypassRaw == nil {
		return nil
	}
	g.bypassSets = slices.Clone(g.BypassRaw)
	matchers, err := ctx.LoadModule(g, "BypassRaw")
	if err != nil {
		return err
	}
	return g.bypass.FromInterface(matchers)
}

// flow.New makes the gate's own pages, and the jar that both they and ServeHTTP read
// cookies with.
func (g *Gate) newFlow(ctx caddy.Context) error {
	shown, err := pages.New(g.Prefix, g.Company)
	if err != nil {
		return err
	}
	events, err := telemetry.NewEmitter(ctx, g.logger)
	if err != nil {
		return err
	}
	audit := ctx.Logger(telemetry.AuditLog{})
	sampling := zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Second, 1, 0)
	})
	g.hosts = new(atomic.Pointer[boundHosts])
	g.policy = g.challengePolicy()
	g.jar = cookies.Jar{
		Names: g.Session.cookies(), Realm: g.Realm, Vault: g.engine.vault, Life: g.Session.life(), Log: g.logger, Admits: g.admits,
	}
	g.flow = flow.New(flow.Flow{
		Prefix: g.Prefix, Company: g.Company, Realm: g.Realm, WebOTP: g.WebOTP,
		Proves: func(host string) bool { return g.hosts.Load().proves(host) },
		Engine: g.engine.Engine, Policy: g.policy, Jar: &g.jar, Numbers: g.numbers, FirstFactor: g.second,
		Pages: shown, Events: events, Now: g.now,
		Log: g.logger, Sampled: g.logger.WithOptions(sampling), Audit: audit, SampledAudit: audit.WithOptions(sampling),
	})
	return nil
}

// ServeHTTP decides what becomes of a request: one of our own pages, through
// to the next handler, or challenged.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	g.identity.Scrub(r)
	if own := request.OwnURL(r, g.Prefix); own != nil {
		return g.flow.ServeOwn(w, r, own)
	}
	if len(g.bypass) > 0 && request.DoubtOf(r) == request.Plain {
		match, err := g.bypass.AnyMatchWithError(r)
		if err != nil {
			return caddyhttp.Error(http.StatusInternalServerError, fmt.Errorf("websms_otp: bypass: %w", err))
		}
		if match {
			request.StripCookies(r, g.jar.Own)
			telemetry.RequestsBypassed.Inc()
			return next.ServeHTTP(w, r)
		}
	}
	if !g.flow.Ready() {
		return g.flow.RefuseUnready(w, r, request.IsNavigation(r))
	}
	b := g.jar.Browser(w, r, g.now())
	s, ok := b.Session()
	if !ok {
		return g.flow.Deny(w, r)
	}
	cookie := ""
	if g.jar.Life.Stale(&s, b.Now) {
		cookie = b.Renewal(s)
	}
	g.admit(r, &s)
	telemetry.RequestsPassed.Inc()
	answer := request.KeepPrivate(w, cookie)
	err := next.ServeHTTP(answer, r)
	if err == nil {
		answer.Begin() // in case no handler has written anything
		return nil
	}
	request.MakePrivate(w.Header()) // handle_errors answers now, and not through answer
	w.Header()["Cache-Control"] = []string{"no-store"}
	return err
}

// admit makes r what the handlers behind us are to see of a verified request.
func (g *Gate) admit(r *http.Request, s *session.Session) {
	g.identity.Admit(r, s.Number, s.User)
	request.StripCookies(r, g.jar.Own)
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if s.User != "" {
		repl.Set("http.auth.user.id", s.User)
	} else if _, named := repl.Get("http.auth.user.id"); !named { // by a first factor in front of us
		repl.Set("http.auth.user.id", s.Number)
	}
	repl.Set("http.auth.user.phone", s.Number)
	repl.Set("http.websms.number", s.Number)
	repl.Set("http.websms.means", meansValues[s.Means])
	repl.Set("http.websms.verified_at", verifiedAt(s.Issued.Unix()))
}

// meansValues are the values of the placeholder of the means. They are strings,
// so that expressions can compare them, made once, so that no request allocates one.
var meansValues = func() (values [1 << 8]any) {
	for m := range values {
		values[m] = session.Means(m).String()
	}
	return values
}()

// verifiedAt is the value of a placeholder that is formatted only where it is used.
type verifiedAt int64

func (v verifiedAt) String() string { return time.Unix(int64(v), 0).UTC().Format(time.RFC3339) }

// admits reports whether the person of a session may still pass: the number is
// allowed today, and with a second factor the first one names the same user now, to
// whom the configuration gives the same number. A session of a user does not pass a
// gate without a second factor.
func (g *Gate) admits(r *http.Request, s *session.Session) bool {
	n := number.Number{E164: s.Number, Region: s.Region}
	if !g.numbers.Allowed(n) {
		return false
	}
	if g.second != nil {
		return g.second.Holds(r, s.User, n)
	}
	return s.User == ""
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Gate)(nil)
	_ caddyhttp.MiddlewareHandler = (*Gate)(nil)
)
