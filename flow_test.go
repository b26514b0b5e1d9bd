package websms_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddy-websms/websms/internal/harness"
)

// Each endpoint accepts its own methods and refuses the others.
func TestMethods(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b := w.Browser()
	asset := ""
	if _, rest, ok := strings.Cut(b.Get("/.websms/login", harness.Page).Text, `href="/.websms/assets/`); ok {
		asset, _, _ = strings.Cut(rest, `"`)
	}
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get"}
	for path, allow := range map[string]string{
		"": "GET, HEAD", "/": "GET, HEAD", "/login": "GET, HEAD", "/send": "POST", "/verify": "GET, HEAD, POST", "/resend": "POST",
		"/status": "GET, HEAD", "/session": "GET, HEAD", "/logout": "POST", "/assets/" + asset: "GET, HEAD",
	} {
		for _, method := range methods {
			allowed := strings.Contains(", "+allow+", ", ", "+method+", ")
			a := w.Raw(method, "/.websms"+path, "Accept: application/json", "Content-Length: 0")
			switch {
			case allowed && (a.StatusCode == http.StatusMethodNotAllowed || a.StatusCode == http.StatusNotFound || a.StatusCode >= 500):
				t.Errorf("%s %s: %s", method, path, a.Status)
			case !allowed:
				if harness.WantStatus(t, method+" "+path, a, http.StatusMethodNotAllowed); method != "HEAD" {
					harness.WantProblem(t, method+" "+path, a, http.StatusMethodNotAllowed, "method_not_allowed")
				}
				if got := a.Header.Get("Allow"); got != allow {
					t.Errorf("%s %s: Allow is %q; want %q", method, path, got, allow)
				}
			}
		}
	}
	if n := w.Sim.Counts().OTPRequests; n != 0 {
		t.Errorf("%d messages were sent", n)
	}
	if a := b.Do("PUT", "/.websms/send", url.Values{"phone": {"021 234 567"}},
		harness.Page); a.StatusCode != http.StatusMethodNotAllowed || !strings.Contains(a.Text, "<h1>") {
		t.Errorf("PUT by a person: %s %s", a.Status, harness.Excerpt(a.Text))
	}
}

