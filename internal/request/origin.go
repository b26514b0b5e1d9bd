package request

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// fromTrustedProxy reports whether r comes from a proxy that the server's option
// trusted_proxies names.
func fromTrustedProxy(r *http.Request) bool {
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return trusted
}

// forwarded returns the first element of a header field that proxies append to, such as
// "https" of `X-Forwarded-Proto: https, http`. It is what the first proxy saw.
func forwarded(r *http.Request, name string) string {
	first, _, _ := strings.Cut(r.Header.Get(name), ",")
	return strings.TrimSpace(first)
}

// Authorities returns the hosts that a browser may have in its address bar for r, each with
// its port if there is one: the Host header, and what a trusted proxy tells in
// X-Forwarded-Host and X-Forwarded-Port.
func Authorities(r *http.Request) []string {
	hosts := []string{r.Host}
	if !fromTrustedProxy(r) {
		return hosts
	}
	if host := forwarded(r, "X-Forwarded-Host"); host != "" {
		hosts = append(hosts, host)
	}
	if port := forwarded(r, "X-Forwarded-Port"); port != "" {
		last := url.URL{Host: hosts[len(hosts)-1]}
		hosts = append(hosts, bracketed(last.Hostname())+":"+port)
	}
	return hosts
}

// bracketed returns a host as it stands in a URL.
func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// IsOwnOrigin reports whether a URL has the host and port at which the browser reached this
// site with r. It ignores the scheme: see CrossOrigin.
func IsOwnOrigin(r *http.Request, u *url.URL) bool {
	want := authority(u.Scheme, u.Host)
	for _, host := range Authorities(r) {
		if want != "" && authority(u.Scheme, host) == want {
			return true
		}
	}
	return false
}

// authority returns a host in lower case, without the default port of the scheme.
func authority(scheme, host string) string {
	host = strings.ToLower(host)
	switch scheme {
	case "https":
		return strings.TrimSuffix(host, ":443")
	case "http":
		return strings.TrimSuffix(host, ":80")
	}
	return host
}

// ForeignPost describes a post that a page of another origin has made.
type ForeignPost struct {
	Origin   string // as the browser names it; at most 200 bytes
	Expected string // the origin of this site, as the gate knows it
	Cause    string // the usual cause, and what to do about it, for an operator
}

// CrossOrigin returns a description if a page of another origin made the browser post r,
// and nil otherwise. A browser that sends Sec-Fetch-Site knows it. For other browsers,
// which are those on plain HTTP and old ones, the origin is compared with Authorities. A
// page over plain HTTP is of another origin than a site over HTTPS, because an attacker on
// the network can write it. A request without an Origin comes from no page.
func CrossOrigin(r *http.Request) *ForeignPost {
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
	if site == "same-origin" || site == "none" || site == "" && origin == "" {
		return nil
	}
	scheme := "http"
	if IsHTTPS(r) {
		scheme = "https"
	}
	from, err := url.Parse(origin)
	if err != nil {
		from = new(url.URL)
	}
	secure := scheme == "http" || from.Scheme == "https"
	if site == "" && from.Host != "" && secure && IsOwnOrigin(r, from) {
		return nil
	}
	p := &ForeignPost{Origin: origin[:min(len(origin), 200)], Expected: scheme + "://" + r.Host}
	switch {
	case site != "" || from.Hostname() == "":
		p.Cause = "a page of another site has sent the form"
	case !secure:
		p.Cause = "the page was loaded over plain HTTP, but the site is on HTTPS"
	case len(r.Header["X-Forwarded-Host"])+len(r.Header["X-Forwarded-Port"]) > 0 && !fromTrustedProxy(r):
		p.Cause = "the proxy in front is not in the server's option trusted_proxies, so its X-Forwarded fields do not count"
	case strings.EqualFold(from.Hostname(), Host(r)):
		p.Cause = "a proxy in front drops the port: let it send the whole Host header, in nginx `proxy_set_header Host $http_host`, " +
			"or send X-Forwarded-Port and name it in trusted_proxies"
	default:
		p.Cause = "a page of another site has sent the form, or a proxy in front replaces the Host header: " +
			"let it send the browser's own, in nginx `proxy_set_header Host $http_host`"
	}
	return p
}
