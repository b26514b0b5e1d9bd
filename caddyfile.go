package websms

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-websms/websms/internal/block"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("websms", parseApp)
	httpcaddyfile.RegisterDirective("websms_otp", parseGate)
	httpcaddyfile.RegisterHandlerDirective("websms_webhook", parseWebhook)
	// The gate runs after a first factor. The webhook runs before it, because WebSMS
	// shows the webhook's secret and not the credentials of a first factor.
	httpcaddyfile.RegisterDirectiveOrder("websms_otp", httpcaddyfile.After, "forward_auth")
	httpcaddyfile.RegisterDirectiveOrder("websms_webhook", httpcaddyfile.Before, "basic_auth")
}

// parseApp reads the global option. Syntax:
//
//	websms {
//		client_id     <id>
//		client_secret <secret>
//		base_url      <url>
//		timeout       <duration>
//		sandbox
//		store <module> [{ … }]
//	}
func parseApp(d *caddyfile.Dispenser, existing any) (any, error) {
	app := new(App)
	d.Next() // its name
	if existing != nil {
		return nil, block.At(d, "websms", errors.New("this global option is written twice: put all in one block"))
	}
	if d.NextArg() {
		return nil, block.At(d, "websms", block.ErrInline)
	}
	err := block.Read(d, "websms", block.Options{
		"client_id":     block.Text(&app.ClientID),
		"client_secret": block.Text(&app.ClientSecret),
		"base_url":      block.Text(&app.BaseURL),
		"timeout":       block.Duration(&app.Timeout),
		"sandbox":       block.Flag(&app.Sandbox),
		"store":         app.parseStore,
	}, app.check)
	if err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "websms", Value: caddyconfig.JSON(app, nil)}, nil
}

// parseStore reads the option store and the block of the store's module.
func (a *App) parseStore(d *caddyfile.Dispenser) error {
	var name string
	if err := block.Text(&name)(d); err != nil {
		return err
	}
	var err error
	a.StoreRaw, err = guest(d, "store", stores, name, "")
	return err
}

// parseGate reads the directive of a gate. Syntax: see Gate.UnmarshalCaddyfile.
// If a matcher restricts the gate, its route also serves the gate's own prefix, and
// doubtful paths that the matcher could mean. A second route removes the identity
// headers from all other requests of the site.
func parseGate(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	if !h.Next() {
		return nil, h.ArgErr()
	}
	if err := checkNamedRoute(h, "websms_otp"); err != nil {
		return nil, err
	}
	matcher, err := gateMatcher(h)
	if err != nil {
		return nil, h.WrapErr(err)
	}
	gate := new(Gate)
	if err := gate.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	values := h.NewRoute(matcher, gate)
	if matcher == nil || len(values) == 0 {
		return values, nil
	}
	route := values[0].Value.(caddyhttp.Route)
	own := caddyhttp.MatchPath{gate.prefix(), gate.prefix() + "/*"}
	route.MatcherSetsRaw = append(route.MatcherSetsRaw, caddy.ModuleMap{"path": h.JSON(own)})
	judges, err := judgesPath(matcher)
	if err != nil {
		return nil, h.WrapErr(err)
	}
	if judges {
		both := MatchDoubtful{SetsRaw: caddyhttp.RawMatcherSets{matcher}}
		route.MatcherSetsRaw = append(route.MatcherSetsRaw, caddy.ModuleMap{"websms_doubtful": h.JSON(both)})
	}
	values[0].Value = route
	others := caddy.ModuleMap{"not": h.JSON(route.MatcherSetsRaw)}
	return append(values, h.NewRoute(others, &Identity{Headers: gate.Headers})...), nil
}