// A body must have the right type, size and format.
func TestBodies(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	const form, json = "application/x-www-form-urlencoded", "application/json"
	pad := func(body string, size int) string { return body + strings.Repeat("x", size-len(body)) }
	for _, c := range []struct {
		name, contentType, body string
		status                  int
		slug                    string
	}{
		{"a form", form, "phone=021+234+567", 202, ""},
		{"a form of some charset", form + "; charset=UTF-8", "phone=021+234+567", 202, ""},
		{"a form in capitals", "Application/X-WWW-Form-Urlencoded", "phone=021+234+567", 202, ""},
		{"a form of 8 KiB", form, pad("phone=021+234+567&x=", 8<<10), 202, ""},
		{"a form of a byte more", form, pad("phone=021+234+567&x=", 8<<10+1), 413, "too_large"},
		{"a form far too long", form, pad("phone=021+234+567&x=", 1<<20), 413, "too_large"},
		{"a form with bad escapes", form, "phone=%zz", 400, "bad_request"},
		{"a form with semicolons", form, "phone=021;rd=/", 400, "bad_request"},
		{"a form with the number twice", form, "phone=021+234+567&phone=027+999+9999", 202, ""},
		{"JSON", json, `{"phone":"021 234 567"}`, 202, ""},
		{"JSON of some charset", json + ";charset=utf-8", `{"phone":"021 234 567"}`, 202, ""},
		{"JSON with a number", json, `{"phone":21234567}`, 202, ""},
		{"JSON with white space", json, " {\"phone\":\"021 234 567\"}\r\n", 202, ""},
		{"JSON with more than is asked for", json, `{"phone":"021 234 567","x":{"y":[1]},"z":null,"rd":"/a"}`, 202, ""},
		{"JSON of 8 KiB", json, `{"phone":"021 234 567","x":"` + strings.Repeat("x", 8<<10-30) + `"}`, 202, ""},
		{"JSON too long", json, `{"phone":"021 234 567","x":"` + strings.Repeat("x", 8<<10) + `"}`, 413, "too_large"},
		{"JSON that breaks off", json, `{"phone":"021 234 567"`, 400, "bad_request"},
		{"JSON that goes on", json, `{"phone":"021 234 567"} {}`, 400, "bad_request"},
		{"JSON closed twice", json, `{"phone":"021 234 567"}}`, 400, "bad_request"},
		{"JSON closed otherwise", json, `{"phone":"021 234 567"}]`, 400, "bad_request"},
		{"a JSON array", json, `["021 234 567"]`, 400, "bad_request"},
		{"a JSON string", json, `"021 234 567"`, 400, "bad_request"},
		{"a JSON null", json, `null`, 400, "bad_request"},
		{"a form said to be JSON", json, "phone=021+234+567", 400, "bad_request"},
		{"JSON said to be a form", form, `{"phone":"021 234 567"}`, 422, "invalid_number"},
		{"JSON with a list", json, `{"phone":["021 234 567"]}`, 422, "invalid_number"},
		{"JSON with null", json, `{"phone":null}`, 422, "invalid_number"},
		{"JSON with true", json, `{"phone":true}`, 422, "invalid_number"},
		{"nothing", form, "", 422, "invalid_number"},
		{"nothing of no type", "", "", 422, "invalid_number"},
		{"no type", "", "phone=021+234+567", 415, "unsupported_media_type"},
		{"plain text", "text/plain", "phone=021+234+567", 415, "unsupported_media_type"},
		{"a multipart form", "multipart/form-data; boundary=x",
			"--x\r\nContent-Disposition: form-data; name=phone\r\n\r\n021 234 567\r\n--x--", 415, "unsupported_media_type"},
		{"a type that is none", "/;", "phone=021+234+567", 415, "unsupported_media_type"},
		{"JSON by another name", "application/vnd.api+json", `{"phone":"021 234 567"}`, 415, "unsupported_media_type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := map[bool]int{true: 1, false: 0}[c.status == 202]
			w.WantSends(c.name, want, "+64274000001", func() {
				a := w.Browser().Send("/.websms/send", c.contentType, c.body, harness.API)
				if c.slug != "" {
					harness.WantProblem(t, "send", a, c.status, c.slug)
				} else if a.StatusCode != c.status || a.JSON("masked") != "+64•••567" {
					t.Errorf("%s %s", a.Status, harness.Excerpt(a.Text))
				}
			})
		})
	}
	// Without a Content-Length.
	a := w.Raw("POST", "/.websms/send", "Accept: application/json", "Content-Type: "+form, "Transfer-Encoding: chunked", "",
		"2001", strings.Repeat("x", 0x2001), "0", "", "")
	harness.WantProblem(t, "chunks of a byte more", a, http.StatusRequestEntityTooLarge, "too_large")
}

// A form of another site cannot post to the gate.
func TestCrossOrigin(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b := w.Browser()
	b.Login("+6421234567")
	code := b.Ask("+6421234567")
	for _, c := range []struct {
		name    string
		header  http.Header
		refused bool
	}{
		{"of another site", harness.With("Sec-Fetch-Site", "cross-site", "Origin", w.URL), true},
		{"of a sibling", harness.With("Sec-Fetch-Site", "same-site"), true},
		{"of an unknown relation", harness.With("Sec-Fetch-Site", "odd"), true},
		{"by an older browser", harness.With("Origin", "https://evil.example"), true},
		{"by an older browser, of another port", harness.With("Origin", "http://localhost:1"), true},
		{"by an older browser, of another scheme and port", harness.With("Origin", "https://localhost"), true},
		{"of a sandboxed frame", harness.With("Origin", "null"), true},
		{"of an origin that is none", harness.With("Origin", "::"), true},
		{"of this origin", harness.With("Sec-Fetch-Site", "same-origin", "Origin", w.URL), false},
		{"of this origin, whose referrer policy hides it", harness.With("Sec-Fetch-Site", "same-origin", "Origin", "null"), false},
		{"of the person", harness.With("Sec-Fetch-Site", "none"), false},
		{"by an older browser, of this origin", harness.With("Origin", w.URL), false},
		{"of a program", harness.With(), false},
	} {
		for _, path := range []string{"send", "verify", "resend", "logout"} {
			if !c.refused && path != "send" {
				continue
			}
			w.WantSends(path+" "+c.name, map[bool]int{true: 0, false: 1}[c.refused], "+64274000001", func() {
				a := b.Post("/.websms/"+path, []string{"phone", "+6421234567", "code", code}, harness.API, c.header)
				if c.refused {
					harness.WantProblem(t, path+" "+c.name, a, http.StatusForbidden, "cross_origin")
				} else {
					harness.WantStatus(t, path+" "+c.name, a, http.StatusAccepted)
				}
				if c.refused && len(a.Cookies()) > 0 {
					t.Errorf("%s %s: sets %v", path, c.name, a.Cookies())
				}
			})
		}
	}
	// The posts had no effect: the browser is signed in, and the challenge has all its attempts.
	if a := b.Get("/.websms/session", harness.API); a.JSON("verified") != true {
		t.Errorf("the session: %s %s", a.Status, a.Text)
	}
	if a := b.Get("/.websms/status", harness.API); a.JSON("attempts_left") != 5.0 {
		t.Errorf("the challenge: %s %s", a.Status, a.Text)
	}
	if a := b.Post("/.websms/send", nil, harness.Page, harness.With("Origin", "https://evil.example")); a.StatusCode != 403 ||
		!strings.Contains(a.Text, "<h1>") {
		t.Errorf("for a person: %s %s", a.Status, harness.Excerpt(a.Text))
	}
}

