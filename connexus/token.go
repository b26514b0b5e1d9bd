package connexus

import (
	"context"
	"sync"
	"time"
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