// gateMatcher returns the matcher on the directive's line, or nil. A path
// `/x/*` there also stands for `/x`, which applications serve as the same page.
func gateMatcher(h httpcaddyfile.Helper) (caddy.ModuleMap, error) {
	line := *h.Dispenser
	inline := line.NextArg() && strings.HasPrefix(line.Val(), "/")
	matcher, err := h.ExtractMatcherSet()
	if err != nil || !inline {
		return matcher, err
	}
	var paths caddyhttp.MatchPath
	if json.Unmarshal(matcher["path"], &paths) != nil || len(paths) != 1 {
		return matcher, nil
	}
	if folder, ok := strings.CutSuffix(paths[0], "/*"); ok && folder != "" {
		matcher["path"] = h.JSON(append(paths, folder))
	}
	return matcher, nil
}

// UnmarshalCaddyfile reads a gate. Syntax:
//
//	websms_otp [<matcher>] {
//		company <name>
//		comment <text>
//		prefix  <path>
//		realm   <name>
//		code {
//			length   <digits>
//			ttl      <duration>
//			attempts <n>
//			source   local|websms
//		}
//		web_otp <host>|off
//		numbers {
//			countries  <iso>…
//			allow      <number>…
//			allow_file <path>
//		}
//		second_factor {
//			user      <placeholder>
//			phone     <placeholder>
//			directory <path> | <module> [<args>…] [{ … }]
//		}
//		session {
//			ttl      <duration>
//			idle     <duration>
//			cookie   <name>
//			domain   <domain>
//			remember <duration>
//		}
//		limits {
//			per_number   <count>/<duration>…
//			per_ip       <count>/<duration>…
//			budget       <count>/<duration>…
//			cooldown     <duration>
//			lockout      <failures> <duration>
//			max_failures <failures>
//		}
//		bypass { <matchers> }
//		headers {
//			number <header>
//			user   <header>
//		}
//	}
func (g *Gate) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // its name
	if d.NextArg() {
		return block.At(d, "websms_otp", errDirective)
	}
	return block.Read(d, "websms_otp", block.Options{
		"company": block.Text(&g.Company),
		"comment": block.Text(&g.Comment),
		"prefix":  block.Text(&g.Prefix),
		"realm":   block.Text(&g.Realm),
		"web_otp": block.Text(&g.WebOTP),
		// The checks are closures, because they read the options after the block.
		"code": block.Sub(block.Options{
			"length":   block.Whole(&g.Code.Length),
			"ttl":      block.Duration(&g.Code.TTL),
			"attempts": block.Whole(&g.Code.Attempts),
			"source":   block.Text(&g.Code.Source),
		}, func() error { return g.Code.check() }),
		"numbers": block.Sub(block.Options{
			"countries":  block.Texts(&g.Numbers.Countries),
			"allow":      block.Texts(&g.Numbers.Allow),
			"allow_file": block.Text(&g.Numbers.AllowFile),
		}, func() error { return g.Numbers.check() }, "allow"),
		"second_factor": parseSecondFactor(&g.SecondFactor),
		"session": block.Sub(block.Options{
			"ttl":      block.Duration(&g.Session.TTL),
			"idle":     block.DurationOrNone(&g.Session.Idle),
			"cookie":   block.Text(&g.Session.Cookie),
			"domain":   block.Text(&g.Session.Domain),
			"remember": block.Duration(&g.Session.Remember),
		}, func() error { return g.Session.check() }),
		"limits": block.Sub(block.Options{
			"per_number":   rateList(&g.Limits.PerNumber),
			"per_ip":       rateList(&g.Limits.PerIP),
			"budget":       rateList(&g.Limits.Budget),
			"cooldown":     block.DurationOrNone(&g.Limits.Cooldown),
			"lockout":      g.Limits.parseLockout,
			"max_failures": block.Whole(&g.Limits.MaxFailures),
		}, func() error { return g.Limits.check() }),
		"bypass": g.parseBypass,
		"headers": block.Sub(block.Options{
			"number": block.Text(&g.Headers.Number),
			"user":   block.Text(&g.Headers.User),
		}, func() error { return g.Headers.check() }),
	}, g.checkOptions)
}

