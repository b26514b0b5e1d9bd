// Package harness runs a real Caddy with a gate for tests: over real HTTP, with a
// simulated WebSMS and a legacy application behind the gate. A test package that
// uses it imports the modules of the root package itself.
package harness

import (
	"bytes"
	"cmp"
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

// World is a real Caddy with a gate, a simulated WebSMS and a legacy app
// behind the gate. One world runs at a time, because a process has one Caddy.
type World struct {
	T          *testing.T
	URL        string // of the gated site
	Sim        *websmstest.Server
	App        *LegacyApp
	Dir        string // Caddy's storage and log
	Config     func(options string) string
	HTTPS      bool
	HookPath   string
	transports *transports // of its browsers
}

// transports are the transports of a world's browsers. They are kept here beside the browsers, because
// a test may replace its browser's transport while another goroutine loads a configuration.
type transports struct {
	mu   sync.Mutex
	list []*http.Transport
}

// closeIdle closes the connections that no request uses. The server before a load
// closes them too, at a time of its own, and a POST on one of them gets no answer.
func (c *transports) closeIdle() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, transport := range c.list {
		transport.CloseIdleConnections()
	}
}

// add adds a transport.
func (c *transports) add(transport *http.Transport) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, transport)
}

// Setup holds the options of a world. The zero Setup is a plain world.
type Setup struct {
	HTTPS   bool   // the site speaks HTTPS, with a certificate of Caddy's own
	Host    string // the site's host, if it is not localhost; browsers reach it without DNS
	Global  string // more options of the global block
	App     string // more options of the websms app
	Gate    string // options of the gate beside its company
	Matcher string // the matcher of the gate
	Front   string // directives of the site in front of the gate
	Webhook string // options of the webhook beside its secret
	Hook    string // directives behind the webhook, for passthrough
	API     websmstest.Options
}

// WebhookSecret is the secret of the webhook of a World.
const WebhookSecret = "hook-secret"

