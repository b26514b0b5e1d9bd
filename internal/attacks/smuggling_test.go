package attacks_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
)

// victim is the number that the forgeries name.
const victim = "+64279999999"

// headerSpellings returns the names that some server behind Caddy reads as name. CGI, WSGI and PHP
// read every character that is no letter or digit alike.
func headerSpellings(name string) []string {
	list := []string{name, strings.ToLower(name), strings.ToUpper(name), swapCase(name)}
	for _, c := range "!#$%&'*+-.^_`|~" { // the others of a token (RFC 9110, 5.6.2)
		list = append(list, strings.ReplaceAll(name, "-", string(c)), strings.Replace(name, "-", string(c), 1))
	}
	return append(list, "X_Verified."+name[len("X-Verified-"):])
}

func swapCase(s string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			return r - 'a' + 'A'
		}
		if 'A' <= r && r <= 'Z' {
			return r - 'A' + 'a'
		}
		return r
	}, s)
}

// way is one way for a request to the gate or past it.
type way struct {
	name, path string
	session    bool
	reaches    bool   // the app
	number     string // that the app is told
}

const smugglingGate = "bypass {\n path /gated/open\n}\n" + harness.Plenty

// ways are all ways, where the gate's matcher is /gated/*.
func ways(number string) []way {
	return []way{
		{"with a session", "/gated/x", true, true, number},
		{"without one", "/gated/x", false, false, ""},
		{"bypassed", "/gated/open", false, true, ""},
		{"bypassed, with a session", "/gated/open", true, true, ""},
		{"beside the gate", "/public", false, true, ""},
		{"beside the gate, with a session", "/public", true, true, ""},
		{"to the gate itself", "/.websms/session", true, false, ""},
		{"to the gate itself, without a session", "/.websms/login", false, false, ""},
	}
}

// checkForgery checks the effect of a forgery on one way.
func checkForgery(w *harness.World, t *testing.T, way way, forgery string, before, status int) {
	t.Helper()
	seen := w.App.Seen()[before:]
	if !way.reaches {
		if len(seen) > 0 {
			t.Errorf("%s, %s: the app was asked for %s", way.name, forgery, seen[0].URI)
		}
		return
	}
	if len(seen) != 1 || status != http.StatusOK {
		t.Errorf("%s, %s: answered with %d, the app was asked %d times", way.name, forgery, status, len(seen))
		return
	}
	wantTold(t, way.name+", "+forgery, seen[0].Header, way.number)
}

// wantTold checks the headers in which the application gets a number; "" stands for no number.
func wantTold(t *testing.T, what string, h http.Header, number string) {
	t.Helper()
	got := harness.Identities(h, "X-Verified-Number", "X-Verified-User")
	if number == "" && len(got) > 0 || number != "" && (len(got) != 1 || !slices.Equal(got["X-Verified-Number"], []string{number})) {
		t.Errorf("%s: the app is told %v; want %q", what, got, number)
	}
}

// passOn are options that make Caddy keep the header aliases that it removes by default. The gate
// must hold without Caddy's help.
var passOn = map[string]any{
	"expected_underscore_headers": []string{"X_Verified_Number", "X_Verified_User", "X_Verified-Number", "X_Verified-User",
		"X_Verified.Number", "X_Verified.User"},
	"expected_dot_headers": []string{"X.Verified.Number", "X.Verified.User", "X.Verified-Number", "X.Verified-User"},
}

