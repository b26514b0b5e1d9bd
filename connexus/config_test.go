package connexus_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"strings"
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

// The request has the fields of the developer guide, step 4.
func TestMessageForm(t *testing.T) {
	whole := connexus.OTP{
		To: "+6421234567", Company: "Mā & Pā = 100%", Comment: "Valid for 5 minutes.", Code: "048217", WebOTPDomain: "app.example.com",
	}
	for name, test := range map[string]struct {
		otp     connexus.OTP
		sandbox bool
		want    map[string]string
	}{
		"whole": {whole, false, map[string]string{
			"to": "6421234567", "msgCompany": "Mā & Pā = 100%", "msgComment": "Valid for 5 minutes.",
			"msgCode": "048217", "webOtpDomain": "app.example.com",
		}},
		"least": {connexus.OTP{To: "6421234567", Company: "MyApp"}, false, map[string]string{
			"to": "6421234567", "msgCompany": "MyApp",
		}},
		"sandbox": {connexus.OTP{To: "6421234567", Company: "MyApp"}, true, map[string]string{
			"to": "6421234567", "msgCompany": "MyApp", "sandbox": "1",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, nil, nil)
			c := a.client(t, func(c *connexus.Config) {
				c.Sandbox = test.sandbox
				c.BaseURL += "/"
			})
			if _, err := c.SendOTP(t.Context(), test.otp); err != nil {
				t.Fatal(err)
			}
			form := a.otpForms[0]
			for field, want := range test.want {
				if got := form.Get(field); got != want {
					t.Errorf("%s is %q, want %q", field, got, want)
				}
			}
			if len(form) != len(test.want) {
				t.Errorf("sent %v, want %v", form, test.want)
			}
		})
	}
}

func TestMessageIsChecked(t *testing.T) {
	a := newAPI(t, nil, nil)
	c := a.client(t)
	for name, test := range map[string]struct {
		spoil func(*connexus.OTP)
		good  bool
	}{
		"number of 8":                  {func(o *connexus.OTP) { o.To = "64212345" }, true},
		"number of 15":                 {func(o *connexus.OTP) { o.To = "+642123456789012" }, true},
		"number of 7":                  {func(o *connexus.OTP) { o.To = "6421234" }, false},
		"number of 16":                 {func(o *connexus.OTP) { o.To = "6421234567890123" }, false},
		"number empty":                 {func(o *connexus.OTP) { o.To = "" }, false},
		"number a plus":                {func(o *connexus.OTP) { o.To = "+" }, false},
		"number with two":              {func(o *connexus.OTP) { o.To = "++6421234567" }, false},
		"number local":                 {func(o *connexus.OTP) { o.To = "0212345678" }, false},
		"number with spaces":           {func(o *connexus.OTP) { o.To = "64 21 234 567" }, false},
		"number in other digits":       {func(o *connexus.OTP) { o.To = "٦٤٢١٢٣٤٥٦٧" }, false},
		"company empty":                {func(o *connexus.OTP) { o.Company = "" }, false},
		"company blank":                {func(o *connexus.OTP) { o.Company = " \u00a0" }, false},
		"company of two lines":         {func(o *connexus.OTP) { o.Company = "My\nApp" }, false},
		"company not UTF-8":            {func(o *connexus.OTP) { o.Company = "My\xffApp" }, false},
		"company in macrons":           {func(o *connexus.OTP) { o.Company = "Whānau" }, true},
		"comment empty":                {func(o *connexus.OTP) { o.Comment = "" }, true},
		"comment that forges WebOTP":   {func(o *connexus.OTP) { o.Comment = "x\n@evil.example #1" }, false},
		"comment, another line break":  {func(o *connexus.OTP) { o.Comment = "x\u2028@evil.example #1" }, false},
		"code empty":                   {func(o *connexus.OTP) { o.Code = "" }, true},
		"code of 4":                    {func(o *connexus.OTP) { o.Code = "0000" }, true},
		"code of 8":                    {func(o *connexus.OTP) { o.Code = "12345678" }, true},
		"code of 3":                    {func(o *connexus.OTP) { o.Code = "123" }, false},
		"code of 9":                    {func(o *connexus.OTP) { o.Code = "123456789" }, false},
		"code of letters":              {func(o *connexus.OTP) { o.Code = "12345a" }, false},
		"domain empty":                 {func(o *connexus.OTP) { o.WebOTPDomain = "" }, true},
		"domain localhost":             {func(o *connexus.OTP) { o.WebOTPDomain = "localhost" }, true},
		"domain with a scheme":         {func(o *connexus.OTP) { o.WebOTPDomain = "https://a.example" }, false},
		"domain with a port":           {func(o *connexus.OTP) { o.WebOTPDomain = "a.example:8080" }, false},
		"domain with an empty label":   {func(o *connexus.OTP) { o.WebOTPDomain = "a..example" }, false},
		"domain with a dash in front":  {func(o *connexus.OTP) { o.WebOTPDomain = "-a.example" }, false},
		"domain with a line":           {func(o *connexus.OTP) { o.WebOTPDomain = "a.example\n" }, false},
		"domain with a long label":     {func(o *connexus.OTP) { o.WebOTPDomain = strings.Repeat("a", 64) + ".example" }, false},
		"domain that is too long":      {func(o *connexus.OTP) { o.WebOTPDomain = strings.Repeat("a.", 127) + "a" }, false},
		"domain as long as it may be":  {func(o *connexus.OTP) { o.WebOTPDomain = strings.Repeat("a.", 126) + "a" }, true},
		"domain with capitals, digits": {func(o *connexus.OTP) { o.WebOTPDomain = "App-1.xn--mori-qsa.NZ" }, true},
	} {
		t.Run(name, func(t *testing.T) {
			before := a.otpCalls.Load()
			otp := testOTP
			test.spoil(&otp)
			_, err := c.SendOTP(t.Context(), otp)
			if test.good {
				if err != nil {
					t.Error(err)
				}
				return
			}
			e := wantError(t, err, connexus.KindBadRequest, false)
			if e.Status != 0 || a.otpCalls.Load() != before {
				t.Error("the message was sent")
			}
			for _, part := range []string{otp.To, otp.Code} {
				if len(part) > 1 && strings.Contains(err.Error(), part) {
					t.Errorf("error text %q holds %q", err, part)
				}
			}
		})
	}
}

