// Package vaulttest is an archive in memory for tests of vaults and of gates. Its
// operations fail when a test says so.
package vaulttest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
)

// Faults makes the operations of a storage or an archive fail, and counts them. The
// zero value fails none. Its methods may be called at the same time.
type Faults struct {
	mu     sync.Mutex
	fault  func(op, key string) error // nil: nothing fails
	counts map[string]int             // how often each operation was called
}

// ErrTrouble is the error of an operation that Fail or FailAt makes fail.
var ErrTrouble = errors.New("it fails, as it was told")

// Fail makes these operations fail from now on, and no others. Without operations
// it makes all succeed again.
func (f *Faults) Fail(ops ...string) { f.FailAt("", ops...) }

// FailAt makes these operations fail from now on for keys that begin with prefix,
// and no others. Without operations it makes all succeed again.
func (f *Faults) FailAt(prefix string, ops ...string) {
	f.FailIf(func(op, key string) error {
		if slices.Contains(ops, op) && strings.HasPrefix(key, prefix) {
			return ErrTrouble
		}
		return nil
	})
}

// FailIf makes an operation fail from now on if fault returns an error for it.
// Operations call fault at the same time.
func (f *Faults) FailIf(fault func(op, key string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// Call counts a call of an operation. It returns the error that the operation is to
// return, or nil.
func (f *Faults) Call(ctx context.Context, op, key string) error {
	f.mu.Lock()
	if f.counts == nil {
		f.counts = make(map[string]int)
	}
	f.counts[op]++
	fault := f.fault
	f.mu.Unlock()
	if fault != nil {
		if err := fault(op, key); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Count returns how often an operation was called.
func (f *Faults) Count(op string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[op]
}
