// Package cache holds values in ristretto and loses none of them.
package cache

import (
	"fmt"
	"sync"

	"github.com/dgraph-io/ristretto/v2"
)

// Cache is a ristretto cache that holds up to its capacity of values and loses
// none of them, if its user never puts more values than that into it.
//
// Ristretto is lossy: it may refuse a Set, it shows a new value only after a
// while, and it evicts values that it thinks are not worth their cost. So the user
// counts the values, and Put waits until its value can be read. Each value costs
// one. IgnoreInternalCost is set, because otherwise ristretto's own 56 bytes would
// count as 56. MaxCost leaves room for values that are about to be deleted.
//
// Ristretto's Close panics or hangs beside other calls. A closed Cache is empty
// instead: a request that outlasts its configuration finds nothing.
type Cache[V any] struct {
	mu     sync.RWMutex // read-locked by each call, locked by Close
	closed bool
	values *ristretto.Cache[string, V]
}

// New returns an empty cache for capacity values.
func New[V any](capacity int) (*Cache[V], error) {
	values, err := ristretto.NewCache(&ristretto.Config[string, V]{
		// NumCounters sizes ristretto's admission sketch, which selects the
		// values to evict. This cache never evicts, so one counter a value is enough. The ten
		// counters that the documentation advises would take 40 bytes a value.
		NumCounters:        int64(max(capacity, 1000)),
		MaxCost:            maxCost(capacity),
		BufferItems:        64, // the value that ristretto's documentation advises for all
		IgnoreInternalCost: true,
	})
	if err != nil {
		return nil, fmt.Errorf("making a ristretto cache: %w", err)
	}
	return &Cache[V]{values: values}, nil
}

// maxCost returns ristretto's MaxCost for a cache of capacity values.
func maxCost(capacity int) int64 { return 2*int64(capacity) + 1024 }

// Get returns the value of key, and false if the cache has none.
func (c *Cache[V]) Get(key string) (value V, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return value, false
	}
	return c.values.Get(key)
}

// Put stores a value, and waits until Get returns it. It reports whether the value is
// stored. Two calls of Put for one key must not overlap: ristretto would keep the first
// value.
func (c *Cache[V]) Put(key string, value V) bool {
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

// Remove deletes the value of key.
func (c *Cache[V]) Remove(key string) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if !c.closed {
		c.values.Del(key)
	}
}

// Resize changes the capacity. It deletes no value.
func (c *Cache[V]) Resize(capacity int) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if !c.closed {
		c.values.UpdateMaxCost(maxCost(capacity))
	}
}

// Close waits for the calls under way, and then empties the cache for good.
func (c *Cache[V]) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		c.values.Close()
	}
}
