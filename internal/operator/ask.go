package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// maxAdminAnswer is the most bytes that a command reads of an answer.
const maxAdminAnswer = 1 << 20

// ask sends a request to the admin endpoint that the flags of cmd name, and reads
// the answer into v.
func ask(cmd *cobra.Command, method, path string, body, v any) error {
	address, err := caddycmd.DetermineAdminAPIAddress(Flag(cmd, "address"), nil, Flag(cmd, "config"), Flag(cmd, "adapter"))
	if err != nil {
		return Exitf(ExitUsage, "finding the admin endpoint: %w", err)
	}
	return AskAt(address, method, path, body, v)
}

// AskAt sends a request to the admin endpoint at an address: host:port, or
// unix//path. It sends body as JSON, unless body is nil, and reads the answer into
// v. Its errors have exit codes; ExitNothing stands for a status of 404.
func AskAt(address, method, path string, body, v any) error {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(text)
	}
	res, err := requestTo(address, method, path, reader)
	if err != nil {
		return Exitf(ExitNoCaddy, "the admin endpoint at %s does not answer: is Caddy running, and this its address? %w", address, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAdminAnswer))
	if err != nil {
		return Exitf(ExitNoCaddy, "the admin endpoint at %s broke off: %w", address, err)
	}
	if res.StatusCode == http.StatusOK {
		if err := json.Unmarshal(text, v); err != nil {
			return Exitf(ExitFailed,
				"the answer of %s is not understood: is that Caddy's admin endpoint, of a build with this plugin? %w", address, err)
		}
		return nil
	}
	var failure struct {
		Error string `json:"error"`
	}
	code := ExitFailed
	switch {
	case json.Unmarshal(text, &failure) != nil || failure.Error == "":
		return Exitf(ExitNoCaddy, "%s answers %s: is that Caddy's admin endpoint, of a build with this plugin?", address, res.Status)
	case res.StatusCode == http.StatusNotFound:
		code = ExitNothing
	case res.StatusCode == http.StatusBadRequest:
		code = ExitUsage
	}
	return Exitf(code, "%s", failure.Error)
}

// adminTime is how long a command waits for the admin endpoint.
const adminTime = 15 * time.Second

// requestTo sends a request to the admin endpoint, which may be a Unix socket. The
// function that Caddy has for this, caddycmd.AdminAPIRequest, hides the status of
// a refusal.
func requestTo(address, method, path string, body io.Reader) (*http.Response, error) {
	parsed, err := caddy.ParseNetworkAddress(address)
	if err != nil || parsed.PortRangeSize() > 1 {
		return nil, errors.New("that is no address of an admin endpoint: give host:port, or unix//path")
	}
	to, origin := parsed.JoinHostPort(0), "http://"+parsed.JoinHostPort(0)
	if parsed.IsUnixNetwork() {
		to, _, _ = strings.Cut(parsed.Host, "|") // without its permissions
		origin = "http://127.0.0.1"              // the origin that Caddy expects on a socket
	}
	req, err := http.NewRequest(method, origin+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", origin)
	client := http.Client{Timeout: adminTime, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, parsed.Network, to)
		},
	}}
	return client.Do(req)
}
