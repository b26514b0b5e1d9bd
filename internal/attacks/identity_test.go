package attacks_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
)

// CVE-2026-30851 and its aliases: a client cannot set an identity header, in any
// spelling and on any way through the gate.
func TestForgedIdentity(t *testing.T) {
	for _, c := range []struct{ options, number, user string }{
		{"", "X-Verified-Number", "X-Verified-User"},
		{"headers {\n number Remote-Phone\n user remote_user\n}", "Remote-Phone", "Remote_user"},
	} {
		t.Run(c.number, func(t *testing.T) {
			w := harness.Start(t, harness.Setup{Gate: "bypass {\n path /open\n}\n" + c.options + "\n" + harness.Plenty})
			b := w.Browser()
			b.Login("+6421234567")
			session := "Cookie: " + b.Cookies()

			var forgeries [][]string
			for _, name := range []string{c.number, c.user} {
				for _, spelling := range []string{
					name, strings.ToLower(name), strings.ToUpper(name), strings.ReplaceAll(name, "-", "_"), strings.ReplaceAll(name, "-", "."),
					strings.ReplaceAll(strings.ToLower(name), "-", "_"), strings.Replace(name, "-", "~", 1), strings.ReplaceAll(name, "-", "!"),
				} {
					forgeries = append(forgeries,
						[]string{spelling + ": " + victim},
						[]string{spelling + ": " + victim, "Accept: */*", spelling + ": " + victim},
						[]string{spelling + ":"},
						[]string{"Connection: close, " + spelling},
						[]string{"Connection: " + spelling + " , close", spelling + ": " + victim},
						[]string{"Connection: close", "Connection: " + spelling},
					)
				}
			}
			for _, forged := range forgeries {
				for _, way := range []struct {
					path  string
					lines []string
					want  []string
				}{
					{"/", []string{session}, []string{"+6421234567"}},
					{"/open", []string{session}, nil},
					{"/open", nil, nil},
				} {
					before := len(w.App.Seen())
					a := w.Raw("GET", way.path, append(way.lines, forged...)...)
					if a.StatusCode != http.StatusOK {
						t.Fatalf("%s with %q: %s", way.path, forged, a.Status)
					}
					got := harness.Identities(w.App.Seen()[before].Header, c.number, c.user)
					canonical := http.CanonicalHeaderKey(c.number)
					if len(got) != len(way.want) || !slices.Equal(got[canonical], way.want) {
						t.Errorf("%s with %q: the app is told %v; want %v", way.path, forged, got, way.want)
					}
				}
			}
			// A header that only resembles ours is left alone.
			w.Raw("GET", "/", session, c.number+"s: 1", "X"+c.number+": 2")
			seen := w.App.Seen()
			if last := seen[len(seen)-1].Header; last.Get(c.number+"s") != "1" || last.Get("X"+c.number) != "2" {
				t.Errorf("the app lacks headers that are not ours: %v", last)
			}
		})
	}
}

// HTTP/2 writes names in lower case and has no Connection field. A client cannot
// set an identity header there either.
func TestForgedIdentityHTTP2(t *testing.T) {
	w := harness.Start(t, harness.Setup{HTTPS: true, Gate: harness.Plenty})
	b := w.Browser()
	b.Login("+6421234567")
	a := b.Get("/", harness.With("X-Verified-Number", "+64279999999", "X_verified_number", "+64279999999", "X.Verified.User", "boss"))
	if a.ProtoMajor != 2 || a.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", a.Proto, a.Status)
	}
	seen := w.App.Seen()
	got := harness.Identities(seen[len(seen)-1].Header, "X-Verified-Number", "X-Verified-User")
	if len(got) != 1 || !slices.Equal(got["X-Verified-Number"], []string{"+6421234567"}) {
		t.Errorf("the app is told %v", got)
	}
}

// Trailers arrive after the decision, whether they were announced or not.
func TestForgedTrailers(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	var mu sync.Mutex
	var seen []http.Header
	w.App.Config.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, r.Header.Clone(), r.Trailer.Clone())
	})
	b := w.Browser()
	b.Login("+6421234567")
	for _, announced := range []string{"X-Verified-Number", "x_verified_number", "X-Verified-User, X-Other", "X-Other", ""} {
		lines := []string{"Cookie: " + b.Cookies(), "Transfer-Encoding: chunked"}
		if announced != "" {
			lines = append(lines, "Trailer: "+announced)
		}
		lines = append(lines, "", "5\r\nhello\r\n0",
			"X-Verified-Number: +64279999999", "x_verified_number: +64279999999", "X-Verified-User: boss", "X-Other: x", "", "")
		if a := w.Raw("POST", "/", lines...); a.StatusCode != http.StatusOK {
			t.Errorf("announcing %q: %s", announced, a.Status)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 10 {
		t.Fatalf("the app saw %d requests", len(seen)/2)
	}
	for i := 0; i < len(seen); i += 2 {
		if got := seen[i]["X-Verified-Number"]; !slices.Equal(got, []string{"+6421234567"}) {
			t.Errorf("the app is told %q", got)
		}
		if got := harness.Identities(seen[i+1], "X-Verified-Number", "X-Verified-User"); len(got) > 0 {
			t.Errorf("the app is told by trailers: %v", got)
		}
	}
}
