package websmstest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of the memory of a simulator.
const (
	maxMessages = 1000
	maxTokens   = 1000
	maxStopped  = 1000 // numbers that answered STOP
	maxAllowed  = 1000 // whitelisted domains
)

// state holds the messages, tokens and counters of a simulator. It outlives a
// configuration, so it holds no settings. The Simulators of all configurations in use
// share it. Every operation under its lock takes constant time, except those that read
// all messages for a page or a test.
type state struct {
	boot  string // differs between states, so that an open page notices a restart
	hooks *dispatcher

	mu       sync.Mutex
	ring     [maxMessages]*message // in the order of acceptance; a new one overwrites the oldest
	accepted uint64                // messages so far; the next one goes to accepted % maxMessages
	byID     map[string]*message
	rev      uint64        // the number of changes so far
	changed  chan struct{} // closed at the next change; nil if no goroutine waits
	delivery Delivery      // of the next message

	tokens     map[[sha256.Size]byte]time.Time // the end of each token, by its hash
	tokenOrder [][sha256.Size]byte             // oldest first
	billed     bool                            // messages cost money
	balance    int64                           // millionths of a dollar
	counts     Counts

	faults, tokenFault, balanceFault faultQueue
	tokenRefusal                     Fault // the reply to an invalid token, or Fault{}

	stopped   map[string]bool // the numbers that answered STOP
	stopOrder []string        // oldest first
	allowed   []string        // the whitelisted domains
}

// Counts holds the counters of a simulator since it was made.
type Counts struct {
	TokenRequests int // requests to /auth/token, also refused ones
	OTPRequests   int // requests to /sms/otp, also refused ones
	TextRequests  int // requests to /sms/out, also refused ones
	Balances      int // requests to /sms/balance, also refused ones
	Accepted      int // accepted messages
	WebhookPosts  int // posts to the webhook, with retries
	Dropped       int // posts that were dropped because 32768 were waiting or running
}

func newState() *state {
	return &state{
		boot:     rand.Text(),
		hooks:    newDispatcher(),
		byID:     make(map[string]*message),
		delivery: DeliverNow,
		tokens:   make(map[[sha256.Size]byte]time.Time),
		stopped:  make(map[string]bool),
	}
}

// Destruct ends the state's goroutines. Caddy's usage pool calls it when the last
// reference is released.
func (st *state) Destruct() error {
	st.hooks.close()
	return nil
}

// touch marks m as changed, unless it is nil, and wakes all waiting goroutines. The
// caller holds st.mu.
func (st *state) touch(m *message) {
	st.rev++
	if m != nil {
		m.rev = st.rev
	}
	if st.changed != nil {
		close(st.changed)
		st.changed = nil
	}
}

// add keeps m as the newest message. It returns its delivery, which is Silent while the
// message is held.
func (st *state) add(m *message) Delivery {
	st.mu.Lock()
	defer st.mu.Unlock()
	slot := &st.ring[st.accepted%maxMessages]
	if *slot != nil {
		delete(st.byID, (*slot).ID)
	}
	*slot = m
	st.byID[m.ID] = m
	st.accepted++
	st.counts.Accepted++
	st.touch(m)
	m.delivery = st.delivery
	st.delivery = DeliverNow
	if st.stopped[m.To] {
		m.optedOut, m.delivery = true, Blocked
		return m.delivery
	}
	if domain := m.link(); domain != "" && !slices.ContainsFunc(st.allowed, func(d string) bool { return isBelow(domain, d) }) {
		m.Held, m.State = domain, "queued"
		return Silent
	}
	return m.delivery
}

// isBelow reports whether a domain is another one or below it.
func isBelow(domain, other string) bool {
	return domain == other || strings.HasSuffix(domain, "."+other)
}

// whitelist adds a domain, and returns the messages that were held for it.
func (st *state) whitelist(domain string) (free []*message) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !slices.Contains(st.allowed, domain) && len(st.allowed) < maxAllowed {
		st.allowed = append(st.allowed, domain)
	}
	for _, m := range st.byID {
		if m.Held != "" && isBelow(m.Held, domain) {
			m.Held, m.State = "", "accepted"
			st.touch(m)
			free = append(free, m)
		}
	}
	return free
}

