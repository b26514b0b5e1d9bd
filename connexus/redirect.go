package connexus

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

const (
	// maxRedirects bounds the redirects of one exchange.
	maxRedirects = 2

	// shortBody is the most bytes of a redirect's body that are read. Nobody needs
	// them, but a connection with an unread body cannot be used again.
	shortBody = 2 << 10
)

// The reasons why a redirect is not followed. They do not repeat its address, which may
// hold a secret or a number.
var (
	errRedirect       = errors.New("the reply is a redirect, and only HTTP 307 and 308 are followed")
	errManyRedirects  = errors.New("the reply is one redirect too many: at most two are followed")
	errNoLocation     = errors.New("the reply is a redirect without a usable address")
	errRedirectUser   = errors.New("the reply is a redirect to an address with a user in it, which is not followed")
	errRedirectScheme = errors.New("the reply is a redirect to an address without https, which is not followed")
	errRedirectAway   = errors.New("the reply is a redirect to another domain than that of the base URL, which is not followed")
)

// keepsMethod reports whether a redirect asks for the same POST at another address. Such
// a reply also says that the request was not carried out (RFC 9110, sections 15.4.8
// and 15.4.9).
func keepsMethod(status int) bool {
	return status == http.StatusTemporaryRedirect || status == http.StatusPermanentRedirect
}

// home is the place that the credentials and the messages may be sent to.
type home struct {
	scheme, host string // of the base URL
	site         string // the registrable domain of host, or "" if it is localhost or an IP address
}

// homeOf returns the home of a base URL. If its host is not understood, no redirect is
// followed.
func homeOf(base string) home {
	u, err := url.Parse(base)
	if err != nil {
		return home{}
	}
	host, isIP, ok := canonicalHost(u)
	switch {
	case !ok:
		return home{}
	case isIP || host == "localhost":
		return home{scheme: u.Scheme, host: host}
	}
	return home{u.Scheme, host, siteOf(host)}
}

// siteOf returns the registrable domain of a host, such as websms.co.nz. A host without
// one, such as a single label, stands for itself.
func siteOf(host string) string {
	if site, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return site
	}
	return host
}

// follow returns the address that a redirect from another address leads to, or an error
// if it leads out of the home.
func (h home) follow(from, location string) (string, error) {
	if location == "" {
		return "", errNoLocation
	}
	base, err := url.Parse(from)
	if err != nil {
		return "", errNoLocation
	}
	to, err := base.Parse(location)
	if err != nil || to.Host == "" || to.Opaque != "" {
		return "", errNoLocation
	}
	host, isIP, ok := canonicalHost(to)
	switch {
	case to.User != nil:
		return "", errRedirectUser
	case h.host == "" || !ok:
		return "", errRedirectAway
	case h.site == "" && (host != h.host || to.Scheme != h.scheme):
		return "", errRedirectAway
	case h.site != "" && to.Scheme != "https":
		return "", errRedirectScheme
	case h.site != "" && (isIP || siteOf(host) != h.site):
		return "", errRedirectAway
	}
	if !isIP { // dial the name that was judged
		if port := to.Port(); port != "" {
			host += ":" + port
		}
		to.Host = host
	}
	to.Fragment, to.RawFragment = "", ""
	return to.String(), nil
}

// canonicalHost returns the host of a URL in lower case and in ASCII, without a dot at
// the end. ok is false if it is neither a host name nor an IP address.
func canonicalHost(u *url.URL) (host string, isIP, ok bool) {
	host = u.Hostname()
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.String(), true, true
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r >= 0x80 }) {
		var err error
		if host, err = idna.Lookup.ToASCII(host); err != nil {
			return "", false, false
		}
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if ip, err := netip.ParseAddr(host); err == nil { // such as 127.0.0.1 in full-width digits
		return ip.String(), true, true
	}
	return host, false, isHost(host)
}

// hiddenLocation is the name of the header under which noRedirects keeps the Location of
// a redirect.
const hiddenLocation = "Websms-Hidden-Location"

// noRedirects is a transport that hides the Location of a redirect from [http.Client].
// An http.Client would follow it, or fail before the caller sees the status if it cannot
// be parsed. It would also drop the Authorization header on the way from
// api.websms.co.nz to websms.co.nz.
type noRedirects struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t noRedirects) RoundTrip(r *http.Request) (*http.Response, error) {
	inner := t.RoundTripper
	if inner == nil {
		inner = http.DefaultTransport
	}
	resp, err := inner.RoundTrip(r)
	if err == nil && resp.StatusCode/100 == 3 {
		resp.Header = resp.Header.Clone()
		resp.Header.Del(hiddenLocation)
		if location := resp.Header.Get("Location"); location != "" {
			resp.Header.Set(hiddenLocation, location)
		}
		resp.Header.Del("Location")
	}
	return resp, err
}
