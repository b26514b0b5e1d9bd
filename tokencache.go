package websms

import (
	"fmt"
	"sync"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/caddy-websms/websms/connexus"
)

// newCache returns a ristretto cache that holds up to capacity values and
// loses none of them, if no more than that are ever put in.
//
// Ristretto is a lossy cache: it may refuse a Set, shows none at once, and
// evicts what it thinks is not worth its cost. The callers here count what
// they admit, and put confirms each Set. The cost of each value is one
// (IgnoreInternalCost, or its 56 bytes would count as 56), and MaxCost leaves
// room for values whose deletion is still on its way.
func newCache[V any](capacity int) (*ristretto.Cache[string, V], error) {
	return ristretto.NewCache(&ristretto.Config[string, V]{
		NumCounters:        int64(max(10*capacity, 1000)),
		MaxCost:            maxCost(capacity),
		BufferItems:        64, // what ristretto's documentation advises for all
		IgnoreInternalCost: true,
	})
}

// maxCost is the room that a cache for capacity values is given.
func maxCost(capacity int) int64 { return 2*int64(capacity) + 1024 }

// put stores a new key and waits until it can be seen. A key must be put only
// once: of two Sets before the first is visible, ristretto keeps the first.
func put[V any](cache *ristretto.Cache[string, V], key string, value V) bool {
	for range 100 { // a Set is refused while ristretto's buffer is full
		stored := cache.Set(key, value, 1)
		cache.Wait()
		if !stored {
			continue
		}
		_, visible := cache.Get(key)
		return visible
	}
	return false
}

// tokenCache keeps the bearer token of each account of this process, so that
// a configuration that replaces another goes on with its token. Losing one
// costs a request for a new one.
type tokenCache struct {
	cache *ristretto.Cache[string, connexus.Token]
	mu    sync.Mutex // serialises changes; Load takes no lock
}

// maxAccounts is far more WebSMS accounts than one process is asked to serve.
const maxAccounts = 1024

func newTokenCache() (*tokenCache, error) {
	cache, err := newCache[connexus.Token](maxAccounts)
	if err != nil {
		return nil, fmt.Errorf("making the token cache: %w", err)
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
	a.cache.Del(a.key)
	a.cache.Wait()
	put(a.cache, a.key, token)
}

func (a accountToken) Drop(value string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if token, ok := a.cache.Get(a.key); ok && token.Value == value {
		a.cache.Del(a.key)
	}
}
