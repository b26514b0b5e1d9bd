package websms

import (
	"fmt"
	"sync"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/caddy-websms/websms/connexus"
)

// cache is a ristretto cache that holds up to its capacity of values and loses
// none of them, if no more than that are ever put in.
//
// Ristretto is lossy: it may refuse a Set, shows none at once, and evicts what
// it thinks is not worth its cost. Who uses a cache counts what is admitted;
// put waits and confirms. The cost of each value is one (IgnoreInternalCost,
// or its 56 bytes would count as 56), and MaxCost leaves room for values whose
// deletion is still on its way.
//
// Ristretto's Close panics or hangs beside other calls. A cache that is closed
// is empty instead, so that a request which outlasts its configuration fails
// like one that comes late.
type cache[V any] struct {
	mu     sync.RWMutex // held by all who use, against who closes
	closed bool
	values *ristretto.Cache[string, V]
}

func newCache[V any](capacity int) (*cache[V], error) {
	values, err := ristretto.NewCache(&ristretto.Config[string, V]{
		// By these it would choose what to evict. It never has to, so they
		// need not be the ten for each value that its documentation advises:
		// those took 40 bytes a value.
		NumCounters:        int64(max(capacity, 1000)),
		MaxCost:            maxCost(capacity),
		BufferItems:        64, // what ristretto's documentation advises for all
		IgnoreInternalCost: true,
	})
	if err != nil {
		return nil, fmt.Errorf("making a ristretto cache: %w", err)
	}
	return &cache[V]{values: values}, nil
}

// maxCost is the room that a cache for capacity values is given.
func maxCost(capacity int) int64 { return 2*int64(capacity) + 1024 }

// get returns a value that was put.
func (c *cache[V]) get(key string) (value V, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return value, false
	}
	return c.values.Get(key)
}

// put stores a value and waits until it can be seen. No two puts of one key may
// overlap: of two Sets before the first is visible, ristretto keeps the first.
func (c *cache[V]) put(key string, value V) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return false
	}
	for range 100 { // a Set is refused while ristretto's buffer is full
		stored := c.values.Set(key, value, 1)
		c.values.Wait()
		if !stored {
			continue
		}
		_, visible := c.values.Get(key)
		return visible
	}
	return false
}

// remove forgets a value.
func (c *cache[V]) remove(key string) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if !c.closed {
		c.values.Del(key)
	}
}

// resize makes room for another capacity.
func (c *cache[V]) resize(capacity int) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if !c.closed {
		c.values.UpdateMaxCost(maxCost(capacity))
	}
}

// close empties the cache for good, when the calls under way have ended.
func (c *cache[V]) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		c.values.Close()
	}
}

// tokenCache keeps the bearer token of each account of this process, so that
// a configuration that replaces another goes on with its token. Losing one
// costs a request for a new one.
type tokenCache struct {
	cache *cache[connexus.Token]
	mu    sync.Mutex // serialises changes; Load takes no part in it
}

// maxAccounts is far more WebSMS accounts than one process is asked to serve.
const maxAccounts = 1024

func newTokenCache() (*tokenCache, error) {
	cache, err := newCache[connexus.Token](maxAccounts)
	if err != nil {
		return nil, err
	}
	return &tokenCache{cache: cache}, nil
}

// Destruct closes the cache, when the last configuration that used it is gone.
func (t *tokenCache) Destruct() error {
	t.cache.close()
	return nil
}

// account returns the token of one account, which key identifies.
func (t *tokenCache) account(key string) connexus.TokenCache { return accountToken{t, key} }

type accountToken struct {
	*tokenCache
	key string
}

func (a accountToken) Load() (connexus.Token, bool) { return a.cache.get(a.key) }

func (a accountToken) Store(token connexus.Token) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cache.put(a.key, token)
}

func (a accountToken) Drop(value string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if token, ok := a.cache.get(a.key); ok && token.Value == value {
		a.cache.remove(a.key)
	}
}
