package memorystore

import (
	"time"

	"github.com/caddy-websms/websms/otp"
)

// maxCounters bounds how many numbers and addresses are counted at once. Past
// it, whoever is new is refused: forgetting others would lift their limits.
const maxCounters = 1 << 22

// counters counts sendings under keys, exactly, and forgets a key only when
// no rate asks for it any more. The store's mutex guards it.
type counters struct {
	table[counter]
	demands map[demand]*demand // one of a kind, for all counters
	most    map[string]demand  // that any gate has asked for, by limit
	notes   *notebook
}

// A counter serves every gate of one scope, each with rates of its own, and
// keeps as much as the most demanding of all gates asks for.
type counter struct {
	window  otp.Window
	returns *otp.Window // what was given back; nil until something was
	demand  *demand
}

// demand is how much of its past a counter must know.
type demand struct {
	keep    int           // the largest count of any rate
	longest time.Duration // the longest window of any rate
}

func newCounters() counters {
	return counters{table: table[counter]{max: maxCounters}, demands: make(map[demand]*demand), most: make(map[string]demand)}
}

// take counts one sending under each of list, or none and returns an
// *otp.LimitError for the counter that keeps the asker waiting longest. It
// counts none either if limit, which refuses already, is not nil.
func (c *counters) take(list []otp.Counter, now time.Time, limit *otp.LimitError) error {
	defer c.sweep(4, func(key tableKey, at *counter) bool {
		c.settle(key, at, now)
		return at.idle(now)
	})
	added := 0
	for _, k := range list {
		known := c.look(k.Key, now)
		if known == nil {
			added++
			continue
		}
		if wait := known.window.Wait(k.Rates, now); wait > 0 && (limit == nil || wait > limit.RetryAfter) {
			limit = &otp.LimitError{Limit: k.Limit, RetryAfter: wait}
		}
	}
	if limit != nil {
		return limit
	}
	if !c.room(added) {
		return &otp.UnavailableError{Reason: "the memory store counts for as many numbers and addresses as it can", RetryAfter: time.Minute}
	}
	for _, k := range list {
		known := c.known(k)
		known.window.Add(now, known.demand.keep)
		known.window.Trim(now, known.demand.longest)
		c.notes.add(noteSending, keyOf(k.Key), now.UnixNano())
	}
	return nil
}

// look returns a counter as it counts now, or nil.
func (c *counters) look(key otp.Digest, now time.Time) *counter {
	known := c.get(key)
	if known != nil {
		c.settle(keyOf(key), known, now)
	}
	return known
}

// settle moves to now what a clock that was ahead has counted, and notes it.
func (c *counters) settle(key tableKey, known *counter, now time.Time) {
	for _, kind := range windowKinds {
		moved := known.windowOf(kind).Settle(now)
		for _, at := range moved {
			c.notes.add(kind, key, at)
		}
		if moved != nil {
			c.notes.add(kind, key, now.UnixNano())
		}
	}
}

// known returns the counter for k, a new one if there is none.
func (c *counters) known(k otp.Counter) *counter {
	known := c.get(k.Key)
	if known == nil {
		known = c.add(k.Key)
	}
	need := c.most[k.Limit] // also what was first asked elsewhere: another gate may ask it of this one later
	for _, r := range k.Rates {
		need.keep, need.longest = max(need.keep, r.Count), max(need.longest, r.Window)
	}
	c.most[k.Limit] = need
	if known.demand != nil { // it may be of before a restart, and who asked for it has yet to ask again
		need.keep, need.longest = max(need.keep, known.demand.keep), max(need.longest, known.demand.longest)
	}
	if known.demand == nil || *known.demand != need {
		known.demand = c.shared(need)
	}
	return known
}

// shared returns the one copy of a demand that all counters point at.
func (c *counters) shared(d demand) *demand {
	if c.demands[d] == nil {
		c.demands[d] = &d
	}
	return c.demands[d]
}

// giveBack takes back one sending that take counted at that moment, as often
// within the rates as they allow sendings.
func (c *counters) giveBack(list []otp.Counter, at, now time.Time) {
	for _, k := range list {
		known := c.look(k.Key, now)
		if known == nil {
			continue // forgotten: it is so long ago that it counts no more
		}
		if known.returns == nil {
			known.returns = new(otp.Window)
		}
		if known.returns.Wait(k.Rates, now) <= 0 {
			if !known.window.Remove(at) && now.Sub(at) < known.demand.longest {
				continue // it was cleared since
			}
			known.returns.Add(now, known.demand.keep)
			c.notes.add(noteSending, keyOf(k.Key), at.UnixNano())
			c.notes.add(noteReturn, keyOf(k.Key), now.UnixNano())
		}
	}
}

// undo takes back a sending that the store itself could not go on with.
func (c *counters) undo(list []otp.Counter, at time.Time) {
	for _, k := range list {
		if known := c.get(k.Key); known != nil {
			known.window.Remove(at)
			c.notes.add(noteSending, keyOf(k.Key), at.UnixNano())
		}
	}
}

// used returns how many sendings count within each rate.
func (c *counters) used(k otp.Counter, now time.Time) []int {
	used := make([]int, len(k.Rates))
	if known := c.look(k.Key, now); known != nil {
		for i, r := range k.Rates {
			used[i] = known.window.Count(now, r.Window)
		}
	}
	return used
}

// idle reports whether no rate asks for the counter any more. A sending makes
// at most three counters and looks at four, so the idle never outgrow the rest.
func (c *counter) idle(now time.Time) bool {
	return c.window.Idle(now, c.demand.longest) && (c.returns == nil || c.returns.Idle(now, c.demand.longest))
}