// The shortest mobile numbers are those of Tokelau. They get their code, and no answer or log shows one.
func TestShortNumber(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: "numbers {\ncountries NZ TK\n}\n" + harness.Plenty})
	for i, phone := range []string{"+690 7290", "7290", "tel:+690-7290"} {
		b := w.Browser()
		code := b.Ask(phone)
		if got := w.MessagesTo("+6907290"); len(got) != i+1 || got[0].Code != code {
			t.Fatalf("%s: %v", phone, got)
		}
		a := b.Post("/.websms/verify", []string{"code", code}, harness.API)
		if a.StatusCode != http.StatusOK || a.JSON("number") != "+690•••" {
			t.Errorf("%s: %s %s", phone, a.Status, a.Text)
		}
	}
	if log := w.LogText(); strings.Contains(log, "6907290") || !strings.Contains(log, "+690•••") {
		t.Error("the log shows the number, or does not mask it")
	}
}

// Numbers are accepted in the spellings that people use. An invalid number gets an error.
func TestNumbers(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	for _, phone := range []string{
		"021 234 567", "021234567", "(021) 234-567", "021-234-567", "021.234.567", "021/234/567", " 021 234 567\t",
		"+6421234567", "+64 21 234 567",
		"0064 21 234 567", "006421234567", "64 21 234 567", "+64 (0)21 234 567", "+64\u201121\u2011234\u2011567",
		"\uff10\uff12\uff11 \uff12\uff13\uff14 \uff15\uff16\uff17", "021\u00a0234\u00a0567",
		"tel:021-234-567", "tel:+64-21-234-567", "021\t234\t567", "+64\u202f21\u2009234\u2009567", "+64+21 234 567", "+64+64 21 234 567",
		"\u202a+64 21 234 567\u202c", "٠٢١ ٢٣٤ ٥٦٧",
	} {
		a := w.Browser().Request(phone)
		if a.StatusCode != http.StatusAccepted || a.JSON("masked") != "+64•••567" {
			t.Errorf("%q: %s %s", phone, a.Status, a.Text)
		}
	}
	harness.Eventually(t, "all messages arrive", func() bool { return len(w.MessagesTo("+6421234567")) == 24 })

	for _, c := range []struct {
		slug  string
		words string
		list  []string
	}{
		{"invalid_number", "Enter a mobile number", []string{
			"", " ", "12345", "call me", "021 234", "021 234 567 890 123", "09 300 0000", "+64 9 300 0000", "0800 123 456", "0900 12345", "111",
			"+999 123456789", "021 234 567 ext 5", "021234567;ext=5", "tel:021234567;ext=5", "021 CALL ME", "021 234 567, 021 234 568",
			"<script>021234567</script>",
			strings.Repeat("0", 500), strings.Repeat("021 234 567 ", 100), "+", "%2B6421234567",
		}},
		{"country_not_allowed", "cannot text numbers in that country", []string{
			"+61 412 345 678", "0061 412 345 678", "+1 201 555 0123", "+44 7400 123456", "+682 71 234", "+49 1512 3456789",
		}},
	} {
		for _, phone := range c.list {
			w.WantSends(phone, 0, "+64274000001", func() {
				b := w.Browser().Visit()
				a := b.Request(phone)
				harness.WantProblem(t, phone, a, http.StatusUnprocessableEntity, c.slug)
				html := b.Post("/.websms/send", []string{"phone", phone, "rd", "/a"}, harness.Page)
				if html.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(html.Text, c.words) ||
					!strings.Contains(html.Text, `name="rd" value="/a"`) {
					t.Errorf("%q, for a person: %s %s", phone, html.Status, harness.Excerpt(html.Text))
				}
				for _, a := range []harness.Answer{a, html} {
					if len(a.Cookies()) > 0 {
						t.Errorf("%q: sets %v", phone, a.Cookies())
					}
				}
				if bare := digitsOf(phone); len(phone) > 4 && strings.Contains(a.Text, phone) || len(bare) > 6 &&
					strings.Contains(digitsOf(a.Text), bare) {
					t.Errorf("%q is repeated to a program", phone)
				}
				if !strings.Contains(harness.UnescapeHTML(html.Text), ` value="`+phone+`"`) && strings.TrimSpace(phone) != "" &&
					utf8.ValidString(phone) {
					t.Errorf("%q does not stay in its field: %s", phone, harness.Excerpt(html.Text))
				}
			})
		}
	}
	w.WantNoSecrets("412345678", "2015550123", "412 345")
}