// A client cannot set the identity headers: by no spelling, by no repetition, and not by making a
// proxy drop them, on any way to the gate or past it.
func TestSmugglingHTTP1(t *testing.T) {
	w := harness.Start(t, harness.Setup{Matcher: "/gated/*", Gate: smugglingGate})
	b := w.Browser()
	const number = "+6421234567"
	b.Login(number)
	session := "Cookie: " + b.Cookies()
	forge := func(t *testing.T, forgeries [][]string) {
		for _, lines := range forgeries {
			for _, way := range ways(number) {
				more := lines
				if way.session {
					more = append([]string{session}, lines...)
				}
				before := len(w.App.Seen())
				a := w.Raw("GET", way.path, more...)
				checkForgery(w, t, way, fmt.Sprintf("%q", lines), before, a.StatusCode)
			}
		}
	}
	var single, several [][]string
	for _, name := range []string{"X-Verified-Number", "X-Verified-User"} {
		for _, s := range headerSpellings(name) {
			single = append(single, []string{s + ": " + victim})
			several = append(several, []string{"Connection: close, " + s})
		}
		several = append(several,
			[]string{name + ": " + victim, name + ": " + victim},
			[]string{name + ": " + victim, strings.ReplaceAll(name, "-", "~") + ": " + victim, strings.ToLower(name) + ": " + victim},
			[]string{name + ":"},
			[]string{name + ":\t" + victim + " "},
			[]string{name + ": ," + victim},
			[]string{"Connection: close", "Connection: " + name, name + ": " + victim},
			[]string{"Connection: close, " + strings.ToUpper(name) + ", " + name + ";q=1"},
			[]string{"Connection: close," + name + ",", "Keep-Alive: " + name, "Proxy-Connection: " + name},
			[]string{"Connection: close, Te, Upgrade, " + name, "Te: trailers", "Upgrade: websocket"},
		)
	}
	t.Run("once", func(t *testing.T) { forge(t, single) })
	t.Run("several", func(t *testing.T) { forge(t, several) })
	w.LoadServer(smugglingGate, passOn)
	t.Run("passed on by Caddy", func(t *testing.T) {
		forge(t, single)
		before := len(w.App.Seen())
		w.Raw("GET", "/public", "X_Other_Header: 1", "X.Other: 2")
		if h := w.App.Seen()[before].Header; len(h[http.CanonicalHeaderKey("X_Other_Header")])+len(h[http.CanonicalHeaderKey("X.Other")]) > 0 {
			t.Errorf("Caddy passes on %v of its own accord", h)
		}
	})
	w.LoadServer(smugglingGate, map[string]any{"expected_underscore_headers": []string{"X_Other"}})
	before := len(w.App.Seen())
	w.Raw("GET", "/public", "X_Other: 1")
	if got := w.App.Seen()[before].Header.Get("X_Other"); got != "1" {
		t.Errorf("Caddy cannot be told to pass on an underscore: the test tests nothing; the app got %q", got)
	}
}

