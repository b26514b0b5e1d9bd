package websms

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/internal/risk"
	"github.com/caddy-websms/websms/internal/routes"
)

// manyCodes is a number of codes an hour. A budget above it costs more than a
// gate's owner is likely to expect.
const manyCodes = 10_000

// optionRisks returns the risks that follow from the gate's options alone.
func (g *Gate) optionRisks() (list []risk.Risk) {
	add := func(text, do string) { list = append(list, risk.Risk{Text: text, Do: do}) }
	if g.Code.Length != 0 && g.Code.Length < 6 {
		add("codes are shorter than 6 digits, which NIST SP 800-63B asks for", "remove code length")
	}
	if ttl := time.Duration(g.Session.TTL); ttl > 24*time.Hour {
		add("sessions last longer than 24h, which NIST SP 800-63B allows at AAL2", "shorten session ttl, which is "+short(ttl))
	}
	if g.SecondFactor != nil {
		for _, text := range g.SecondFactor.warnings() {
			add(text, "name what the first factor itself sets")
		}
	}
	policy := g.numbers
	if policy == nil { // the gate is not provisioned; loading it reports a mistake in the list
		policy, _ = g.numberPolicy()
	}
	if policy != nil && policy.Restricted() && policy.Len() == 0 {
		add("the list of allowed numbers is empty: nobody will get a code", "add numbers to numbers allow or allow_file")
	}
	hourly := 0
	for _, r := range g.Limits.Budget {
		hourly = max(hourly, int(float64(r.Count)*float64(time.Hour)/float64(r.Window)))
	}
	if hourly > manyCodes {
		add(fmt.Sprintf("its budget allows %d codes an hour, and each is billed", hourly),
			"lower limits budget to what you would pay for an attack")
	}
	if lock := g.Limits.lockout(); lock.Count > 0 && lock.Max > 0 && lock.Count > lock.Max {
		add("lockout has a higher count than max_failures, so it never acts, and an operator must unlock each number",
			"lower the count of lockout")
	}
	if g.WebOTP == "off" {
		list = append(list, risk.Risk{
			Text: "web_otp is off: browsers do not offer to fill in the code, and do not refuse it to a site that imitates yours",
			Do:   "remove web_otp", Note: true,
		})
	}
	list = append(list, risk.OfTexts(g.sample(""))...)
	if r, long := risk.TooLong(g.sample("")); long {
		list = append(list, r)
	}
	sets := g.BypassRaw
	if sets == nil { // the gate is provisioned
		sets = g.bypassSets
	}
	return append(list, routes.BypassRisks(sets)...)
}

// sample returns a message of the gate, with zeros as its code. host is the host that it
// is bound to if the option web_otp is missing, or "".
func (g *Gate) sample(host string) connexus.OTP {
	m := connexus.OTP{Company: g.Company, Comment: g.Comment, Code: strings.Repeat("0", cmp.Or(g.Code.Length, 6)), WebOTPDomain: host}
	if g.WebOTP != "" {
		m.WebOTPDomain = strings.TrimPrefix(g.WebOTP, "off")
	}
	return m
}

