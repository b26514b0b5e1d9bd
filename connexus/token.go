package connexus

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// refreshAhead is the rest of a token's life at which it is renewed (WebSMS
	// developer guide, step 3). A token with a shorter life is renewed after four
	// fifths of it.
	refreshAhead = 5 * time.Minute

	// defaultLife is the life of a token if the reply does not say it (WebSMS
	// developer guide, step 2: "currently 86400").
	defaultLife = 24 * time.Hour
	// minLife is the life of a token if the reply says 0 or less. maxLife bounds a
	// longer one. If either is wrong, a 401 will say so.
	minLife = time.Minute
	maxLife = 30 * 24 * time.Hour

	// refreshPause is the shortest time between two background refreshes, so that
	// a failing refresh is not tried again at every call.
	refreshPause = 30 * time.Second

	// maxHoldOff bounds the delay of a background refresh, as Error.RetryAfter is
	// bounded.
	maxHoldOff = 24 * time.Hour

	// maxToken is the longest token in bytes.
	maxToken = 4096
)

// Token is a bearer token with its times by the client's clock. Its value is a secret.
type Token struct {
	Value               string
	IssuedAt, ExpiresAt time.Time
}

// refreshAt returns the time to renew t, before it expires.
func (t Token) refreshAt() time.Time {
	life := t.ExpiresAt.Sub(t.IssuedAt)
	if life <= refreshAhead {
		return t.IssuedAt.Add(life * 4 / 5)
	}
	return t.ExpiresAt.Add(-refreshAhead)
}

// due reports whether t should be renewed now. If t was issued in the future, a clock
// was ahead and the real life of t is unknown. Then t is used until WebSMS refuses
// it, and is renewed in the background.
func (t Token) due(now time.Time) bool {
	return !now.Before(t.refreshAt()) || t.IssuedAt.Sub(now) > minLife
}

// TokenCache keeps the bearer token between calls. An implementation must be safe for
// concurrent use. Load must return the token of the latest Store. A cache that
// forgets the token only costs more token requests. The token is a secret.
type TokenCache interface {
	// Load returns the token, or false if there is none.
	Load() (Token, bool)
	// Store replaces the token.
	Store(Token)
	// Drop forgets the token if it still has this value.
	Drop(value string)
}

// memoryCache is the default TokenCache.
type memoryCache struct {
	mu    sync.Mutex
	token Token
}

func (m *memoryCache) Load() (Token, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.token, m.token.Value != ""
}

func (m *memoryCache) Store(t Token) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.token = t
}

func (m *memoryCache) Drop(value string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.token.Value == value {
		m.token = Token{}
	}
}

// Token returns a bearer token: the cached one, or a new one if that has expired.
// WebSMS may have revoked it nevertheless. The error is an [*Error].
func (c *Client) Token(ctx context.Context) (string, error) {
	if !c.begin() {
		return "", closedError(EndpointToken)
	}
	defer c.running.Done()
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	t, err := c.bearer(ctx, Token{})
	if err != nil {
		return "", err
	}
	return t.Value, nil
}

func closedError(endpoint string) *Error {
	return &Error{Kind: KindCanceled, Endpoint: endpoint, Err: ErrClosed}
}

// replaces reports whether t is another token than rejected. The same value with a
// later time of issue is another token, because WebSMS has confirmed it since.
func (t Token) replaces(rejected Token) bool {
	return t.Value != rejected.Value || t.IssuedAt.After(rejected.IssuedAt)
}

// bearer returns a token other than rejected, which WebSMS has refused. It waits for a
// refresh only if there is no such token. The zero Token stands for none.
func (c *Client) bearer(ctx context.Context, rejected Token) (Token, error) {
	now := c.now()
	if t, ok := c.cached(now); ok {
		if t.replaces(rejected) {
			if t.due(now) {
				c.refreshInBackground(now)
			}
			return t, nil
		}
		c.tokens.Drop(rejected.Value)
	}
	r, err := c.await(ctx)
	if err == nil && !r.requested && !r.token.replaces(rejected) {
		// A running refresh found the rejected token before it was dropped, and so
		// did not request a new one.
		c.tokens.Drop(rejected.Value)
		r, err = c.await(ctx)
	}
	return r.token, err
}

