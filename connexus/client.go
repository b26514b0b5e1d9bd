package connexus

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// Client sends codes through WebSMS. It is safe for concurrent use. Make one for an
// API key, keep it, and [Client.Close] it in the end.
type Client struct {
	base         string
	home         home // where a redirect may lead
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
		home:    homeOf(base),
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
	c.http.Transport = noRedirects{c.http.Transport}
	c.http.Jar = nil
	c.life, c.end = context.WithCancelCause(context.Background())
	return c, nil
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
