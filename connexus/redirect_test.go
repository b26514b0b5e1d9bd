package connexus_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddy-websms/websms/connexus"
)

// road is a transport that redirects the base URL's requests, and notes each request.
type road struct {
	t        *testing.T
	status   int
	location func(u *url.URL) string // "": no redirect
	seen     []string                // the URLs
}

func (r *road) RoundTrip(req *http.Request) (*http.Response, error) {
	r.seen = append(r.seen, req.URL.String())
	if err := req.ParseForm(); err != nil {
		r.t.Error(err)
	}
	isToken := strings.HasSuffix(req.URL.Path, "/auth/token")
	switch {
	case req.Method != http.MethodPost, req.Header.Get("Referer") != "":
		r.t.Errorf("%s %s with the Referer %q", req.Method, req.URL, req.Header.Get("Referer"))
	case isToken && (req.PostForm.Get("client_secret") != testSecret || req.Header.Get("Authorization") != ""):
		r.t.Errorf("%s: the credentials are not as they were sent", req.URL)
	case !isToken && (req.PostForm.Get("msgCode") != testCode || req.Header.Get("Authorization") != "Bearer "+testToken):
		r.t.Errorf("%s: the message is not as it was sent: %v, %q", req.URL, req.PostForm, req.Header)
	}
	if to := r.location(req.URL); to != "" {
		return response(req, r.status, `{"moved":true}`, "Location", to), nil
	}
	if isToken {
		return response(req, 200, `{"access_token":"`+testToken+`"}`), nil
	}
	return response(req, 200, `{"status":"success","messageId":"MSG1"}`), nil
}

