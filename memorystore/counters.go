package memorystore

import (
	"time"

	"github.com/caddy-websms/websms/otp"
)

// maxCounters bounds how many numbers and addresses are counted at once. If
// there are as many, a send of a new number or address is refused. If the store forgot a
// counter instead, its limit would be lifted.
const maxCounters = 1 << 22

// counters counts sendings under keyed hashes, exactly. It forgets a counter
// only when no rate needs it any more. The store's mutex guards it.
type counters struct {
	table[counter]
	demands map[demand]*demand // the shared copies
	most    map[string]demand  // the largest demand of any gate so far, by limit
	notes   *notebook
}

// A counter serves all gates of one scope. Each gate has rates of its own, so a
// counter remembers as much as the most demanding gate needs.
type counter struct {
	window  otp.Window
	returns *otp.Window // the sendings that were given back; nil: none yet
	demand  *demand
}

// demand is the part of its past that a counter must remember.
type demand struct {
	keep    int           // the largest count of any rate
	longest time.Duration // the longest window of any rate
}

func newCounters() counters {
	return counters{table: table[counter]{max: maxCounters}, demands: make(map[demand]*demand), most: make(map[string]demand)}
}

// take counts one sending under each counter of list, or under none. If a limit
// is reached it returns an *otp.LimitError for the counter with the longest
// wait. If limit is not nil, the caller has found a refusal already: then take
// counts nothing, and returns limit or a refusal with a longer wait.
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
		return &otp.UnavailableError{Reason: "the memory store has no room to count for another number or address", RetryAfter: time.Minute}
	}
	for _, k := range list {
		known := c.known(k)
		at := now.Add(-k.Before)
		known.window.Settle(now)
		known.window.Insert(at, known.demand.keep)
		known.window.Trim(now, known.demand.longest)
		c.notes.add(noteSending, keyOf(k.Key), at.UnixNano())
	}
	return nil
}

// wait returns the time until every counter of list allows one more sending.
func (c *counters) wait(list []otp.Counter, now time.Time) (longest time.Duration) {
	for _, k := range list {
		if known := c.look(k.Key, now); known != nil {
			longest = max(longest, known.window.Wait(k.Rates, now))
		}
	}
	return longest
}

// look returns a counter after settle, or nil.
func (c *counters) look(key otp.Digest, now time.Time) *counter {
	known := c.get(key)
	if known != nil {
		c.settle(keyOf(key), known, now)
	}
	return known
}

// settle moves moments that are in the future to now, because the clock was
// ahead when they were counted. It notes each change.
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

// known returns the counter for k, and makes one if there is none.
func (c *counters) known(k otp.Counter) *counter {
	known := c.get(k.Key)
	if known == nil {
		known = c.add(k.Key)
	}
	need := c.most[k.Limit] // not of k.Rates alone: a gate with a larger demand may use this counter later
	for _, r := range k.Rates {
		need.keep, need.longest = max(need.keep, r.Count), max(need.longest, r.Window)
	}
	c.most[k.Limit] = need
	if known.demand != nil { // it may be from before a restart, and its gate has not counted since
		need.keep, need.longest = max(need.keep, known.demand.keep), max(need.longest, known.demand.longest)
	}
	if known.demand == nil || *known.demand != need {
		known.demand = c.shared(need)
	}
	return known
}

// shared returns the one copy of a demand, to which all counters with that
// demand point.
func (c *counters) shared(d demand) *demand {
	if c.demands[d] == nil {
		c.demands[d] = &d
	}
	return c.demands[d]
}

// giveBack takes back one sending that take counted at a moment. Within each
// rate it gives back no more sendings than the rate allows.
func (c *counters) giveBack(list []otp.Counter, at, now time.Time) {
	for _, k := range list {
		known := c.look(k.Key, now)
		if known == nil {
			continue // the sending is so long ago that it does not count any more
		}
		if known.returns == nil {
			known.returns = new(otp.Window)
		}
		if known.returns.Wait(k.Rates, now) <= 0 {
			if !known.window.Remove(at) && now.Sub(at) < known.demand.longest {
				continue // an operator has cleared the counter since
			}
			known.returns.Add(now, known.demand.keep)
			c.notes.add(noteSending, keyOf(k.Key), at.UnixNano())
			c.notes.add(noteReturn, keyOf(k.Key), now.UnixNano())
		}
	}
}

// undo takes back a sending because the store could not keep its challenge.
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

// idle reports whether no rate needs the counter any more. One sending makes at
// most three counters, and take looks at four, so idle counters never outgrow
// the others.
func (c *counter) idle(now time.Time) bool {
	return c.window.Idle(now, c.demand.longest) && (c.returns == nil || c.returns.Idle(now, c.demand.longest))
}
