package websms

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// protocols are those that a browser may speak to a site over TLS.
var protocols = []string{"HTTP/1.1", "HTTP/2.0", "HTTP/3.0"}

// over makes the browser speak one protocol and no other.
func (b *browser) over(protocol string) *browser {
	config := &tls.Config{InsecureSkipVerify: true}
	switch protocol {
	case "HTTP/1.1":
		b.client.Transport = &http.Transport{TLSClientConfig: config}
	case "HTTP/2.0":
		b.client.Transport = &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	case "HTTP/3.0":
		transport := &http3.Transport{TLSClientConfig: config}
		b.t.Cleanup(func() { _ = transport.Close() })
		b.client.Transport = transport
	default:
		b.t.Fatalf("no browser speaks %s", protocol)
	}
	b.t.Cleanup(b.client.CloseIdleConnections)
	return b
}

// The main job, over each protocol: a stranger is challenged, gets a code,
// answers it, stands in the application, and leaves it.
func TestWalkOverEachProtocol(t *testing.T) {
	w := start(t, setup{https: true, gate: plenty})
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			b, number := w.browser().over(protocol), freshNumber()
			step := func(what string, a answer, status int, location string) {
				t.Helper()
				if a.Proto != protocol {
					t.Fatalf("%s went over %s", what, a.Proto)
				}
				if a.StatusCode != status || a.Header.Get("Location") != location {
					t.Fatalf("%s: %s to %q; want %d to %q", what, a.Status, a.Header.Get("Location"), status, location)
				}
			}
			seen := len(w.app.seen())
			const target, login = "/timesheet?week=47", "/.websms/login?rd=%2Ftimesheet%3Fweek%3D47"
			step("a stranger", b.get(target, page), http.StatusFound, login)
			step("a program", b.get(target, api), http.StatusUnauthorized, "")
			step("a form without a session", b.post("/form", []string{"a", "b"}, page), http.StatusUnauthorized, "")
			step("the number form", b.get(login, page), http.StatusOK, "")
			step("the number", b.post("/.websms/send", []string{"phone", number, "rd", target}, page), http.StatusSeeOther, "/.websms/verify")
			step("the code form", b.get("/.websms/verify", page), http.StatusOK, "")
			code := w.codeFor(number, 1)
			step("a wrong code", b.post("/.websms/verify", []string{"code", other(code)}, page), http.StatusUnprocessableEntity, "")
			if n := len(w.app.seen()); n != seen {
				t.Fatalf("%d requests reached the app before anybody was verified", n-seen)
			}
			a := b.post("/.websms/verify", []string{"code", code}, page)
			step("the code", a, http.StatusSeeOther, target)
			session := a.setCookie("__Host-websms_session")
			if session == nil || !session.Secure || !session.HttpOnly || session.Path != "/" || session.Domain != "" || session.SameSite != http.SameSiteLaxMode {
				t.Fatalf("the session is set by %q", a.Header["Set-Cookie"])
			}

			step("the app", b.get(target, page), http.StatusOK, "")
			step("a form with a session", b.post("/form", []string{"a", "b"}, page, with("Cookie", b.cookies()+"; theme=dark")), http.StatusOK, "")
			requests := w.app.seen()[seen:]
			if len(requests) != 2 {
				t.Fatalf("the app saw %d requests", len(requests))
			}
			for _, r := range requests {
				if got := r.Header["X-Verified-Number"]; !slices.Equal(got, []string{number}) || strings.Contains(r.Header.Get("Cookie"), "websms") {
					t.Errorf("the app is told of %q, with cookies %q", got, r.Header["Cookie"])
				}
			}
			if posted := requests[1]; posted.Method != "POST" || posted.Body != "a=b" || posted.Header.Get("Cookie") != "theme=dark" {
				t.Errorf("of the form the app saw %+v", posted)
			}

			step("the session", b.get("/.websms/session", api), http.StatusOK, "")
			thief := w.browser().over(protocol)
			thief.header.Set("Cookie", session.Name+"="+session.Value)
			step("who copied the cookie", thief.get("/", api), http.StatusOK, "")
			step("logout", b.post("/.websms/logout", nil, page), http.StatusSeeOther, "/")
			step("after logout", b.get(target, page), http.StatusFound, login)
			step("who copied the cookie, after logout", thief.get("/", api), http.StatusUnauthorized, "")
		})
	}
	w.wantNoSecrets()
}