// A redirect by 307 or 308 is followed within the registrable domain of the base URL, by
// https, and with the message, the token and the credentials. It is followed nowhere else.
func TestRedirectTargets(t *testing.T) {
	for name, test := range map[string]struct {
		base, location string
		want           string // the URL of the second request; "": not followed
	}{
		"subdomain":                 {"https://websms.co.nz/api", "https://api.websms.co.nz/v2/x", "https://api.websms.co.nz/v2/x"},
		"parent":                    {"https://api.websms.co.nz/api", "https://websms.co.nz/x", "https://websms.co.nz/x"},
		"sibling":                   {"https://a.websms.co.nz/api", "https://b.websms.co.nz/x", "https://b.websms.co.nz/x"},
		"same host":                 {"https://websms.co.nz/api", "https://websms.co.nz/v2/x", "https://websms.co.nz/v2/x"},
		"path":                      {"https://websms.co.nz/api", "/v2/x?a=b", "https://websms.co.nz/v2/x?a=b"},
		"no scheme":                 {"https://websms.co.nz/api", "//api.websms.co.nz/x", "https://api.websms.co.nz/x"},
		"port":                      {"https://websms.co.nz/api", "https://api.websms.co.nz:8443/x", "https://api.websms.co.nz:8443/x"},
		"capitals":                  {"https://WebSMS.co.nz/api", "HTTPS://API.WebSMS.CO.NZ/X", "https://api.websms.co.nz/X"},
		"dot at the end":            {"https://websms.co.nz/api", "https://api.websms.co.nz./x", "https://api.websms.co.nz/x"},
		"fragment":                  {"https://websms.co.nz/api", "https://api.websms.co.nz/x#y", "https://api.websms.co.nz/x"},
		"IDN, as ASCII":             {"https://kōwhai.nz/api", "https://api.xn--kwhai-g9a.nz/x", "https://api.xn--kwhai-g9a.nz/x"},
		"IDN, as Unicode":           {"https://xn--kwhai-g9a.nz/api", "https://api.kōwhai.nz/x", "https://api.xn--kwhai-g9a.nz/x"},
		"full-width dots":           {"https://websms.co.nz/api", "https://api。websms。co。nz/x", "https://api.websms.co.nz/x"},
		"from http to https":        {"http://websms.co.nz/api", "https://api.websms.co.nz/x", "https://api.websms.co.nz/x"},
		"single label":              {"https://websms/api", "https://websms:8443/x", "https://websms:8443/x"},
		"private suffix, same":      {"https://a.github.io/api", "https://b.a.github.io/x", "https://b.a.github.io/x"},
		"localhost, another port":   {"http://localhost:1/api", "http://localhost:2/x", "http://localhost:2/x"},
		"localhost, no port":        {"http://localhost:1/api", "http://LOCALHOST/x", "http://localhost/x"},
		"IPv4, another port":        {"http://127.0.0.1:1/api", "http://127.0.0.1:2/x", "http://127.0.0.1:2/x"},
		"IPv6, another spelling":    {"http://[::1]:1/api", "http://[0:0::1]:2/x", "http://[0:0::1]:2/x"},
		"IP by https":               {"https://192.0.2.1/api", "https://192.0.2.1:8443/x", "https://192.0.2.1:8443/x"},
		"to http":                   {"https://websms.co.nz/api", "http://websms.co.nz/x", ""},
		"to http, by http":          {"http://websms.co.nz/api", "http://api.websms.co.nz/x", ""},
		"path, by http":             {"http://websms.co.nz/api", "/v2/x", ""},
		"another domain":            {"https://websms.co.nz/api", "https://evil.example/x", ""},
		"another domain, no scheme": {"https://websms.co.nz/api", "//evil.example/x", ""},
		"domain as a subdomain":     {"https://websms.co.nz/api", "https://websms.co.nz.evil.example/x", ""},
		"domain as an end":          {"https://websms.co.nz/api", "https://evilwebsms.co.nz/x", ""},
		"public suffix":             {"https://websms.co.nz/api", "https://co.nz/x", ""},
		"neighbour":                 {"https://websms.co.nz/api", "https://evil.co.nz/x", ""},
		"private suffix, neighbour": {"https://a.github.io/api", "https://b.github.io/x", ""},
		"user":                      {"https://websms.co.nz/api", "https://user@api.websms.co.nz/x", ""},
		"user that looks like it":   {"https://websms.co.nz/api", "https://api.websms.co.nz@evil.example/x", ""},
		"user and password":         {"https://websms.co.nz/api", "https://a:b@websms.co.nz/x", ""},
		"empty user":                {"https://websms.co.nz/api", "https://@websms.co.nz/x", ""},
		"backslash":                 {"https://websms.co.nz/api", `https://evil.example\@websms.co.nz/x`, ""},
		"backslashes":               {"https://websms.co.nz/api", `https:\\evil.example/x`, ""},
		"look-alike":                {"https://websms.co.nz/api", "https://websmѕ.co.nz/x", ""},
		"two dots at the end":       {"https://websms.co.nz/api", "https://api.websms.co.nz../x", ""},
		"an IP address":             {"https://websms.co.nz/api", "https://192.0.2.1/x", ""},
		"localhost":                 {"https://websms.co.nz/api", "https://localhost/x", ""},
		"single label, another":     {"https://websms/api", "https://other/x", ""},
		"localhost, another host":   {"http://localhost:1/api", "http://127.0.0.1:1/x", ""},
		"localhost, another scheme": {"http://localhost:1/api", "https://localhost:1/x", ""},
		"localhost, below it":       {"http://localhost:1/api", "http://a.localhost:1/x", ""},
		"IP, another":               {"http://127.0.0.1:1/api", "http://127.0.0.2:1/x", ""},
		"IP, by a name":             {"http://127.0.0.1:1/api", "http://localhost:1/x", ""},
		"IP, to https elsewhere":    {"http://127.0.0.1:1/api", "https://websms.co.nz/x", ""},
		"another protocol":          {"https://websms.co.nz/api", "ftp://websms.co.nz/x", ""},
		"opaque":                    {"https://websms.co.nz/api", "https:websms.co.nz/x", ""},
		"script":                    {"https://websms.co.nz/api", "javascript:alert(1)", ""},
		"no host":                   {"https://websms.co.nz/api", "https:///x", ""},
		"not a URL":                 {"https://websms.co.nz/api", "https://[/x", ""},
		"with secrets":              {"https://websms.co.nz/api", "https://" + testNumber + ".example/" + testToken + "?" + testSecret, ""},
		"with secrets, no URL":      {"https://websms.co.nz/api", "://" + testNumber + testToken + testSecret, ""},
	} {
		for _, status := range []int{http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
			t.Run(name, func(t *testing.T) {
				r := &road{t: t, status: status}
				r.location = func(*url.URL) string {
					if len(r.seen) > 1 {
						return ""
					}
					return test.location
				}
				c := newClient(t, hasToken, withTransport(r), func(c *connexus.Config) { c.BaseURL = test.base })
				got, err := send(t, c)
				if test.want != "" {
					if err != nil || got.MessageID != "MSG1" || len(r.seen) != 2 || r.seen[1] != test.want {
						t.Errorf("requests to %q, %+v, %v; want the second to %s", r.seen, got, err, test.want)
					}
					return
				}
				e := wantError(t, err, connexus.KindMalformed, false)
				if len(r.seen) != 1 || e.Status != status || !strings.Contains(err.Error(), "redirect") {
					t.Errorf("requests to %q, error %v", r.seen, err)
				}
			})
		}
	}
}

