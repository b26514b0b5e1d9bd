package connexus_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"testing"
	"time"

	"github.com/caddy-websms/websms/connexus"
)

func TestNewRefuses(t *testing.T) {
	good := connexus.Config{ClientID: testID, ClientSecret: testSecret}
	for name, spoil := range map[string]func(*connexus.Config){
		"no client id":            func(c *connexus.Config) { c.ClientID = "" },
		"blank client id":         func(c *connexus.Config) { c.ClientID = " \n" },
		"no client secret":        func(c *connexus.Config) { c.ClientSecret = "" },
		"secret with a line end":  func(c *connexus.Config) { c.ClientSecret += "\n" },
		"negative timeout":        func(c *connexus.Config) { c.Timeout = -1 },
		"base without scheme":     func(c *connexus.Config) { c.BaseURL = "websms.co.nz/api/connexus" },
		"base without host":       func(c *connexus.Config) { c.BaseURL = "https:///api/connexus" },
		"base with a port alone":  func(c *connexus.Config) { c.BaseURL = "https://:443/api" },
		"base opaque":             func(c *connexus.Config) { c.BaseURL = "https:websms.co.nz" },
		"base of another scheme":  func(c *connexus.Config) { c.BaseURL = "ftp://websms.co.nz" },
		"base with a user":        func(c *connexus.Config) { c.BaseURL = "https://me:" + testSecret + "@websms.co.nz" },
		"base with a query":       func(c *connexus.Config) { c.BaseURL = "https://websms.co.nz?secret=" + testSecret },
		"base with a lone '?'":    func(c *connexus.Config) { c.BaseURL = "https://websms.co.nz?" },
		"base with a fragment":    func(c *connexus.Config) { c.BaseURL = "https://websms.co.nz#a" },
		"base that is not parsed": func(c *connexus.Config) { c.BaseURL = "https://" + testSecret + "\x7f" },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			spoil(&cfg)
			c, err := connexus.New(cfg)
			if err == nil {
				c.Close()
				t.Fatal("accepted")
			}
			wantNoSecrets(t, err)
		})
	}
}

func TestOnCall(t *testing.T) {
	type call struct {
		endpoint string
		kind     connexus.Kind
	}
	var calls []call
	a := newAPI(t, nil, nil)
	a.otp = revoking(2)
	c := a.client(t, func(c *connexus.Config) {
		c.OnCall = func(endpoint string, took time.Duration, err error) {
			var e *connexus.Error
			if errors.As(err, &e) {
				calls = append(calls, call{endpoint, e.Kind})
			} else {
				calls = append(calls, call{endpoint, 0})
			}
			if took <= 0 {
				t.Errorf("%s took %s", endpoint, took)
			}
		}
	})
	if _, err := send(t, c); err != nil {
		t.Fatal(err)
	}
	want := []call{
		{connexus.EndpointToken, 0}, {connexus.EndpointOTP, connexus.KindCredentials},
		{connexus.EndpointToken, 0}, {connexus.EndpointOTP, 0},
	}
	if fmt.Sprint(calls) != fmt.Sprint(want) {
		t.Errorf("told of %v, want %v", calls, want)
	}
}

// The caller's http.Client stays unchanged, and its cookies are not used.
func TestHTTPClientIsTheOwners(t *testing.T) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	own := &http.Client{Jar: jar}
	a := newAPI(t, nil, nil)
	a.otp = func(w http.ResponseWriter, r *http.Request) {
		if len(r.Cookies()) > 0 {
			t.Error("a cookie was kept")
		}
		answer(204, "", "Set-Cookie", "a=b")(w, r)
	}
	own.Transport = a.Client().Transport
	c := a.client(t, func(c *connexus.Config) { c.HTTPClient = own })
	for range 2 {
		if _, err := send(t, c); err != nil {
			t.Fatal(err)
		}
	}
	if own.Jar != jar || own.CheckRedirect != nil {
		t.Error("the owner's http.Client was changed")
	}
}
