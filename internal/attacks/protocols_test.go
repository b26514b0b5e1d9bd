package attacks_test

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

	"github.com/caddy-websms/websms/internal/harness"
)

// protocols are those that a browser may speak to a site over TLS.
var protocols = []string{"HTTP/1.1", "HTTP/2.0", "HTTP/3.0"}

// overProtocol makes the browser speak only this protocol.
func overProtocol(b *harness.Browser, protocol string) *harness.Browser {
	config := &tls.Config{InsecureSkipVerify: true}
	switch protocol {
	case "HTTP/1.1":
		b.Client.Transport = &http.Transport{TLSClientConfig: config}
	case "HTTP/2.0":
		b.Client.Transport = &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	case "HTTP/3.0":
		transport := &http3.Transport{TLSClientConfig: config}
		b.T.Cleanup(func() { _ = transport.Close() })
		b.Client.Transport = transport
	default:
		b.T.Fatalf("no browser speaks %s", protocol)
	}
	b.T.Cleanup(b.Client.CloseIdleConnections)
	return b
}

// The main flow over each protocol: a stranger is challenged, gets a code, enters it, reaches the
// application, and signs out.
func TestWalkOverEachProtocol(t *testing.T) {
	w := harness.Start(t, harness.Setup{HTTPS: true, Gate: harness.Plenty})
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			b, number := overProtocol(w.Browser(), protocol), harness.FreshNumber()
			step := func(what string, a harness.Answer, status int, location string) {
				t.Helper()
				if a.Proto != protocol {
					t.Fatalf("%s went over %s", what, a.Proto)
				}
				if a.StatusCode != status || a.Header.Get("Location") != location {
					t.Fatalf("%s: %s to %q; want %d to %q", what, a.Status, a.Header.Get("Location"), status, location)
				}
			}
			seen := len(w.App.Seen())
			const target, login = "/timesheet?week=47", "/.websms/login?rd=%2Ftimesheet%3Fweek%3D47"
			step("a stranger", b.Get(target, harness.Page), http.StatusFound, login)
			step("a program", b.Get(target, harness.API), http.StatusUnauthorized, "")
			step("a form without a session", b.Post("/form", []string{"a", "b"}, harness.Page), http.StatusUnauthorized, "")
			step("the number form", b.Get(login, harness.Page), http.StatusOK, "")
			step("the number", b.Post("/.websms/send", []string{"phone", number, "rd", target}, harness.Page),
				http.StatusSeeOther, "/.websms/verify")
			step("the code form", b.Get("/.websms/verify", harness.Page), http.StatusOK, "")
			code := w.CodeFor(number, 1)
			step("a wrong code", b.Post("/.websms/verify", []string{"code", harness.OtherCode(code)}, harness.Page),
				http.StatusUnprocessableEntity, "")
			if n := len(w.App.Seen()); n != seen {
				t.Fatalf("%d requests reached the app before anybody was verified", n-seen)
			}
			a := b.Post("/.websms/verify", []string{"code", code}, harness.Page)
			step("the code", a, http.StatusSeeOther, target)
			session := a.SetCookie("__Host-websms_session")
			if session == nil || !session.Secure || !session.HttpOnly || session.Path != "/" || session.Domain != "" ||
				session.SameSite != http.SameSiteLaxMode {
				t.Fatalf("the session is set by %q", a.Header["Set-Cookie"])
			}

			step("the app", b.Get(target, harness.Page), http.StatusOK, "")
			step("a form with a session", b.Post("/form", []string{"a", "b"}, harness.Page, harness.With("Cookie", b.Cookies()+"; theme=dark")),
				http.StatusOK, "")
			requests := w.App.Seen()[seen:]
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

			step("the session", b.Get("/.websms/session", harness.API), http.StatusOK, "")
			thief := overProtocol(w.Browser(), protocol)
			thief.Header.Set("Cookie", session.Name+"="+session.Value)
			step("who copied the cookie", thief.Get("/", harness.API), http.StatusOK, "")
			step("logout", b.Post("/.websms/logout", nil, harness.Page), http.StatusSeeOther, "/")
			step("after logout", b.Get(target, harness.Page), http.StatusFound, login)
			step("who copied the cookie, after logout", thief.Get("/", harness.API), http.StatusUnauthorized, "")
		})
	}
	w.WantNoSecrets()
}