// A request that HTTP/1.1 parsers could read in two ways is refused, or read in the way that gives
// the application no number. A body cannot hide a second request.
func TestSmugglingMalformed(t *testing.T) {
	w := harness.Start(t, harness.Setup{Matcher: "/gated/*", Gate: smugglingGate})
	readTrailers(w.App)
	b := w.Browser()
	const number = "+6421234567"
	b.Login(number)
	cookie := "Cookie: " + b.Cookies() + "\r\n"
	const forged = "X-Verified-Number: " + victim
	hidden := "GET /gated/hidden HTTP/1.1\r\nHost: localhost\r\n" + cookie + forged + "\r\n\r\n"
	length := fmt.Sprintf("Content-Length: %d\r\n", len(hidden)+5)
	chunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(hidden), hidden)
	type attempt struct {
		what string
		way
	}
	sent := make(map[string]attempt)
	for name, tail := range map[string]string{
		"space before the colon":         "X-Verified-Number : " + victim + "\r\n\r\n",
		"tab before the colon":           "X-Verified-Number\t: " + victim + "\r\n\r\n",
		"space before the name":          "Accept: a\r\n " + forged + "\r\n\r\n",
		"tab before the name":            "Accept: a\r\n\t" + forged + "\r\n\r\n",
		"space before the first name":    " " + forged + "\r\n\r\n",
		"bare line feed":                 "Accept: a\n" + forged + "\r\n\r\n",
		"bare carriage return":           "Accept: a\r" + forged + "\r\n\r\n",
		"form feed":                      "Accept: a\f" + forged + "\r\n\r\n",
		"NUL in front":                   "\x00" + forged + "\r\n\r\n",
		"NUL behind the name":            "X-Verified-Number\x00: " + victim + "\r\n\r\n",
		"NUL in the value":               "Accept: a\x00\r\n" + forged + "\r\n\r\n",
		"high bit":                       "X\xadVerified\xadNumber: " + victim + "\r\n\r\n",
		"fullwidth":                      "Ｘ-Verified-Number: " + victim + "\r\n\r\n",
		"no name":                        ": " + victim + "\r\n" + forged + "\r\n\r\n",
		"no colon":                       "X-Verified-Number\r\n" + forged + "\r\n\r\n",
		"lines that end in LF alone":     forged + "\n\n",
		"length and chunks":              length + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"chunks and length":              "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + chunk,
		"two lengths":                    "Content-Length: 0\r\n" + length + "\r\n" + hidden,
		"a list of lengths":              "Content-Length: 0, 5\r\n\r\n" + hidden,
		"a signed length":                "Content-Length: +0\r\n\r\n" + hidden,
		"a length in hexadecimal":        "Content-Length: 0x0\r\n\r\n" + hidden,
		"chunked twice":                  "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + hidden,
		"chunked, identity":              "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + hidden,
		"xchunked":                       "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden,
		"chunked behind a tab":           "Transfer-Encoding:\tchunked\r\n\r\n" + chunk,
		"chunked by a name with a space": "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + hidden,
		"chunked by a name with _":       "Transfer_Encoding: chunked\r\n" + length + "\r\n" + hidden + "12345",
		"a chunk's size that overflows":  "Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n" + hidden,
		"a chunk whose lines end in LF":  "Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n" + hidden,
		"a chunk with an extension":      "Transfer-Encoding: chunked\r\n\r\n0;\n" + hidden,
		"a body of a GET":                length + "\r\n" + hidden + "12345",
		"a request inside a chunk":       "Transfer-Encoding: chunked\r\n\r\n" + chunk,
		"trailers": "Trailer: X-Verified-Number\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + forged +
			"\r\nCookie: a=b\r\n\r\n",
		"trailers that nobody spoke of":   "Transfer-Encoding: chunked\r\n\r\n0\r\n" + forged + "\r\nx_verified_number: " + victim + "\r\n\r\n",
		"trailers with a bare line feed":  "Transfer-Encoding: chunked\r\n\r\n0\r\nA: b\n" + forged + "\r\n\r\n",
		"a second request that is honest": "\r\nGET /gated/hidden HTTP/1.1\r\nHost: localhost\r\n" + forged + "\r\n\r\n",
	} {
		for _, way := range ways(number) {
			for _, method := range []string{"GET", "POST"} {
				// Each request has its own mark, because a request that the proxy gives up may
				// reach the application late.
				target := fmt.Sprintf("%s?%d", way.path, len(sent))
				sent[target] = attempt{name + ", " + way.name + " " + method, way}
				head := method + " " + target + " HTTP/1.1\r\nHost: localhost\r\n"
				if way.session {
					head += cookie
				}
				if status := w.Exchange(head + tail).Status; status == http.StatusInternalServerError {
					t.Errorf("%s, %s %s: %d", name, way.name, method, status)
				}
			}
		}
	}
	harness.WantStatus(t, "an honest request", b.Get("/gated/x", harness.API), http.StatusOK)
	reached := 0
	for _, r := range w.App.Seen() {
		switch a, known := sent[r.URI]; {
		case known && !a.reaches:
			t.Errorf("%s: the app was asked for it", a.what)
		case known:
			reached++
			wantTold(t, a.what, r.Header, a.number)
		case r.URI == "/gated/hidden" || r.URI == "/gated/x": // requests of their own, which brought our cookie
			wantTold(t, "a second request", r.Header, number)
		default:
			t.Errorf("the app was asked for %s", r.URI)
		}
	}
	if reached == 0 {
		t.Error("nothing reached the app: the test tests nothing")
	}
}

