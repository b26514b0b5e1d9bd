package websms

import (
	"sync"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/internal/cache"
)

// tokenCache keeps the bearer token of each WebSMS account of this process. A new
// configuration continues with the token of the one before. A lost token costs one more
// call of the API.
type tokenCache struct {
	cache *cache.Cache[connexus.Token]
	mu    sync.Mutex // serialises Store and Drop; Load does not take it
}

// maxAccounts is the most accounts that the cache keeps a token for. One process serves
// far fewer.
const maxAccounts = 1024

// newTokenCache returns an empty cache. Destruct closes it.
func newTokenCache() (*tokenCache, error) {
	cache, err := cache.New[connexus.Token](maxAccounts)
	if err != nil {
		return nil, err
	}
	return &tokenCache{cache: cache}, nil
}

// Destruct closes the cache. shared.Pool calls it when the last configuration that uses
// the cache has ended.
func (t *tokenCache) Destruct() error {
	t.cache.Close()
	return nil
}

// account returns the place of the token of one account. key is account.tokenKey.
func (t *tokenCache) account(key string) connexus.TokenCache { return accountToken{t, key} }

// accountToken is the place of the token of one account. It implements
// connexus.TokenCache.
type accountToken struct {
	*tokenCache
	key string
}

// Load returns the token, and false if there is none.
func (a accountToken) Load() (connexus.Token, bool) { return a.cache.Get(a.key) }

// Store replaces the token.
func (a accountToken) Store(token connexus.Token) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cache.Put(a.key, token)
}

// Drop removes the token if it still has this value. Another goroutine may have stored a
// new token in the meantime.
func (a accountToken) Drop(value string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if token, ok := a.cache.Get(a.key); ok && token.Value == value {
		a.cache.Remove(a.key)
	}
}
