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
	// A token is renewed when this much of its life is left (WebSMS developer
	// guide, step 3) …
	// … unless its whole life is no longer: then when four fifths of it are over.
	refreshAhead = 5 * time.Minute

	// defaultLife is the life of a token whose reply does not tell (WebSMS
	// developer guide, step 2: "currently 86400").
	defaultLife = 24 * time.Hour
	// minLife is the life of a token that is said to be dead on arrival, and
	// maxLife the longest that is believed. Either is put right by the 401 that
	// a wrong guess earns.
	minLife = time.Minute
	maxLife = 30 * 24 * time.Hour

	// refreshPause is the least time between two refreshes behind the callers'
	// backs, so that one that fails is not tried again at every call.
	refreshPause = 30 * time.Second

	// maxHoldOff is the longest that a refresh is put off: Error.RetryAfter is a
	// day at most.
	maxHoldOff = 24 * time.Hour

	// maxToken bounds a token, in bytes.
	maxToken = 4096
)

// Token is a bearer token and its life by the client's clock.
type Token struct {
	Value               string
	IssuedAt, ExpiresAt time.Time
}

// refreshAt is when t should be renewed, though it still works.
func (t Token) refreshAt() time.Time {
	life := t.ExpiresAt.Sub(t.IssuedAt)
	if life <= refreshAhead {
		return t.IssuedAt.Add(life * 4 / 5)
	}
	return t.ExpiresAt.Add(-refreshAhead)
}

// due reports whether t should be renewed now. If t was issued in the future, a
// clock was ahead and the real life of t is unknown. Then t is used until WebSMS
// refuses it, and is renewed in the background.
func (t Token) due(now time.Time) bool {
	return !now.Before(t.refreshAt()) || t.IssuedAt.Sub(now) > minLife
}

// TokenCache keeps the bearer token between calls. It is used from several
// goroutines at once. What Store keeps the next Load must see; a cache that forgets
// costs a token request each time, and nothing else. The token is a secret.
type TokenCache interface {
	// Load returns the token, and false when there is none.
	Load() (Token, bool)
	// Store replaces the token.
	Store(Token)
	// Drop forgets the token, but only if its value is still this one.
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

// Token returns a bearer token that works, as far as is known: the one at hand, or
// a new one. The error is an [*Error].
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

// replaces reports whether t is another token than rejected. The same value issued
// later is another: WebSMS was asked for it since.
func (t Token) replaces(rejected Token) bool {
	return t.Value != rejected.Value || t.IssuedAt.After(rejected.IssuedAt)
}

// bearer returns a token other than rejected, the one (if any) that the caller was
// refused with. It waits for a refresh only when there is no other.
func (c *Client) bearer(ctx context.Context, rejected Token) (Token, error) {
	now := c.now()
	if t, ok := c.cached(now); ok {
		if t.replaces(rejected) {
			if t.due(now) {
				c.refreshBehind(now)
			}
			return t, nil
		}
		c.tokens.Drop(rejected.Value)
	}
	r, err := c.await(ctx)
	if err == nil && !r.requested && !r.token.replaces(rejected) {
		// A refresh under way found the rejected token before it was dropped, and
		// so asked for none.
		c.tokens.Drop(rejected.Value)
		r, err = c.await(ctx)
	}
	return r.token, err
}

// cached returns the token at hand, unless it has expired.
func (c *Client) cached(now time.Time) (Token, bool) {
	t, ok := c.tokens.Load()
	return t, ok && t.Value != "" && now.Before(t.ExpiresAt)
}

// refreshBehind renews the token while nobody waits, at most once in a pause.
func (c *Client) refreshBehind(now time.Time) {
	c.mu.Lock()
	due := !now.Before(c.behind) || c.behind.Sub(now) > maxHoldOff // farther ahead: a clock was wrong
	if due {
		c.behind = now.Add(refreshPause)
	}
	c.mu.Unlock()
	if due {
		c.refresh()
	}
}

// await renews the token and waits for it. A caller that gives up leaves the
// refresh running for the others.
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

// refreshed is the outcome of a refresh. Without a request, another refresh had
// just ended and its token is the one.
type refreshed struct {
	token     Token
	requested bool
}

// refresh renews the token, once for all who ask while it runs. No caller's context
// bears on it: it ends within the client's Timeout, or with the client.
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

// holdOff puts the next refresh behind the callers' backs off until then.
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

	issued := c.now() // before the request: a token must not seem younger than it is
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

// isToken reports whether s can stand in an Authorization header: some characters
// of ASCII that are visible. RFC 6750 section 2.1 allows fewer.
func isToken(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxToken
}

// life reads expires_in, seconds as a number or a string.
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
