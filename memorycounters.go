package websms

import (
	"time"

	"github.com/caddy-websms/websms/otp"
)

// counters counts sendings under keys, exactly, and forgets a key only when
// no rate asks for it any more. The store's mutex guards it.
type counters struct {
	byKey map[otp.Digest]*counter
	all   []*counter
	hand  int // where the next look for idle counters begins
}

// A counter serves every gate of one scope, each with rates of its own, and
// keeps as much as the most demanding of them asks for.
type counter struct {
	key     otp.Digest
	window  otp.Window
	returns otp.Window    // what was given back
	keep    int           // the largest count of any rate
	longest time.Duration // the longest window of any rate
}

// take counts one sending under each of list, or none and returns an
// *otp.LimitError for the counter that keeps the asker waiting longest. It
// counts none either if limit, which refuses already, is not nil.
func (c *counters) take(list []otp.Counter, now time.Time, limit *otp.LimitError) error {
	for _, k := range list {
		known := c.byKey[k.Key]
		if known == nil {
			continue
		}
		if wait := known.window.Wait(k.Rates, now); wait > 0 && (limit == nil || wait > limit.RetryAfter) {
			limit = &otp.LimitError{Limit: k.Limit, RetryAfter: wait}
		}
	}
	if limit != nil {
		return limit
	}
	for _, k := range list {
		known := c.get(k)
		known.window.Add(now, known.keep)
	}
	c.sweep(now)
	return nil
}

// get returns the counter for k, a new one if there is none.
func (c *counters) get(k otp.Counter) *counter {
	known := c.byKey[k.Key]
	if known == nil {
		known = &counter{key: k.Key}
		if c.byKey == nil {
			c.byKey = make(map[otp.Digest]*counter)
		}
		c.byKey[k.Key] = known
		c.all = append(c.all, known)
	}
	for _, r := range k.Rates {
		known.keep, known.longest = max(known.keep, r.Count), max(known.longest, r.Window)
	}
	return known
}

// giveBack takes back one sending that take counted at that moment, as often
// within the rates as they allow sendings.
func (c *counters) giveBack(list []otp.Counter, at, now time.Time) {
	for _, k := range list {
		if known := c.get(k); known.returns.Wait(k.Rates, now) <= 0 {
			known.window.Remove(at)
			known.returns.Add(now, known.keep)
		}
	}
}

// undo takes back a sending that the store itself could not go on with.
func (c *counters) undo(list []otp.Counter, at time.Time) {
	for _, k := range list {
		c.get(k).window.Remove(at)
	}
}

// sweep looks at a few counters and forgets the idle ones. A sending makes at
// most two counters and looks at four, so the idle never outgrow the rest.
func (c *counters) sweep(now time.Time) {
	for range min(4, len(c.all)) {
		if c.hand >= len(c.all) {
			c.hand = 0
		}
		at := c.all[c.hand]
		if !at.window.Idle(now, at.longest) || !at.returns.Idle(now, at.longest) {
			c.hand++
			continue
		}
		last := len(c.all) - 1
		c.all[c.hand], c.all[last] = c.all[last], nil
		c.all = c.all[:last]
		delete(c.byKey, at.key)
	}
}
