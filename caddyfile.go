package websms

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("websms", parseApp)
	httpcaddyfile.RegisterDirective("websms_otp", parseGate)
	httpcaddyfile.RegisterHandlerDirective("websms_webhook", parseWebhook)
	// The gate runs behind a first factor. The webhook has a secret of its
	// own, which a first factor would not know.
	httpcaddyfile.RegisterDirectiveOrder("websms_otp", httpcaddyfile.After, "forward_auth")
	httpcaddyfile.RegisterDirectiveOrder("websms_webhook", httpcaddyfile.Before, "basic_auth")
}

// options are what a block may hold: how each option's line is read.
type options map[string]func(d *caddyfile.Dispenser) error

// block reads the block that d stands before. Each option may stand in it
// once, but for the repeatable ones; check judges what they amount to, so that
// a bad value is reported at its line.
func block(d *caddyfile.Dispenser, of string, known options, check func() error, repeatable ...string) error {
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		read, ok := known[name]
		if !ok {
			return d.Errf("%s: unknown option %q: it knows %s", of, name, strings.Join(names(known), ", "))
		}
		if seen[name] && !slices.Contains(repeatable, name) {
			return d.Errf("%s: option %q stands here twice: keep one of them", of, name)
		}
		seen[name] = true
		if err := read(d); err != nil {
			return err
		}
		if d.NextArg() {
			return d.Errf("%s: %s: %q is one argument too many", of, name, d.Val())
		}
		if check == nil {
			continue
		}
		if err := check(); err != nil {
			return d.Errf("%s: %v", of, err)
		}
	}
	return nil
}

func names(known options) []string {
	var list []string
	for name := range known {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// text reads an option with one argument.
func text(into *string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option := d.Val()
		if !d.NextArg() {
			return d.Errf("%s: its value is missing", option)
		}
		if *into = d.Val(); *into == "" {
			return d.Errf("%s: its value is empty: give one, or leave the option out", option)
		}
		return nil
	}
}

// texts reads an option with one or more arguments.
func texts(into *[]string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option, args := d.Val(), d.RemainingArgs()
		if len(args) == 0 {
			return d.Errf("%s: its values are missing", option)
		}
		*into = append(*into, args...)
		return nil
	}
}

func whole(into *int) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option, value := d.Val(), ""
		if err := text(&value)(d); err != nil {
			return err
		}
		n, err := strconv.Atoi(value)
		if err != nil || n == 0 { // 0 would mean the default, which nobody who writes it means
			return d.Errf("%s: %q: give a whole number above 0", option, value)
		}
		*into = n
		return nil
	}
}

func duration(set func(caddy.Duration), zero bool) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option, value := d.Val(), ""
		if err := text(&value)(d); err != nil {
			return err
		}
		parsed, err := caddy.ParseDuration(value)
		if err != nil || parsed < 0 || parsed == 0 && !zero {
			return d.Errf("%s: %q: give a duration with its unit, such as 30s, 5m or 12h", option, value)
		}
		set(caddy.Duration(parsed))
		return nil
	}
}

func some(into *caddy.Duration) func(*caddyfile.Dispenser) error {
	return duration(func(v caddy.Duration) { *into = v }, false)
}

func someOrNone(into **caddy.Duration) func(*caddyfile.Dispenser) error {
	return duration(func(v caddy.Duration) { *into = &v }, true)
}

func flag(into *bool) func(*caddyfile.Dispenser) error {
	return func(*caddyfile.Dispenser) error { *into = true; return nil }
}

func rateList(into *[]Rate) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option, args := d.Val(), d.RemainingArgs()
		if len(args) == 0 {
			return d.Errf("%s: %s", option, rateHelp)
		}
		for _, arg := range args {
			var r Rate
			if err := r.UnmarshalText([]byte(arg)); err != nil {
				return d.Errf("%s: %v", option, err)
			}
			*into = append(*into, r)
		}
		return nil
	}
}

// sub reads an option that has nothing but a block.
func sub(known options, check func() error, repeatable ...string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option := d.Val()
		if d.NextArg() {
			return d.Errf("%s: %q: its options stand in a block, { … }", option, d.Val())
		}
		return block(d, option, known, check, repeatable...)
	}
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
	if existing != nil {
		return nil, d.Err("websms: this global option stands here twice: keep one of them")
	}
	app := new(App)
	d.Next() // its name
	if d.NextArg() {
		return nil, d.Errf("websms: %q: its options stand in a block, { … }", d.Val())
	}
	err := block(d, "websms", options{
		"client_id":     text(&app.ClientID),
		"client_secret": text(&app.ClientSecret),
		"base_url":      text(&app.BaseURL),
		"timeout":       some(&app.Timeout),
		"sandbox":       flag(&app.Sandbox),
		"store":         app.parseStore,
	}, app.check)
	if err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "websms", Value: caddyconfig.JSON(app, nil)}, nil
}

func (a *App) parseStore(d *caddyfile.Dispenser) error {
	var name string
	if err := text(&name)(d); err != nil {
		return err
	}
	id := "websms.stores." + name
	if _, err := caddy.GetModule(id); err != nil {
		var built []string
		for _, m := range caddy.GetModules("websms.stores") {
			built = append(built, m.ID.Name())
		}
		return d.Errf("store: %q is not built into this Caddy, which has: %s", name, strings.Join(built, ", "))
	}
	store, err := caddyfile.UnmarshalModule(d, id)
	if err != nil {
		return err
	}
	a.StoreRaw = caddyconfig.JSONModuleObject(store, "module", name, nil)
	return nil
}