// placeRisks returns the risks that follow from the gate's place in the routes.
func (g *Gate) placeRisks(at *routes.Place) (list []risk.Risk) {
	add := func(text, do string) { list = append(list, risk.Risk{Text: text, Do: do}) }
	note := func(text, do string) { list = append(list, risk.Risk{Text: text, Do: do, Note: true}) }
	for _, folder := range at.OpenFolders() {
		add(fmt.Sprintf("its matcher holds %s/* and not %s, which applications serve as the same page: it is open", folder, folder),
			fmt.Sprintf("write path %s %s/*", folder, folder))
	}
	if around := at.Around(); around != "" {
		add(fmt.Sprintf("stands in a route that asks for %q: spellings such as /admin;/x or /x/../admin, "+
			"which Caddy and the application read differently, can pass beside it", around),
			"give the matcher to the directive itself, as in websms_otp /admin/* { … }, "+
				"outside of handle, route and the path of a site address; in JSON, add the matcher websms_doubtful")
	}
	if at.Beside != "" {
		add(fmt.Sprintf("requests that another route takes first, with %q, never reach it: spellings such as /admin/../public, "+
			"which Caddy and the application read differently, pass beside it", at.Beside),
			"put the gate in front of all of them, and let the public part through with bypass")
	}
	if names, replaced := at.Overrides(g.prefix()); replaced {
		add("intercept in front of it can answer in place of its pages", "put intercept behind the gate, or give it the matcher not path "+
			g.prefix()+"/*")
	} else if names != nil {
		add(fmt.Sprintf("a header directive in front of it acts when the answer goes out, and changes %s of the gate's own pages",
			strings.Join(names, ", ")), fmt.Sprintf("leave the pages out: @app not path %s/*, and header @app …", g.prefix()))
	}
	for _, e := range at.Exposed() {
		if !g.guarded(&e) {
			number, user := g.Headers.identity().Names()
			add(fmt.Sprintf("%s hands requests that no gate has seen to an application (%s): there anybody can claim "+
				"a number or a user, with %s and %s", e.Where, e.Handler, number, user),
				fmt.Sprintf("in %s, in front of %s, write request_header -%s and request_header -%s; in JSON, put the handler websms_identity there",
					e.Where, e.Handler, number, user))
		}
	}
	if at.Cached {
		add("a handler that caches stands in front of it, and can serve pages of one person to others",
			"put the gate in front of it: order cache after websms_otp")
	}
	if !at.HTTPS && !at.Local() {
		note("is served over plain HTTP: codes and sessions can be read on the way",
			"serve it by HTTPS, or check that the proxy in front of Caddy does so and that nobody can reach Caddy without it")
	}
	if at.HTTPS && g.WebOTP == "" && len(at.Hosts) == 0 && len(at.Wildcards) == 0 {
		add("serves any host, so messages are bound to a host (WebOTP) only if Caddy has a certificate for it that was not made on demand",
			"name it: web_otp app.example.com, or give the site its address")
	}
	if g.WebOTP == "" {
		for _, host := range at.Hosts {
			if len(host) > maxBoundHost {
				add(fmt.Sprintf("messages are not bound to %s (WebOTP): it is longer than %d characters, "+
					"and a message that names it can be billed as two", host, maxBoundHost),
					"name a shorter host with web_otp, or this one if you accept the cost")
			}
		}
	}
	if _, known := risk.TooLong(g.sample("")); !known && at.HTTPS && g.WebOTP == "" { // a message names no host over plain HTTP
		for _, host := range at.Hosts {
			if r, long := risk.TooLong(g.sample(host)); long && len(host) <= maxBoundHost {
				add(r.Text, r.Do)
			}
		}
	}
	if g.SecondFactor == nil && g.Numbers.Allow == nil && g.Numbers.AllowFile == "" && !at.Local() {
		note("lets in anybody who has a mobile phone: it verifies a number, and not who the person is",
			"list the numbers with numbers allow, or put a first factor in front with second_factor")
	}
	if !at.Proxied && !at.Local() {
		note("no trusted_proxies: this is right if browsers connect to Caddy itself; "+
			"behind a proxy or a CDN all people have one address, and share the limit per_ip",
			"if there is a proxy, name it in the server's trusted_proxies")
	}
	return list
}

// guarded reports whether an application gets no identity headers from a client: a gate
// or a websms_identity with the same headers stands in front of it, or other handlers
// remove both headers.
func (g *Gate) guarded(e *routes.Exposed) bool {
	number, user := g.Headers.identity().Names()
	same := func(other HeadersConfig) bool {
		n, u := other.identity().Names()
		return n == number && u == user
	}
	for _, handler := range e.InFront() {
		switch h := handler.(type) {
		case *Gate:
			if same(h.Headers) {
				return true
			}
		case *Identity:
			if same(h.Headers) {
				return true
			}
		}
	}
	return e.Removes(number) && e.Removes(user)
}

// risksAmong returns the risks that follow from the other gates of the configuration:
// those that were found before this one, and those after it. A risk of two gates is told
// once, of the later one.
func (g *placedGate) risksAmong(before, after []placedGate) (list []risk.Risk) {
	for i := range before {
		list = append(list, g.clash(&before[i])...)
	}
	serves := func(other placedGate) bool {
		return other.server == g.server && other.at.Covers(&g.at) && other.prefix() == g.prefix() && other.difference(g) == "" &&
			other.at.Obstacle(other.prefix(), DefaultPrefix) == nil
	}
	obstacle := g.at.Obstacle(g.prefix(), DefaultPrefix)
	if obstacle == nil || slices.ContainsFunc(before, serves) || slices.ContainsFunc(after, serves) {
		return list
	}
	why := fmt.Sprintf("a route around it asks for %q", obstacle.Condition)
	switch {
	case obstacle.Taken && obstacle.Condition == "":
		why = "another route takes all requests first"
	case obstacle.Taken:
		why = fmt.Sprintf("another route takes them first, with %q", obstacle.Condition)
	}
	do := "write prefix with a path that reaches the gate, or put websms_otp with its matcher outside of the block"
	if obstacle.Prefix != "" {
		do = "write prefix " + obstacle.Prefix
	}
	return append(list, risk.Risk{Text: fmt.Sprintf("nobody can open its pages at %s, so nobody gets in: %s", g.prefix(), why), Do: do})
}

