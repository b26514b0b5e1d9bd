package websms

import (
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// risk is something in a configuration that works and may still not be wanted.
// A load logs the list of risks, and the doctor prints it.
type risk struct {
	Text string // a sentence about the handler or block
	Do   string // the remedy
	// Note is set if the risk depends on facts that no configuration holds, such
	// as the proxy in front of Caddy. A load logs it at level info.
	Note bool
}

// logRisks tells the operator of risks.
func logRisks(logger *zap.Logger, list []risk, fields ...zap.Field) {
	for _, r := range list {
		log := logger.Warn
		if r.Note {
			log = logger.Info
		}
		log(r.Text, append(fields[:len(fields):len(fields)], zap.String("do", r.Do))...)
	}
}

// manyCodes is a number of codes an hour. A budget above it costs more than a
// gate's owner is likely to expect.
const manyCodes = 10_000

// optionRisks returns the risks that follow from the gate's options alone.
func (g *Gate) optionRisks() (list []risk) {
	add := func(text, do string) { list = append(list, risk{Text: text, Do: do}) }
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
	if policy == nil { // the gate is not provisioned; a mistake in the list is told by loading it
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
		add(fmt.Sprintf("its budget allows %d codes an hour, and each is billed", hourly), "lower limits budget to what you would pay for an attack")
	}
	if lock := g.Limits.lockout(); lock.Count > 0 && lock.Max > 0 && lock.Count > lock.Max {
		add("lockout counts further than max_failures: it never acts, and an operator must unlock every number", "lower the count of lockout")
	}
	if g.WebOTP == "off" {
		list = append(list, risk{Text: "web_otp is off: browsers do not offer the code, nor refuse it to a site that imitates yours", Do: "remove web_otp", Note: true})
	}
	sets := g.BypassRaw
	if sets == nil { // of a gate that is provisioned
		sets = g.bypassSets
	}
	var bypass []setView
	for _, set := range sets {
		bypass = append(bypass, readSet(set))
	}
	return append(list, bypassRisks(bypass)...)
}

// bypassRisks returns the risks of a bypass that opens more paths than it names.
func bypassRisks(sets []setView) (list []risk) {
	add := func(text, do string) { list = append(list, risk{Text: "bypass: " + text, Do: do}) }
	for _, set := range sets {
		for _, m := range set {
			switch m.name {
			case "path":
				for _, pattern := range m.values {
					if strings.HasPrefix(pattern, "*") {
						add(fmt.Sprintf("the path %s begins with a wildcard, so it also opens pages that PHP and others serve for a longer path, as /admin.php for /admin.php/x%s", pattern, strings.Trim(pattern, "*")), "name the folder, such as /static/*")
					}
				}
			case "path_regexp":
				for _, pattern := range m.values {
					if !strings.HasPrefix(strings.TrimPrefix(pattern, "(?i)"), "^") {
						add(fmt.Sprintf("the expression %s is not bound to the beginning of the path, so it also opens pages that PHP and others serve for a longer path", pattern), "begin it with ^")
					}
				}
			case "not":
				for _, inner := range m.sets {
					for _, folder := range openFolders(setView(inner)) {
						add(fmt.Sprintf("it spares %s/* and not %s, which applications serve as the same page: it is open", folder, folder), fmt.Sprintf("write not path %s %s/*", folder, folder))
					}
				}
			}
		}
	}
	return list
}

// openFolders returns each folder /x of which a set matches /x/* but not /x.
func openFolders(set setView) (folders []string) {
	for _, m := range set {
		if m.name != "path" {
			continue
		}
		for _, pattern := range m.values {
			folder, ok := strings.CutSuffix(pattern, "/*")
			if !ok || folder == "" || slices.ContainsFunc(m.values, func(other string) bool { return takesIn(other, folder) }) {
				continue
			}
			folders = append(folders, folder)
		}
	}
	return folders
}

// takesIn reports whether a pattern of a path matcher matches p.
func takesIn(pattern, p string) bool {
	pattern, p = strings.ToLower(pattern), strings.ToLower(p)
	if front, ok := strings.CutSuffix(pattern, "*"); ok && !strings.Contains(front, "*") {
		return strings.HasPrefix(p, front)
	}
	matched, _ := path.Match(pattern, p)
	return matched
}

// placeRisks returns the risks that follow from the gate's place in the routes.
func (g *Gate) placeRisks(at *place) (list []risk) {
	add := func(text, do string) { list = append(list, risk{Text: text, Do: do}) }
	note := func(text, do string) { list = append(list, risk{Text: text, Do: do, Note: true}) }
	for _, set := range at.own {
		for _, folder := range openFolders(set) {
			add(fmt.Sprintf("its matcher holds %s/* and not %s, which applications serve as the same page: it is open", folder, folder), fmt.Sprintf("write path %s %s/*", folder, folder))
		}
	}
	around := at.outer
	if condition, found := pathCondition(at.own); found && around == "" && !slices.ContainsFunc(at.own, func(s setView) bool {
		return slices.ContainsFunc(s, func(m matcherView) bool { return m.name == "websms_doubtful" })
	}) {
		around = condition
	}
	if around != "" {
		add(fmt.Sprintf("stands in a route that asks for %q: spellings such as /admin;/x or /x/../admin, which Caddy and the application read differently, can pass beside it", around),
			"give the matcher to the directive itself, as in websms_otp /admin/* { … }, outside of handle, route and the path of a site address; in JSON, add the matcher websms_doubtful")
	}
	if at.beside != "" {
		add(fmt.Sprintf("requests that another route takes first, with %q, never reach it: spellings such as /admin/../public, which Caddy and the application read differently, pass beside it", at.beside),
			"put the gate in front of all of them, and let the public part through with bypass")
	}
	if at.cached {
		add("a handler that caches stands in front of it, and can serve pages of one person to others", "put the gate in front of it: order cache after websms_otp")
	}
	if !at.https && !at.local() {
		note("is served over plain HTTP: codes and sessions can be read on the way", "serve it by HTTPS, or see that what is in front of Caddy does and that nobody comes past it")
	}
	if at.https && g.WebOTP == "" && len(at.hosts) == 0 && len(at.wildcards) == 0 {
		add("serves any host, so messages are bound to a host (WebOTP) only if Caddy has a certificate for it that was not made on demand", "name it: web_otp app.example.com, or give the site its address")
	}
	if g.WebOTP == "" {
		for _, host := range at.hosts {
			if len(host) > maxBoundHost {
				add(fmt.Sprintf("messages are not bound to %s (WebOTP): it is longer than %d characters, and would cost a second part", host, maxBoundHost), "name a shorter host with web_otp, or this one, and pay for it")
			}
		}
	}
	if g.SecondFactor == nil && g.Numbers.Allow == nil && g.Numbers.AllowFile == "" && !at.local() {
		note("lets in whoever holds any mobile phone: it proves a number, not who somebody is", "list the numbers with numbers allow, or put a first factor in front with second_factor")
	}
	if !at.proxied && !at.local() {
		note("no trusted_proxies: right if browsers reach Caddy itself; behind a proxy or a CDN all people have one address, and share one per_ip", "if there is one in front, name it in the server's trusted_proxies")
	}
	return list
}

// risks returns the risks of the account.
func (a *App) risks() (list []risk) {
	add := func(text, do string) { list = append(list, risk{Text: text, Do: do}) }
	u, err := url.Parse(a.BaseURL)
	elsewhere := err != nil || !isLoopback(u.Hostname())
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
func (a *App) storeRisks() (list []risk) {
	store, ok := a.store.(RiskyModule)
	if !ok && a.StoreRaw != nil {
		var named struct {
			Module string `json:"module"`
		}
		_ = json.Unmarshal(a.StoreRaw, &named)
		if info, err := caddy.GetModule(stores + "." + named.Module); err == nil {
			module := info.New()
			_ = json.Unmarshal(a.StoreRaw, module) // loading the configuration reports the error
			store, ok = module.(RiskyModule)
		}
	}
	if ok {
		for _, r := range store.Risks() {
			list = append(list, risk{Text: r[0], Do: r[1]})
		}
	}
	return list
}

// risks returns the risks of a webhook.
func (h *Webhook) risks(at *place) (list []risk) {
	if !strings.Contains(h.Secret, "{") && !at.local() {
		list = append(list, risk{Text: "its secret stands in the configuration, which Caddy prints and stores", Do: "write {env.WEBSMS_WEBHOOK_SECRET} or {file./path}"})
	}
	if !at.https && !at.local() {
		list = append(list, risk{Text: "is served over plain HTTP: the secret, numbers and replies can be read on the way", Do: "serve it by HTTPS", Note: true})
	}
	return list
}

// adminRisks returns the risks of Caddy's admin endpoint.
func adminRisks(admin *caddy.AdminConfig) []risk {
	if admin.Disabled || admin.Listen == "" {
		return nil
	}
	if a, err := caddy.ParseNetworkAddress(admin.Listen); err == nil && !a.IsUnixNetwork() && !isLoopback(a.Host) {
		return []risk{{Text: "listens on more than this machine: whoever reaches it reads and changes everything", Do: "listen on localhost, or on a Unix socket"}}
	}
	return nil
}
