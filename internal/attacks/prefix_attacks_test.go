package attacks_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
)

// These targets are bytes that an HTTP library would change or refuse. In every form, nothing under
// the prefix reaches the application. No other target counts as a page of the gate or passes it.
func TestPrefixOnTheWire(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b := w.Browser()
	b.Login("+6421234567")
	cookie := "Cookie: " + b.Cookies() + "\r\n"
	host := strings.TrimPrefix(w.URL, "http://")
	// The possible fates of a target: ours, the application's, or no valid request.
	const (
		ours = iota
		apps
		none
	)
	cases := map[string]int{
		// These are ours, with any prefix or escape.
		"GET /.websms HTTP/1.1": ours, "GET /.websms? HTTP/1.1": ours, "GET /.websms/? HTTP/1.1": ours, "GET /.websms/login HTTP/1.0": ours,
		"GET /.WEBSMS/login HTTP/1.1": ours, "GET /.WebSms HTTP/1.1": ours, "GET /.websms/LOGIN HTTP/1.1": ours,
		"GET /.websms/login%20 HTTP/1.1": ours, "GET /.websms/login; HTTP/1.1": ours,
		"GET /%2E%77%65%62%73%6D%73/%6C%6F%67%69%6E HTTP/1.1": ours, "GET /%2e%57EBSMS%2Fx HTTP/1.1": ours,
		"GET /.websms%2f HTTP/1.1": ours, "GET /.websms%2F%2e%2e HTTP/1.1": ours,
		"GET //.websms/login HTTP/1.1": ours, "GET ///.websms HTTP/1.1": ours, "GET /./.websms/x HTTP/1.1": ours,
		"GET /x/../.websms HTTP/1.1": ours, "GET /x/%2E%2E/.websms HTTP/1.1": ours,
		"GET /x/..//.//.websms/x HTTP/1.1": ours, "GET /../.websms HTTP/1.1": ours, "GET /%2e%2e/.websms/x HTTP/1.1": ours,
		"GET /.websms/../x HTTP/1.1": ours, "GET /.websms/%2e%2e/%2e%2e/x HTTP/1.1": ours,
		"GET /.websms/./x HTTP/1.1": ours, "GET /.websms//x HTTP/1.1": ours, "GET /.websms/%00 HTTP/1.1": ours,
		"GET /.websms/\\..\\..\\x HTTP/1.1": ours, "GET /\\.websms\\x HTTP/1.1": ours, "GET /.websms%5cx HTTP/1.1": ours,
		"GET " + w.URL + "/.websms/x HTTP/1.1": ours, "GET http://evil.example/.websms/x HTTP/1.1": ours, "GET HTTP://" +
			host + "/.WEBSMS HTTP/1.1": ours, "GET http://user:secret@" + host + "/.websms/x HTTP/1.1": ours, "GET http:///.websms HTTP/1.1": ours,
		"POST /.websms/unknown HTTP/1.1": ours, "PURGE /.websms/login HTTP/1.1": ours, "get /.websms/x HTTP/1.1": ours,
		"HEAD /.websms/x HTTP/1.1": ours, "CONNECT /.websms/x HTTP/1.1": ours,
		"GET /.websms/login#x HTTP/1.1": ours, "GET /.websms/assets/../../x HTTP/1.1": ours,
		"GET /.websms/assets/%2e%2e/session HTTP/1.1": ours, "GET /.websms/assets//etc/passwd HTTP/1.1": ours,
		// These look alike, and are the application's.
		"GET /.websmsx/login HTTP/1.1": apps, "GET /.websms.php HTTP/1.1": apps, "GET /.websms-x HTTP/1.1": apps,
		"GET /.websms%20/login HTTP/1.1": apps, "GET /.websms%00/login HTTP/1.1": apps, "GET /.websms%09 HTTP/1.1": apps,
		"GET /.websms;x=y/login HTTP/1.1": apps, "GET /.websms%3b/login HTTP/1.1": apps, "GET /.websms%3flogin HTTP/1.1": apps,
		"GET /.websms%23 HTTP/1.1": apps, "GET /websms/login HTTP/1.1": apps, "GET /..websms HTTP/1.1": apps,
		"GET /%252ewebsms/login HTTP/1.1": apps, "GET /.websms%252flogin HTTP/1.1": apps,
		"GET /.web%2fsms/login HTTP/1.1": apps, "GET /x/.websms/login HTTP/1.1": apps, "GET /.websms./login HTTP/1.1": apps,
		"GET /.web%C5%BFms/login HTTP/1.1": apps, "GET /.web%c5%bfms HTTP/1.1": apps, "GET /%EF%BC%8Ewebsms/login HTTP/1.1": apps,
		"GET /%E2%80%A4websms/login HTTP/1.1": apps, "GET /%c0%aewebsms/login HTTP/1.1": apps, "GET /.websms%e2%81%84login HTTP/1.1": apps,
		"GET /?/.websms/login HTTP/1.1": apps, "GET /x?rd=/.websms HTTP/1.1": apps, "GET /x/..;/.websms HTTP/1.1": apps,
		"CONNECT " + host + " HTTP/1.1": apps, // without a session, it gets as far as any other
		// These are no HTTP requests.
		"GET /.websms/lo gin HTTP/1.1": none, "GET /.websms/\x00 HTTP/1.1": none, "GET  /.websms/x HTTP/1.1": none,
		"GET\t/.websms/x\tHTTP/1.1": none, "GET .websms/login HTTP/1.1": none, "GET  HTTP/1.1": none,
		"GET /.websms/%zz HTTP/1.1": none, "GET /%.websms HTTP/1.1": none, "GET /.websms/login": none, "GET /.websms/x HTTP/9.9": none,
		"GET /.websms/x HTTP/1.1 x": none, " GET /.websms/x HTTP/1.1": none, "G\x00T /.websms/x HTTP/1.1": none,
	}
	for line, want := range cases {
		for who, fields := range map[string]string{"a stranger": "", "a session": cookie} {
			before := len(w.App.Seen())
			reply := w.Exchange(line + "\r\nHost: " + host + "\r\nConnection: close\r\nContent-Length: 0\r\n" + fields + "\r\n")
			what := fmt.Sprintf("%.80q with %s: %d, %q", line, who, reply.Status, harness.Excerpt(reply.Body))
			reached := len(w.App.Seen()) > before
			switch {
			case reached && (want != apps || who == "a stranger"):
				t.Errorf("%s: the app was asked for %s", what, w.App.Seen()[before].URI)
			case !reached && want == apps && who == "a session":
				t.Errorf("%s: the app was not asked", what)
			case want == apps && who == "a stranger" && reply.Status != http.StatusUnauthorized:
				t.Errorf("%s; want 401", what)
			case want == none && reply.Status/100 != 4 && reply.Status/100 != 5 && reply.Status != 0:
				t.Errorf("%s; want a refusal", what)
			case want == ours && (reply.Status == http.StatusUnauthorized || reply.Status == 0 || reply.Status >= 500):
				t.Errorf("%s; want one of our own answers", what)
			}
			set := slices.DeleteFunc(reply.Field("Set-Cookie"), func(c string) bool { return strings.HasPrefix(c, "websms_session_probe=1;") })
			if strings.Contains(reply.Body, "root:") || len(set) > 0 {
				t.Errorf("%s, sets %q", what, reply.Field("Set-Cookie"))
			}
		}
	}
	if n := w.Sim.Counts().OTPRequests; n != 1 {
		t.Errorf("%d messages were sent; want the one of the login", n)
	}
}

