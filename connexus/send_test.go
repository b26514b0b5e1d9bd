package connexus_test

import (
	"strings"
	"testing"

	"github.com/caddy-websms/websms/connexus"
)

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
			forms, _ := a.otps()
			form := forms[0]
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
		"number of 7":                  {func(o *connexus.OTP) { o.To = "+6907290" }, true}, // Tokelau
		"number of 15":                 {func(o *connexus.OTP) { o.To = "+642123456789012" }, true},
		"number of 6":                  {func(o *connexus.OTP) { o.To = "690729" }, false},
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
