package attacks_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
)

// breaks are the characters that some parser takes for the end of a header line.
var breaks = []string{
	"\r\n", "\n", "\r", "\r\n\r\n", "\x00", "\x00\r\n", "\v", "\f", "\u0085", "\u2028", "\u2029",
	"\u560d\u560a", // which become CR and LF where each character is cut to a byte
	"%0d%0a", "%0D%0A", "%00", "%25%30%64%250a", "\\r\\n", "\t\r\n ", "\xc0\x8d\xc0\x8a",
}

// wantWhole checks that nothing was injected into a reply's header, and that Location and
// Set-Cookie are one line each.
func wantWhole(t *testing.T, what string, reply harness.Wire) {
	t.Helper()
	if reply.Status == 0 {
		t.Errorf("%s: no reply", what)
		return
	}
	for _, line := range reply.Fields {
		name, value, ok := strings.Cut(line, ": ")
		if !ok || strings.EqualFold(name, "Injected") ||
			strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 }) {
			t.Errorf("%s: a line of the header is %q", what, line)
		}
		if strings.EqualFold(name, "Set-Cookie") {
			if cookie, err := http.ParseSetCookie(value); err != nil || !strings.HasPrefix(cookie.Name, "websms_session") {
				t.Errorf("%s: it sets %q", what, value)
			}
		}
	}
	for _, name := range []string{"Location", "Content-Length", "Content-Type", "Www-Authenticate", "Retry-After"} {
		if values := reply.Field(name); len(values) > 1 {
			t.Errorf("%s: %s is there %d times: %q", what, name, len(values), values)
		}
	}
	for _, location := range reply.Field("Location") {
		if strings.Contains(location, " ") || !strings.HasPrefix(location, "/") || !harness.StaysHere(location) {
			t.Errorf("%s: it leads to %q", what, location)
		}
	}
}

// No line break from a request gets into the header of an answer, in any spelling: by the target,
// the number, the code, a JSON string, the host or a path.
func TestResponseSplitting(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b := w.Browser()
	b.Login(harness.FreshNumber())
	session := "Cookie: " + b.Cookies() + "\r\n"
	request := func(method, target, fields, body string) harness.Wire {
		length := ""
		if method == "POST" {
			length = fmt.Sprintf("Content-Length: %d\r\n", len(body))
		}
		return w.Exchange(method + " " + target + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + fields + length + "\r\n" + body)
	}
	const html, json, form = "Accept: text/html\r\n", "Accept: application/json\r\n", "Content-Type: application/x-www-form-urlencoded\r\n"
	const keeps = "Cookie: websms_session_probe=1\r\n"
	for _, end := range breaks {
		text := "/a" + end + "Injected: x" + end + "Set-Cookie: injected=x"
		query, escaped := url.QueryEscape(text), url.PathEscape(text)
		for what, reply := range map[string]harness.Wire{
			"a stranger's path":          request("GET", "/"+escaped, html, ""),
			"a stranger's query":         request("GET", "/?x="+query, html, ""),
			"login":                      request("GET", "/.websms/login?rd="+query, html, ""),
			"login with a session":       request("GET", "/.websms/login?rd="+query, html+session, ""),
			"login by another parameter": request("GET", "/.websms/login?rd=/&"+query+"=x", html+session, ""),
			"the prefix":                 request("GET", "/.websms"+url.PathEscape(end)+"Injected:x", html, ""),
			"under the prefix":           request("GET", "/.websms/"+escaped, html, ""),
			"under the prefix, in JSON":  request("GET", "/.websms/login"+escaped, json, ""),
			"an asset":                   request("GET", "/.websms/assets/"+escaped, html, ""),
			"the prefix itself":          request("GET", "/.websms/?"+query, html, ""),
			"send":                       request("POST", "/.websms/send", html+form+keeps, "phone="+query+"&rd="+query),
			"send of a number": request("POST", "/.websms/send", html+form+keeps,
				"phone="+url.QueryEscape("021 234 567"+end+"Injected: x")+"&rd="+query),
			"send, for a program":         request("POST", "/.websms/send", json+form, "phone="+query+"&rd="+query),
			"send without cookies":        request("POST", "/.websms/send", html+form, "phone="+query+"&rd="+query),
			"send without a content type": request("POST", "/.websms/send", html, "phone="+query),
			"verify":                      request("POST", "/.websms/verify", html+form, "code="+query),
			"resend":                      request("POST", "/.websms/resend", html+form, "rd="+query),
			"logout":                      request("POST", "/.websms/logout", html+form, "rd="+query),
			"a form of a stranger":        request("POST", "/"+escaped, html+form+"Referer: http://localhost/"+escaped+"\r\n", "a=b"),
			"a wrong method":              request("DELETE", "/.websms/login?rd="+query, html, ""),
		} {
			wantWhole(t, fmt.Sprintf("%s with %q", what, end), reply)
			if strings.Contains(reply.Body, "\nInjected: x") && !strings.Contains(reply.Body, "<") {
				t.Errorf("%s with %q: the body begins early: %q", what, end, reply.Body)
			}
		}
		// Follow the redirects to their end.
		number := harness.FreshNumber()
		stranger := w.Browser().Visit()
		a := stranger.Post("/.websms/send", []string{"phone", number, "rd", text}, harness.Page)
		harness.WantStatus(t, "send", a, http.StatusSeeOther)
		challenge := "Cookie: " + stranger.Cookies() + "\r\n"
		reply := request("POST", "/.websms/verify", html+form+challenge, "code="+w.CodeFor(number, 1))
		wantWhole(t, fmt.Sprintf("the way with %q", end), reply)
		if reply.Status != http.StatusSeeOther || len(reply.Field("Location")) != 1 || len(reply.Field("Set-Cookie")) != 3 {
			t.Errorf("the way with %q ends in %d, with %q", end, reply.Status, reply.Fields)
		}
	}
	// The host in raw bytes: an invalid host is not used as one.
	for _, host := range []string{"a\rInjected: x", "a\x00", "a b", "a%0d%0aInjected:%20x", "a/../b", "a\\b", "a\"", "<a>",
		"[::1", "a\u0085", "a:80\r Injected: x", "..", "..."} {
		for _, target := range []string{"/x", "/.websms/login", "/.websms/send", "/.websms"} {
			reply := w.Exchange("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\nAccept: text/html\r\nConnection: close\r\n\r\n")
			wantWhole(t, fmt.Sprintf("the host %q", host), reply)
			if strings.ContainsAny(host, "\r\x00 /\\<") && reply.Status != http.StatusBadRequest {
				t.Errorf("the host %q, at %s: %d", host, target, reply.Status)
			}
		}
	}
	// These request lines hold bytes that no client would send.
	for _, target := range []string{"/\x00", "/.websms/\x00login", "/.websms\x0blogin", "/\r\nInjected: x",
		"/.websms/login?rd=/\x7f", "/.websms/login?rd=/\xff", "/ Injected: x", "/.websms/login HTTP/1.1\r\nInjected: x\r\nX:"} {
		reply := w.Exchange("GET " + target + " HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\nConnection: close\r\n\r\n")
		wantWhole(t, fmt.Sprintf("the target %q", target), reply)
	}
	for _, r := range w.App.Seen() {
		t.Errorf("the app was asked for %s", r.URI)
	}
}