// cached returns the token in the cache, unless it has expired.
func (c *Client) cached(now time.Time) (Token, bool) {
	t, ok := c.tokens.Load()
	return t, ok && t.Value != "" && now.Before(t.ExpiresAt)
}

// refreshInBackground renews the token in the background, at most once in refreshPause.
func (c *Client) refreshInBackground(now time.Time) {
	c.mu.Lock()
	due := !now.Before(c.behind) || c.behind.Sub(now) > maxHoldOff // farther ahead means that a clock was wrong
	if due {
		c.behind = now.Add(refreshPause)
	}
	c.mu.Unlock()
	if due {
		c.refresh()
	}
}

// await renews the token and waits for it. If ctx ends first, the refresh continues
// for the other callers.
func (c *Client) await(ctx context.Context) (refreshed, error) {
	select {
	case r := <-c.refresh():
		done, _ := r.Val.(refreshed)
		return done, r.Err
	case <-ctx.Done():
		return refreshed{}, &Error{
			Kind:     failureKind(ctx, ctx.Err(), KindTimeout),
			Endpoint: EndpointToken,
			Err:      ctx.Err(),
		}
	}
}

// refreshed is the outcome of a refresh. If requested is false, another refresh had
// just ended, and token is the result of that one.
type refreshed struct {
	token     Token
	requested bool
}

// refresh renews the token, once for all calls that come while it runs. It does not
// depend on the context of a call: it ends within the client's Timeout, or when the
// client is closed.
func (c *Client) refresh() <-chan singleflight.Result {
	return c.flights.DoChan("token", func() (any, error) {
		if !c.begin() {
			return nil, closedError(EndpointToken)
		}
		defer c.running.Done()
		now := c.now()
		if t, ok := c.cached(now); ok && !t.due(now) {
			return refreshed{token: t}, nil
		}
		ctx, cancel := context.WithTimeout(c.life, c.timeout)
		defer cancel()
		t, err := c.requestToken(ctx)
		if err != nil && c.pause(ctx, err) {
			t, err = c.requestToken(ctx)
		}
		if err != nil {
			c.holdOff(now.Add(err.RetryAfter))
			return nil, err
		}
		c.tokens.Store(t)
		return refreshed{token: t, requested: true}, nil
	})
}

// holdOff delays the next background refresh.
func (c *Client) holdOff(until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if until.After(c.behind) {
		c.behind = until
	}
}

var (
	errNoToken   = errors.New("the reply holds no usable access_token")
	errTokenType = errors.New("the token_type is not Bearer")
)

// requestToken exchanges the API key for a token (WebSMS developer guide, step 2).
func (c *Client) requestToken(ctx context.Context) (t Token, e *Error) {
	start := time.Now()
	defer func() { c.tell(EndpointToken, start, e) }()

	issued := c.now() // taken before the request, so that the token does not seem younger than it is
	r, e := c.exchange(ctx, EndpointToken, "", url.Values{
		"client_id":     {c.id},
		"client_secret": {c.secret},
	})
	if e != nil {
		e.MaybeAccepted = false
		return Token{}, e
	}
	obj, e := c.judge(ctx, EndpointToken, "", r)
	if e != nil {
		return Token{}, e
	}
	e = &Error{Kind: KindMalformed, Endpoint: EndpointToken, Status: r.status}
	value, _ := obj.str("access_token")
	if !isToken(value) {
		e.Err = errNoToken
		return Token{}, e
	}
	if kind := obj["token_type"]; kind != nil && string(kind) != "null" {
		if s, ok := obj.str("token_type"); !ok || s != "" && !strings.EqualFold(s, "Bearer") {
			e.Err = errTokenType
			return Token{}, e
		}
	}
	return Token{Value: value, IssuedAt: issued, ExpiresAt: issued.Add(obj.life())}, nil
}

// isToken reports whether s can stand in an Authorization header: visible ASCII
// characters, at most maxToken of them. RFC 6750, section 2.1, allows fewer characters.
func isToken(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxToken
}

// life reads expires_in: seconds, as a number or a string.
func (o object) life() time.Duration {
	seconds, ok := o.number("expires_in")
	switch {
	case !ok:
		return defaultLife
	case seconds <= 0:
		return minLife
	}
	return time.Duration(min(seconds, maxLife.Seconds()) * float64(time.Second))
}
