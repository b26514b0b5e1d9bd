package connexus

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// DefaultBaseURL is the address of the API (WebSMS developer guide, step 2).
const DefaultBaseURL = "https://websms.co.nz/api/connexus"

// The endpoints, as [Error.Endpoint] and [Config.OnCall] name them.
const (
	EndpointToken = "/auth/token" // WebSMS developer guide, step 2
	EndpointOTP   = "/sms/otp"    // WebSMS developer guide, step 4
)

// DefaultTimeout bounds one call, and MaxConnect the time until there is a
// connection. Both are the guide's values (WebSMS developer guide, step 3).
const (
	DefaultTimeout = 10 * time.Second
	MaxConnect     = 5 * time.Second
)

// Config says how to reach WebSMS. ClientID and ClientSecret are required;
// every other field has a default.
type Config struct {
	// BaseURL is the address of the API, without user, query and fragment.
	// Default: [DefaultBaseURL]. The client secret travels in the request, so
	// plain http:// is for tests and for a loopback address only.
	BaseURL string

	// ClientID and ClientSecret are the API key (WebSMS developer guide, step 1).
	ClientID, ClientSecret string

	// Sandbox asks WebSMS to accept messages and not to bill them (sandbox=1).
	Sandbox bool

	// Timeout bounds one whole call of [Client.SendOTP] or [Client.Token], with
	// its wait for a token and its retries. Default: [DefaultTimeout]. Name
	// lookup, TCP and TLS may take [MaxConnect] of it.
	Timeout time.Duration

	// HTTPClient sends the requests. Its own settings for redirects and cookies
	// are ignored: redirects are not followed, and cookies are not kept. Its
	// transport must not send a request again on its own. The caller closes its
	// idle connections. Default: a transport of the client's own.
	HTTPClient *http.Client

	// Tokens keeps the bearer token. Default: in memory.
	Tokens TokenCache

	// OnCall, if set, is called after every HTTP exchange with [EndpointToken] or
	// [EndpointOTP], the time that it took, and nil or an [*Error]. It is called
	// from several goroutines at once and must not block.
	OnCall func(endpoint string, took time.Duration, err error)

	// Now is the clock for the age of tokens. Default: [time.Now].
	Now func() time.Time
}

// Client sends codes through WebSMS. It is safe for concurrent use. Make one for an
// API key, keep it, and [Client.Close] it in the end.
type Client struct {
	base         string
	id, secret   string
	sandbox      bool
	timeout      time.Duration
	connect      time.Duration
	http         *http.Client
	ownTransport *http.Transport // nil if Config.HTTPClient is set
	tokens       TokenCache
	onCall       func(string, time.Duration, error)
	now          func() time.Time

	flights singleflight.Group
	life    context.Context // ended by Close, with ErrClosed as its cause
	end     context.CancelCauseFunc

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup // calls and refreshes; added to under mu while not closed
	behind  time.Time      // the earliest time of the next background refresh; under mu
}

// ErrClosed is in the chain of an error that a call after [Client.Close] returns.
var ErrClosed = errors.New("the client is closed")

// New returns a client with the settings of cfg. The error says which setting is
// wrong. New sends nothing.
func New(cfg Config) (*Client, error) {
	base, err := parseBase(cfg.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("connexus: the base URL %w", err)
	}
	for _, v := range []struct{ name, value string }{
		{"client id", cfg.ClientID},
		{"client secret", cfg.ClientSecret},
	} {
		switch trimmed := strings.TrimSpace(v.value); {
		case trimmed == "":
			return nil, errors.New("connexus: the " + v.name + " is empty: copy it from Members Area, API Keys")
		case trimmed != v.value:
			return nil, errors.New("connexus: the " + v.name + " begins or ends with white space: remove it")
		}
	}
	if cfg.Timeout < 0 {
		return nil, errors.New("connexus: the timeout is negative: leave it out for 10s")
	}

	c := &Client{
		base:    base,
		id:      cfg.ClientID,
		secret:  cfg.ClientSecret,
		sandbox: cfg.Sandbox,
		timeout: cfg.Timeout,
		tokens:  cfg.Tokens,
		onCall:  cfg.OnCall,
		now:     cfg.Now,
	}
	if c.timeout == 0 {
		c.timeout = DefaultTimeout
	}
	c.connect = min(MaxConnect, c.timeout)
	if c.tokens == nil {
		c.tokens = new(memoryCache)
	}
	if c.now == nil {
		c.now = time.Now
	}
	c.http = new(http.Client)
	if cfg.HTTPClient != nil {
		*c.http = *cfg.HTTPClient
	} else {
		c.ownTransport = newTransport(c.connect)
		c.http.Transport = c.ownTransport
	}
	// A redirect would carry the secret, or the message a second time, elsewhere.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.http.Jar = nil
	c.life, c.end = context.WithCancelCause(context.Background())
	return c, nil
}

// CheckBaseURL returns an error if raw cannot be a [Config.BaseURL], such as "needs a
// scheme and a host: …". The error does not repeat the URL, which may hold a
// password.
func CheckBaseURL(raw string) error {
	_, err := parseBase(raw)
	return err
}

// parseBase returns a base URL without a trailing slash.
func parseBase(raw string) (string, error) {
	if raw == "" {
		return DefaultBaseURL, nil
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return "", errors.New("cannot be parsed: write it like " + DefaultBaseURL)
	case u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "":
		return "", errors.New("needs a scheme and a host: write it like " + DefaultBaseURL)
	case u.User != nil:
		return "", errors.New("holds a user: credentials are client id and client secret")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(raw, "#"):
		return "", errors.New("holds a query or a fragment: remove it")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// Close refuses further calls and cancels background refreshes of the token. It waits
// for the calls that are still sending, each of which ends within its Timeout. Then
// it closes idle connections.
//
// A call that is waiting for a token fails with [KindCanceled], and sends nothing.
// Close may be called again.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end(ErrClosed)
	c.running.Wait()
	if c.ownTransport != nil {
		c.ownTransport.CloseIdleConnections()
	}
}

// begin adds one call or refresh that Close must wait for. The caller ends it with
// c.running.Done. Once the client is closed, begin returns false and adds none.
func (c *Client) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.running.Add(1)
	return true
}
