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
	"github.com/caddy-websms/websms/internal/logtext"
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

// Gate puts SMS verification in front of a web application. It passes only
// requests with a session. Other visitors are led to a form that asks for
// their mobile number, and then for the code that the gate sends to it by SMS.
// The right code starts a session.
//
// A request that passes carries the verified number in a request header, by
// default `X-Verified-Number`. No client can set this header itself. The gate
// also sets these placeholders:
//
// Placeholder | Description
// ------------|-------------
// `{http.auth.user.id}` | The user that a first factor named, or else the verified number
// `{http.auth.user.phone}` | The verified number, in E.164
// `{http.websms.number}` | The verified number, in E.164
// `{http.websms.verified_at}` | The time of the verification, in RFC 3339
// `{http.websms.means}` | The means of the verification: `sms` or `recovery_code`
//
// The gate serves its own pages and a JSON API under its prefix. No request
// under the prefix reaches the handlers behind the gate.
type Gate struct {
	// The sender's name in the message, for example "Kowhai Freight" in
	// "482174 is your Kowhai Freight verification code." 1 to 120 characters.
	// Required.
	Company string `json:"company,omitempty"`

	// A sentence that follows in the message, such as "Never share it." At most
	// 120 characters.
	Comment string `json:"comment,omitempty"`

	// The path of the gate's pages and its JSON API. Default: `/.websms`.
	Prefix string `json:"prefix,omitempty"`

	// The realm of the gate's sessions and limits. A session of one realm opens
	// no other realm. Limits, with the budget, count within one realm. At most
	// 120 characters.
	//
	// Default: the realm of a session is its domain, or else the host of the
	// request. The limits of all gates without a realm then count together,
	// because a client chooses the Host header. Gates with a second factor count
	// apart from those without.
	Realm string `json:"realm,omitempty"`

	// The form and life of codes.
	Code CodeConfig `json:"code,omitzero"`

	// The host that messages are bound to (WebOTP), or `off` for none. A browser
	// offers to fill in the code on that host only.
	//
	// Default: the host of a request over TLS. The TLS handshake must name that
	// host too. It must have at most 64 characters, and be in the site's address
	// or in a certificate that was not made on demand.
	WebOTP string `json:"web_otp,omitempty"`

	// Which numbers may ask for a code.
	Numbers NumbersConfig `json:"numbers,omitzero"`

	// Makes the code a second factor. A first factor in front of the gate names
	// the user, and the gate sends the code to the number of that user.
	SecondFactor *SecondFactorConfig `json:"second_factor,omitempty"`

	// How long a session lasts, and its cookie.
	Session SessionConfig `json:"session,omitzero"`

	// How many codes the gate sends, and how many wrong codes it takes.
	Limits LimitsConfig `json:"limits,omitzero"`

	// Matchers of the requests that pass without a session. A path that servers
	// read in several ways never does.
	BypassRaw caddyhttp.RawMatcherSets `json:"bypass,omitempty" caddy:"namespace=http.matchers"`

	// The request headers that tell the handlers behind the gate which number
	// and user were verified.
	Headers HeadersConfig `json:"headers,omitzero"`

	engine     *engine
	policy     otp.Policy
	numbers    *number.Policy
	second     *firstfactor.Resolver // nil: people type their number
	jar        cookies.Jar
	identity   identity.Headers
	bypass     caddyhttp.MatcherSets
	bypassSets caddyhttp.RawMatcherSets    // the value of BypassRaw, which LoadModule clears
	hosts      *atomic.Pointer[boundHosts] // holds nil until Caddy has started
	flow       *flow.Flow                  // the gate's own pages
	logger     *zap.Logger
	now        func() time.Time
}

// DefaultPrefix is the path of a gate's pages if the option prefix is missing.
const DefaultPrefix = "/.websms"

// CaddyModule returns the Caddy module information.
func (Gate) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.websms_otp",
		New: func() caddy.Module { return new(Gate) },
	}
}

// check returns an error if an option is missing or out of range. It loads nothing.
func (g *Gate) check() error { return within("websms_otp", g.checkOptions()) }

