package request

import (
	"net"
	"net/http"
	"net/url"
	"slices"
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
// "https" of `X-Forwarded-Proto: https, http`. The first proxy wrote it. Empty
// elements do not count (RFC 9110, 5.6.1.2): a proxy that appends to a field that the
// browser did not send makes `, https`. name is in canonical form.
func forwarded(r *http.Request, name string) string {
	for _, list := range r.Header[name] {
		for more := true; more; {
			var first string
			first, list, more = strings.Cut(list, ",")
			if first = strings.TrimSpace(first); first != "" {
				return first
			}
		}
	}
	return ""
}

// Authorities returns the hosts that a browser may have in its address bar for r, each with
// its port if there is one: the Host header, and the values of a trusted proxy in
// X-Forwarded-Host and X-Forwarded-Port. The last one is the most likely.
func Authorities(r *http.Request) []string { return authorities(r, fromTrustedProxy(r)) }

// authorities returns the result of Authorities for a sender of r that is a trusted proxy,
// or is none.
func authorities(r *http.Request, trusted bool) []string {
	hosts := []string{r.Host}
	if !trusted {
		return hosts
	}
	if host := forwarded(r, "X-Forwarded-Host"); host != "" {
		hosts = append(hosts, host)
	}
	if port := forwarded(r, "X-Forwarded-Port"); port != "" {
		hosts = append(hosts, net.JoinHostPort(hostname(hosts[len(hosts)-1]), port))
	}
	return hosts
}

// hostname returns a host of a request without its port and without brackets.
func hostname(host string) string {
	u := url.URL{Host: host}
	return u.Hostname()
}

// IsOwnOrigin reports whether a URL has the host and port at which the browser reached this
// site with r. It ignores whether the scheme is http or https: see CrossOrigin.
func IsOwnOrigin(r *http.Request, u *url.URL) bool { return isAt(u, Authorities(r)) }

// isAt reports whether a URL is at one of these hosts.
func isAt(u *url.URL, hosts []string) bool {
	return u.Host != "" && (u.Scheme == "http" || u.Scheme == "https") &&
		slices.ContainsFunc(hosts, func(host string) bool { return authority(u.Scheme, host) == authority(u.Scheme, u.Host) })
}

// authority returns a host in lower case, without the default port of the scheme.
func authority(scheme, host string) string {
	host = strings.ToLower(host)
	if scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}

// parseOrigin reads the field Origin. The result has no host if the field names no page of
// the web, as `null` does, or if it holds more than an origin.
func parseOrigin(origin string) *url.URL {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || !strings.EqualFold(origin, u.Scheme+"://"+u.Host) {
		return new(url.URL)
	}
	return u
}

// ForeignPost describes a post that a page of another origin has made. Its texts are
// printable ASCII.
type ForeignPost struct {
	Origin   string // as the browser names it; at most 200 bytes
	Expected string // the origin of this site, as the gate knows it; at most 200 bytes
	Cause    string // the usual cause and its remedy, for an operator
}

// CrossOrigin returns a description if a page of another origin made the browser post r,
// and nil otherwise. It takes the word of a browser that sends Sec-Fetch-Site. For other
// browsers, which are those on plain HTTP and old ones, it compares the Origin with
// Authorities. A page over plain HTTP is of another origin than a site over HTTPS, because
// an attacker on the network can write it. A request without an Origin comes from no page.
func CrossOrigin(r *http.Request) *ForeignPost {
	// A browser sends each field once. Two of them are no proof.
	site, origin := strings.Join(r.Header["Sec-Fetch-Site"], ", "), strings.Join(r.Header["Origin"], ", ")
	if site == "same-origin" || site == "none" || site == "" && origin == "" {
		return nil
	}
	scheme, from, own := "http", parseOrigin(origin), Authorities(r)
	if IsHTTPS(r) {
		scheme = "https"
	}
	secure := scheme == "http" || from.Scheme == "https"
	if site == "" && secure && isAt(from, own) {
		return nil
	}
	sameName := slices.ContainsFunc(own, func(host string) bool { return strings.EqualFold(hostname(host), from.Hostname()) })
	p := &ForeignPost{Origin: printable(origin), Expected: printable(scheme + "://" + authority(scheme, own[len(own)-1]))}
	switch {
	case site == "same-site":
		p.Cause = "a page at another host or port of the same domain has sent the form"
	case site != "":
		p.Cause = "a page of another site has sent the form"
	case from.Host == "":
		p.Cause = "the browser does not name the page: it is in a sandboxed frame, or it is a file or an app, " +
			"or a proxy in front changes the gate's pages, such as by `Content-Security-Policy: sandbox`"
	case isAt(from, own):
		p.Cause = "the page was loaded over plain HTTP, but the site is on HTTPS: redirect plain HTTP to HTTPS"
	case !fromTrustedProxy(r) && isAt(from, authorities(r, true)):
		p.Cause = untrusted(r)
	case sameName:
		p.Cause = "a proxy in front drops or changes the port: let it send the browser's own Host header, in nginx " +
			"`proxy_set_header Host $http_host`, or send X-Forwarded-Port, and name the proxy in the server's option trusted_proxies"
	default:
		p.Cause = "a page of another site has sent the form, or a proxy in front replaces the Host header: " +
			"let it send the browser's own, in nginx `proxy_set_header Host $http_host`"
	}
	return p
}

// untrusted returns the cause that the fields of a proxy do not count.
func untrusted(r *http.Request) string {
	proxy, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "the X-Forwarded fields of a proxy at a Unix socket count only with the server's option trusted_proxies_unix"
	}
	return "the proxy at " + proxy + " is not in the server's option trusted_proxies, so its X-Forwarded fields do not count"
}

// printable returns the first 200 bytes of a text for a log. A question mark stands for
// each byte that is no printable ASCII character.
func printable(text string) string {
	out := []byte(text[:min(len(text), 200)])
	for i, c := range out {
		if c < ' ' || c > '~' {
			out[i] = '?'
		}
	}
	return string(out)
}