// hear notes a reply that stops or starts all messages to its number. The newest maxStopped
// numbers are remembered. The caller holds st.mu.
func (st *state) hear(number, body string) {
	switch strings.ToUpper(strings.TrimSpace(body)) {
	case "STOP", "UNSUBSCRIBE", "OPTOUT":
		if st.stopped[number] {
			return
		}
		if len(st.stopOrder) == maxStopped {
			delete(st.stopped, st.stopOrder[0])
			st.stopOrder = st.stopOrder[1:]
		}
		st.stopped[number] = true
		st.stopOrder = append(st.stopOrder, number)
	case "START":
		delete(st.stopped, number)
		st.stopOrder = slices.DeleteFunc(st.stopOrder, func(other string) bool { return other == number })
	}
}

// find returns the message with that id.
func (st *state) find(id string) (*message, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	m, ok := st.byID[id]
	if !ok {
		return nil, fmt.Errorf("no message %q: it was never accepted, or %d newer ones came since", id, maxMessages)
	}
	return m, nil
}

// view is the state at one moment, for a page or a waiting test.
type view struct {
	messages []seen // newest first
	delivery Delivery
	rev      uint64
	changed  <-chan struct{} // closed at the next change
}

// seen is a message with the fields that only the inbox shows.
type seen struct {
	Message
	trouble  string
	optedOut bool
	rev      uint64
}

// since returns the messages that have changed after revision rev.
func (st *state) since(rev uint64) view {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.changed == nil {
		st.changed = make(chan struct{})
	}
	v := view{delivery: st.delivery, rev: st.rev, changed: st.changed}
	kept := min(st.accepted, maxMessages)
	for i := range kept {
		m := st.ring[(st.accepted-1-i)%maxMessages]
		if m.rev > rev {
			v.messages = append(v.messages, seen{m.copy(), m.trouble, m.optedOut, m.rev})
		}
	}
	return v
}

// wait returns the newest message that match accepts, and waits for one if there is
// none.
func (st *state) wait(ctx context.Context, match func(Message) bool) (Message, error) {
	var rev uint64
	for {
		v := st.since(rev)
		for _, m := range v.messages {
			if match == nil || match(m.Message) {
				return m.Message, nil
			}
		}
		rev = v.rev
		select {
		case <-v.changed:
		case <-ctx.Done():
			return Message{}, fmt.Errorf("waiting for a message: %w", context.Cause(ctx))
		case <-st.hooks.ctx.Done():
			return Message{}, fmt.Errorf("waiting for a message: %w", errClosed)
		}
	}
}

// issueToken returns a new bearer token. If there are maxTokens, the oldest one ends.
func (st *state) issueToken(expires time.Time) string {
	token := "wst_" + rand.Text()
	hash := sha256.Sum256([]byte(token))
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(st.tokenOrder) == maxTokens {
		delete(st.tokens, st.tokenOrder[0])
		st.tokenOrder = st.tokenOrder[1:]
	}
	st.tokens[hash] = expires
	st.tokenOrder = append(st.tokenOrder, hash)
	return token
}

// validToken reports whether token was issued, is not revoked and has not expired. It
// looks up a hash, so its time does not reveal how much of a guess was right.
func (st *state) validToken(token string, now time.Time) bool {
	hash := sha256.Sum256([]byte(token))
	st.mu.Lock()
	defer st.mu.Unlock()
	expires, ok := st.tokens[hash]
	return ok && now.Before(expires)
}

// charge subtracts the price of one message from the balance. It returns false if the
// balance is too low. A message to a number that answered STOP costs nothing.
func (st *state) charge(number string) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.billed || st.stopped[number] {
		return true
	}
	if st.balance < price {
		return false
	}
	st.balance -= price
	return true
}

// count changes the counters under the lock.
func (st *state) count(f func(*Counts)) {
	st.mu.Lock()
	defer st.mu.Unlock()
	f(&st.counts)
}
