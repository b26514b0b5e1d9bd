package websmstest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"
)

// Bounds of what a simulator holds.
const (
	maxMessages = 1000
	maxTokens   = 1000
)

// state is what a simulator knows. It outlives a configuration, so it holds
// no setting: several Simulators, one for each configuration that is still
// in use, share it. Every operation under its lock takes constant time, but
// for those of a person or a test that looks at all messages.
type state struct {
	boot  string // tells one state from the next to a page that is open
	hooks *dispatcher

	mu       sync.Mutex
	ring     [maxMessages]*message // the message of revision order; oldest overwritten
	accepted uint64                // messages ever accepted; the next goes to accepted % maxMessages
	byID     map[string]*message
	rev      uint64        // counts changes that somebody may wait for
	changed  chan struct{} // closed at the next change; nil when nobody waits
	delivery Delivery      // of the next message

	tokens     map[[sha256.Size]byte]time.Time // when each expires, by its hash
	tokenOrder [][sha256.Size]byte             // oldest first
	billed     bool                            // whether balance counts
	balance    int64                           // millionths of a dollar
	faults     faultQueue
	tokenFault faultQueue
	counts     Counts
}

// Counts is how often things have happened since the simulator was made.
type Counts struct {
	TokenRequests int // requests to /auth/token, also refused ones
	OTPRequests   int // requests to /sms/otp, also refused ones
	Accepted      int // messages
	WebhookPosts  int // tries included
	Dropped       int // reports given up because too many were under way
}

func newState() *state {
	return &state{
		boot:     rand.Text(),
		hooks:    newDispatcher(),
		byID:     make(map[string]*message),
		delivery: DeliverNow,
		tokens:   make(map[[sha256.Size]byte]time.Time),
	}
}

// Destruct ends the state's goroutines. It lets Caddy's usage pool end the
// state with its last user.
func (st *state) Destruct() error {
	st.hooks.close()
	return nil
}

// touch marks m, unless it is nil, as changed and wakes whoever waits. The
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

// add keeps m as the newest message and returns how it is to be delivered.
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
	d := st.delivery
	st.delivery = DeliverNow
	return d
}

// find returns the message of that id.
func (st *state) find(id string) (*message, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	m, ok := st.byID[id]
	if !ok {
		return nil, fmt.Errorf("no message %q: it was never accepted, or %d newer ones came since", id, maxMessages)
	}
	return m, nil
}

// view is what a page, or a waiting test, sees at one moment.
type view struct {
	messages []seen // newest first
	delivery Delivery
	rev      uint64
	changed  <-chan struct{} // closed at the next change
}

// seen is a message with what only the inbox shows of it.
type seen struct {
	Message
	trouble string
	rev     uint64
}

// since returns the messages changed after revision rev.
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
			v.messages = append(v.messages, seen{m.copy(), m.trouble, m.rev})
		}
	}
	return v
}

// wait returns the newest message, already there or yet to come, that match
// accepts.
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

// issueToken returns a new bearer token. Past maxTokens the oldest one ends.
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

// validToken reports whether token was issued, is not revoked and has not
// expired. Looking up a hash tells nothing of how much of a guess was right.
func (st *state) validToken(token string, now time.Time) bool {
	hash := sha256.Sum256([]byte(token))
	st.mu.Lock()
	defer st.mu.Unlock()
	expires, ok := st.tokens[hash]
	return ok && now.Before(expires)
}

// charge takes the price of one message, if the balance allows.
func (st *state) charge() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.billed {
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
