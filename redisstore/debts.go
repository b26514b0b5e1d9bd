package redisstore

import (
	"context"
	"errors"
	"slices"
	"time"
)

const (
	// maxOwed bounds what is to be done when Redis is there again.
	maxOwed = 10_000

	// owedAgain is when it is done once more: what a network has held up
	// may reach Redis after what was sent later.
	owedAgain = 3 * time.Second
)

// debt is what is to be done, or taken back, and when.
type debt struct {
	op    operation
	begun time.Time
	due   time.Time
	again bool
	life  time.Duration // how long it is of use, where that is longer than messageLife
}

// takeBack sees to it that a change whose outcome is not known is undone, if
// it was done, when Redis is there again.
func (n *node) takeBack(err error, undo operation) {
	if !errors.Is(err, errLost) {
		return
	}
	n.owe(debt{op: undo, begun: time.Now(), due: time.Now()})
	n.ping()
}

// hurries reports whether something is owed that was not paid once: until then
// a request may be told that there is no such challenge.
func (n *node) hurries() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.owed, func(d debt) bool { return !d.again })
}

// pay does what is owed and due, until ctx ends.
func (n *node) pay(ctx context.Context) {
	n.mu.Lock()
	owed := n.owed
	n.owed = nil
	n.mu.Unlock()
	for i, d := range owed {
		if time.Since(d.begun) > max(messageLife, d.life) {
			continue // what it would undo is over
		}
		if time.Now().Before(d.due) {
			n.owe(d)
			continue
		}
		within, cancel := context.WithTimeout(ctx, n.patience)
		r := n.ask(within, d.op)
		cancel()
		switch {
		case errors.Is(r.failed, errLost):
			n.owe(owed[i:]...)
			return
		case r.failed != nil: // of its slot, perhaps
			d.due = time.Now().Add(owedAgain)
			n.owe(d)
		case !d.again:
			n.owe(debt{op: d.op, begun: d.begun, due: time.Now().Add(owedAgain), again: true, life: d.life})
		}
	}
}

func (n *node) owe(debts ...debt) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.owed = append(n.owed, debts[:min(len(debts), maxOwed-len(n.owed))]...)
}
