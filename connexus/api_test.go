package connexus_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-websms/websms/connexus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// These values must never be in the text of an error.
const (
	testID     = "cid_test"
	testSecret = "csk_top-secret+value"
	testToken  = "wst_first"
	testNumber = "6421234567"
	testCode   = "048217"
)

var testOTP = connexus.OTP{To: "+" + testNumber, Company: "MyApp", Code: testCode}

// api is a fake WebSMS whose answers a test can set. By default it gives out the
// tokens wst_1, wst_2, … and takes every message.
type api struct {
	*httptest.Server
	token, otp           http.HandlerFunc // nil: the default
	tokenCalls, otpCalls atomic.Int64
	mu                   sync.Mutex
	tokenForms, otpForms []url.Values
	otpAuths             []string
}

func newAPI(t testing.TB, token, otp http.HandlerFunc) *api {
	t.Helper()
	a := &api{token: token, otp: otp}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/auth/token", a.serveToken)
	mux.HandleFunc("POST /api/sms/otp", a.serveOTP)
	a.Server = httptest.NewUnstartedServer(mux)
	a.Server.Config.ErrorLog = log.New(io.Discard, "", 0)
	a.Server.Start()
	t.Cleanup(a.Server.Close)
	return a
}

func (a *api) serveToken(w http.ResponseWriter, r *http.Request) {
	n := a.tokenCalls.Add(1)
	_ = r.ParseForm()
	a.mu.Lock()
	a.tokenForms = append(a.tokenForms, r.PostForm)
	a.mu.Unlock()
	if a.token != nil {
		a.token(w, r)
		return
	}
	fmt.Fprintf(w, `{"access_token":"wst_%d","token_type":"Bearer","expires_in":86400}`, n)
}

func (a *api) serveOTP(w http.ResponseWriter, r *http.Request) {
	a.otpCalls.Add(1)
	_ = r.ParseForm()
	a.mu.Lock()
	a.otpForms = append(a.otpForms, r.PostForm)
	a.otpAuths = append(a.otpAuths, r.Header.Get("Authorization"))
	a.mu.Unlock()
	if a.otp != nil {
		a.otp(w, r)
		return
	}
	fmt.Fprintf(w, `{"status":"success","messageId":"MSG1","code":%q}`, r.PostForm.Get("msgCode"))
}

// otps returns the forms of the messages so far, and their Authorization headers. A request
// may still be served, for example one whose answer was cut off.
func (a *api) otps() (forms []url.Values, auths []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.otpForms), slices.Clone(a.otpAuths)
}

// client returns a client of a with the changes of with. The client is closed before a
// ends.
func (a *api) client(t testing.TB, with ...func(*connexus.Config)) *connexus.Client {
	t.Helper()
	return newClient(t, append([]func(*connexus.Config){func(c *connexus.Config) {
		c.BaseURL = a.URL + "/api"
	}}, with...)...)
}

func newClient(t testing.TB, with ...func(*connexus.Config)) *connexus.Client {
	t.Helper()
	cfg := connexus.Config{ClientID: testID, ClientSecret: testSecret}
	for _, change := range with {
		change(&cfg)
	}
	c, err := connexus.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// answer returns a handler that replies with a status, a body and headers, given as
// pairs of name and value.
func answer(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// hasToken gives a client testToken, valid for a day, so that the test sees messages
// only.
func hasToken(c *connexus.Config) {
	now := time.Now
	if c.Now != nil {
		now = c.Now
	}
	c.Tokens = &cache{token: connexus.Token{
		Value: testToken, IssuedAt: now(), ExpiresAt: now().Add(24 * time.Hour),
	}}
}

// cache is a TokenCache that counts its calls.
type cache struct {
	mu            sync.Mutex
	token         connexus.Token
	stores, drops int
}

func (c *cache) Load() (connexus.Token, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.token, c.token.Value != ""
}

func (c *cache) Store(t connexus.Token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = t
	c.stores++
}

func (c *cache) Drop(value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token.Value == value {
		c.token = connexus.Token{}
		c.drops++
	}
}

// clock is a clock that only the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func withClock(k *clock) func(*connexus.Config) {
	return func(c *connexus.Config) { c.Now = k.Now }
}

// transport makes a function an http.RoundTripper.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func withTransport(rt http.RoundTripper) func(*connexus.Config) {
	return func(c *connexus.Config) { c.HTTPClient = &http.Client{Transport: rt} }
}

// response returns a response for a transport.
func response(r *http.Request, status int, body string, headers ...string) *http.Response {
	h := make(http.Header)
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	return &http.Response{
		StatusCode: status,
		Header:     h,
		Body:       io.NopCloser(strings.NewReader(body)),
		Request:    r,
	}
}

// send sends testOTP, and fails the test if that takes longer than every time limit.
func send(t testing.TB, c *connexus.Client) (connexus.Receipt, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return c.SendOTP(ctx, testOTP)
}

// wantError checks the kind of an error and its MaybeAccepted, and that it holds no
// secret. It returns the error.
func wantError(t testing.TB, err error, kind connexus.Kind, maybe bool) *connexus.Error {
	t.Helper()
	var e *connexus.Error
	if !errors.As(err, &e) {
		t.Fatalf("got error %v, want an *Error of kind %v", err, kind)
	}
	if e.Kind != kind || e.MaybeAccepted != maybe {
		t.Fatalf("got kind %v, maybe accepted %t (%v); want %v, %t", e.Kind, e.MaybeAccepted, err, kind, maybe)
	}
	wantNoSecrets(t, err)
	return e
}

// wantNoSecrets fails the test if the text of err, or of an error that it wraps, holds
// a secret.
func wantNoSecrets(t testing.TB, err error) {
	t.Helper()
	for ; err != nil; err = errors.Unwrap(err) {
		text := err.Error()
		for _, secret := range []string{
			testSecret, url.QueryEscape(testSecret), testToken, testNumber, testNumber[2:], testCode,
		} {
			if strings.Contains(text, secret) {
				t.Fatalf("error text %q holds %q", text, secret)
			}
		}
	}
}
