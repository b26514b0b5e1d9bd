package websms

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
)

// troubled is what tests do to a storage or an archive: its operations fail as
// told, and are counted.
type troubled struct {
	mu     sync.Mutex
	fault  func(op, key string) error // nil: nothing fails
	counts map[string]int             // how often each operation was called
}

var errTrouble = errors.New("it fails, as it was told")

// failing makes operations on keys that begin with prefix fail; none with no operation.
func (d *troubled) failing(prefix string, ops ...string) {
	d.faults(func(op, key string) error {
		if slices.Contains(ops, op) && strings.HasPrefix(key, prefix) {
			return errTrouble
		}
		return nil
	})
}

func (d *troubled) faults(fault func(op, key string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = fault
}

// call counts a call, and returns what it fails with.
func (d *troubled) call(ctx context.Context, op, key string) error {
	d.mu.Lock()
	if d.counts == nil {
		d.counts = make(map[string]int)
	}
	d.counts[op]++
	fault := d.fault
	d.mu.Unlock()
	if fault != nil {
		if err := fault(op, key); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (d *troubled) count(op string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts[op]
}
