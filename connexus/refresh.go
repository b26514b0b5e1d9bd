package connexus

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// refreshPause is the shortest time between two background refreshes, so that
	// a failing refresh is not tried again at every call.
	refreshPause = 30 * time.Second

	// maxHoldOff bounds the delay of a background refresh, as Error.RetryAfter is
	// bounded.
	maxHoldOff = 24 * time.Hour
)

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
