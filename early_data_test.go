package websms

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// earlyData makes a request with `X-Early` one that came before the TLS
// handshake was complete, as Caddy's HTTP/3 server hands it on. Whether a real
// one still is when it is handled depends on microseconds.
type earlyData struct{}

func init() {
	caddy.RegisterModule(earlyData{})
	httpcaddyfile.RegisterHandlerDirective("test_early_data", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) { return earlyData{}, nil })
	httpcaddyfile.RegisterDirectiveOrder("test_early_data", httpcaddyfile.Before, "basic_auth")
}

func (earlyData) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_early_data", New: func() caddy.Module { return new(earlyData) }}
}

func (earlyData) UnmarshalCaddyfile(*caddyfile.Dispenser) error { return nil }

func (earlyData) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if r.Header.Get("X-Early") != "" {
		state := *r.TLS
		state.HandshakeComplete = false
		r.TLS = &state
	}
	return next.ServeHTTP(w, r)
}

// Nothing that is posted in early data counts or sends, at any endpoint.
func TestEarlyData(t *testing.T) {
	w := start(t, setup{https: true, gate: plenty, front: "test_early_data"})
	early := with("X-Early", "1")
	number := freshNumber()
	b := w.browser()
	wantStatus(t, "a code", b.request(number), http.StatusAccepted)
	code := w.codeFor(number, 1)
	w.wantSends("posts in early data", 0, freshNumber(), func() {
		for path, fields := range map[string][]string{
			"send": {"phone", freshNumber()}, "resend": nil, "verify": {"code", code}, "recover": {"code", "0000-0000-0000-0"}, "logout": nil,
		} {
			wantProblem(t, path, b.post("/.websms/"+path, fields, api, early), http.StatusTooEarly, "too_early")
		}
	})
	if left := b.get("/.websms/status", api).json("attempts_left"); left != float64(5) {
		t.Errorf("%v attempts are left; none was to be counted", left)
	}
	wantStatus(t, "a page", b.get("/.websms/verify", page, early), http.StatusOK)
	wantStatus(t, "a wrong method", b.do(http.MethodPut, "/.websms/send", nil, early), http.StatusMethodNotAllowed)
	wantStatus(t, "the code itself", b.answerWith(code), http.StatusOK)
	wantStatus(t, "a GET of the app", b.get("/", page, early), http.StatusOK)
	wantStatus(t, "a POST of the app", b.post("/", []string{"a", "b"}, page, early), http.StatusOK) // Caddy's and the app's to decide
}

// A proxy that takes early data says so; nobody else is believed.
func TestEarlyDataHeader(t *testing.T) {
	w := start(t, setup{gate: plenty, global: "servers {\n trusted_proxies static 127.0.0.1/32 ::1/128\n}"})
	for _, values := range [][]string{{"1"}, {"1", "1"}, {"0"}, {""}} {
		fields := http.Header{"Early-Data": values}
		what := fmt.Sprintf("Early-Data: %q", values)
		wantProblem(t, what, w.browser().request(freshNumber(), fields), http.StatusTooEarly, "too_early")
		a := w.browser().post("/.websms/send", []string{"phone", freshNumber()}, page, fields)
		wantStatus(t, what, a, http.StatusTooEarly)
		if !strings.Contains(a.body, "<h1") || !strings.Contains(a.body, "send that again") {
			t.Errorf("%s: the page is %s", what, redact(a.body))
		}
		wantStatus(t, what+" on a GET", w.browser().get("/.websms/login", page, fields), http.StatusOK)
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	w = start(t, setup{gate: plenty})
	wantStatus(t, "from whoever asks", w.browser().request(freshNumber(), http.Header{"Early-Data": {"1"}}), http.StatusAccepted)
}
