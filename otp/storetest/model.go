package storetest

import (
	"maps"
	"slices"
	"time"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
)

// model is what a store must do, as plainly as it can be said: it forgets
// nothing, has no index, and counts by looking at everything.
type model struct {
	capacity   int
	challenges []*modelled
	events     map[otp.Digest][]time.Time // all that were taken and not given back
	returns    map[otp.Digest][]time.Time // when they were given back
	early      map[string][]connexus.State
	messages   map[string]message
	seen       map[otp.Digest]time.Time // until when
	work       map[otp.Digest]heldWork
	failures   map[runKey][]time.Time // the wrong codes in a row
}

// runKey is whose wrong codes are counted together.
type runKey struct{ number, device otp.Digest }

// beyond stands for the devices that share a run.
var beyond = otp.Digest{1}

// keyOf returns where the wrong codes of a run are counted.
func (m *model) keyOf(run otp.Failures) runKey {
	key := runKey{run.Number, run.Device}
	if _, known := m.failures[key]; known || run.Device == (otp.Digest{}) {
		return key
	}
	runs := 0
	for k := range m.failures {
		if k.number == run.Number && k.device != (otp.Digest{}) {
			runs++
		}
	}
	if runs >= otp.MaxDevices {
		key.device = beyond
	}
	return key
}

// modelled is one challenge.
type modelled struct {
	otp.Record // but for its status
	proof      otp.Digest
	made       int // the latest sending that WebSMS made the code for
	born       time.Time
	gone       bool // met or replaced
	sendings   []sending
	begun      int            // attempts that were left when the latest sending began
	settled    otp.Status     // of the latest sending, "" until it is
	heard      connexus.State // of the latest sending, or that an older one arrived
}

// sending is one sending of a challenge.
type sending struct {
	taken    time.Time
	counters []otp.Counter
	settled  bool
	refused  bool
}

// heldWork is whose work a key is in, and until when.
type heldWork struct {
	holder string
	until  time.Time
}

// message is what a message id stands for.
type message struct {
	challenge *modelled
	sending   int
}

func newModel(capacity int) *model {
	return &model{
		capacity: capacity,
		events:   make(map[otp.Digest][]time.Time),
		returns:  make(map[otp.Digest][]time.Time),
		early:    make(map[string][]connexus.State),
		messages: make(map[string]message),
		seen:     make(map[otp.Digest]time.Time),
		work:     make(map[otp.Digest]heldWork),
		failures: make(map[runKey][]time.Time),
	}
}

// allowed reports whether no window that ends at that moment is full.
func (m *model) allowed(list []otp.Counter, at time.Time) bool {
	for _, c := range list {
		if !within(m.events[c.Key], c.Rates, at) {
			return false
		}
	}
	return true
}

func within(events []time.Time, rates []otp.Rate, at time.Time) bool {
	for _, r := range rates {
		if count(events, r.Window, at) >= r.Count {
			return false
		}
	}
	return true
}

// count returns how many events are less than window ago.
func count(events []time.Time, window time.Duration, at time.Time) (n int) {
	for _, event := range events {
		if at.Sub(event) < window {
			n++
		}
	}
	return n
}

// wait returns how long after now a sending would be allowed: the first
// moment at which an event leaves a window and all are well.
func (m *model) wait(list []otp.Counter, now time.Time) time.Duration {
	moments := []time.Time{now}
	for _, c := range list {
		for _, r := range c.Rates {
			for _, event := range m.events[c.Key] {
				moments = append(moments, event.Add(r.Window))
			}
		}
	}
	slices.SortFunc(moments, time.Time.Compare)
	for _, at := range moments {
		if !at.Before(now) && m.allowed(list, at) {
			return at.Sub(now)
		}
	}
	panic("no window ever empties")
}

// last returns the limits that refuse until the very end of the wait.
func (m *model) last(list []otp.Counter, now time.Time, wait time.Duration) []string {
	var limits []string
	for _, c := range list {
		if !m.allowed([]otp.Counter{c}, now.Add(wait-tick)) {
			limits = append(limits, c.Limit)
		}
	}
	return limits
}

func (m *model) take(list []otp.Counter, now time.Time) {
	for _, c := range list {
		m.events[c.Key] = append(m.events[c.Key], now)
	}
}

func (m *model) giveBack(list []otp.Counter, taken, now time.Time) {
	for _, c := range list {
		if !within(m.returns[c.Key], c.Rates, now) {
			continue
		}
		if i := slices.IndexFunc(m.events[c.Key], taken.Equal); i >= 0 { // it was not cleared
			m.returns[c.Key] = append(m.returns[c.Key], now)
			m.events[c.Key] = slices.Delete(m.events[c.Key], i, i+1)
		}
	}
}

// used returns how many sendings count within each rate.
func (m *model) used(c otp.Counter, now time.Time) []int {
	used := make([]int, len(c.Rates))
	for i, r := range c.Rates {
		used[i] = count(m.events[c.Key], r.Window, now)
	}
	return used
}

// lock returns until when a run is locked, and whether only an operator ends
// it. The zero time is no lock's end.
func (m *model) lock(run otp.Failures) (until time.Time, forever bool) {
	list := m.failures[m.keyOf(run)]
	switch n := len(list); {
	case n == 0:
		return time.Time{}, false
	case n >= run.Lockout.Max:
		return time.Time{}, true
	case n%run.Lockout.Count == 0:
		return list[n-1].Add(run.Lockout.For), false
	}
	return time.Time{}, false
}

