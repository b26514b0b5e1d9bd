package websms_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/testca"
)

// refusal is the message of the log line for a form of another origin.
const refusal = "a form of another origin was refused"

// foreignForms returns the log lines for forms of other origins.
func foreignForms(w *harness.World) []map[string]any {
	var lines []map[string]any
	for _, line := range w.Logged("http.handlers.websms_otp") {
		if line["msg"] == refusal {
			lines = append(lines, line)
		}
	}
	return lines
}

// submitted returns the header fields of a browser that submits a form of its own page: what every
// browser sends, and what only some add.
func submitted(origin string, fetchMetadata bool) http.Header {
	h := harness.With("Origin", origin, "Accept", harness.Page.Get("Accept"))
	if fetchMetadata {
		h["Sec-Fetch-Site"], h["Sec-Fetch-Mode"], h["Sec-Fetch-Dest"] = []string{"same-origin"}, []string{"navigate"}, []string{"document"}
	}
	return h
}

// The names of the session cookie: on plain HTTP, and where the gate knows that the browser speaks
// HTTPS.
const plainCookie, boundCookie = "websms_session", "__Host-websms_session"

// wantWalk takes a browser from a deep link to the application and out again, by pages alone. cookie
// is the name of its session cookie.
func wantWalk(t *testing.T, w *harness.World, fetchMetadata bool, cookie string) {
	t.Helper()
	const deep = "/list?back=https%3A%2F%2Fexample.com%2F&q=caf%C3%A9"
	b, number := w.Browser(), harness.FreshNumber()
	follow := func(what string, a harness.Answer, status int) string {
		t.Helper()
		harness.WantStatus(t, what, a, status)
		location, err := url.Parse(a.Header.Get("Location"))
		if err != nil || !strings.HasPrefix(location.Path, "/") || location.Host != "" && location.Scheme+"://"+location.Host != w.URL {
			t.Fatalf("%s leads to %q, which is not at %s", what, a.Header.Get("Location"), w.URL)
		}
		return location.RequestURI()
	}
	form := submitted(w.URL, fetchMetadata)
	login := follow("the deep link", b.Get(deep, harness.Page), http.StatusFound)
	harness.WantStatus(t, "login", b.Get(login, harness.Page), http.StatusOK)
	verify := follow("send", b.Post("/.websms/send", []string{"phone", number, "rd", deep}, form), http.StatusSeeOther)
	harness.WantStatus(t, "the code form", b.Get(verify, harness.Page), http.StatusOK)
	app := follow("verify", b.Post("/.websms/verify", []string{"code", w.CodeFor(number, 1), "rd", deep}, form), http.StatusSeeOther)
	if a := b.Get(app, harness.Page); a.StatusCode != http.StatusOK || a.Text != "legacy app: GET "+deep {
		t.Errorf("the app answers %s %s", a.Status, harness.Excerpt(a.Text))
	}
	seen := w.App.Seen()
	if last := seen[len(seen)-1]; last.Header.Get("X-Verified-Number") != number || last.URI != deep {
		t.Errorf("the app was asked for %s, by %q", last.URI, last.Header.Get("X-Verified-Number"))
	}
	if b.Cookie(cookie) == nil {
		t.Errorf("the cookies are %q; want %s", b.Cookies(), cookie)
	}
	follow("logout", b.Post("/.websms/logout", nil, form), http.StatusSeeOther)
	harness.WantStatus(t, "after logout", b.Get("/", harness.Page), http.StatusFound)
}