// The token endpoint is redirected by the same rules, with the credentials in the body.
func TestRedirectOfTokenRequest(t *testing.T) {
	for location, want := range map[string]int{
		"https://api.websms.co.nz/api/connexus": 4, "https://evil.example": 1, "http://websms.co.nz": 1,
	} {
		r := &road{t: t, status: 308, location: func(u *url.URL) string {
			if u.Host != "websms.co.nz" {
				return ""
			}
			return location + strings.TrimPrefix(u.Path, "/api/connexus")
		}}
		_, err := send(t, newClient(t, withTransport(r)))
		if len(r.seen) != want || (err == nil) != (want == 4) {
			t.Errorf("%s: requests to %q, %v", location, r.seen, err)
		}
		if err != nil {
			if e := wantError(t, err, connexus.KindMalformed, false); e.Endpoint != connexus.EndpointToken {
				t.Errorf("%s: %v", location, err)
			}
		}
	}
}

// Two redirects are followed, and a third one is not. A loop ends.
func TestRedirectCount(t *testing.T) {
	hosts := []string{"websms.co.nz", "a.websms.co.nz", "b.websms.co.nz", "c.websms.co.nz"}
	for redirects := range 4 {
		r := &road{t: t, status: 307, location: func(u *url.URL) string {
			if i := slices.Index(hosts, u.Host); i < redirects {
				return "https://" + hosts[i+1] + u.Path
			}
			return ""
		}}
		_, err := send(t, newClient(t, hasToken, withTransport(r)))
		if (err == nil) != (redirects <= 2) || len(r.seen) != min(redirects, 2)+1 {
			t.Errorf("%d redirects: %v after %q", redirects, err, r.seen)
		}
		if err != nil {
			wantError(t, err, connexus.KindMalformed, false)
		}
	}
	r := &road{t: t, status: 307, location: func(u *url.URL) string { return u.String() }}
	_, err := send(t, newClient(t, hasToken, withTransport(r)))
	wantError(t, err, connexus.KindMalformed, false)
	if len(r.seen) != 3 {
		t.Errorf("a loop made %d requests", len(r.seen))
	}
}

// Other redirects are not followed, wherever they lead, because they do not keep the
// message. A 307 without an address is none.
func TestOtherRedirects(t *testing.T) {
	for _, test := range []struct {
		status   int
		location string
		maybe    bool
	}{
		{301, "https://websms.co.nz/x", false}, {302, "https://websms.co.nz/x", false}, {302, "://", false},
		{300, "https://websms.co.nz/x", false}, {305, "https://websms.co.nz/x", false}, {399, "https://websms.co.nz/x", false},
		{303, "https://websms.co.nz/x", true}, // carried out (RFC 9110, section 15.4.4)
		{307, "", false}, {308, "", false},
	} {
		calls := 0
		c := newClient(t, hasToken, withTransport(scripted(&calls, replying(test.status, "", "Location", test.location), success)))
		_, err := send(t, c)
		e := wantError(t, err, connexus.KindMalformed, test.maybe)
		if calls != 1 || e.Status != test.status || !strings.Contains(err.Error(), "redirect") {
			t.Errorf("%d to %q: %d calls, %v", test.status, test.location, calls, err)
		}
	}
}

