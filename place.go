package websms

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// place is where a handler is served, as far as the configuration tells.
type place struct {
	hosts, paths []string
	wildcards    []string // hosts such as *.example.com
	listen       []string
	https        bool
	proxied      bool      // the server trusts proxies
	own          []setView // of the handler's own route
	outer        string    // the condition on the path of a route around it, if there is one
	beside       string    // the condition of a route in front of it that takes requests away
	cached       bool      // a handler that caches stands in front of it
}

// addHosts adds the hosts of a matcher.
func (p *place) addHosts(list []string) {
	p.hosts = append(slices.Clone(p.hosts), literals(list)...)
	for _, host := range list {
		if strings.HasPrefix(host, "*.") && !strings.Contains(host, "{") {
			p.wildcards = append(slices.Clone(p.wildcards), host)
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
func (p *place) local() bool {
	for _, host := range p.hosts {
		if !isLoopback(host) {
			return false
		}
	}
	return len(p.hosts) > 0
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// openFolders returns each folder /x of which the matcher of the handler's own
// route matches /x/* but not /x.
func (p *place) openFolders() (folders []string) {
	for _, set := range p.own {
		folders = append(folders, openFolders(set)...)
	}
	return folders
}

// around returns the condition on the path that a request must meet before the
// handler sees it, or "": that of a route around it, or of its own route unless
// that has the matcher websms_doubtful.
func (p *place) around() string {
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

// urls returns the addresses under which a site's handler is reached.
func (p *place) urls() (urls []string) {
	scheme, usual := "http", strconv.Itoa(caddyhttp.DefaultHTTPPort)
	if p.https {
		scheme, usual = "https", strconv.Itoa(caddyhttp.DefaultHTTPSPort)
	}
	port := ""
	if own := portOf(p.listen); own != "" && own != usual {
		port = ":" + own
	}
	paths := p.paths
	if paths == nil {
		paths = []string{"/"}
	}
	hosts := p.hosts
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