// wantRefused checks that the form of an older browser is refused, that nothing is sent, and that
// one log line names both origins and the cause.
func wantRefused(t *testing.T, w *harness.World, header http.Header, expected, cause string) {
	t.Helper()
	b, before := w.Browser(), len(foreignForms(w))
	w.WantSends("a refused form", 0, "+64274000001", func() {
		form := b.Post("/.websms/send", []string{"phone", "+6421234567"}, header)
		harness.WantStatus(t, "send", form, http.StatusForbidden)
		if len(form.Cookies()) > 0 {
			t.Errorf("send sets %v", form.Cookies())
		}
		harness.WantProblem(t, "send, for a program", b.Request("+6421234567", header), http.StatusForbidden, "cross_origin")
	})
	if n := len(w.MessagesTo("+6421234567")); n > 0 {
		t.Errorf("%d messages were sent", n)
	}
	lines := foreignForms(w)[before:]
	if len(lines) == 0 {
		t.Fatalf("the log has no line about it: %s", w.LogText())
	}
	line := lines[0]
	if why, _ := line["cause"].(string); line["level"] != "warn" || line["origin"] != header.Get("Origin") ||
		line["expected"] != expected || !strings.Contains(why, cause) {
		t.Errorf("the log line is %v; want the origin %s, expected %s, and the cause %q", line, header.Get("Origin"), expected, cause)
	}
}

// A refused form leaves a log line for an operator: both origins, and the usual cause. Nothing is
// sent.
func TestForeignFormIsLogged(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	const evil = "https://evil.example"
	another := "a page of another site has sent the form"
	for _, c := range []struct {
		name, global    string
		header          http.Header
		expected, cause string
	}{
		{"another site", "", harness.With("Origin", evil), w.URL, another},
		{"another site, by Fetch Metadata", "", harness.With("Origin", evil, "Sec-Fetch-Site", "cross-site"), w.URL, another},
		{"another port", "", harness.With("Origin", "http://localhost:1"), w.URL, "drops or changes the port"},
		{"a page without a name", "", harness.With("Origin", "null"), w.URL, "does not name the page"},
		{"a stranger's host", "", harness.With("Origin", evil, "X-Forwarded-Host", "evil.example"), w.URL,
			"127.0.0.1 is not in the server's option trusted_proxies"},
		{"a stranger's port", "", harness.With("Origin", "http://localhost:8443", "X-Forwarded-Port", "8443"), w.URL,
			"127.0.0.1 is not in the server's option trusted_proxies"},
		{"another host than a proxy's", harness.TrustLocal, harness.With("Origin", evil, "X-Forwarded-Host", "App.example.com:443, x",
			"X-Forwarded-Proto", "https,http"), "https://app.example.com", another},
		{"another port than a proxy's", harness.TrustLocal,
			harness.With("Origin", "https://app.example.com:1", "X-Forwarded-Host", "app.example.com", "X-Forwarded-Port", " 8443 , 80",
				"X-Forwarded-Proto", "HTTPS"), "https://app.example.com:8443", "drops or changes the port"},
		{"plain HTTP", harness.TrustLocal, harness.With("Origin", w.URL, "X-Forwarded-Proto", "https,http"),
			strings.Replace(w.URL, "http:", "https:", 1), "plain HTTP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			there := *w // with a gate of its own, because the log is sampled
			plain := w.Config
			there.Config = func(options string) string { return strings.Replace(plain(options), "{\n", "{\n"+c.global+"\n", 1) }
			there.Load(harness.Plenty)
			wantRefused(t, &there, c.header, c.expected, c.cause)
		})
	}
}

// A flood of foreign forms does not flood the log, and no form can write into it.
func TestForeignFormsAreSampled(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b := w.Browser()
	const hostile = "https://evil.example\x9b\u202e\u2028" // nothing below a space can stand in a header
	for range 50 {
		harness.WantStatus(t, "send", b.Request("+6421234567", harness.With("Origin", hostile)), http.StatusForbidden)
	}
	lines := foreignForms(w)
	if len(lines) == 0 || len(lines) > 10 {
		t.Fatalf("50 forms left %d lines", len(lines))
	}
	if got := lines[0]["origin"]; got != "https://evil.example???????" {
		t.Errorf("the origin is logged as %q", got)
	}
	w.WantNoSecrets()
}

