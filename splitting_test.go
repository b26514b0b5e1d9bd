package websms

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// breaks are what could end a line of a header, for one parser or another.
var breaks = []string{
	"\r\n", "\n", "\r", "\r\n\r\n", "\x00", "\x00\r\n", "\v", "\f", "\u0085", "\u2028", "\u2029",
	"\u560d\u560a", // which become CR and LF where each character is cut to a byte
	"%0d%0a", "%0D%0A", "%00", "%25%30%64%250a", "\\r\\n", "\t\r\n ", "\xc0\x8d\xc0\x8a",
}

// wantWhole checks that a reply's header is the one that was meant: nothing
// of it was injected, and Location and Set-Cookie are one line each.
func wantWhole(t *testing.T, what string, reply wire) {
	t.Helper()
	if reply.status == 0 {
		t.Errorf("%s: no reply", what)
		return
	}
	for _, line := range reply.fields {
		name, value, ok := strings.Cut(line, ": ")
		if !ok || strings.EqualFold(name, "Injected") || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 }) {
			t.Errorf("%s: a line of the header is %q", what, line)
		}
		if strings.EqualFold(name, "Set-Cookie") {
			if cookie, err := http.ParseSetCookie(value); err != nil || !strings.HasPrefix(cookie.Name, "websms_session") {
				t.Errorf("%s: it sets %q", what, value)
			}
		}
	}
	for _, name := range []string{"Location", "Content-Length", "Content-Type", "Www-Authenticate", "Retry-After"} {
		if values := reply.field(name); len(values) > 1 {
			t.Errorf("%s: %s is there %d times: %q", what, name, len(values), values)
		}
	}
	for _, location := range reply.field("Location") {
		if strings.Contains(location, " ") || !strings.HasPrefix(location, "/") || !sameOrigin(location) {
			t.Errorf("%s: it leads to %q", what, location)
		}
	}
}

// No line break that a request brings, however it is written, gets into the
// header of an answer: by the target, the number, the code, a JSON string, the
// host or a path.
func TestResponseSplitting(t *testing.T) {
	w := start(t, setup{gate: plenty})
	b := w.browser()
	b.login(freshNumber())
	session := "Cookie: " + b.cookies() + "\r\n"
	request := func(method, target, fields, body string) wire {
		length := ""
		if method == "POST" {
			length = fmt.Sprintf("Content-Length: %d\r\n", len(body))
		}
		return w.exchange(method + " " + target + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + fields + length + "\r\n" + body)
	}
	const html, json, form = "Accept: text/html\r\n", "Accept: application/json\r\n", "Content-Type: application/x-www-form-urlencoded\r\n"
	for _, end := range breaks {
		text := "/a" + end + "Injected: x" + end + "Set-Cookie: injected=x"
		query, escaped := url.QueryEscape(text), url.PathEscape(text)
		for what, reply := range map[string]wire{
			"a stranger's path":           request("GET", "/"+escaped, html, ""),
			"a stranger's query":          request("GET", "/?x="+query, html, ""),
			"login":                       request("GET", "/.websms/login?rd="+query, html, ""),
			"login with a session":        request("GET", "/.websms/login?rd="+query, html+session, ""),
			"login by another parameter":  request("GET", "/.websms/login?rd=/&"+query+"=x", html+session, ""),
			"the prefix":                  request("GET", "/.websms"+url.PathEscape(end)+"Injected:x", html, ""),
			"under the prefix":            request("GET", "/.websms/"+escaped, html, ""),
			"under the prefix, in JSON":   request("GET", "/.websms/login"+escaped, json, ""),
			"an asset":                    request("GET", "/.websms/assets/"+escaped, html, ""),
			"the prefix itself":           request("GET", "/.websms/?"+query, html, ""),
			"send":                        request("POST", "/.websms/send", html+form, "phone="+query+"&rd="+query),
			"send of a number":            request("POST", "/.websms/send", html+form, "phone="+url.QueryEscape("021 234 567"+end+"Injected: x")+"&rd="+query),
			"send, for a program":         request("POST", "/.websms/send", json+form, "phone="+query+"&rd="+query),
			"send without a content type": request("POST", "/.websms/send", html, "phone="+query),
			"verify":                      request("POST", "/.websms/verify", html+form, "code="+query),
			"resend":                      request("POST", "/.websms/resend", html+form, "rd="+query),
			"logout":                      request("POST", "/.websms/logout", html+form, "rd="+query),
			"a form of a stranger":        request("POST", "/"+escaped, html+form+"Referer: http://localhost/"+escaped+"\r\n", "a=b"),
			"a wrong method":              request("DELETE", "/.websms/login?rd="+query, html, ""),
		} {
			wantWhole(t, fmt.Sprintf("%s with %q", what, end), reply)
			if strings.Contains(reply.body, "\nInjected: x") && !strings.Contains(reply.body, "<") {
				t.Errorf("%s with %q: the body begins early: %q", what, end, reply.body)
			}
		}
		// The whole way, to where it leads at last.
		number := freshNumber()
		stranger := w.browser()
		a := stranger.post("/.websms/send", []string{"phone", number, "rd", text}, page)
		wantStatus(t, "send", a, http.StatusSeeOther)
		challenge := "Cookie: " + stranger.cookies() + "\r\n"
		reply := request("POST", "/.websms/verify", html+form+challenge, "code="+w.codeFor(number, 1))
		wantWhole(t, fmt.Sprintf("the way with %q", end), reply)
		if reply.status != http.StatusSeeOther || len(reply.field("Location")) != 1 || len(reply.field("Set-Cookie")) != 3 {
			t.Errorf("the way with %q ends in %d, with %q", end, reply.status, reply.fields)
		}
	}
	// The host, as it is: what is no host is not answered as one.
	for _, host := range []string{"a\rInjected: x", "a\x00", "a b", "a%0d%0aInjected:%20x", "a/../b", "a\\b", "a\"", "<a>", "[::1", "a\u0085", "a:80\r Injected: x", "..", "..."} {
		for _, target := range []string{"/x", "/.websms/login", "/.websms/send", "/.websms"} {
			reply := w.exchange("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\nAccept: text/html\r\nConnection: close\r\n\r\n")
			wantWhole(t, fmt.Sprintf("the host %q", host), reply)
			if strings.ContainsAny(host, "\r\x00 /\\<") && reply.status != http.StatusBadRequest {
				t.Errorf("the host %q, at %s: %d", host, target, reply.status)
			}
		}
	}
	// Bytes in the request line that no client would send.
	for _, target := range []string{"/\x00", "/.websms/\x00login", "/.websms\x0blogin", "/\r\nInjected: x", "/.websms/login?rd=/\x7f", "/.websms/login?rd=/\xff", "/ Injected: x", "/.websms/login HTTP/1.1\r\nInjected: x\r\nX:"} {
		reply := w.exchange("GET " + target + " HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\nConnection: close\r\n\r\n")
		wantWhole(t, fmt.Sprintf("the target %q", target), reply)
	}
	for _, r := range w.app.seen() {
		t.Errorf("the app was asked for %s", r.URI)
	}
}