// digitsOf returns the digits of s, without zeros in front.
func digitsOf(s string) string {
	return strings.TrimLeft(strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return r
		}
		return -1
	}, s), "0")
}

// Numbers of other countries are accepted in their own spelling.
func TestCountries(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: "numbers {\n countries AU NZ\n}\n" + harness.Plenty})
	for phone, want := range map[string]string{
		"0412 345 678": "+61412345678", "021 234 567": "+6421234567", "+64 21 234 567": "+6421234567", "0011 61 412 345 678": "+61412345678",
	} {
		before := len(w.MessagesTo(want))
		harness.WantStatus(t, phone, w.Browser().Request(phone), http.StatusAccepted)
		w.CodeFor(want, before+1)
	}
	harness.WantProblem(t, "a third country", w.Browser().Request("+44 7400 123456"), http.StatusUnprocessableEntity, "country_not_allowed")
}

// The message follows the configuration.
func TestMessage(t *testing.T) {
	for _, c := range []struct {
		name   string
		https  bool
		gate   string
		length int
		domain string
		body   string
		own    bool
	}{
		{name: "plain", length: 6, body: " is your Acme verification code.", own: true},
		{name: "over TLS", https: true, length: 6, domain: "localhost", own: true},
		{name: "web_otp off", https: true, gate: "web_otp off", length: 6, own: true},
		{name: "web_otp of another host", gate: "web_otp app.example.com", length: 6, domain: "app.example.com", own: true},
		{name: "a comment", gate: `comment "Never share it."`, length: 6, body: " is your Acme verification code. Never share it.", own: true},
		{name: "four digits", gate: "code {\n length 4\n}", length: 4, own: true},
		{name: "eight digits", gate: "code {\n length 8\n}", length: 8, own: true},
		{name: "their code", gate: "code {\n source websms\n}", length: 6},
		{name: "their code, its length said", gate: "code {\n source websms\n length 6\n}", length: 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := harness.Start(t, harness.Setup{HTTPS: c.https, Gate: c.gate})
			b := w.Browser()
			code := b.Ask("+6421234567")
			m := w.Sim.Messages()[0]
			if m.Company != "Acme" || m.WebOTPDomain != c.domain || len(m.Code) != c.length || m.OwnCode != c.own ||
				!strings.HasSuffix(m.Body, c.body) {
				t.Errorf("%+v was sent", m)
			}
			harness.Eventually(t, "WebSMS has told the code", func() bool {
				a := b.Get("/.websms/status", harness.API)
				return a.JSON("status") != "queued" && a.JSON("code_length") == float64(c.length)
			})
			harness.WantStatus(t, "verify", b.AnswerWith(code), http.StatusOK)
		})
	}
}

// A message never names a host that only the Host header gives.
func TestMessageHostIsProven(t *testing.T) {
	w := harness.Start(t, harness.Setup{HTTPS: true})
	w.Serve(harness.Plenty, "localhost", "evil.test")
	b := w.Browser() // its handshake names localhost, for any Host header
	for at, want := range map[string]string{"localhost": "localhost", "evil.test": "", "LOCALHOST": "localhost"} {
		number := harness.FreshNumber()
		harness.WantStatus(t, at, b.Request(number, harness.Host(at)), http.StatusAccepted)
		w.CodeFor(number, 1)
		if got := w.MessagesTo(number)[0].WebOTPDomain; got != want {
			t.Errorf("a request for %s makes a message for %q", at, got)
		}
	}
}
