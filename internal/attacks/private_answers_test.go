package attacks_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/request"
)

// No shared cache stores an answer that passed the gate, whatever headers the application sets. A
// bypassed answer is left alone.
func TestPassedAnswersArePrivate(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Add("Cache-Control", "public, max-age=60")
		h.Add("Cache-Control", "s-maxage=600")
		for _, name := range []string{"CDN-Cache-Control", "Cloudflare-CDN-Cache-Control", "Vercel-CDN-Cache-Control",
			"Surrogate-Control", "Edge-Control", "X-Accel-Expires", "X-LiteSpeed-Cache-Control"} {
			h.Set(name, "max-age=600")
		}
		h.Set("Expires", "Thu, 01 Jan 2037 00:00:00 GMT")
		switch r.URL.Path {
		case "/304":
			w.WriteHeader(http.StatusNotModified)
		case "/500":
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(app.Close)
	w := harness.Start(t, harness.Setup{Gate: "bypass {\n path /open\n}\n" + harness.Plenty})
	plain := w.Config
	w.Config = func(options string) string {
		return strings.Replace(plain(options), strings.TrimPrefix(w.App.URL, "http://"), strings.TrimPrefix(app.URL, "http://"), 1)
	}
	w.Load("bypass {\n path /open\n}\n" + harness.Plenty)
	b := w.Browser()
	b.Login(harness.FreshNumber())
	for _, path := range []string{"/", "/304", "/500", "/public/x.css"} {
		a := b.Get(path)
		if got := a.Header["Cache-Control"]; !slices.Equal(got, []string{"max-age=60, private"}) {
			t.Errorf("%s: Cache-Control %q", path, got)
		}
		for name := range a.Header {
			if request.ForSharedCaches(name) || name == "Edge-Control" {
				t.Errorf("%s: %s is %q", path, name, a.Header[name])
			}
		}
	}
	if a := b.Get("/open"); !slices.Equal(a.Header["Cache-Control"], []string{"public, max-age=60", "s-maxage=600"}) ||
		a.Header.Get("Surrogate-Control") == "" {
		t.Errorf("a bypassed answer was changed: %v", a.Header)
	}
}

// net/http sends a header also if no handler writes an answer, and another handler may write one
// for the application. Neither lets a shared cache store it.
func TestUnwrittenAnswersArePrivate(t *testing.T) {
	public := "header Cache-Control \"public, max-age=60\"\n header CDN-Cache-Control max-age=60\n"
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty, Front: "handle /empty {\n " + public +
		"}\nhandle /error {\n " + public + " error 404\n}\nhandle_errors {\n respond \"for {http.auth.user.id}\"\n}"})
	b := w.Browser()
	b.Login(harness.FreshNumber())
	for path, want := range map[string]string{"/empty": "max-age=60, private", "/error": "no-store"} {
		a := b.Get(path)
		if got := a.Header["Cache-Control"]; !slices.Equal(got, []string{want}) || a.Header.Get("CDN-Cache-Control") != "" {
			t.Errorf("%s: %v", path, a.Header)
		}
	}
}

// A renewed cookie is set only with an answer that no shared cache may store. If another handler
// answers because the application is down, the cookie is not set. The next answer sets it.
func TestRenewedCookieIsPrivate(t *testing.T) {
	for name, front := range map[string]string{"Caddy's own error": "",
		"an error page": "handle_errors {\n header Cache-Control public\n respond sorry 502\n}"} {
		t.Run(name, func(t *testing.T) {
			now := harness.UseClock(t)
			w := harness.Start(t, harness.Setup{Gate: harness.Plenty,
				Front: front + "\nhandle /away {\n reverse_proxy localhost:1\n}\nhandle /plain {\n respond hello\n}"})
			b := w.Browser()
			b.Login(harness.FreshNumber())
			now.Advance(10 * time.Minute)
			a := b.Get("/away")
			if got := a.Header.Get("Cache-Control"); a.StatusCode != http.StatusBadGateway ||
				a.SetCookie("websms_session") != nil || front == "" && got != "no-store" {
				t.Errorf("an error: %s, %v", a.Status, a.Header)
			}
			for _, path := range []string{"/", "/plain"} {
				a = b.Get(path)
				if a.StatusCode != http.StatusOK || a.Header.Get("Cache-Control") != "private" ||
					(a.SetCookie("websms_session") != nil) != (path == "/") {
					t.Errorf("%s: %s, %v", path, a.Status, a.Header)
				}
			}
		})
	}
}

// Streams, early hints and upgrades pass unchanged through the gate.
func TestStreamsPassTheGate(t *testing.T) {
	next := make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/stream":
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: 1\n\n")
			w.(http.Flusher).Flush()
			<-next
			_, _ = io.WriteString(w, "data: 2\n\n")
		case "/hints":
			w.Header().Set("Link", "</x.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = io.WriteString(w, "page")
		case "/upgrade":
			conn, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			_ = rw.Flush()
			line, _ := rw.ReadString('\n')
			_, _ = rw.WriteString("echo " + line)
			_ = rw.Flush()
		}
	}))
	t.Cleanup(app.Close)
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	plain := w.Config
	w.Config = func(options string) string {
		return strings.Replace(plain(options), strings.TrimPrefix(w.App.URL, "http://"), strings.TrimPrefix(app.URL, "http://"), 1)
	}
	w.Load(harness.Plenty)
	b := w.Browser()
	b.Login(harness.FreshNumber())
	request := func(path string) *http.Request {
		req, err := http.NewRequest(http.MethodGet, w.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return req
	}

	res, err := b.Client.Do(request("/stream"))
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, len("data: 1\n\n"))
	if _, err := io.ReadFull(res.Body, first); err != nil || res.Header.Get("Cache-Control") != "private" {
		t.Errorf("the first event: %q, %v, %v", first, err, res.Header)
	}
	close(next) // the first has come while the second was not there
	if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != "data: 2\n\n" {
		t.Errorf("the second event: %q, %v", rest, err)
	}
	res.Body.Close()

	hinted := false
	req := request("/hints")
	req = req.WithContext(httptrace.WithClientTrace(req.Context(),
		&httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hinted = code == http.StatusEarlyHints && h.Get("Link") != ""
			return nil
		}}))
	if res, err = b.Client.Do(req); err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if !hinted || res.StatusCode != http.StatusOK || res.Header.Get("Cache-Control") != "private" {
		t.Errorf("early hints: %t, then %s %v", hinted, res.Status, res.Header)
	}

	conn, err := net.Dial("tcp", strings.TrimPrefix(w.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /upgrade HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: echo\r\nCookie: %s\r\n\r\n",
		strings.TrimPrefix(w.URL, "http://"), b.Cookies())
	reader := bufio.NewReader(conn)
	if res, err = http.ReadResponse(reader, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("the upgrade: %v, %v", res, err)
	}
	fmt.Fprintf(conn, "hello\n")
	if line, err := reader.ReadString('\n'); err != nil || line != "echo hello\n" {
		t.Errorf("over the connection: %q, %v", line, err)
	}
}