// caddy-security wrote what it was asked for into its pages as it stood. Here
// markup that a request brings is text on a page, or is not there.
func TestCVE_2023_52430(t *testing.T) {
	w := start(t, setup{gate: plenty})
	for _, markup := range []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `'><svg/onload=alert(1)>`, `"autofocus onfocus="alert(1)`, "`-alert(1)-`", `</title><script>alert(1)</script>`,
		`{{alert(1)}}`, `&#60;script&#62;alert(1)&#60;/script&#62;`, `+ADw-script+AD4-alert(1)+ADw-/script+AD4-`, `%3Cscript%3Ealert(1)%3C/script%3E`, "\u2028alert(1)", `javascript:alert(1)`,
	} {
		b, number := w.browser(), freshNumber()
		query, header := url.QueryEscape("/"+markup), with("Accept-Language", markup, "Referer", w.url+"/"+url.PathEscape(markup), "User-Agent", markup)
		answers := []answer{
			b.get("/"+url.PathEscape(markup), page, header), b.get("/.websms/login?rd="+query, page, header), b.get("/.websms/"+url.PathEscape(markup)+"?"+query, page, header),
			b.get("/.websms/assets/"+url.PathEscape(markup), page, header), b.post("/x", []string{"a", markup}, page, header),
			b.post("/.websms/send", []string{"phone", markup, "rd", "/" + markup}, page, header),
			b.post("/.websms/send", []string{"phone", number, "rd", "/" + markup}, page, header),
		}
		code := w.codeFor(number, 1)
		answers = append(answers, b.get("/.websms/verify", page, header), b.post("/.websms/verify", []string{"code", markup, "remember", markup}, page, header),
			b.post("/.websms/verify", []string{"code", code}, page, header), b.get("/.websms/verify?"+query, page, header))
		for i, a := range answers {
			if strings.ContainsAny(markup, "<\"'") && strings.Contains(a.body, markup) || strings.Contains(a.body, "<script>") || strings.Contains(a.body, " onfocus=") && !strings.Contains(a.body, "&#34;autofocus onfocus") {
				t.Errorf("%q is markup in answer %d: %s", markup, i, redact(a.body))
			}
			if kind := a.Header.Get("Content-Type"); a.body != "" && !slices.Contains([]string{"text/html; charset=utf-8", "application/problem+json"}, kind) {
				t.Errorf("%q: answer %d is %q", markup, i, kind)
			}
			if policy := a.Header.Get("Content-Security-Policy"); strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") && (policy == "" || strings.Contains(policy, "unsafe")) {
				t.Errorf("%q: the policy of answer %d is %q", markup, i, policy)
			}
		}
	}
}
