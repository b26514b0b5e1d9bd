package attacks_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-websms/websms/internal/harness"
)

// earlyData marks a request with `X-Early` as one that came before the TLS handshake was complete,
// as Caddy's HTTP/3 server does. Whether the handshake of a real one is still incomplete in the
// handler depends on microseconds.
type earlyData struct{}

func init() {
	caddy.RegisterModule(earlyData{})
	httpcaddyfile.RegisterHandlerDirective("test_early_data",
		func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) { return earlyData{}, nil })
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

// A POST in early data counts nowhere and sends nothing, at every endpoint.
func TestEarlyData(t *testing.T) {
	w := harness.Start(t, harness.Setup{HTTPS: true, Gate: harness.Plenty, Front: "test_early_data"})
	early := harness.With("X-Early", "1")
	number := harness.FreshNumber()
	b := w.Browser()
	harness.WantStatus(t, "a code", b.Request(number), http.StatusAccepted)
	code := w.CodeFor(number, 1)
	w.WantSends("posts in early data", 0, harness.FreshNumber(), func() {
		for path, fields := range map[string][]string{
			"send": {"phone", harness.FreshNumber()}, "resend": nil, "verify": {"code", code},
			"recover": {"code", "0000-0000-0000-0"}, "logout": nil,
		} {
			harness.WantProblem(t, path, b.Post("/.websms/"+path, fields, harness.API, early), http.StatusTooEarly, "too_early")
		}
	})
	if left := b.Get("/.websms/status", harness.API).JSON("attempts_left"); left != float64(5) {
		t.Errorf("%v attempts are left; none was to be counted", left)
	}
	harness.WantStatus(t, "a page", b.Get("/.websms/verify", harness.Page, early), http.StatusOK)
	harness.WantStatus(t, "a wrong method", b.Do(http.MethodPut, "/.websms/send", nil, early), http.StatusMethodNotAllowed)
	harness.WantStatus(t, "the code itself", b.AnswerWith(code), http.StatusOK)
	harness.WantStatus(t, "a GET of the app", b.Get("/", harness.Page, early), http.StatusOK)
	// The gate leaves a POST of the application to Caddy and the application.
	harness.WantStatus(t, "a POST of the app", b.Post("/", []string{"a", "b"}, harness.Page, early), http.StatusOK)
}

// A trusted proxy that accepts early data says so in a header. The gate ignores that header from
// others.
func TestEarlyDataHeader(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty, Global: "servers {\n trusted_proxies static 127.0.0.1/32 ::1/128\n}"})
	for _, values := range [][]string{{"1"}, {"1", "1"}, {"0"}, {""}} {
		fields := http.Header{"Early-Data": values}
		what := fmt.Sprintf("Early-Data: %q", values)
		harness.WantProblem(t, what, w.Browser().Request(harness.FreshNumber(), fields), http.StatusTooEarly, "too_early")
		a := w.Browser().Post("/.websms/send", []string{"phone", harness.FreshNumber()}, harness.Page, fields)
		harness.WantStatus(t, what, a, http.StatusTooEarly)
		if !strings.Contains(a.Text, "<h1") || !strings.Contains(a.Text, "send that again") {
			t.Errorf("%s: the page is %s", what, harness.Excerpt(a.Text))
		}
		harness.WantStatus(t, what+" on a GET", w.Browser().Get("/.websms/login", harness.Page, fields), http.StatusOK)
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	w = harness.Start(t, harness.Setup{Gate: harness.Plenty})
	harness.WantStatus(t, "from whoever asks",
		w.Browser().Request(harness.FreshNumber(), http.Header{"Early-Data": {"1"}}), http.StatusAccepted)
}