// A session that was begun over one protocol goes on over the others, as it
// does when a browser learns from Alt-Svc that the site speaks HTTP/3.
func TestSessionAcrossProtocols(t *testing.T) {
	w := start(t, setup{https: true, gate: plenty})
	b := w.browser()
	for i, protocol := range protocols {
		b.over(protocol).login(freshNumber())
		for _, next := range protocols {
			if a := b.over(next).get("/", api); a.StatusCode != http.StatusOK || a.Proto != next {
				t.Errorf("begun over %s: %s over %s", protocol, a.Status, a.Proto)
			}
		}
		last := protocols[(i+1)%len(protocols)]
		wantStatus(t, "logout over "+last, b.over(last).post("/.websms/logout", nil, api), http.StatusNoContent)
		wantStatus(t, "begun over "+protocol+", ended over "+last, b.over(protocol).get("/", api), http.StatusUnauthorized)
	}
}

// The status stream tells of each change at once, over each protocol, and ends
// when its challenge does.
func TestStatusStreamOverEachProtocol(t *testing.T) {
	w := start(t, setup{https: true, gate: plenty})
	for _, protocol := range protocols {
		b := w.browser().over(protocol)
		begun, number := time.Now(), freshNumber()
		code := b.ask(number)
		stream := b.openEvents(t.Context())
		if stream.res.StatusCode != http.StatusOK || stream.res.Proto != protocol || stream.res.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%s: %s %s %v", protocol, stream.res.Proto, stream.res.Status, stream.res.Header)
		}
		stream.until("accepted")
		report := fmt.Sprintf(`{"type":"dlr","messageId":%q,"statusCode":1}`, w.messagesTo(number)[0].ID)
		wantStatus(t, "a report", b.deliver(report), http.StatusOK)
		stream.until("delivered")
		wantStatus(t, "the code", b.answerWith(code), http.StatusOK)
		stream.ends(protocol)
		stream.close()
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("%s: that took %s", protocol, took)
		}
		if strings.Contains(stream.all.String(), code) {
			t.Errorf("%s: the stream tells the code", protocol)
		}
	}
}

// Bodies are bounded, other sites are refused, and nothing under the prefix
// gets through, whatever the protocol frames a request in.
func TestRefusalsOverEachProtocol(t *testing.T) {
	w := start(t, setup{https: true, gate: plenty})
	for _, protocol := range protocols {
		b := w.browser().over(protocol)
		b.login(freshNumber())
		before := len(w.app.seen())
		const form = "application/x-www-form-urlencoded"
		big := "phone=021+234+567&x=" + strings.Repeat("x", 8<<10)
		wantProblem(t, protocol+": a body too large", b.send("/.websms/send", form, big, api), http.StatusRequestEntityTooLarge, "too_large")
		wantProblem(t, protocol+": a body too large, of no known length", b.pour("/.websms/send", form, io.MultiReader(strings.NewReader(big)), api), http.StatusRequestEntityTooLarge, "too_large")
		wantProblem(t, protocol+": from another site", b.post("/.websms/logout", nil, api, with("Sec-Fetch-Site", "cross-site")), http.StatusForbidden, "cross_origin")
		wantProblem(t, protocol+": from another origin", b.post("/.websms/logout", nil, api, with("Origin", "https://evil.example")), http.StatusForbidden, "cross_origin")
		wantProblem(t, protocol+": a wrong method", b.do("DELETE", "/.websms/session", nil, api), http.StatusMethodNotAllowed, "method_not_allowed")
		for _, path := range []string{"/.websms/unknown", "/.WEBSMS/login", "//.websms/x", "/.websms/../x", "/%2ewebsms/x"} {
			wantProblem(t, protocol+": "+path, b.get(path, api), http.StatusNotFound, "not_found")
		}
		w.wantUnreached(t, protocol, before)
		wantStatus(t, protocol+": the session", b.get("/.websms/session", api), http.StatusOK)
	}
}