func TestKinds(t *testing.T) {
	sentinels := map[connexus.Kind]error{
		connexus.KindFunds: connexus.ErrFunds, connexus.KindCredentials: connexus.ErrCredentials,
		connexus.KindBadRequest: connexus.ErrBadRequest, connexus.KindThrottled: connexus.ErrThrottled,
		connexus.KindUnavailable: connexus.ErrUnavailable, connexus.KindMalformed: connexus.ErrMalformed,
		connexus.KindTimeout: connexus.ErrTimeout, connexus.KindCanceled: connexus.ErrCanceled,
	}
	labels := make(map[string]bool)
	for kind, sentinel := range sentinels {
		err := fmt.Errorf("sending: %w", &connexus.Error{Kind: kind, Endpoint: connexus.EndpointOTP})
		for other, otherSentinel := range sentinels {
			if errors.Is(err, otherSentinel) != (kind == other) {
				t.Errorf("kind %v and the sentinel of %v: errors.Is is %t", kind, other, kind != other)
			}
		}
		if label := kind.String(); label == "unknown" || labels[label] || !strings.Contains(err.Error(), sentinel.Error()) {
			t.Errorf("kind %d: label %q, text %q", kind, label, err)
		} else {
			labels[label] = true
		}
	}
	for _, kind := range []connexus.Kind{-1, 0, 99} {
		err := &connexus.Error{Kind: kind}
		if kind.String() != "unknown" || errors.Is(err, connexus.ErrFunds) || err.Error() == "" {
			t.Errorf("kind %d is %q", kind, kind)
		}
	}
}

func TestErrorText(t *testing.T) {
	err := &connexus.Error{
		Kind: connexus.KindThrottled, Endpoint: connexus.EndpointOTP, Status: 429,
		Message: "slow \"down\"", RetryAfter: time.Minute, Err: errors.New("cause"),
	}
	want := `connexus: /sms/otp: too many messages: send again later (HTTP 429): WebSMS says "slow \"down\"": retry after 1m0s: cause`
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
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