// A session that began over one protocol is valid over the others. A browser changes the protocol
// when it learns from Alt-Svc that the site speaks HTTP/3.
func TestSessionAcrossProtocols(t *testing.T) {
	w := harness.Start(t, harness.Setup{HTTPS: true, Gate: harness.Plenty})
	b := w.Browser()
	for i, protocol := range protocols {
		overProtocol(b, protocol).Login(harness.FreshNumber())
		for _, next := range protocols {
			if a := overProtocol(b, next).Get("/", harness.API); a.StatusCode != http.StatusOK || a.Proto != next {
				t.Errorf("begun over %s: %s over %s", protocol, a.Status, a.Proto)
			}
		}
		last := protocols[(i+1)%len(protocols)]
		harness.WantStatus(t, "logout over "+last, overProtocol(b, last).Post("/.websms/logout", nil, harness.API), http.StatusNoContent)
		harness.WantStatus(t, "begun over "+protocol+", ended over "+last, overProtocol(b, protocol).Get("/", harness.API),
			http.StatusUnauthorized)
	}
}

// Over each protocol, the status stream sends each change at once, and ends when its challenge
// ends.
func TestStatusStreamOverEachProtocol(t *testing.T) {
	w := harness.Start(t, harness.Setup{HTTPS: true, Gate: harness.Plenty})
	for _, protocol := range protocols {
		b := overProtocol(w.Browser(), protocol)
		begun, number := time.Now(), harness.FreshNumber()
		code := b.Ask(number)
		stream := harness.OpenEvents(b, t.Context())
		if stream.Response.StatusCode != http.StatusOK || stream.Response.Proto != protocol ||
			stream.Response.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%s: %s %s %v", protocol, stream.Response.Proto, stream.Response.Status, stream.Response.Header)
		}
		stream.Until("accepted")
		report := fmt.Sprintf(`{"type":"dlr","messageId":%q,"statusCode":1}`, w.MessagesTo(number)[0].ID)
		harness.WantStatus(t, "a report", harness.Deliver(b, report), http.StatusOK)
		stream.Until("delivered")
		harness.WantStatus(t, "the code", b.AnswerWith(code), http.StatusOK)
		stream.Ends(protocol)
		stream.Close()
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("%s: that took %s", protocol, took)
		}
		if strings.Contains(stream.All.String(), code) {
			t.Errorf("%s: the stream tells the code", protocol)
		}
	}
}

// Over each protocol, the size of a body is limited, other sites are refused, and nothing under the
// prefix reaches the application.
func TestRefusalsOverEachProtocol(t *testing.T) {
	w := harness.Start(t, harness.Setup{HTTPS: true, Gate: harness.Plenty})
	for _, protocol := range protocols {
		b := overProtocol(w.Browser(), protocol)
		b.Login(harness.FreshNumber())
		before := len(w.App.Seen())
		const form = "application/x-www-form-urlencoded"
		big := "phone=021+234+567&x=" + strings.Repeat("x", 8<<10)
		harness.WantProblem(t, protocol+": a body too large", b.Send("/.websms/send", form, big, harness.API),
			http.StatusRequestEntityTooLarge, "too_large")
		harness.WantProblem(t, protocol+": a body too large, of no known length",
			b.Pour("/.websms/send", form, io.MultiReader(strings.NewReader(big)), harness.API), http.StatusRequestEntityTooLarge, "too_large")
		harness.WantProblem(t, protocol+": from another site",
			b.Post("/.websms/logout", nil, harness.API, harness.With("Sec-Fetch-Site", "cross-site")), http.StatusForbidden, "cross_origin")
		harness.WantProblem(t, protocol+": from another origin",
			b.Post("/.websms/logout", nil, harness.API, harness.With("Origin", "https://evil.example")), http.StatusForbidden, "cross_origin")
		harness.WantProblem(t, protocol+": a wrong method", b.Do("DELETE", "/.websms/session", nil, harness.API),
			http.StatusMethodNotAllowed, "method_not_allowed")
		for _, path := range []string{"/.websms/unknown", "/.WEBSMS/login", "//.websms/x", "/.websms/../x", "/%2ewebsms/x"} {
			harness.WantProblem(t, protocol+": "+path, b.Get(path, harness.API), http.StatusNotFound, "not_found")
		}
		w.WantUnreached(t, protocol, before)
		harness.WantStatus(t, protocol+": the session", b.Get("/.websms/session", harness.API), http.StatusOK)
	}
}
