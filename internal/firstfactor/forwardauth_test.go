package firstfactor

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/internal/harness"
)

// The answer to forward_auth names the user. No header of the client passes for
// it, neither if the answer names nobody nor on a path without forward_auth.
func TestForwardAuthPlaceholder(t *testing.T) {
	auth := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user := r.Header.Get("X-Ticket"); user != "" {
			w.Header().Set("remote-user", user)
		}
	}))
	t.Cleanup(auth.Close)
	port := harness.FreePort(t)
	config := fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	storage file_system %q
	log {
		output discard
	}
}
:%d {
	route {
		forward_auth /app/* %s {
			uri /
		}
		respond "<{rp.header.Remote-User}>"
	}
}
`, t.TempDir(), port, strings.TrimPrefix(auth.URL, "http://"))
	if err := harness.LoadCaddyfile(config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	const unknown = "<{http.reverse_proxy.header.Remote-User}>" // as respond leaves what holds nothing
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for _, c := range []struct{ path, ticket, want string }{
		{"/app/", "alice", "<alice>"}, {"/app/", "", unknown}, {"/", "alice", unknown},
	} {
		r, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://localhost:%d%s", port, c.path), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"X-Ticket": {c.ticket}, "Remote-User": {"bob"}, "Http.reverse_proxy.header.Remote-User": {"bob"}}
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(body) != c.want {
			t.Errorf("%s with ticket %q: %s %q, %v; want %q", c.path, c.ticket, res.Status, body, err, c.want)
		}
	}
}