// Behind an nginx on a port of its own, the whole walk works in every browser if nginx sends the
// browser's own Host header, or tells it as a trusted proxy. Otherwise browsers without Fetch
// Metadata are refused, and the log names the cause.
func TestBehindNginx(t *testing.T) {
	harness.NginxProgram(t)
	const (
		whole     = "proxy_set_header Host $http_host;"
		port      = "proxy_set_header X-Forwarded-Port $server_port;"
		host      = "proxy_set_header X-Forwarded-Host $http_host;"
		scheme    = "proxy_set_header X-Forwarded-Proto $scheme;"
		dropped   = "proxy_set_header Host $host;"
		dropping  = "drops or changes the port"
		untrusted = "127.0.0.1 is not in the server's option trusted_proxies"
	)
	for _, c := range []struct {
		name    string
		https   bool
		options string // of nginx
		trusted bool   // the gate trusts nginx
		cause   string // why the form of an older browser is refused; "" if it is not
	}{
		{"the whole Host", false, whole, false, ""},
		{"the whole Host, trusted", false, whole, true, ""},
		{"no port", false, dropped, false, dropping},
		{"no port, trusted", false, dropped, true, dropping},
		{"no port, and X-Forwarded-Port", false, dropped + port, true, ""},
		{"no port, and X-Forwarded-Host", false, dropped + host, true, ""},
		{"no port, and both of a stranger", false, dropped + host + port, false, untrusted},
		{"nginx's own Host", false, "", false, dropping},
		{"nginx's own Host, and X-Forwarded-Host", false, host, true, ""},
		{"TLS", true, whole + scheme, true, ""},
		{"TLS that nginx does not tell", true, whole, true, ""},
		{"TLS of a stranger", true, whole + scheme, false, ""},
		{"TLS and no port", true, dropped + scheme, true, dropping},
		{"TLS and X-Forwarded-Port", true, dropped + scheme + port, true, ""},
		{"TLS and X-Forwarded-Host", true, host + scheme, true, ""},
		{"host and port, put together", false, "proxy_set_header Host $host:$server_port;", false, ""},
		{"TLS, host and port, put together", true, "proxy_set_header Host $host:$server_port;" + scheme, true, ""},
		{"TLS, as Traefik tells of a WebSocket", true, whole + "proxy_set_header X-Forwarded-Proto wss;", true, ""},
		{"TLS in a chain", true, whole + `proxy_set_header X-Forwarded-Proto "$scheme,http";`, true, ""},
		{"TLS in a chain with an empty start", true, whole + `proxy_set_header X-Forwarded-Proto "$http_x_forwarded_proto, $scheme";`, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			setup := harness.Setup{Gate: harness.Plenty}
			if c.trusted {
				setup.Global = harness.TrustLocal
			}
			w := harness.Start(t, setup)
			there := w.BehindNginx(c.https, c.options)
			cookie, expected := plainCookie, "http://localhost"
			if c.trusted && strings.Contains(c.options, "X-Forwarded-Proto") && c.https {
				cookie, expected = boundCookie, "https://localhost"
			}
			wantWalk(t, there, true, cookie)
			// docs/recipes.md tells operators to try an empty form.
			try := func() harness.Answer {
				return there.Browser().Post("/.websms/resend", nil, harness.API, harness.With("Origin", there.URL))
			}
			if c.cause == "" {
				wantWalk(t, there, false, cookie)
				harness.WantProblem(t, "an empty form", try(), http.StatusConflict, "no_challenge")
				if lines := foreignForms(w); len(lines) > 0 {
					t.Errorf("the log says %v", lines)
				}
				return
			}
			if !strings.Contains(c.options, dropped) {
				expected = w.URL // which nginx names by itself
			}
			wantRefused(t, there, submitted(there.URL, false), expected, c.cause)
			harness.WantProblem(t, "an empty form", try(), http.StatusForbidden, "cross_origin")
		})
	}
}

// Through two proxies, the first of which ends TLS, the gate still knows of HTTPS: the cookies are
// bound to the host, and a page over plain HTTP cannot post.
func TestBehindTwoProxies(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty, Global: harness.TrustLocal})
	inner := w.BehindNginx(false, `proxy_set_header Host $http_host;
		proxy_set_header X-Forwarded-Proto "$http_x_forwarded_proto,$scheme";`)
	outer := inner.BehindNginx(true, "proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;")
	wantWalk(t, outer, true, boundCookie)
	wantWalk(t, outer, false, boundCookie)
	plain := strings.Replace(outer.URL, "https:", "http:", 1)
	wantRefused(t, outer, submitted(plain, false), outer.URL, "plain HTTP")
	wantWalk(t, inner, false, plainCookie) // browsers of the inner one speak plain HTTP
}