// checkOptions does the same, without the name of the directive in the error. The parser
// of the Caddyfile calls it, because its errors name the line.
func (g *Gate) checkOptions() error {
	if strings.TrimSpace(g.Company) == "" {
		return wrongf("company", "is missing: say who sends the code, as people are to read it in the message")
	}
	for _, o := range []struct{ option, text string }{{"company", g.Company}, {"comment", g.Comment}, {"realm", g.Realm}} {
		if strings.ContainsFunc(o.text, unicode.IsControl) || utf8.RuneCountInString(o.text) > maxText {
			return wrongf(o.option, "is too long, or of several lines: give at most %d characters on one line", maxText)
		}
		if strings.Contains(o.text, "{") {
			return wrongf(o.option,
				"holds a brace, and takes no placeholders: write the text itself, or {$NAME}, which is replaced while the Caddyfile is read")
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

// maxText is the most characters of a text that a message quotes. A realm has the same
// limit.
const maxText = 120

// prefix returns the option prefix, or its default.
func (g *Gate) prefix() string {
	if g.Prefix == "" {
		return DefaultPrefix
	}
	return g.Prefix
}

// Provision sets up the gate.
func (g *Gate) Provision(ctx caddy.Context) error {
	g.logger, g.now = logtext.Escaping(ctx.Logger()), clock.Now
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

// provision loads the app and everything that the options name. Call check first.
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
		if err := app.checkHosts(server); err != nil {
			return err
		}
		server.RegisterOnShutdown(g.flow.Close)
		server.RegisterOnShutdown(app.stopping)
	}
	app.gates = append(app.gates, g) // Caddy provisions one gate after the other
	return nil
}

// loadBypass loads the matchers of the option bypass. LoadModule clears BypassRaw, so
// bypassSets keeps its JSON for optionRisks.
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

// newFlow makes the flow, which serves the gate's own pages, and the jar. The flow and
// ServeHTTP read cookies with the same jar.
func (g *Gate) newFlow(ctx caddy.Context) error {
	shown, err := pages.New(g.Prefix, g.Company)
	if err != nil {
		return err
	}
	events, err := telemetry.NewEmitter(ctx, g.logger)
	if err != nil {
		return err
	}
	audit := logtext.Escaping(ctx.Logger(telemetry.AuditLog{}))
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

// ServeHTTP answers a request for one of the gate's own pages. It passes a request with
// a session, or one that bypass matches, to the next handler. It denies every other
// request.
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
			new(request.Cookies).Strip(r, g.jar.Own)
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
	answer := g.admit(r, &s).answer.On(w, cookie)
	telemetry.RequestsPassed.Inc()
	err := next.ServeHTTP(answer, r)
	if err == nil {
		answer.Begin() // in case no handler has written anything
		return nil
	}
	request.MakePrivate(w.Header()) // the routes of handle_errors write to w, not to answer
	w.Header()["Cache-Control"] = []string{"no-store"}
	return err
}

// passage holds all values that a gate adds to a passed request and to its answer. They
// are in one struct, so that a request costs one allocation.
type passage struct {
	identity identity.Values
	cookies  request.Cookies
	answer   request.Private
	issued   verifiedAt
}

// admit changes a verified request for the handlers behind the gate. It sets the
// identity headers and the placeholders, and removes the gate's cookies.
//
// The placeholders are set one by one and not by Replacer.Map. A Map comes after the
// values of the handlers in front of the gate, so a handler could write into the gate's
// names. And Map takes no lock, while the dialer of a reverse_proxy in front may still
// read the replacer.
func (g *Gate) admit(r *http.Request, s *session.Session) *passage {
	p := &passage{issued: verifiedAt(s.Issued.Unix())}
	g.identity.Admit(r, &p.identity, s.Number, s.User)
	p.cookies.Strip(r, g.jar.Own)
	var number any = s.Number // boxed once, for three placeholders
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if s.User != "" {
		repl.Set("http.auth.user.id", s.User)
	} else if _, named := repl.Get("http.auth.user.id"); !named { // a handler in front may have named the user
		repl.Set("http.auth.user.id", number)
	}
	repl.Set("http.auth.user.phone", number)
	repl.Set("http.websms.number", number)
	repl.Set("http.websms.means", meansValues[s.Means])
	repl.Set("http.websms.verified_at", &p.issued)
	return p
}

// meansValues are the values of the placeholder of the means: strings, so that
// expressions can compare them, and made once, so that no request allocates one.
var meansValues = func() (values [1 << 8]any) {
	for m := range values {
		values[m] = session.Means(m).String()
	}
	return values
}()

// verifiedAt is the value of the placeholder http.websms.verified_at, in seconds since
// 1970. Most requests do not use it, so String formats it only on demand.
type verifiedAt int64

// String returns the time in RFC 3339.
func (v *verifiedAt) String() string { return time.Unix(int64(*v), 0).UTC().Format(time.RFC3339) }

// admits reports whether the person of a session may still pass. The gate must allow
// the number today. With a second factor, the first factor must name the same user now,
// and the user must still have the same number. A session of a user does not pass a gate
// without a second factor.
func (g *Gate) admits(r *http.Request, n number.Number, user string) bool {
	if !g.numbers.Allowed(n) {
		return false
	}
	if g.second != nil {
		return g.second.Holds(r, user, n)
	}
	return user == ""
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Gate)(nil)
	_ caddyhttp.MiddlewareHandler = (*Gate)(nil)
)