// Start runs a world and stops it when the test ends.
func Start(t *testing.T, s Setup) *World {
	t.Helper()
	w := &World{T: t, Dir: t.TempDir(), HTTPS: s.HTTPS, HookPath: "/webhook", transports: new(transports)}
	w.App = NewLegacyApp(t)
	port := FreePort(t)
	scheme := "http"
	tlsLine := ""
	if s.HTTPS {
		scheme, tlsLine = "https", "tls internal"
	}
	host := cmp.Or(s.Host, "localhost")
	w.URL = fmt.Sprintf("%s://%s:%d", scheme, host, port)
	s.API.WebhookURL, s.API.WebhookSecret = w.URL+w.HookPath, WebhookSecret
	w.Sim = websmstest.NewServer(t, s.API)
	w.Config = func(gateOptions string) string {
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
`, w.Dir, w.LogFile(), s.Global, w.Sim.URL, s.App, w.URL, tlsLine, s.Front, w.HookPath, WebhookSecret, s.Webhook,
			s.Matcher, Unhindered(gateOptions), w.HookPath, s.Hook, strings.TrimPrefix(w.App.URL, "http://"))
	}
	w.Load(s.Gate)
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})
	if s.HTTPS {
		w.awaitCertificate(host)
	}
	return w
}

// Load makes Caddy run the world with these options of the gate, for the first time or as
// a reload.
func (w *World) Load(gateOptions string) {
	w.T.Helper()
	if err := LoadCaddyfile(w.Config(gateOptions)); err != nil {
		w.T.Fatalf("loading: %v", err)
	}
	w.AwaitReload()
}

// Unhindered adds a high limit per IP to the options of a gate, unless they have one. All
// clients of a test have the same address.
func Unhindered(gateOptions string) string {
	const rate = "per_ip 1000000/1h"
	switch {
	case strings.Contains(gateOptions, "per_ip"):
		return gateOptions
	case strings.Contains(gateOptions, "limits {"):
		return strings.Replace(gateOptions, "limits {", "limits {\n"+rate, 1)
	}
	return gateOptions + "\nlimits {\n" + rate + "\n}"
}

// LoadCaddyfile makes Caddy run a Caddyfile. If another one runs at the same port, its server may
// still accept a connection afterwards, until AwaitReload returns.
func LoadCaddyfile(text string) error {
	config, err := Adapt(text)
	if err != nil {
		return err
	}
	return caddy.Load(config, true)
}

// LogFile returns the path of the file that Caddy logs to.
func (w *World) LogFile() string { return filepath.Join(w.Dir, "caddy.log") }

// LogText returns all that Caddy has logged.
func (w *World) LogText() string {
	w.T.Helper()
	data, err := os.ReadFile(w.LogFile())
	if err != nil && !os.IsNotExist(err) {
		w.T.Fatal(err)
	}
	return string(data)
}

// Logged returns the log lines of one logger.
func (w *World) Logged(logger string) []map[string]any {
	w.T.Helper()
	var lines []map[string]any
	for line := range strings.Lines(w.LogText()) {
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) == nil && fields["logger"] == logger {
			lines = append(lines, fields)
		}
	}
	return lines
}

// Eventually waits until holds returns true, for at most 10 s. what names the condition
// in the failure.
func Eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("after 10 s still not: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Browser is a client with cookies, which follows no redirect.
type Browser struct {
	*World
	Client *http.Client
	Header http.Header // sent with every request
}

// Browser returns a client without cookies.
func (w *World) Browser() *Browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.T.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true, DialContext: dialHere}
	w.T.Cleanup(transport.CloseIdleConnections)
	w.transports.add(transport)
	client := &http.Client{
		Jar: jar, Transport: transport, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Browser{World: w, Header: http.Header{}, Client: client}
}

// dialHere connects to this machine, for every host in the address.
func dialHere(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("localhost", port))
}

// Page and API are the Accept headers of a browser and of a program.
var (
	Page = http.Header{"Accept": {"text/html,application/xhtml+xml,*/*;q=0.8"}}
	API  = http.Header{"Accept": {"application/json"}}
)

// Answer is a response, with its body read.
type Answer struct {
	*http.Response
	Text string
}

// JSON returns a field of the answer's JSON body.
func (a Answer) JSON(field string) any {
	var fields map[string]any
	if json.Unmarshal([]byte(a.Text), &fields) != nil {
		return nil
	}
	return fields[field]
}

// Do sends a request; a body is a form.
func (b *Browser) Do(method, path string, form url.Values, headers ...http.Header) Answer {
	b.T.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequest(method, b.URL+path, body)
	if err != nil {
		b.T.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return b.fetch(req, headers...)
}

// fetch sends a request with the browser's own headers and with headers, and reads the
// answer. Of several values for one name, the last counts.
func (b *Browser) fetch(req *http.Request, headers ...http.Header) Answer {
	b.T.Helper()
	for _, h := range append([]http.Header{b.Header}, headers...) {
		for name, values := range h {
			req.Header[name] = values
		}
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	// An empty list is not sent. It lets net/http send a POST again if the server has
	// closed an idle connection, as a server does behind a load.
	req.Header["Idempotency-Key"] = []string{}
	res, err := b.Client.Do(req)
	if err != nil {
		b.T.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.T.Fatalf("%s %s: reading the body: %v", req.Method, req.URL.Path, err)
	}
	return Answer{res, string(text)}
}

// Get asks for a path of the site.
func (b *Browser) Get(path string, headers ...http.Header) Answer {
	b.T.Helper()
	return b.Do(http.MethodGet, path, nil, headers...)
}

// Post posts a form; fields are name, value, name, value.
func (b *Browser) Post(path string, fields []string, headers ...http.Header) Answer {
	b.T.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return b.Do(http.MethodPost, path, form, headers...)
}

// Ask asks for a code, and returns it as the phone got it.
func (b *Browser) Ask(number string) string {
	b.T.Helper()
	before := len(b.Sim.Messages())
	if a := b.Post("/.websms/send", []string{"phone", number}, API); a.StatusCode != http.StatusAccepted {
		b.T.Fatalf("send: %s %s", a.Status, a.Text)
	}
	return b.Code(before)
}

// Code returns the code of the message that follows the first so many.
func (b *Browser) Code(before int) string {
	b.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	message, err := b.Sim.WaitMessage(ctx, func(websmstest.Message) bool { return len(b.Sim.Messages()) > before })
	if err != nil {
		b.T.Fatalf("waiting for the message: %v", err)
	}
	if messages := b.Sim.Messages(); len(messages) > before {
		message = messages[0]
	}
	return message.Code
}

// Login asks for a code and enters it, so that the browser has a session.
func (b *Browser) Login(number string) {
	b.T.Helper()
	if a := b.Post("/.websms/verify", []string{"code", b.Ask(number)}, API); a.StatusCode != http.StatusOK {
		b.T.Fatalf("verify: %s %s", a.Status, a.Text)
	}
}

// Cookie returns a cookie that the browser holds for the site, or nil.
func (b *Browser) Cookie(name string) *http.Cookie {
	u, err := url.Parse(b.URL)
	if err != nil {
		b.T.Fatal(err)
	}
	for _, c := range b.Client.Jar.Cookies(u) {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// LegacyApp is the application behind the gate. It answers with the request that it got.
type LegacyApp struct {
	*httptest.Server
	Mu       sync.Mutex
	Requests []SeenRequest
}

// SeenRequest is a request that reached the application.
type SeenRequest struct {
	Method, URI, Body string
	Header            http.Header
}

// NewLegacyApp runs an application until the test ends.
func NewLegacyApp(t *testing.T) *LegacyApp {
	a := new(LegacyApp)
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		a.Mu.Lock()
		a.Requests = append(a.Requests, SeenRequest{r.Method, r.RequestURI, string(body), r.Header.Clone()})
		a.Mu.Unlock()
		fmt.Fprintf(w, "legacy app: %s %s", r.Method, r.RequestURI)
	}))
	t.Cleanup(a.Close)
	return a
}

// Seen returns the requests that reached the app.
func (a *LegacyApp) Seen() []SeenRequest {
	a.Mu.Lock()
	defer a.Mu.Unlock()
	return slices.Clone(a.Requests)
}

// FreePort returns a port without a listener. The port is below those of outgoing
// connections, so that no connection takes it before a reload.
func FreePort(t *testing.T) int {
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

// Excerpt returns the first 400 bytes of s, for the message of a failing test.
func Excerpt(s string) string {
	return string(bytes.ToValidUTF8([]byte(s[:min(len(s), 400)]), nil))
}