// HTTP/2 and HTTP/3 frame fields in another way. A client cannot forge there either: with a
// library's client, with trailers, and with frames that no library would send.
func TestSmugglingHTTP2And3(t *testing.T) {
	w := harness.Start(t, harness.Setup{HTTPS: true, Matcher: "/gated/*", Gate: smugglingGate})
	readTrailers(w.App)
	const number = "+6421234567"
	owner := w.Browser()
	owner.Login(number)
	for _, options := range []map[string]any{nil, passOn} {
		w.LoadServer(smugglingGate, options)
		for _, protocol := range protocols[1:] {
			b := overProtocol(w.Browser(), protocol)
			b.Client.Jar = nil
			for _, way := range ways(number) {
				for _, name := range headerSpellings("X-Verified-Number") {
					if strings.ContainsAny(name, "%") && protocol == "HTTP/3.0" {
						continue
					}
					before, header := len(w.App.Seen()), http.Header{name: {victim, victim}, "X-Verified-User": {"boss"}}
					if way.session {
						header.Set("Cookie", owner.Cookies())
					}
					checkForgery(w, t, way, protocol+" "+name, before, b.Get(way.path, header).StatusCode)
				}
				before := len(w.App.Seen())
				status := sendTrailers(b, way, owner.Cookies())
				checkForgery(w, t, way, protocol+" with trailers", before, status)
			}
		}
		for _, way := range ways(number) {
			for _, c := range []struct {
				fields []string
				valid  bool
			}{
				{[]string{"x-verified-number", victim, "x-verified-number", victim}, true},
				{[]string{"x_verified.number", victim, "x-verified-user", "boss"}, true},
				{[]string{"te", "trailers", "x.verified.number", victim}, true},
				{[]string{"X-Verified-Number", victim}, false}, // RFC 9113, 8.2.1: upper case is malformed
				{[]string{"connection", "x-verified-number"}, false},
				{[]string{"proxy-connection", "x-verified-number"}, false},
				{[]string{"transfer-encoding", "chunked"}, false},
				{[]string{"x-verified-number ", victim}, false},
				{[]string{"accept", "a\r\nx-verified-number: " + victim}, false},
				{[]string{":x-verified-number", victim}, false},
			} {
				fields, before := c.fields, len(w.App.Seen())
				if way.session { // in crumbs (RFC 9113, 8.2.3)
					for crumb := range strings.SplitSeq("a=1; "+owner.Cookies()+"; b=2", "; ") {
						fields = append(fields, "cookie", crumb)
					}
				}
				reply := w.RawHTTP2("GET", way.path, fields...)
				if c.valid {
					checkForgery(w, t, way, fmt.Sprintf("%q", c.fields), before, reply.Status)
				} else if seen := w.App.Seen(); len(seen) > before || reply.Status == http.StatusOK {
					t.Errorf("%s, %q: answered with %d, the app was asked %d times", way.name, c.fields, reply.Status, len(seen)-before)
				}
			}
		}
	}
}

// readTrailers makes the application read trailers as header fields, as a careless one would.
func readTrailers(a *harness.LegacyApp) {
	a.Config.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		header := r.Header.Clone()
		for name, values := range r.Trailer {
			header[name] = append(header[name], values...)
		}
		a.Mu.Lock()
		defer a.Mu.Unlock()
		a.Requests = append(a.Requests, harness.SeenRequest{Method: r.Method, URI: r.RequestURI, Body: string(body), Header: header})
	})
}

// sendTrailers posts with trailers that name a verified number, and returns the status.
func sendTrailers(b *harness.Browser, way way, cookies string) int {
	b.T.Helper()
	req, err := http.NewRequest(http.MethodPost, b.URL+way.path, io.MultiReader(strings.NewReader("hello")))
	if err != nil {
		b.T.Fatal(err)
	}
	req.Trailer = http.Header{"X-Verified-Number": {victim}, "X_verified_number": {victim}, "X-Verified-User": {"boss"}}
	if way.session {
		req.Header.Set("Cookie", cookies)
	}
	res, err := b.Client.Do(req)
	if err != nil {
		b.T.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}