// caddy-security wrote parts of the request into its pages unescaped. On the gate's pages, markup
// from a request is plain text or is left out.
func TestCVE_2023_52430(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	for _, markup := range []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `'><svg/onload=alert(1)>`,
		`"autofocus onfocus="alert(1)`, "`-alert(1)-`", `</title><script>alert(1)</script>`,
		`{{alert(1)}}`, `&#60;script&#62;alert(1)&#60;/script&#62;`, `+ADw-script+AD4-alert(1)+ADw-/script+AD4-`,
		`%3Cscript%3Ealert(1)%3C/script%3E`, "\u2028alert(1)", `javascript:alert(1)`,
	} {
		b, number := w.Browser(), harness.FreshNumber()
		query, header := url.QueryEscape("/"+markup),
			harness.With("Accept-Language", markup, "Referer", w.URL+"/"+url.PathEscape(markup), "User-Agent", markup)
		answers := []harness.Answer{
			b.Get("/"+url.PathEscape(markup), harness.Page, header), b.Get("/.websms/login?rd="+query, harness.Page, header),
			b.Get("/.websms/"+url.PathEscape(markup)+"?"+query, harness.Page, header),
			b.Get("/.websms/assets/"+url.PathEscape(markup), harness.Page, header), b.Post("/x", []string{"a", markup}, harness.Page, header),
			b.Post("/.websms/send", []string{"phone", markup, "rd", "/" + markup}, harness.Page, header),
			b.Post("/.websms/send", []string{"phone", number, "rd", "/" + markup}, harness.Page, header),
		}
		code := w.CodeFor(number, 1)
		answers = append(answers, b.Get("/.websms/verify", harness.Page, header),
			b.Post("/.websms/verify", []string{"code", markup, "remember", markup}, harness.Page, header),
			b.Post("/.websms/verify", []string{"code", code}, harness.Page, header), b.Get("/.websms/verify?"+query, harness.Page, header))
		for i, a := range answers {
			if strings.ContainsAny(markup, "<\"'") && strings.Contains(a.Text, markup) || strings.Contains(a.Text, "<script>") ||
				strings.Contains(a.Text, " onfocus=") && !strings.Contains(a.Text, "&#34;autofocus onfocus") {
				t.Errorf("%q is markup in answer %d: %s", markup, i, harness.Excerpt(a.Text))
			}
			if kind := a.Header.Get("Content-Type"); a.Text != "" &&
				!slices.Contains([]string{"text/html; charset=utf-8", "application/problem+json"}, kind) {
				t.Errorf("%q: answer %d is %q", markup, i, kind)
			}
			if policy := a.Header.Get("Content-Security-Policy"); strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") &&
				(policy == "" || strings.Contains(policy, "unsafe")) {
				t.Errorf("%q: the policy of answer %d is %q", markup, i, policy)
			}
		}
	}
}
