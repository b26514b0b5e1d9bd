package redisstore

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/caddy-websms/websms/otp"
)

const (
	// maxOwed bounds the debts of a node.
	maxOwed = 10_000

	// owedAgain is how long after a debt was paid the node pays it once more. The
	// network may have delayed the first command, so that it reached Redis after
	// the debt was paid.
	owedAgain = 3 * time.Second
)

// debt is an operation that the node must carry out when Redis is back. It makes up
// for a change that did not reach Redis, or undoes one that may have.
type debt struct {
	op    operation
	begun time.Time     // when the debt was made
	due   time.Time     // when to pay it
	again bool          // it was paid once already
	life  time.Duration // how long it is of use, if that is longer than messageLife
	undo  bool          // it undoes a change of a challenge
}

// takeBack adds a debt that undoes a change, if err says that the outcome of the change is
// unknown.
func (n *node) takeBack(err error, undo operation) {
	if !errors.Is(err, errLost) {
		return
	}
	n.owe(debt{op: undo, begun: time.Now(), due: time.Now(), undo: true})
	n.ping()
}

// hurries reports whether a debt that undoes a change was never paid. Until it is paid,
// a request may be refused with ErrNoChallenge by mistake.
func (n *node) hurries() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.paying > 0 || neverPaid(n.owed)
}

// neverPaid reports whether one of the debts undoes a change and was never paid.
func neverPaid(debts []debt) bool {
	return slices.ContainsFunc(debts, func(d debt) bool { return d.undo && !d.again })
}

// certain returns err. Instead of ErrNoChallenge it returns an UnavailableError if
// unpaid is true, or if a debt is unpaid now: an unpaid debt may be the undoing of the
// attempt that took the challenge away. unpaid is the result of hurries before Redis
// was asked, because the debt may have been paid since.
func (n *node) certain(err error, unpaid bool) error {
	if errors.Is(err, otp.ErrNoChallenge) && !errors.Is(err, otp.ErrUsed) && (unpaid || n.hurries()) {
		return &otp.UnavailableError{Reason: "redis has not undone a change yet", RetryAfter: 2 * time.Second}
	}
	return err
}

// pay pays the debts that are due, until ctx ends.
func (n *node) pay(ctx context.Context) {
	n.mu.Lock()
	owed := n.owed
	n.owed = nil
	if neverPaid(owed) {
		n.paying++
		defer func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.paying--
		}()
	}
	n.mu.Unlock()
	for i, d := range owed {
		if time.Since(d.begun) > max(messageLife, d.life) {
			continue // the change that it would undo has expired
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
		case r.failed != nil: // perhaps only the slot of its keys cannot be reached
			d.due = time.Now().Add(owedAgain)
			n.owe(d)
		case !d.again:
			d.due, d.again = time.Now().Add(owedAgain), true
			n.owe(d)
		}
	}
}

func (n *node) owe(debts ...debt) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.owed = append(n.owed, debts[:min(len(debts), maxOwed-len(n.owed))]...)
}