// UnmarshalCaddyfile reads the memory store. Syntax:
//
//	memory {
//		capacity <challenges>
//	}
func (s *MemoryStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // its name
	if d.NextArg() {
		return d.Errf("store memory: %q: its options stand in a block, { … }", d.Val())
	}
	return block(d, "store memory", options{"capacity": whole(&s.Capacity)}, s.Validate)
}

// parseGate reads the directive of a gate. Syntax: see Gate.UnmarshalCaddyfile.
// The route that a matcher restricts serves the gate's own prefix as well.
func parseGate(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	if !h.Next() {
		return nil, h.ArgErr()
	}
	matcher, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	gate := new(Gate)
	if err := gate.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	values := h.NewRoute(matcher, gate)
	if matcher != nil && len(values) > 0 {
		route := values[0].Value.(caddyhttp.Route)
		route.MatcherSetsRaw = append(route.MatcherSetsRaw, caddy.ModuleMap{
			"path": h.JSON(caddyhttp.MatchPath{gate.prefix(), gate.prefix() + "/*"}),
		})
		values[0].Value = route
	}
	return values, nil
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
//		session {
//			ttl      <duration>
//			idle     <duration>
//			cookie   <name>
//			domain   <domain>
//			remember <duration>
//		}
//		limits {
//			per_number <count>/<duration>…
//			budget     <count>/<duration>…
//			cooldown   <duration>
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
		return d.Errf("websms_otp: %q: its options stand in a block, { … }; a matcher begins with @, / or is *", d.Val())
	}
	err := block(d, "websms_otp", options{
		"company": text(&g.Company),
		"comment": text(&g.Comment),
		"prefix":  text(&g.Prefix),
		"realm":   text(&g.Realm),
		"web_otp": text(&g.WebOTP),
		"code": sub(options{
			"length":   whole(&g.Code.Length),
			"ttl":      some(&g.Code.TTL),
			"attempts": whole(&g.Code.Attempts),
			"source":   text(&g.Code.Source),
		}, func() error { return g.Code.check() }),
		"numbers": sub(options{
			"countries":  texts(&g.Numbers.Countries),
			"allow":      texts(&g.Numbers.Allow),
			"allow_file": text(&g.Numbers.AllowFile),
		}, nil, "allow"),
		"session": sub(options{
			"ttl":      some(&g.Session.TTL),
			"idle":     someOrNone(&g.Session.Idle),
			"cookie":   text(&g.Session.Cookie),
			"domain":   text(&g.Session.Domain),
			"remember": some(&g.Session.Remember),
		}, nil),
		"limits": sub(options{
			"per_number": rateList(&g.Limits.PerNumber),
			"budget":     rateList(&g.Limits.Budget),
			"cooldown":   someOrNone(&g.Limits.Cooldown),
		}, func() error { return g.Limits.check() }),
		"bypass": g.parseBypass,
		"headers": sub(options{
			"number": text(&g.Headers.Number),
			"user":   text(&g.Headers.User),
		}, func() error { return g.Headers.check() }),
	}, g.checkSoFar)
	if err != nil {
		return err
	}
	if err := g.check(); err != nil { // what only the whole can tell: a missing company
		return d.Err(err.Error())
	}
	return nil
}

// checkSoFar is check for a gate whose block is still being read.
func (g *Gate) checkSoFar() error {
	partial := *g
	if partial.Company == "" {
		partial.Company = "to come"
	}
	if err := partial.check(); err != nil {
		return fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "websms_otp: "))
	}
	return nil
}

func (g *Gate) parseBypass(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Errf("bypass: %q: its matchers stand in a block, { … }", d.Val())
	}
	set, err := caddyhttp.ParseCaddyfileNestedMatcherSet(d)
	if err != nil {
		return err
	}
	if len(set) == 0 {
		return d.Err("bypass: it holds no matcher, which would let everybody through: give one, or leave it out")
	}
	g.BypassRaw = caddyhttp.RawMatcherSets{set}
	return nil
}

// parseWebhook reads the directive of a webhook. Syntax: see Webhook.UnmarshalCaddyfile.
func parseWebhook(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	webhook := new(Webhook)
	return webhook, webhook.UnmarshalCaddyfile(h.Dispenser)
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
		return d.Errf("websms_webhook: %q: its options stand in a block, { … }; a matcher begins with @, / or is *", d.Val())
	}
	err := block(d, "websms_webhook", options{
		"secret":      text(&h.Secret),
		"dedupe":      some(&h.Dedupe),
		"passthrough": flag(&h.Passthrough),
	}, h.check)
	if err != nil {
		return err
	}
	if h.Secret == "" {
		return d.Err("websms_webhook: secret is missing: without it anybody could post delivery reports; give {env.WEBSMS_WEBHOOK_SECRET}")
	}
	return nil
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*Gate)(nil)
	_ caddyfile.Unmarshaler = (*Webhook)(nil)
	_ caddyfile.Unmarshaler = (*MemoryStore)(nil)
)