func (m *model) locked(run otp.Failures, at time.Time) bool {
	until, forever := m.lock(run)
	return forever || at.Before(until)
}

// fail counts a wrong code.
func (m *model) fail(run otp.Failures, now time.Time) {
	if run.Number != (otp.Digest{}) {
		key := m.keyOf(run)
		m.failures[key] = append(m.failures[key], now)
	}
}

// succeed ends a run, unless several devices share it.
func (m *model) succeed(run otp.Failures) {
	if key := m.keyOf(run); key.device != beyond {
		delete(m.failures, key)
	}
}

// unlock forgets the failures of a number, and reports whether there were any.
func (m *model) unlock(number otp.Digest) bool {
	before := len(m.failures)
	maps.DeleteFunc(m.failures, func(k runKey, _ []time.Time) bool { return k.number == number })
	return len(m.failures) < before
}

// room returns how many challenges are held at least and at most, if former
// is replaced: whether the dead take room until they expire is the store's.
func (m *model) room(former otp.ID, now time.Time) (least, most int) {
	for _, c := range m.challenges {
		if c.gone || c.over(now) || c.ID == former {
			continue
		}
		most++
		if c.AttemptsLeft > 0 {
			least++
		}
	}
	return least, most
}

func (m *model) reserve(r *otp.Reservation) {
	m.take(r.Counters, r.Now)
	if former := m.find(r.Replaces); former != nil {
		former.gone = true
	}
	m.challenges = append(m.challenges, &modelled{
		Record: otp.Record{
			Challenge: otp.Challenge{
				ID: r.ID, CodeLength: r.Length, AttemptsLeft: r.Attempts,
				ExpiresAt: r.Now.Add(min(r.TTL, otp.MaxLife)), ResendAt: r.Now.Add(r.Cooldown),
			},
			Sending: 1, Sealed: r.Sealed,
		},
		proof: r.Proof, born: r.Now, begun: r.Attempts,
		sendings: []sending{{taken: r.Now, counters: r.Counters}},
	})
}

func (m *model) find(id otp.ID) *modelled {
	for _, c := range m.challenges {
		if c.ID == id {
			return c
		}
	}
	return nil
}

func (m *model) resend(c *modelled, r *otp.Renewal) {
	m.take(r.Counters, r.Now)
	wait := r.Cooldown
	for range c.Sending {
		wait *= 2
	}
	c.Sending++
	c.ResendAt = r.Now.Add(wait)
	if life := r.Now.Add(r.TTL); life.After(c.ExpiresAt) {
		c.ExpiresAt = life
	}
	if bound := c.born.Add(otp.MaxLife); c.ExpiresAt.After(bound) {
		c.ExpiresAt = bound
	}
	c.sendings = append(c.sendings, sending{taken: r.Now, counters: r.Counters})
	c.settled, c.heard, c.begun = "", connexus.StateUnknown, c.AttemptsLeft
}

func (m *model) settle(c *modelled, s *otp.Settlement) {
	if s.Refused && s.Sending == c.Sending && !c.gone && !c.over(s.Now) && c.AttemptsLeft == c.begun {
		m.giveBack(s.Return, s.Taken, s.Now)
	}
	c.sendings[s.Sending-1].settled, c.sendings[s.Sending-1].refused = true, s.Refused
	if s.Made != nil && s.Sending > c.made {
		c.Sealed, c.proof, c.CodeLength = s.Made.Sealed, s.Made.Proof, s.Made.Length
		c.made = s.Sending
	}
	if s.Sending == c.Sending {
		c.settled = s.Status
	}
	if s.MessageID != "" {
		m.messages[s.MessageID] = message{c, s.Sending}
		for _, state := range m.early[s.MessageID] {
			m.messages[s.MessageID].report(state)
		}
	}
}

// possible reports whether any sending may have arrived.
func (c *modelled) possible() bool {
	return slices.ContainsFunc(c.sendings, func(s sending) bool { return !s.refused })
}

func (s message) report(state connexus.State) {
	c := s.challenge
	if (s.sending == c.Sending || state == connexus.StateDelivered) && state.Supersedes(c.heard) {
		c.heard = state
	}
}

// status follows from what was heard of the latest sending, if anything was.
func (c *modelled) status() otp.Status {
	switch {
	case c.heard == connexus.StateDelivered:
		return otp.Delivered
	case c.heard == connexus.StateQueued || c.heard == connexus.StateAccepted:
		return otp.Accepted
	case c.heard != connexus.StateUnknown:
		return otp.Failed
	case c.settled != "":
		return c.settled
	}
	return otp.Queued
}

func (c *modelled) record() otp.Record {
	rec := c.Record
	rec.Status, rec.Settled = c.status(), c.settled != ""
	return rec
}

// over reports whether the code's life is over.
func (c *modelled) over(now time.Time) bool { return !now.Before(c.ExpiresAt) }

// refusals returns the errors that any call for the challenge may be refused
// with, none if it is there.
func (c *modelled) refusals(now time.Time) []error {
	switch {
	case c.over(now) && c.AttemptsLeft == 0:
		return []error{otp.ErrExpired, otp.ErrNoChallenge, otp.ErrTooManyAttempts}
	case c.over(now):
		return []error{otp.ErrExpired, otp.ErrNoChallenge}
	case c.gone:
		return []error{otp.ErrNoChallenge}
	case c.AttemptsLeft == 0:
		return []error{otp.ErrTooManyAttempts}
	}
	return nil
}