// With a matcher, nothing under the prefix reaches the application either. All other requests
// outside the matcher reach it as if there were no gate.
func TestPrefixBesideTheMatcher(t *testing.T) {
	w := harness.Start(t, harness.Setup{Matcher: "/admin/*", Gate: harness.Plenty})
	for _, target := range []string{
		"/.websms", "/.websms/x", "/.WEBSMS/x", "/%2ewebsms/x", "/%2E%57%45%42%53%4D%53%2fx", "/.websms%2fx",
		"/.websms%2Flogin", "//.websms/x", "/./.websms/x", "/x/../.websms/x", "/x/%2e%2e/.websms", "/.websms//x", "/.websms/;x",
	} {
		before := len(w.App.Seen())
		for _, form := range []string{target, w.URL + target} {
			for _, method := range []string{"GET", "POST", "PUT", "get"} {
				a := w.Raw(method, form, "Content-Length: 0")
				if len(w.App.Seen()) > before {
					t.Errorf("%s %s reaches the app: %s", method, form, a.Status)
					before = len(w.App.Seen())
				}
			}
		}
	}
	for _, target := range []string{"/.websmsx", "/.websms.php", "/.websms;/x", "/x/.websms", "/.web%c5%bfms/x"} {
		before := len(w.App.Seen())
		if a := w.Raw("GET", target); a.StatusCode != http.StatusOK || len(w.App.Seen()) != before+1 {
			t.Errorf("%s: %s", target, a.Status)
		}
	}
	for _, target := range []string{"/.websms%20", "/.websms%252fx"} { // doubtful: it could be the matcher's
		before := len(w.App.Seen())
		if a := w.Raw("GET", target); a.StatusCode != http.StatusUnauthorized || len(w.App.Seen()) != before {
			t.Errorf("%s: %s", target, a.Status)
		}
	}
}
