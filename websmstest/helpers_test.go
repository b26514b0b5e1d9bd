package websmstest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-websms/websms/internal/browser"
	"github.com/caddy-websms/websms/websmstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(tests{m}) }

// tests also ends the browser that they have shared.
type tests struct{ *testing.M }

func (t tests) Run() int {
	defer browser.Stop()
	return t.M.Run()
}

// newClient returns a client whose connections end with the test.
func newClient(t testing.TB) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		Timeout:       20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// reply is the reply to an API call.
type reply struct {
	status int
	header http.Header
	body   string
	err    error // from reading the body, which may be cut short
}

// field returns a field of a JSON reply.
func (r reply) field(t testing.TB, name string) any {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal([]byte(r.body), &fields); err != nil {
		t.Fatalf("reply %d %q: %v", r.status, r.body, err)
	}
	return fields[name]
}

// account is a client of the simulated API.
type account struct {
	t      testing.TB
	sim    *websmstest.Server
	client *http.Client
	token  string
}

// open returns an account with a token.
func open(t testing.TB, o websmstest.Options) *account {
	t.Helper()
	a := &account{t: t, sim: websmstest.NewServer(t, o), client: newClient(t)}
	a.login()
	return a
}

func (a *account) login() {
	a.t.Helper()
	r, err := a.post("/auth/token", url.Values{"client_id": {"cid_demo"}, "client_secret": {"csk_demo"}})
	if err != nil || r.status != http.StatusOK {
		a.t.Fatalf("token: %d %s %v", r.status, r.body, err)
	}
	a.token = r.field(a.t, "access_token").(string)
}

// post posts a form below the API's base URL.
func (a *account) post(path string, form url.Values) (reply, error) {
	return a.do(http.MethodPost, path, "application/x-www-form-urlencoded", form.Encode())
}

func (a *account) do(method, path, contentType, body string) (reply, error) {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.sim.URL+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(b), err}, nil
}

// form returns the form of a valid send, with changes as pairs of name and value.
func form(pairs ...string) url.Values {
	f := url.Values{"to": {"6421234567"}, "msgCompany": {"MyApp"}}
	for i := 0; i < len(pairs); i += 2 {
		f.Set(pairs[i], pairs[i+1])
	}
	return f
}

// send sends a message that must be accepted and returns it.
func (a *account) send(pairs ...string) websmstest.Message {
	a.t.Helper()
	r, err := a.post("/sms/otp", form(pairs...))
	if err != nil || r.status != http.StatusOK || r.field(a.t, "status") != "success" {
		a.t.Fatalf("send: %d %s %v", r.status, r.body, err)
	}
	id := r.field(a.t, "messageId")
	ctx, cancel := context.WithTimeout(a.t.Context(), 20*time.Second)
	defer cancel()
	m, err := a.sim.WaitMessage(ctx, func(m websmstest.Message) bool { return m.ID == id })
	if err != nil {
		a.t.Fatal(err)
	}
	return m
}

// hook is a webhook endpoint.
type hook struct {
	*httptest.Server
	got chan delivery // every post, in order of arrival
}

// delivery is one post to a webhook.
type delivery struct {
	fields map[string]any
	raw    string
	auth   string
	kind   string // Content-Type
}

// newHook returns a webhook that answers with the given statuses in turn, and
// 200 after them.
func newHook(t testing.TB, statuses ...int) *hook {
	h := &hook{got: make(chan delivery, 1000)}
	answers := make(chan int, len(statuses))
	for _, status := range statuses {
		answers <- status
	}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		d := delivery{raw: string(raw), auth: r.Header.Get("Authorization"), kind: r.Header.Get("Content-Type")}
		if err := errors.Join(err, json.Unmarshal(raw, &d.fields)); err != nil {
			t.Errorf("webhook got %q: %v", raw, err)
		}
		select {
		case status := <-answers:
			if status == http.StatusFound {
				w.Header().Set("Location", "/elsewhere")
			}
			w.WriteHeader(status)
		default:
		}
		h.got <- d
	}))
	t.Cleanup(h.Close)
	return h
}

// next returns the next post.
func (h *hook) next(t testing.TB) delivery {
	t.Helper()
	select {
	case d := <-h.got:
		return d
	case <-time.After(20 * time.Second):
		t.Fatal("the webhook got nothing")
		return delivery{}
	}
}
