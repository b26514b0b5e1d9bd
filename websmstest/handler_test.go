package websmstest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"

	"github.com/caddy-websms/websms/websmstest"
)

// running is a Caddy with a simulator, and an account of that simulator.
type running struct{ *account }

// run starts a Caddy with handlers given as JSON.
func run(t *testing.T, handlers string) *running {
	t.Helper()
	r := &running{&account{t: t, client: newClient(t)}}
	if err := r.load(handlers); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// load replaces the configuration. The new one has another port: on a shared port, the
// old configuration may get requests for a moment longer. It uses no storage.
func (r *running) load(handlers string) error {
	r.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	err = caddy.Load(fmt.Appendf(nil, `{
		"admin": {"disabled": true, "config": {"persist": false}},
		"logging": {"logs": {"default": {"writer": {"output": "discard"}}}},
		"apps": {"tls": {"disable_storage_check": true, "disable_storage_clean": true}, "http": {"servers": {"s": {
			"listen": [%q],
			"automatic_https": {"disable": true},
			"routes": [{"handle": [%s]}]
		}}}}
	}`, address, handlers), true)
	if err == nil {
		r.sim = &websmstest.Server{URL: "http://" + address + "/api/connexus", InboxURL: "http://" + address + "/"}
	}
	return err
}

func (r *running) sent(pairs ...string) (code string) {
	r.t.Helper()
	reply, err := r.post("/sms/otp", form(pairs...))
	if err != nil || reply.status != 200 {
		r.t.Fatalf("send: %d %s %v", reply.status, reply.body, err)
	}
	return reply.field(r.t, "code").(string)
}

func TestHandlerKeepsStateAcrossReloads(t *testing.T) {
	r := run(t, `{"handler": "websms_simulator"}`)
	r.login()
	code := r.sent()
	s := r.listen(t, "", "")
	s.until("reload")
	h := newHook(t)
	// The settings have changed, and the messages and tokens are the same.
	changed := fmt.Sprintf(`{"handler": "websms_simulator", "client_secret": "csk_new", "webhook": %q, "webhook_secret": "s3cret"}`, h.URL)
	if err := r.load(changed); err != nil {
		t.Fatal(err)
	}
	s.end()
	if page := r.inbox("GET", "", nil); !strings.Contains(page.body, `<code class="otp">`+code+`</code>`) ||
		!strings.Contains(page.body, h.URL) {
		t.Error("the message, or the new webhook, is not on the page")
	}
	r.sent()
	if d := h.next(t); d.auth != "Bearer s3cret" {
		t.Errorf("webhook got %+v", d)
	}
	if reply, err := r.post("/auth/token",
		url.Values{"client_id": {"cid_demo"}, "client_secret": {"csk_demo"}}); err != nil || reply.status != 401 {
		t.Errorf("the old secret got %d %v", reply.status, err)
	}
	// A configuration that fails to load changes nothing. Nor does loading the
	// current one again.
	if err := r.load(`{"handler": "websms_simulator", "webhook": "localhost"}`); err == nil ||
		!strings.Contains(err.Error(), "webhook must be") {
		t.Errorf("bad webhook: %v", err)
	}
	if err := r.load(`{"handler": "websms_simulator"}, {"handler": "no_such_handler"}`); err == nil {
		t.Error("an unknown handler was loaded")
	}
	r.sent()
	if d := h.next(t); d.auth != "Bearer s3cret" {
		t.Errorf("webhook got %+v", d)
	}
	// Another name is another simulator.
	if err := r.load(`{"handler": "websms_simulator", "name": "other"}`); err != nil {
		t.Fatal(err)
	}
	if page := r.inbox("GET", "", nil); strings.Contains(page.body, `class="otp"`) {
		t.Error("another simulator shows the messages")
	}
	// The state of the first simulator ended with its last configuration.
	if err := r.load(`{"handler": "websms_simulator"}`); err != nil {
		t.Fatal(err)
	}
	if page := r.inbox("GET", "", nil); strings.Contains(page.body, `class="otp"`) {
		t.Error("the messages outlive their simulator")
	}
}

// A send that is in progress when the configuration changes is served.
func TestReloadDuringSend(t *testing.T) {
	const config = `{"handler": "websms_simulator", "latency": 100000000}`
	r := run(t, config)
	r.login()
	started, ended := make(chan struct{}), make(chan error)
	// The server sends 100 (Continue) once the handler reads the body.
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { close(started) }})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.sim.URL+"/sms/otp", strings.NewReader(form().Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Expect", "100-continue")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "Bearer "+r.token)
	go func() {
		resp, err := r.client.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				err = fmt.Errorf("status %d", resp.StatusCode)
			}
		}
		ended <- err
	}()
	<-started
	for range 3 {
		if err := r.load(config); err != nil {
			t.Error(err)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if page := r.inbox("GET", "", nil); strings.Count(page.body, `class="otp"`) != 1 {
		t.Error("the message is not on the page")
	}
}

// When Caddy stops, it waits for open requests without a time limit by default. An open
// inbox page must not delay the stop.
func TestStopEndsStreams(t *testing.T) {
	r := run(t, `{"handler": "websms_simulator"}`)
	s := r.listen(t, "", "")
	s.until("reload")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	s.end()
}

func TestHandlerPlaceholders(t *testing.T) {
	t.Setenv("WEBSMS_TEST_SECRET", "csk_from_env")
	r := run(t, `{"handler": "websms_simulator", "client_secret": "{env.WEBSMS_TEST_SECRET}"}`)
	if reply, err := r.post("/auth/token",
		url.Values{"client_id": {"cid_demo"}, "client_secret": {"csk_from_env"}}); err != nil || reply.status != 200 {
		t.Errorf("got %d %s %v", reply.status, reply.body, err)
	}
	for _, setting := range []string{"client_id", "client_secret", "webhook", "webhook_secret"} {
		for _, value := range []string{"{env.WEBSMS_TEST_UNSET}", "{no.such.placeholder}"} {
			err := r.load(fmt.Sprintf(`{"handler": "websms_simulator", %q: %q}`, setting, value))
			if err == nil || !strings.Contains(err.Error(), setting+": ") {
				t.Errorf("%s %s: %v", setting, value, err)
			}
		}
	}
	for setting, value := range map[string]time.Duration{"latency": time.Minute + 1, "delivery": -1} {
		if err := r.load(fmt.Sprintf(`{"handler": "websms_simulator", %q: %d}`, setting, value)); err == nil ||
			!strings.Contains(err.Error(), setting+" must be") {
			t.Errorf("%s %s: %v", setting, value, err)
		}
	}
}

// The page and its forms also work below a path prefix that Caddy strips.
func TestHandlerBelowAPath(t *testing.T) {
	r := run(t, `{"handler": "subroute", "routes": [{"handle": [`+
		`{"handler": "rewrite", "strip_path_prefix": "/sim"}, {"handler": "websms_simulator"}]}]}`)
	origin := strings.TrimSuffix(r.sim.InboxURL, "/")
	r.sim.URL, r.sim.InboxURL = origin+"/sim/api/connexus", origin+"/sim/"
	r.login()
	code := r.sent()
	if page := r.inbox("GET", "", nil); !strings.Contains(page.body, code) {
		t.Error("the message is not on the page")
	}
	if css := r.inbox("GET", "inbox.css", nil); css.status != 200 {
		t.Errorf("style sheet: %d", css.status)
	}
	answer := r.inbox("POST", "delivery", url.Values{"next": {"late"}})
	if to, err := url.Parse(r.sim.InboxURL + "delivery"); err != nil ||
		to.ResolveReference(&url.URL{Path: answer.header.Get("Location")}).Path != "/sim/" {
		t.Errorf("redirected to %q, %v", answer.header.Get("Location"), err)
	}
}

func TestHandlerModule(t *testing.T) {
	info, err := caddy.GetModule("http.handlers.websms_simulator")
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader([]byte(`{"secret": "x"}`)))
	d.DisallowUnknownFields()
	if err := d.Decode(info.New()); err == nil {
		t.Error("an unknown JSON field is taken")
	}
	// A handler that was never provisioned has no reference to release.
	if err := info.New().(*websmstest.Handler).Cleanup(); err != nil {
		t.Error(err)
	}
	var _ http.Handler = (*websmstest.Simulator)(nil)
}
