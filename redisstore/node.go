package redisstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/otp"
)

const (
	// requestBudget is how long one request waits for Redis in total.
	requestBudget = 250 * time.Millisecond

	// maxPause is the longest pause before a node asks Redis again.
	maxPause = 50 * time.Millisecond

	// movingEvery is how often a node logs that the cluster moves a slot.
	movingEvery = time.Minute

	// maxAsking bounds the commands that wait for an answer of Redis. If the ring of
	// rueidis is full, a command waits for a place beyond its deadline. This bound
	// is smaller than the ring, so that never happens.
	maxAsking = 512
)

// node connects this process to Redis. While Redis is away, it refuses requests at
// once. It finds out by itself when Redis is back.
type node struct {
	dial     func() (rueidis.Client, error)
	logger   func() *zap.Logger
	budget   time.Duration // how long a request waits in total
	patience time.Duration // how long run waits for one answer

	alive  string // key that each beat writes
	client atomic.Pointer[rueidis.Client]
	up     atomic.Bool
	ails   atomic.Pointer[error] // the error of the latest beat that failed
	turn   atomic.Pointer[turn]
	known  chan struct{} // closed after the first beat
	poke   chan struct{} // asks run for a beat now
	places chan struct{} // has a value for each command without an answer
	kept   atomic.Int64  // places of commands that gave up waiting
	moving atomic.Int64  // when the node last logged a moving slot, in nanoseconds since 1970
	stop   context.CancelFunc
	ctx    context.Context
	tasks  sync.WaitGroup

	// Only run uses these:
	dialled time.Time // when the client was made
	greeted bool      // the connections of the client are open
	advised bool      // advise was called

	mu     sync.Mutex
	back   chan struct{} // closed when Redis is there; a new one each time it goes away
	owed   []debt
	paying int // calls of pay with debts that were never paid, which are not in owed meanwhile
}

// operation is a command or a script. The node may ask for it more than once, and it
// must then change no more than the first time.
type operation func(context.Context, rueidis.Client) rueidis.RedisResult

// newNode returns a node that tries to reach Redis until close.
func newNode(alive string, dial func() (rueidis.Client, error), logger func() *zap.Logger) *node {
	return newNodeWithin(requestBudget, alive, dial, logger)
}

func newNodeWithin(
	budget time.Duration, alive string, dial func() (rueidis.Client, error), logger func() *zap.Logger,
) *node {
	n := &node{
		alive: alive, dial: dial, logger: logger, budget: budget, patience: max(beatEvery, budget),
		known: make(chan struct{}), poke: make(chan struct{}, 1), back: make(chan struct{}),
		places: make(chan struct{}, maxAsking),
	}
	n.ctx, n.stop = context.WithCancel(context.Background())
	n.tasks.Go(n.run)
	return n
}

// close ends the node. If Redis is there, it pays the debts first, for up to patience.
func (n *node) close() {
	if n.up.Load() {
		ctx, cancel := context.WithTimeout(n.ctx, n.patience)
		n.pay(ctx)
		cancel()
	}
	n.stop()
	n.tasks.Wait()
	if client := n.client.Swap(nil); client != nil {
		(*client).Close()
	}
}

// errAway means that Redis is away, or cannot be written to.
var errAway = errors.New("redis is away")

// awayFor returns errAway, with the reason if it is known.
func (n *node) awayFor() error {
	if why := n.ails.Load(); why != nil {
		return fmt.Errorf("%w: %w", errAway, *why)
	}
	return errAway
}

// errBusy means that maxAsking commands wait for Redis already.
var errBusy = errors.New("too many requests wait for redis")

// errLost means that it is unknown whether Redis has carried out an operation.
var errLost = errors.New("redis did not answer")

func unavailable(err error) error {
	return &otp.UnavailableError{Reason: "redis cannot be asked", RetryAfter: 2 * time.Second, Err: err}
}

// do asks Redis within the budget of a request. It takes no context, so a client that
// disconnects does not cancel an operation in the middle.
func (n *node) do(op operation) reply {
	if !n.up.Load() {
		return reply{failed: unavailable(n.awayFor())}
	}
	return n.ask(n.within(), op)
}

