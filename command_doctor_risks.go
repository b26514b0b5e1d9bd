package websms

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// manyCodes an hour cost more than a gate's owner is likely to have thought of.
const manyCodes = 10_000

// risks returns what works, and may not be what its owner wants.
func (p *patient) risks() (found []finding) {
	add := func(check, text, do string) { found = append(found, finding{check, risky, text, do}) }
	p.appRisks(add)
	for _, g := range p.gates {
		name := "gate"
		if len(p.gates) > 1 && len(g.at.hosts) > 0 {
			name += " of " + g.at.hosts[0]
		}
		g.handler.risks(&g.at, func(text, do string) { add(name, text, do) })
	}
	if found == nil {
		found = []finding{{"risks", well, "none that this command knows of", ""}}
	}
	return found
}

func (p *patient) appRisks(add func(check, text, do string)) {
	if u, err := url.Parse(p.app.BaseURL); err == nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		add("account", "base_url is plain HTTP: the client secret and every code can be read on the way", "use https")
	}
	if p.app.Sandbox {
		add("account", "sandbox: WebSMS accepts messages, and sends none", "remove it when the trial is over")
	}
	local := p.app.BaseURL != "" && !p.realAPI()
	if p.app.ClientSecret != "" && !strings.Contains(p.app.ClientSecret, "{") && !local {
		add("account", "client_secret stands in the configuration, which Caddy prints and stores", "write {env.WEBSMS_CLIENT_SECRET} or {file./path}")
	}
	for _, h := range p.webhooks {
		if !strings.Contains(h.handler.Secret, "{") && !h.at.local() {
			add("webhook", "its secret stands in the configuration, which Caddy prints and stores", "write {env.WEBSMS_WEBHOOK_SECRET} or {file./path}")
		}
		if !h.at.https && !h.at.local() {
			add("webhook", "is served over plain HTTP: the secret, numbers and replies can be read on the way", "serve it by HTTPS")
		}
	}
	var store struct {
		Module  string   `json:"module"`
		Address []string `json:"address"`
		TLS     any      `json:"tls"`
	}
	if p.app.StoreRaw != nil && json.Unmarshal(p.app.StoreRaw, &store) == nil && store.Module == "redis" && store.TLS == nil {
		for _, address := range store.Address {
			if host, _, err := net.SplitHostPort(address); err == nil && !isLoopback(host) {
				add("store redis", "is asked without TLS on another machine: its password can be read on the way", "add tls")
				break
			}
		}
	}
	if listen := p.admin.Listen; listen != "" {
		if a, err := caddy.ParseNetworkAddress(listen); err == nil && !a.IsUnixNetwork() && !isLoopback(a.Host) {
			add("admin endpoint", "listens on more than this machine: whoever reaches it reads and changes everything", "listen on localhost, or on a Unix socket")
		}
	}
}

// realAPI reports whether the account is one of another machine.
func (p *patient) realAPI() bool {
	u, err := url.Parse(p.app.BaseURL)
	return err != nil || !isLoopback(u.Hostname())
}

// risks tells of a gate's.
func (g *Gate) risks(at *place, add func(text, do string)) {
	if g.Code.Length != 0 && g.Code.Length < 6 {
		add("codes are shorter than 6 digits, which NIST SP 800-63B asks for", "remove code length")
	}
	if ttl := time.Duration(g.Session.TTL); ttl > 24*time.Hour {
		add(fmt.Sprintf("sessions last %s: NIST SP 800-63B allows 24h at AAL2", short(ttl)), "shorten session ttl")
	}
	if !at.https && !at.local() {
		add("is served over plain HTTP: codes and sessions can be read on the way", "serve it by HTTPS, or see that what is in front of Caddy does and that nobody comes past it")
	}
	if g.WebOTP == "off" {
		add("web_otp is off: browsers do not offer the code, nor refuse it to a site that imitates yours", "remove web_otp")
	}
	if g.SecondFactor == nil && g.Numbers.Allow == nil && g.Numbers.AllowFile == "" && !at.local() {
		add("lets in whoever holds any mobile phone: it proves a number, not who somebody is", "list the numbers with numbers allow, or put a first factor in front with second_factor")
	}
	hourly := 0
	for _, r := range g.Limits.Budget {
		hourly = max(hourly, int(float64(r.Count)*float64(time.Hour)/float64(r.Window)))
	}
	if hourly > manyCodes {
		add(fmt.Sprintf("its budget allows %d codes an hour, and each is billed", hourly), "lower limits budget to what you would pay for an attack")
	}
	lock := g.Limits.lockout()
	if lock.Count > 0 && lock.Max > 0 && lock.Count > lock.Max {
		add("lockout counts further than max_failures: it never acts, and an operator must unlock every number", "lower the count of lockout")
	}
	if !at.proxied && !at.local() {
		add("no trusted_proxies: right if browsers reach Caddy itself; behind a proxy or a CDN all people have one address, and share one per_ip", "if there is one in front, name it in the server's trusted_proxies")
	}
}
