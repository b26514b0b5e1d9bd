package websms

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/internal/cookies"
	"github.com/caddy-websms/websms/internal/flow"
	"github.com/caddy-websms/websms/internal/pages"
	"github.com/caddy-websms/websms/internal/vault"
	"github.com/caddy-websms/websms/number"
	"github.com/caddy-websms/websms/session"
)

// benchGate returns a gate that is ready to decide, and a session cookie for it.
func benchGate(b testing.TB) (*Gate, string) {
	b.Helper()
	ring, err := session.NewRing(session.NewKeys(time.Now()))
	if err != nil {
		b.Fatal(err)
	}
	g := &Gate{
		Prefix: DefaultPrefix, Company: "Acme", engine: &engine{vault: &vault.Vault{Ring: ring}},
		identity: HeadersConfig{}.identity(),
		jar:      cookies.Jar{Names: SessionConfig{}.cookies(), Life: SessionConfig{}.life(), Vault: &vault.Vault{Ring: ring}, Log: zap.NewNop()},
		logger:   zap.NewNop(), now: time.Now,
	}
	if g.numbers, err = number.NewPolicy([]string{"NZ"}); err != nil {
		b.Fatal(err)
	}
	g.jar.Admits = g.admits
	shown, err := pages.New(g.Prefix, g.Company)
	if err != nil {
		b.Fatal(err)
	}
	g.flow = flow.New(flow.Flow{
		Prefix: g.Prefix, Company: g.Company, Jar: &g.jar, Numbers: g.numbers, Pages: shown, Now: g.now,
		Log: g.logger, Sampled: g.logger, Audit: g.logger, SampledAudit: g.logger,
	})
	s := session.Session{ID: session.NewID(), Number: "+6421234567", Region: "NZ"}
	g.jar.Life.Begin(&s, time.Now())
	sealed, err := s.Seal(ring, "app.example.com")
	if err != nil {
		b.Fatal(err)
	}
	return g, sealed
}

// benchRequest returns a request as a browser sends it.
func benchRequest(cookie string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://app.example.com/timesheet?week=47", nil)
	r.Header = http.Header{
		"Accept":                    {"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"},
		"Accept-Encoding":           {"gzip, deflate, br, zstd"},
		"Accept-Language":           {"en-NZ,en;q=0.9"},
		"Sec-Fetch-Dest":            {"document"},
		"Sec-Fetch-Mode":            {"navigate"},
		"Sec-Fetch-Site":            {"same-origin"},
		"Upgrade-Insecure-Requests": {"1"},
		"User-Agent":                {"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"},
		"X-Verified-Number":         {"+64279999999"}, // a forgery, so that deleting it is measured too
	}
	if cookie != "" {
		r.Header["Cookie"] = []string{"theme=dark; websms_session=" + cookie + "; lang=en"}
	}
	ctx := context.WithValue(r.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer())
	return r.WithContext(context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{caddyhttp.ClientIPVarKey: "203.0.113.7"}))
}

var errNext error

// BenchmarkPass measures the whole decision for a request with a session: headers, placeholders and
// stripping. It includes the cost of resetting the request between two runs. All runs share one
// replacer, so the one allocation for the placeholders of a new request is not measured.
func BenchmarkPass(b *testing.B) {
	g, sealed := benchGate(b)
	r := benchRequest(sealed)
	cookie, forged := r.Header["Cookie"], r.Header["X-Verified-Number"]
	passed := 0
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { passed++; return errNext })
	w := httptest.NewRecorder()
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		r.Header["Cookie"], r.Header["X-Verified-Number"] = cookie, forged
		if err := g.ServeHTTP(w, r, next); err != nil {
			b.Fatal(err)
		}
	}
	if passed != n {
		b.Fatalf("%d of %d passed", passed, n)
	}
}

// BenchmarkDeny measures the whole answer to a navigation without a session.
func BenchmarkDeny(b *testing.B) {
	g, _ := benchGate(b)
	r := benchRequest("")
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { b.Fatal("passed"); return nil })
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		if err := g.ServeHTTP(w, r, next); err != nil || w.Code != http.StatusFound {
			b.Fatal(w.Code, err)
		}
	}
}

// BenchmarkPassParallel shows that a decision holds no lock: two cores decide twice as many
// requests as one.
func BenchmarkPassParallel(b *testing.B) {
	g, sealed := benchGate(b)
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		r := benchRequest(sealed)
		cookie := r.Header["Cookie"]
		w := httptest.NewRecorder()
		for pb.Next() {
			r.Header["Cookie"] = cookie
			if err := g.ServeHTTP(w, r, next); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkOpenManyCookies measures a request with many forged cookies.
func BenchmarkOpenManyCookies(b *testing.B) {
	g, _ := benchGate(b)
	r := benchRequest("")
	r.Header["Cookie"] = []string{strings.Repeat("websms_session="+strings.Repeat("A", 160)+"; ", 40)}
	b.ReportAllocs()
	for b.Loop() {
		browser := g.jar.Browser(nil, r, time.Now())
		if _, ok := browser.Session(); ok {
			b.Fatal("opened")
		}
	}
}
