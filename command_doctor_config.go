package websms

import (
	"encoding/json"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-websms/websms/connexus"
)

// patient is a configuration that a command looks at, without running it.
type patient struct {
	name     string // of its file
	text     []byte // as JSON
	app      App
	admin    caddy.AdminConfig
	gates    []placed[Gate]
	webhooks []placed[Webhook]
}

// placed is a handler, and where requests reach it.
type placed[H any] struct {
	handler *H
	at      place
}

// readPatient reads a configuration as Caddy does.
func readPatient(file, adapter string) (*patient, error) {
	text, name, _, err := caddycmd.LoadConfig(file, adapter)
	if err != nil {
		return nil, exitf(exitFailed, "reading the configuration: %w", err)
	}
	if len(text) == 0 {
		return nil, exitf(exitUsage, "there is no configuration here: name it with --config")
	}
	p := &patient{name: name, text: text}
	var config struct {
		Admin *caddy.AdminConfig `json:"admin"`
		Apps  struct {
			WebSMS *App           `json:"websms"`
			HTTP   *caddyhttp.App `json:"http"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(text, &config); err != nil {
		return nil, exitf(exitFailed, "reading %s: %w", name, err)
	}
	if config.Admin != nil {
		p.admin = *config.Admin
	}
	if config.Apps.WebSMS != nil {
		p.app = *config.Apps.WebSMS
	}
	if config.Apps.HTTP != nil {
		for _, s := range config.Apps.HTTP.Servers {
			at := place{listen: s.Listen, proxied: s.TrustedProxiesRaw != nil || s.TrustedProxiesUnix}
			visitServer(s, at, viewJSON, func(h handlerView, at place) {
				if h.gate != nil {
					p.gates = append(p.gates, placed[Gate]{h.gate, at})
				} else {
					p.webhooks = append(p.webhooks, placed[Webhook]{h.webhook, at})
				}
			})
		}
	}
	if p.gates == nil && p.webhooks == nil {
		return nil, exitf(exitFailed, "%s has no websms_otp and no websms_webhook", name)
	}
	return p, nil
}

// literals returns the values of a matcher that stand for themselves.
func literals(list []string) (values []string) {
	for _, value := range list {
		if value = strings.TrimSuffix(value, "*"); value != "" && !strings.ContainsAny(value, "*{") {
			values = append(values, value)
		}
	}
	return values
}

// overTLS reports whether a site is served by HTTPS: because it is told so, or
// because Caddy does so by itself where a host is named.
func overTLS(at place, server *caddyhttp.Server) bool {
	if len(server.TLSConnPolicies) > 0 {
		return true
	}
	auto := server.AutoHTTPS
	hosts := append(at.hosts[:len(at.hosts):len(at.hosts)], at.wildcards...)
	if len(hosts) == 0 || auto != nil && auto.Disabled {
		return false
	}
	if port := portOf(at.listen); port == strconv.Itoa(caddyhttp.DefaultHTTPPort) {
		return false
	}
	for _, host := range hosts {
		if auto == nil || !slices.Contains(auto.Skip, host) {
			return true
		}
	}
	return false
}

func portOf(listen []string) string {
	for _, l := range listen {
		if address, err := caddy.ParseNetworkAddress(l); err == nil && !address.IsUnixNetwork() {
			return strconv.Itoa(int(address.StartPort))
		}
	}
	return ""
}

// local reports whether a site is for this machine alone.
func (s *place) local() bool {
	for _, host := range s.hosts {
		if !isLoopback(host) {
			return false
		}
	}
	return len(s.hosts) > 0
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// urls returns the addresses under which a site's handler is reached.
func (s *place) urls() (urls []string) {
	scheme, usual := "http", strconv.Itoa(caddyhttp.DefaultHTTPPort)
	if s.https {
		scheme, usual = "https", strconv.Itoa(caddyhttp.DefaultHTTPSPort)
	}
	port := ""
	if p := portOf(s.listen); p != "" && p != usual {
		port = ":" + p
	}
	paths := s.paths
	if paths == nil {
		paths = []string{"/"}
	}
	hosts := s.hosts
	if hosts == nil {
		hosts = []string{"localhost"}
	}
	for _, host := range hosts {
		for _, path := range paths {
			urls = append(urls, scheme+"://"+host+port+path)
		}
	}
	return urls
}

// company returns who the first gate's messages are from.
func (p *patient) company() string {
	if len(p.gates) == 0 {
		return "Test"
	}
	return p.gates[0].handler.Company
}

// client returns a client for the account.
func (p *patient) client(note func(*connexus.Config)) (*connexus.Client, error) {
	app := p.app
	resolved, err := app.account()
	if err == nil {
		err = app.missing
	}
	if err != nil {
		return nil, err
	}
	config := connexus.Config{BaseURL: resolved.baseURL, ClientID: resolved.id, ClientSecret: resolved.secret, Timeout: resolved.timeout, Sandbox: resolved.sandbox}
	if note != nil {
		note(&config)
	}
	return connexus.New(config)
}