// parseLockout reads the option lockout: a count of wrong codes in a row, and the time
// that they lock a number for.
func (l *LimitsConfig) parseLockout(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 2 {
		return errors.New("lockout takes two values, such as 10 30m: so many wrong codes in a row, and for how long they lock a number")
	}
	failures, err := strconv.Atoi(args[0])
	if err != nil || failures == 0 {
		return fmt.Errorf("lockout is after %q wrong codes: give a whole number above 0", args[0])
	}
	length, err := caddy.ParseDuration(args[1])
	if err != nil || length <= 0 {
		return fmt.Errorf("lockout is for %q: give a duration with its unit, such as 30m", args[1])
	}
	l.Lockout = LockoutConfig{Failures: failures, Duration: caddy.Duration(length)}
	return nil
}

// rateList reads an option with one or more rates.
func rateList(into *[]Rate) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option, args := d.Val(), d.RemainingArgs()
		if len(args) == 0 {
			return fmt.Errorf("%s has no value: %s", option, rateHelp)
		}
		for _, arg := range args {
			var r Rate
			if err := r.UnmarshalText([]byte(arg)); err != nil {
				return fmt.Errorf("%s: %w", option, err)
			}
			*into = append(*into, r)
		}
		return nil
	}
}

// parseBypass reads a block of matchers. A request is bypassed if all of them match.
func (g *Gate) parseBypass(d *caddyfile.Dispenser) error {
	option, names := *d, *d
	if d.NextArg() {
		return errors.New("bypass: its matchers stand in a block, { … }, and not on its line")
	}
	for nesting := names.Nesting(); names.NextBlock(nesting); names.NextSegment() {
		if _, err := caddy.GetModule("http.matchers." + names.Val()); err != nil && !names.Token().Quoted() {
			return block.At(&names, "bypass", fmt.Errorf(
				"%q is not a matcher: give one, such as path or remote_ip, or an expression in backticks", names.Val()))
		}
	}
	set, err := caddyhttp.ParseCaddyfileNestedMatcherSet(d)
	if err != nil {
		return block.Placed(err)
	}
	if len(set) == 0 {
		return block.At(&option, "websms_otp", errors.New(
			"bypass holds no matcher, which would let everybody through: give one, or remove the option"))
	}
	g.BypassRaw = caddyhttp.RawMatcherSets{set}
	return nil
}

// parseWebhook reads the directive of a webhook. Syntax: see Webhook.UnmarshalCaddyfile.
func parseWebhook(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	if err := checkNamedRoute(h, "websms_webhook"); err != nil {
		return nil, err
	}
	webhook := new(Webhook)
	return webhook, webhook.UnmarshalCaddyfile(h.Dispenser)
}

// checkNamedRoute returns an error if Caddy would keep only one directive of the named
// route around a directive of this plugin. The gate could be gone without a trace.
func checkNamedRoute(h httpcaddyfile.Helper, directive string) error {
	name := block.CutNamedRoute(h)
	if name == "" {
		return nil
	}
	return block.At(h.Dispenser, directive, fmt.Errorf("stands in the named route &(%s) with other directives, "+
		"of which Caddy keeps only the first: wrap all of them in one route, as in &(%s) { route { … } }", name, name))
}

// UnmarshalCaddyfile reads a webhook. Syntax:
//
//	websms_webhook [<matcher>] {
//		secret <secret>
//		dedupe <duration>
//		passthrough
//	}
func (h *Webhook) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // its name
	if d.NextArg() {
		return block.At(d, "websms_webhook", errDirective)
	}
	return block.Read(d, "websms_webhook", block.Options{
		"secret":      block.Text(&h.Secret),
		"dedupe":      block.Duration(&h.Dedupe),
		"passthrough": block.Flag(&h.Passthrough),
	}, h.check)
}

// errDirective refuses a value on the line of a directive.
var errDirective = fmt.Errorf("%w; a matcher begins with @ or /, or is *", block.ErrInline)

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*Gate)(nil)
	_ caddyfile.Unmarshaler = (*Webhook)(nil)
)
