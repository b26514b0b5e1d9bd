package websms

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/caddy-websms/websms/websmstest"
)

// world is a real Caddy with a gate, a simulated WebSMS and a legacy app
// behind the gate. One runs at a time: Caddy is one to a process.
type world struct {
	t        *testing.T
	url      string // of the gated site
	sim      *websmstest.Server
	app      *legacyApp
	dir      string // Caddy's storage and log
	config   func(options string) string
	https    bool
	hookPath string
}

// setup says how a world differs from the plain one.
type setup struct {
	https   bool   // the site speaks HTTPS, with a certificate of Caddy's own
	global  string // more options of the global block
	app     string // more options of the websms app
	gate    string // options of the gate beside its company
	matcher string // of the gate
	front   string // directives of the site in front of the gate
	webhook string // options of the webhook beside its secret
	hook    string // directives behind the webhook, for passthrough
	api     websmstest.Options
}

const webhookSecret = "hook-secret"

// start runs a world and stops it when the test ends.
func start(t *testing.T, s setup) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), https: s.https, hookPath: "/webhook"}
	w.app = newLegacyApp(t)
	port := freePort(t)
	scheme := "http"
	tlsLine := ""
	if s.https {
		scheme, tlsLine = "https", "tls internal"
	}
	w.url = fmt.Sprintf("%s://localhost:%d", scheme, port)
	s.api.WebhookURL, s.api.WebhookSecret = w.url+w.hookPath, webhookSecret
	w.sim = websmstest.NewServer(t, s.api)
	w.config = func(gateOptions string) string {
		return fmt.Sprintf(`{
	admin off
	persist_config off
	skip_install_trust
	auto_https disable_redirects
	grace_period 5s
	storage file_system %q
	log {
		output file %q
	}
	%s
	websms {
		client_id cid_demo
		client_secret csk_demo
		base_url %s
		%s
	}
}
%s {
	%s
	%s
	websms_webhook %s {
		secret %s
		%s
	}
	websms_otp %s {
		company Acme
		%s
	}
	handle %s {
		%s
	}
	handle {
		reverse_proxy %s
	}
}
`, w.dir, w.logFile(), s.global, w.sim.URL, s.app, w.url, tlsLine, s.front, w.hookPath, webhookSecret, s.webhook,
			s.matcher, unhindered(gateOptions), w.hookPath, s.hook, strings.TrimPrefix(w.app.URL, "http://"))
	}
	w.load(s.gate)
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})
	if s.https {
		w.awaitCertificate("localhost")
	}
	return w
}

// load makes Caddy run the world with these options of the gate: at first, or
// as a reload.
func (w *world) load(gateOptions string) {
	w.t.Helper()
	if err := loadCaddyfile(w.config(gateOptions)); err != nil {
		w.t.Fatalf("loading: %v", err)
	}
	w.awaitReload()
}

// unhindered lets one address ask for as many codes as a test likes, unless it
// says otherwise: in tests, everybody has the same one.
func unhindered(gateOptions string) string {
	const rate = "per_ip 1000000/1h"
	switch {
	case strings.Contains(gateOptions, "per_ip"):
		return gateOptions
	case strings.Contains(gateOptions, "limits {"):
		return strings.Replace(gateOptions, "limits {", "limits {\n"+rate, 1)
	}
	return gateOptions + "\nlimits {\n" + rate + "\n}"
}

func loadCaddyfile(text string) error {
	config, err := adapt(text)
	if err != nil {
		return err
	}
	return caddy.Load(config, true)
}

func (w *world) logFile() string { return filepath.Join(w.dir, "caddy.log") }

// logText returns all that Caddy has logged.
func (w *world) logText() string {
	w.t.Helper()
	data, err := os.ReadFile(w.logFile())
	if err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	return string(data)
}

// logged returns the log lines of one logger.
func (w *world) logged(logger string) []map[string]any {
	w.t.Helper()
	var lines []map[string]any
	for line := range strings.Lines(w.logText()) {
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) == nil && fields["logger"] == logger {
			lines = append(lines, fields)
		}
	}
	return lines
}

// eventually waits until what holds; the world's events happen behind requests.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("after 10 s still not: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// browser is a client with cookies, which follows no redirect.
type browser struct {
	*world
	client *http.Client
	header http.Header // sent with every request
}