// turn is a short span of time. All requests that begin in it share one context.
type turn struct {
	ctx  context.Context
	over time.Time // when the next turn begins
}

// within returns a context for a request that begins now. The context ends after the
// budget, or up to a twenty-fifth of the budget earlier, because the requests of one
// turn share it. A context and a timer for each request would cost a tenth of the
// throughput (BenchmarkVerify).
func (n *node) within() context.Context {
	now := time.Now()
	if t := n.turn.Load(); t != nil && now.Before(t.over) {
		return t.ctx
	}
	ctx, cancel := context.WithTimeout(context.Background(), n.budget)
	_ = cancel // no request may cancel the context for the others; it ends by itself
	n.turn.Store(&turn{ctx, now.Add(n.budget / 25)})
	return ctx
}

// ask asks Redis. If the connection breaks, or while a cluster moves the slot of the
// keys to another node, it asks again until ctx ends.
func (n *node) ask(ctx context.Context, op operation) reply {
	select {
	case n.places <- struct{}{}:
	default:
		select {
		case n.places <- struct{}{}:
		case <-ctx.Done():
			return reply{failed: unavailable(errBusy)}
		}
	}
	defer func() {
		if ctx.Err() != nil {
			// The command may still be in the ring of rueidis, and others would wait
			// behind it. So it keeps its place until a beat gets an answer.
			n.kept.Add(1)
			n.ping()
			return
		}
		<-n.places
	}()
	var lost error   // of an earlier round, which Redis may have carried out
	var moving error // of an earlier round, while the cluster moved the slot
	failed := func(err error) reply {
		if lost != nil {
			err = fmt.Errorf("%w: %w", errLost, errors.Join(lost, err))
		}
		return reply{failed: unavailable(err)}
	}
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, maxPause) {
		client := n.client.Load()
		if client == nil {
			return failed(n.awayFor())
		}
		result := op(ctx, *client)
		err := result.Error()
		if err == nil || rueidis.IsRedisNil(err) {
			return reply{result: result}
		}
		if refusal, ok := rueidis.IsRedisErr(err); ok && !refusal.IsTryAgain() {
			return failed(err)
		} else if ok { // TRYAGAIN: Redis has changed nothing
			n.tellMoving(err)
			moving = fmt.Errorf("the cluster moves the slot of these keys to another node: %w", err)
		} else {
			lost = err
			n.ping()
		}
		select {
		case <-ctx.Done():
			return failed(errors.Join(ctx.Err(), moving))
		case <-n.ctx.Done():
			return failed(n.ctx.Err())
		case <-time.After(pause):
		}
	}
}

// tellMoving logs that the cluster moves a slot, at most once in movingEvery.
func (n *node) tellMoving(err error) {
	now := time.Now().UnixNano()
	last := n.moving.Load()
	if now-last > int64(movingEvery) && n.moving.CompareAndSwap(last, now) {
		n.logger().Warn("the redis cluster moves a slot to another node, and refuses scripts on its keys (TRYAGAIN): "+
			"requests of a realm in that slot wait, and are refused if that takes too long", zap.Error(err))
	}
}

// insist waits until Redis is there and asks it, again and again until it succeeds or
// ctx ends.
func (n *node) insist(ctx context.Context, op operation) reply {
	for {
		select {
		case <-n.arrival():
		case <-ctx.Done():
			return reply{failed: unavailable(n.awayFor())}
		case <-n.ctx.Done():
			return reply{failed: unavailable(n.awayFor())}
		}
		within, cancel := context.WithTimeout(ctx, time.Second)
		r := n.ask(within, op)
		cancel()
		if r.failed == nil {
			return r
		}
		select {
		case <-ctx.Done():
			return r
		case <-n.ctx.Done():
			return r
		case <-time.After(beatEvery / 5):
		}
	}
}

// arrival returns a channel that is closed while Redis is there.
func (n *node) arrival() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.back
}