// difference returns how the sessions of two gates differ, so that a session of one does
// not open the other, or "". The realm of a gate without one is its domain, or else the
// host of the request.
func (g *placedGate) difference(other *placedGate) string {
	host := g.at.SameHost(&other.at)
	realm := func(g *placedGate) string { return cmp.Or(g.Realm, g.Session.Domain, host) }
	switch {
	case realm(g) != realm(other):
		return "another realm"
	case (g.SecondFactor == nil) != (other.SecondFactor == nil):
		return "second_factor in one of them alone"
	}
	return ""
}

// clash returns the risks of two gates that a browser takes for one: because they have
// the same cookie, or the same pages. other stands in front of g.
func (g *placedGate) clash(other *placedGate) (list []risk.Risk) {
	host := g.at.SameHost(&other.at)
	anyHost := g.at.AnyHost() && other.at.AnyHost() && g.server == other.server
	sameHost := host != "" || anyHost
	domain := g.Session.Domain
	sameDomain := domain == other.Session.Domain
	switch {
	case host != "":
		host = "of " + host
	case anyHost:
		host = "of the same hosts"
	case domain != "" && sameDomain:
		host = "of the domain " + domain
	default:
		return nil
	}
	difference := g.difference(other)
	cookie, theirs := cmp.Or(g.Session.Cookie, defaultCookie), cmp.Or(other.Session.Cookie, defaultCookie)
	mine, others := g.Session.cookies(), other.Session.cookies()
	const remedy = "give one of them another cookie, such as session { cookie staff_session }"
	switch {
	case !sameDomain || domain == "" && g.at.HTTPS != other.at.HTTPS: // the names differ by __Host-, or the cookies by their domain
	case cookie == theirs && difference != "":
		list = append(list, risk.Risk{
			Text: fmt.Sprintf("has the cookie %s, as another gate %s has, and the gates have different sessions (%s): "+
				"a browser keeps one cookie of a name, so signing in at one signs out at the other", cookie, host, difference),
			Do: remedy + ", or give both the same realm",
		})
	case cookie != theirs && (mine.Own(theirs) || others.Own(cookie)):
		list = append(list, risk.Risk{
			Text: fmt.Sprintf("has the cookie %s, and another gate %s has %s: one gate takes the other's cookie for one of its own",
				cookie, host, theirs),
			Do: remedy,
		})
	}
	if sameHost && g.server == other.server && difference != "" && g.prefix() == other.prefix() && other.at.Serves(other.prefix()) {
		list = append(list, risk.Risk{
			Text: fmt.Sprintf("has its pages at %s, as another gate %s has, and the gates have different sessions (%s): "+
				"only one of them can serve the pages", g.prefix(), host, difference),
			Do: "give one of them another prefix, such as prefix /.websms-staff",
		})
	}
	return list
}

// risks returns the risks of the account.
func (a *App) risks() (list []risk.Risk) {
	add := func(text, do string) { list = append(list, risk.Risk{Text: text, Do: do}) }
	u, err := url.Parse(a.BaseURL)
	elsewhere := err != nil || !routes.IsLoopback(u.Hostname())
	if err == nil && u.Scheme == "http" && elsewhere {
		add("base_url is plain HTTP: the client secret and every code can be read on the way", "use https")
	}
	if a.Sandbox {
		add("sandbox: WebSMS accepts messages, and sends none", "remove it when the trial is over")
	}
	if a.ClientSecret != "" && !strings.Contains(a.ClientSecret, "{") && (a.BaseURL == "" || elsewhere) {
		add("client_secret stands in the configuration, which Caddy prints and stores", "write {env.WEBSMS_CLIENT_SECRET} or {file./path}")
	}
	return list
}

// storeRisks returns the risks of the store's options.
func (a *App) storeRisks() (list []risk.Risk) {
	store, ok := a.store.(RiskyModule)
	if !ok && a.StoreRaw != nil {
		kind, _ := storeKind(a.StoreRaw)
		if info, err := caddy.GetModule(stores + "." + kind); err == nil {
			module := info.New()
			_ = json.Unmarshal(a.StoreRaw, module) // loading the configuration reports the error
			store, ok = module.(RiskyModule)
		}
	}
	if ok {
		list = store.Risks()
	}
	return list
}

// risks returns the risks of a webhook.
func (h *Webhook) risks(at *routes.Place) (list []risk.Risk) {
	if !strings.Contains(h.Secret, "{") && !at.Local() {
		list = append(list, risk.Risk{
			Text: "its secret stands in the configuration, which Caddy prints and stores",
			Do:   "write {env.WEBSMS_WEBHOOK_SECRET} or {file./path}",
		})
	}
	if !at.HTTPS && !at.Local() {
		list = append(list, risk.Risk{
			Text: "is served over plain HTTP: the secret, numbers and replies can be read on the way",
			Do:   "serve it by HTTPS", Note: true,
		})
	}
	return list
}
