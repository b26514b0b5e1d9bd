package websms

import (
	"sync"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/internal/cache"
)

// tokenCache keeps the bearer token of each account of this process, so that
// a configuration that replaces another goes on with its token. Losing one
// costs a request for a new one.
type tokenCache struct {
	cache *cache.Cache[connexus.Token]
	mu    sync.Mutex // serialises changes; Load takes no part in it
}

// maxAccounts is far more WebSMS accounts than one process is asked to serve.
const maxAccounts = 1024

func newTokenCache() (*tokenCache, error) {
	cache, err := cache.New[connexus.Token](maxAccounts)
	if err != nil {
		return nil, err
	}
	return &tokenCache{cache: cache}, nil
}

// Destruct closes the cache, when the last configuration that used it is gone.
func (t *tokenCache) Destruct() error {
	t.cache.Close()
	return nil
}

// account returns the token of one account, which key identifies.
func (t *tokenCache) account(key string) connexus.TokenCache { return accountToken{t, key} }

type accountToken struct {
	*tokenCache
	key string
}

func (a accountToken) Load() (connexus.Token, bool) { return a.cache.Get(a.key) }

func (a accountToken) Store(token connexus.Token) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cache.Put(a.key, token)
}

func (a accountToken) Drop(value string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if token, ok := a.cache.Get(a.key); ok && token.Value == value {
		a.cache.Remove(a.key)
	}
}
