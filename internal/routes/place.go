package routes

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Place is where a handler is served, as far as the configuration tells.
type Place struct {
	Hosts, paths []string
	Wildcards    []string // hosts such as *.example.com
	Listen       []string
	HTTPS        bool
	Proxied      bool      // the server trusts proxies
	own          []setView // of the handler's own route
	outer        string    // the condition on the path of a route around it, if there is one
	Beside       string    // the condition of a route in front of it that takes requests away
	Cached       bool      // a handler that caches stands in front of it
}

// addHosts adds the hosts of a matcher.
func (p *Place) addHosts(list []string) {
	p.Hosts = append(slices.Clone(p.Hosts), literals(list)...)
	for _, host := range list {
		if strings.HasPrefix(host, "*.") && !strings.Contains(host, "{") {
			p.Wildcards = append(slices.Clone(p.Wildcards), host)
		}
	}
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
func overTLS(at Place, server *caddyhttp.Server) bool {
	if len(server.TLSConnPolicies) > 0 {
		return true
	}
	auto := server.AutoHTTPS
	hosts := append(at.Hosts[:len(at.Hosts):len(at.Hosts)], at.Wildcards...)
	if len(hosts) == 0 || auto != nil && auto.Disabled {
		return false
	}
	if port := portOf(at.Listen); port == strconv.Itoa(caddyhttp.DefaultHTTPPort) {
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

// Local reports whether a site is for this machine alone.
func (p *Place) Local() bool {
	for _, host := range p.Hosts {
		if !IsLoopback(host) {
			return false
		}
	}
	return len(p.Hosts) > 0
}

func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// OpenFolders returns each folder /x of which the matcher of the handler's own
// route matches /x/* but not /x.
func (p *Place) OpenFolders() (folders []string) {
	for _, set := range p.own {
		folders = append(folders, openFolders(set)...)
	}
	return folders
}

// Around returns the condition on the path that a request must meet before the
// handler sees it, or "": that of a route around it, or of its own route unless
// that has the matcher websms_doubtful.
func (p *Place) Around() string {
	if p.outer != "" {
		return p.outer
	}
	condition, _ := pathCondition(p.own)
	if slices.ContainsFunc(p.own, func(set setView) bool {
		return slices.ContainsFunc(set, func(m matcherView) bool { return m.name == "websms_doubtful" })
	}) {
		return ""
	}
	return condition
}

// URLs returns the addresses under which a site's handler is reached.
func (p *Place) URLs() (urls []string) {
	scheme, usual := "http", strconv.Itoa(caddyhttp.DefaultHTTPPort)
	if p.HTTPS {
		scheme, usual = "https", strconv.Itoa(caddyhttp.DefaultHTTPSPort)
	}
	port := ""
	if own := portOf(p.Listen); own != "" && own != usual {
		port = ":" + own
	}
	paths := p.paths
	if paths == nil {
		paths = []string{"/"}
	}
	hosts := p.Hosts
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
