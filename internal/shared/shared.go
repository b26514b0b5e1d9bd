// Package shared holds the values that outlive a configuration of Caddy, so that
// pending codes, tokens and sessions survive a reload.
package shared

import (
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2"
)

// Pool holds the engines, the vaults, the memory store and the token cache, counted
// by reference. Each reference that is acquired is released exactly
// once. No constructor may call the pool, and nothing may use its Range. While a
// constructor waits for a slow storage, Range would wait for it and hold the
// pool's lock, and then every load, stop and scrape would wait too.
var Pool = caddy.NewUsagePool()

// Live lists the values of one kind that are in use, because nothing may range over
// Pool. The zero list is empty. Its methods may be called at the same time.
type Live[T comparable] struct {
	mu   sync.Mutex
	list []T
}

// Add puts a value at the end of the list.
func (l *Live[T]) Add(value T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, value)
}

// Remove takes a value off the list.
func (l *Live[T]) Remove(value T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = slices.DeleteFunc(l.list, func(other T) bool { return other == value })
}

// All returns the values, the oldest first.
func (l *Live[T]) All() []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

// Release lets go of one reference to the value that Pool holds under key.
func Release(key string) error {
	_, err := Pool.Delete(key)
	return err
}
