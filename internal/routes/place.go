package routes

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Place is where a handler stands among Caddy's routes.
type Place struct {
	Hosts     []string // hosts that the routes around it name, without wildcards
	Wildcards []string // hosts such as *.example.com
	Listen    []string // the addresses of the server
	HTTPPort  int      // Caddy's port of plain HTTP (the option http_port); 0 stands for 80
	HTTPS     bool     // the site is served over HTTPS
	Proxied   bool     // the server trusts proxies
	Cached    bool     // a handler that caches stands in front of it

	// Beside is the condition on the path of a route in front of the handler that
	// takes requests away from it, or "".
	Beside string

	paths []string  // paths of the innermost route that names some
	own   []setView // the matchers of the handler's own route
	outer string    // the condition on the path of a route around it, or ""

	scope   []string  // the hosts of the innermost route that names some, as written
	trail   []step    // the steps of a request on its way to the handler
	apart   bool      // only an error, or another handler's answer, leads to the handler
	exposed []Exposed // the applications of its hosts that error routes hand requests to
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

// literals returns the values of a matcher that hold no placeholder, and no wildcard
// but at the end, which it cuts off.
func literals(list []string) (values []string) {
	for _, value := range list {
		if value = strings.TrimSuffix(value, "*"); value != "" && !strings.ContainsAny(value, "*{") {
			values = append(values, value)
		}
	}
	return values
}

// overTLS reports whether a site is served over HTTPS: because the configuration
// says so, or because Caddy turns it on for a site with a host name.
func overTLS(at Place, server *caddyhttp.Server) bool {
	if len(server.TLSConnPolicies) > 0 {
		return true
	}
	auto := server.AutoHTTPS
	hosts := append(at.Hosts[:len(at.Hosts):len(at.Hosts)], at.Wildcards...)
	if len(hosts) == 0 || auto != nil && auto.Disabled {
		return false
	}
	if port := portOf(at.Listen); port == strconv.Itoa(cmp.Or(at.HTTPPort, caddyhttp.DefaultHTTPPort)) {
		return false
	}
	for _, host := range hosts {
		if auto == nil || !slices.Contains(auto.Skip, host) {
			return true
		}
	}
	return false
}

// portOf returns the first port among the addresses of a server, or "".
func portOf(listen []string) string {
	for _, l := range listen {
		if address, err := caddy.ParseNetworkAddress(l); err == nil && !address.IsUnixNetwork() {
			return strconv.Itoa(int(address.StartPort))
		}
	}
	return ""
}

// Local reports whether only this machine can reach the site by its hosts.
func (p *Place) Local() bool {
	for _, host := range p.Hosts {
		if !IsLoopback(host) {
			return false
		}
	}
	return len(p.Hosts) > 0
}

// IsLoopback reports whether a host is this machine itself, such as localhost or
// 127.0.0.1.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// OpenFolders returns each folder, such as /x, of which the matcher of the handler's
// own route matches /x/* and not /x. Applications often serve both as the same page.
func (p *Place) OpenFolders() (folders []string) {
	for _, set := range p.own {
		folders = append(folders, openFolders(set)...)
	}
	return folders
}

// Around returns the condition on the path that a request must meet before the
// handler sees it, such as "path /admin/*", or "". It is the condition of a route
// around the handler, or of the handler's own route. The condition of its own route
// does not count beside the matcher websms_doubtful, with which the handler also sees
// other spellings of the path.
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

// URLs returns the addresses at which a client on this machine can try to reach the
// handler.
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
