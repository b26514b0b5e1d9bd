package storetest

import (
	"maps"
	"slices"
	"time"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
)

// model is a simple store to compare others with. It forgets nothing, has no index, and
// counts by looking at everything.
type model struct {
	capacity   int
	challenges []*modelled
	counted    map[otp.Digest][]time.Time // the sendings that were counted and not given back
	returns    map[otp.Digest][]time.Time // when sendings were given back
	early      map[string][]connexus.State
	messages   map[string]message
	seen       map[otp.Digest]time.Time // until when a key is done
	work       map[otp.Digest]heldWork
	failures   map[failureKey][]time.Time // when the wrong codes came
}

// failureKey names wrong codes that are counted together.
type failureKey struct{ number, device otp.Digest }

// beyond stands for the devices that share their failures.
var beyond = otp.Digest{1}

// keyOf returns the key that the wrong codes of f are counted under.
func (m *model) keyOf(f otp.Failures) failureKey {
	key := failureKey{f.Number, f.Device}
	if _, known := m.failures[key]; known || f.Device == (otp.Digest{}) {
		return key
	}
	devices := 0
	for k := range m.failures {
		if k.number == f.Number && k.device != (otp.Digest{}) {
			devices++
		}
	}
	if devices >= otp.MaxDevices {
		key.device = beyond
	}
	return key
}

// modelled is one challenge.
type modelled struct {
	otp.Record // without its status
	proof      otp.Digest
	made       int // the latest sending that WebSMS made the code for
	born       time.Time
	gone       bool // answered with the right code, or replaced
	sendings   []sending
	begun      int            // attempts that were left when the latest sending began
	settled    otp.Status     // of the latest sending; "" until it is settled
	heard      connexus.State // of the latest sending; or delivered, if an older one has arrived
}

// sending is one sending of a challenge.
type sending struct {
	taken    time.Time
	counters []otp.Counter
	settled  bool
	refused  bool
}

// heldWork is the lease of a key.
type heldWork struct {
	holder string
	until  time.Time
}

// message is the sending of a message id.
type message struct {
	challenge *modelled
	sending   int
}

func newModel(capacity int) *model {
	return &model{
		capacity: capacity,
		counted:  make(map[otp.Digest][]time.Time),
		returns:  make(map[otp.Digest][]time.Time),
		early:    make(map[string][]connexus.State),
		messages: make(map[string]message),
		seen:     make(map[otp.Digest]time.Time),
		work:     make(map[otp.Digest]heldWork),
		failures: make(map[failureKey][]time.Time),
	}
}

// allowed reports whether no window that ends at that moment is full.
func (m *model) allowed(list []otp.Counter, at time.Time) bool {
	for _, c := range list {
		if !within(m.counted[c.Key], c.Rates, at) {
			return false
		}
	}
	return true
}

func within(counted []time.Time, rates []otp.Rate, at time.Time) bool {
	for _, r := range rates {
		if count(counted, r.Window, at) >= r.Count {
			return false
		}
	}
	return true
}

// count returns how many counted are less than window ago.
func count(counted []time.Time, window time.Duration, at time.Time) (n int) {
	for _, taken := range counted {
		if at.Sub(taken) < window {
			n++
		}
	}
	return n
}

// wait returns how long after now a sending would be allowed. It tries each moment at
// which a sending leaves a window.
func (m *model) wait(list []otp.Counter, now time.Time) time.Duration {
	moments := []time.Time{now}
	for _, c := range list {
		for _, r := range c.Rates {
			for _, taken := range m.counted[c.Key] {
				moments = append(moments, taken.Add(r.Window))
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

// last returns the limits that still refuse one tick before the end of the wait.
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
		m.counted[c.Key] = append(m.counted[c.Key], now)
	}
}

func (m *model) giveBack(list []otp.Counter, taken, now time.Time) {
	for _, c := range list {
		if !within(m.returns[c.Key], c.Rates, now) {
			continue
		}
		if i := slices.IndexFunc(m.counted[c.Key], taken.Equal); i >= 0 { // it was not cleared
			m.returns[c.Key] = append(m.returns[c.Key], now)
			m.counted[c.Key] = slices.Delete(m.counted[c.Key], i, i+1)
		}
	}
}

// used returns how many sendings count within each rate.
func (m *model) used(c otp.Counter, now time.Time) []int {
	used := make([]int, len(c.Rates))
	for i, r := range c.Rates {
		used[i] = count(m.counted[c.Key], r.Window, now)
	}
	return used
}

// lock returns until when the failures f are locked, and whether only an operator can
// end the lock. The zero time means that there is no such end.
func (m *model) lock(f otp.Failures) (until time.Time, forever bool) {
	list := m.failures[m.keyOf(f)]
	switch n := len(list); {
	case n == 0:
		return time.Time{}, false
	case n >= f.Lockout.Max:
		return time.Time{}, true
	case n%f.Lockout.Count == 0:
		return list[n-1].Add(f.Lockout.For), false
	}
	return time.Time{}, false
}

func (m *model) locked(f otp.Failures, at time.Time) bool {
	until, forever := m.lock(f)
	return forever || at.Before(until)
}

// fail counts a wrong code.
func (m *model) fail(f otp.Failures, now time.Time) {
	if f.Number != (otp.Digest{}) {
		key := m.keyOf(f)
		m.failures[key] = append(m.failures[key], now)
	}
}

// succeed ends the failures f, unless several devices share them.
func (m *model) succeed(f otp.Failures) {
	if key := m.keyOf(f); key.device != beyond {
		delete(m.failures, key)
	}
}

// unlock forgets the failures of a number, and reports whether there were any.
func (m *model) unlock(number otp.Digest) bool {
	before := len(m.failures)
	maps.DeleteFunc(m.failures, func(k failureKey, _ []time.Time) bool { return k.number == number })
	return len(m.failures) < before
}

// room returns how many challenges a store may hold at least and at most, without
// former. A store may or may not count those that ended by too many attempts.
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

// status returns the status that follows from the delivery reports and the settlement.
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

// refusals returns the errors that a call for the challenge may return. It returns none
// if the challenge can be used.
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