// The settings of Config.HTTPClient for redirects are ignored.
func TestRedirectBesideTheClientsOwn(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the redirect was followed")
	}))
	defer elsewhere.Close()
	away := strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1)
	for _, status := range []int{301, 302, 303, 307, 308} {
		redirect := answer(status, "", "Location", away)
		a := newAPI(t, redirect, redirect)
		follows := func(c *connexus.Config) { c.HTTPClient = elsewhere.Client() }
		_, err := send(t, a.client(t, hasToken, follows))
		wantError(t, err, connexus.KindMalformed, status == 303)
		_, err = send(t, a.client(t))
		wantError(t, err, connexus.KindMalformed, false)
	}
}

// Over real connections, to another port: the connection to the first address is used
// again, and a failure behind the redirect is judged by itself.
func TestRedirectToAnotherPort(t *testing.T) {
	var answered atomic.Pointer[http.HandlerFunc]
	second := newAPI(t, nil, func(w http.ResponseWriter, r *http.Request) { (*answered.Load())(w, r) })
	first := newAPI(t, nil, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", second.URL+r.URL.Path)
		w.WriteHeader(http.StatusTemporaryRedirect)
		_, _ = io.WriteString(w, "moved")
	})
	c := first.client(t, hasToken)
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		kind    connexus.Kind
		maybe   bool
		calls   int64 // of the first address
	}{
		"taken":       {answer(200, `{"status":"success"}`), 0, false, 1},
		"no funds":    {answer(402, ``), connexus.KindFunds, false, 1},
		"not a reply": {answer(200, `<html>`), connexus.KindMalformed, true, 1},
		"no token":    {answer(401, ``), connexus.KindCredentials, false, 2},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) },
			connexus.KindUnavailable, true, 1},
	} {
		answered.Store(&test.handler)
		before, messages := first.otpCalls.Load(), second.otpCalls.Load()
		_, err := send(t, c)
		if test.kind == 0 && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if test.kind != 0 {
			wantError(t, err, test.kind, test.maybe)
		}
		if n := first.otpCalls.Load() - before; n != test.calls || second.otpCalls.Load()-messages != n {
			t.Errorf("%s: %d and %d requests, want %d of each", name, n, second.otpCalls.Load()-messages, test.calls)
		}
	}
	forms, _ := second.otps()
	for _, form := range forms {
		if form.Get("msgCode") != testCode || form.Get("to") != testNumber {
			t.Errorf("the second address got %v", form)
		}
	}
}

// An address behind a redirect that refuses connections has accepted nothing, so the
// message is tried again. The error does not name the address, which the server chose.
func TestRedirectToClosedPort(t *testing.T) {
	calls := 0
	secrets := strings.ToLower(testToken) + "." + testNumber + ".websms.co.nz"
	c := newClient(t, hasToken, withTransport(transport(func(r *http.Request) (*http.Response, error) {
		calls++
		if r.URL.Host == "websms.co.nz" {
			return response(r, 308, "", "Location", "https://"+secrets+"/x"), nil
		}
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: r.URL.Host, IsNotFound: true}}
	})))
	_, err := send(t, c)
	wantError(t, err, connexus.KindUnavailable, false)
	if calls != 4 || strings.Contains(strings.ToLower(err.Error()), strings.ToLower(testToken)) {
		t.Errorf("%d requests, %v", calls, err)
	}
}

// The time-out of a call includes its redirects. A hang behind a redirect leaves the
// message in doubt, and it is not sent again.
func TestRedirectAndTimeout(t *testing.T) {
	calls := 0
	c := newClient(t, hasToken, withTransport(scripted(&calls,
		replying(307, "", "Location", "https://api.websms.co.nz/x"), hanging, success)))
	ctx, cancel := context.WithTimeout(t.Context(), 20e6)
	defer cancel()
	_, err := c.SendOTP(ctx, testOTP)
	wantError(t, err, connexus.KindTimeout, true)
	if calls != 2 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%d requests, %v", calls, err)
	}
}