// The configurations of nginx and HAProxy in docs/recipes work as they stand, but for their
// addresses: the whole walk, the client's address, and cookies that are bound to the host.
func TestRecipesOfProxies(t *testing.T) {
	for _, c := range []struct {
		page, kind string
		run        func(t *testing.T, file, dir string) *exec.Cmd
	}{
		{"nginx.md", "nginx", func(t *testing.T, file, dir string) *exec.Cmd {
			return exec.Command(harness.NginxProgram(t), "-p", dir, "-c", file)
		}},
		{"haproxy.md", "haproxy", func(t *testing.T, file, _ string) *exec.Cmd {
			return exec.Command(harness.HAProxyProgram(t), "-db", "-f", file)
		}},
	} {
		t.Run(c.kind, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "proxy.conf")
			cmd := c.run(t, file, dir) // skips
			page, err := os.ReadFile(filepath.Join("docs", "recipes", c.page))
			if err != nil {
				t.Fatal(err)
			}
			_, text, found := strings.Cut(string(page), "```"+c.kind+"\n")
			text, _, closed := strings.Cut(text, "```\n")
			if !found || !closed {
				t.Fatalf("%s has no block of %s", c.page, c.kind)
			}
			cert, key := testca.New(t).Files(t, x509.Certificate{DNSNames: []string{"localhost"}})
			both := filepath.Join(dir, "both.pem")
			for _, name := range []string{cert, key} {
				part, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				before, _ := os.ReadFile(both) // there is none at first
				harness.WriteFile(t, both, string(before)+string(part))
			}
			w := harness.Start(t, harness.Setup{
				Gate:   harness.Plenty + "\nbypass {\n path /healthz\n}",
				Global: "servers {\n trusted_proxies static 127.0.0.1 ::1\n trusted_proxies_strict\n}",
			})
			port, gate := harness.FreePort(t), strings.TrimPrefix(w.URL, "http://localhost:")
			address := fmt.Sprintf("127.0.0.1:%d", port)
			text = strings.NewReplacer(
				"listen 443", "listen "+address, "bind :443", "bind "+address, "bind :80", fmt.Sprintf("bind 127.0.0.1:%d", harness.FreePort(t)),
				"127.0.0.1:8080", "127.0.0.1:"+gate, "192.0.2.20:8080", "127.0.0.1:"+gate, "app.example.com", "localhost",
				"/etc/ssl/app.crt", cert, "/etc/ssl/app.key", key, "/etc/haproxy/app.pem", both,
			).Replace(text)
			if c.kind == "nginx" {
				text = harness.NginxConfig(dir, text)
			}
			harness.WriteFile(t, file, text)
			harness.StartServer(t, cmd, address)
			there := *w
			there.URL = fmt.Sprintf("https://localhost:%d", port)
			wantWalk(t, &there, true, boundCookie)
			wantWalk(t, &there, false, boundCookie)
			wantRefused(t, &there, submitted("https://evil.example", false), there.URL, "another site")

			// The open code page sees each event at once, though nginx buffers other answers.
			waiting := there.Browser()
			waiting.Ask(harness.FreshNumber())
			stream := harness.OpenEvents(waiting, t.Context())
			stream.Until("delivered")
			stream.Close()

			// The gate knows the client's address, and the client cannot choose another one.
			b, own, number := there.Browser(), "127.0.0.1", harness.FreshNumber()
			if runtime.GOOS == "linux" { // the only system where each address in 127.0.0.0/8 is its own
				own = "127.0.0.2"
			}
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(own)}}
			b.Client.Transport.(*http.Transport).DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, "tcp", address)
			}
			a := b.Request(number, harness.With("X-Forwarded-For", "203.0.113.7", "X-Forwarded-Host", "evil.example"))
			harness.WantStatus(t, "with an address of its own choice", a, http.StatusAccepted)
			lines := w.Logged("websms.audit")
			if got := lines[len(lines)-1]["client_ip"]; got != own && runtime.GOOS == "linux" {
				t.Errorf("the client's address is %v; want %s", got, own)
			}
		})
	}
}