func (w *world) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &browser{world: w, header: http.Header{}, client: &http.Client{
		Jar: jar, Transport: transport, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// page and api are what the two kinds of clients accept.
var (
	page = http.Header{"Accept": {"text/html,application/xhtml+xml,*/*;q=0.8"}}
	api  = http.Header{"Accept": {"application/json"}}
)

// answer is a response, with its body read.
type answer struct {
	*http.Response
	body string
}

// json returns a field of the answer's JSON body.
func (a answer) json(field string) any {
	var fields map[string]any
	if json.Unmarshal([]byte(a.body), &fields) != nil {
		return nil
	}
	return fields[field]
}

// do sends a request; a body is a form.
func (b *browser) do(method, path string, form url.Values, headers ...http.Header) answer {
	b.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequest(method, b.url+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return b.fetch(req, headers...)
}

// fetch sends a request with the browser's own headers and these, of which
// the last of a name counts, and reads the answer.
func (b *browser) fetch(req *http.Request, headers ...http.Header) answer {
	b.t.Helper()
	for _, h := range append([]http.Header{b.header}, headers...) {
		for name, values := range h {
			req.Header[name] = values
		}
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	res, err := b.client.Do(req)
	if err != nil {
		b.t.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatalf("%s %s: reading the body: %v", req.Method, req.URL.Path, err)
	}
	return answer{res, string(text)}
}

func (b *browser) get(path string, headers ...http.Header) answer {
	b.t.Helper()
	return b.do(http.MethodGet, path, nil, headers...)
}

// post posts a form; fields are name, value, name, value.
func (b *browser) post(path string, fields []string, headers ...http.Header) answer {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return b.do(http.MethodPost, path, form, headers...)
}

// ask asks for a code, and returns it as the phone got it.
func (b *browser) ask(number string) string {
	b.t.Helper()
	before := len(b.sim.Messages())
	if a := b.post("/.websms/send", []string{"phone", number}, api); a.StatusCode != http.StatusAccepted {
		b.t.Fatalf("send: %s %s", a.Status, a.body)
	}
	return b.code(before)
}

// code returns the code of the message that follows the first so many.
func (b *browser) code(before int) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	message, err := b.sim.WaitMessage(ctx, func(websmstest.Message) bool { return len(b.sim.Messages()) > before })
	if err != nil {
		b.t.Fatalf("waiting for the message: %v", err)
	}
	if messages := b.sim.Messages(); len(messages) > before {
		message = messages[0]
	}
	return message.Code
}

// login goes the whole way: number, code, session.
func (b *browser) login(number string) {
	b.t.Helper()
	if a := b.post("/.websms/verify", []string{"code", b.ask(number)}, api); a.StatusCode != http.StatusOK {
		b.t.Fatalf("verify: %s %s", a.Status, a.body)
	}
}

// cookie returns a cookie that the browser holds for the site, or nil.
func (b *browser) cookie(name string) *http.Cookie {
	u, err := url.Parse(b.url)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.client.Jar.Cookies(u) {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// legacyApp is what stands behind the gate. It answers with what it was asked.
type legacyApp struct {
	*httptest.Server
	mu       sync.Mutex
	requests []seenRequest
}

type seenRequest struct {
	Method, URI, Body string
	Header            http.Header
}

func newLegacyApp(t *testing.T) *legacyApp {
	a := new(legacyApp)
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		a.mu.Lock()
		a.requests = append(a.requests, seenRequest{r.Method, r.RequestURI, string(body), r.Header.Clone()})
		a.mu.Unlock()
		fmt.Fprintf(w, "legacy app: %s %s", r.Method, r.RequestURI)
	}))
	t.Cleanup(a.Close)
	return a
}

// seen returns the requests that reached the app.
func (a *legacyApp) seen() []seenRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.requests)
}

// freePort returns a port that nobody listens at. It is below those that
// outgoing connections are given, so that none takes it before a reload.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 20000 + rand.IntN(12000)
		if l, err := net.Listen("tcp", fmt.Sprintf(":%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// redact keeps a failing test's output short.
func redact(s string) string {
	return string(bytes.ToValidUTF8([]byte(s[:min(len(s), 400)]), nil))
}
