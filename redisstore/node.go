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
	// requestBudget is how long a request waits for Redis, in all.
	requestBudget = 250 * time.Millisecond

	// maxPause is the longest pause before Redis is asked again.
	maxPause = 50 * time.Millisecond

	// movingEvery is how often it is logged that a slot is moved.
	movingEvery = time.Minute

	// maxAsking bounds what Redis has yet to answer: rueidis makes whoever finds
	// its ring full wait for a place without regard to any deadline.
	maxAsking = 512
)

// node is this process's way to Redis. While Redis is away it refuses at once,
// and it comes back by itself.
type node struct {
	dial     func() (rueidis.Client, error)
	logger   func() *zap.Logger
	budget   time.Duration // how long a request waits, in all
	patience time.Duration // how long run waits for one answer

	alive  string // key that is written to see whether Redis is there
	client atomic.Pointer[rueidis.Client]
	up     atomic.Bool
	ails   atomic.Pointer[error] // what the latest try failed with
	turn   atomic.Pointer[turn]
	known  chan struct{} // closed when it is first known whether Redis is there
	poke   chan struct{}
	places chan struct{} // one for each that Redis has yet to answer
	kept   atomic.Int64  // places of those who gave up waiting for their answer
	moving atomic.Int64  // when it was last logged that a slot is moved, in nanoseconds since 1970
	stop   context.CancelFunc
	ctx    context.Context
	tasks  sync.WaitGroup

	// Of run alone:
	dialled time.Time // when the client was made
	greeted bool      // its connections were opened
	advised bool      // the operator was warned, if need be

	mu   sync.Mutex
	back chan struct{} // closed when Redis is there; another one while it is away
	owed []debt
}

// operation is something that Redis is asked for. Asked again, it does no more.
type operation func(context.Context, rueidis.Client) rueidis.RedisResult

// newNode returns a node that tries to reach Redis until close.
func newNode(alive string, dial func() (rueidis.Client, error), logger func() *zap.Logger) *node {
	return newNodeWithin(requestBudget, alive, dial, logger)
}

func newNodeWithin(budget time.Duration, alive string, dial func() (rueidis.Client, error), logger func() *zap.Logger) *node {
	n := &node{alive: alive, dial: dial, logger: logger, budget: budget, patience: max(beatEvery, budget), known: make(chan struct{}), poke: make(chan struct{}, 1), places: make(chan struct{}, maxAsking), back: make(chan struct{})}
	n.ctx, n.stop = context.WithCancel(context.Background())
	n.tasks.Go(n.run)
	return n
}

// close ends the node. What is owed is paid once more, where that is quick.
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

// errAway says that Redis is away, or may not be written to.
var errAway = errors.New("redis is away")

// awayFor returns errAway with its reason, if that is known.
func (n *node) awayFor() error {
	if why := n.ails.Load(); why != nil {
		return fmt.Errorf("%w: %w", errAway, *why)
	}
	return errAway
}

// errBusy says that as many wait for Redis as may.
var errBusy = errors.New("too many wait for redis")

// errLost says that it is not known whether what was asked for was done.
var errLost = errors.New("redis did not answer")

func unavailable(err error) error {
	return &otp.UnavailableError{Reason: "redis cannot be asked", RetryAfter: 2 * time.Second, Err: err}
}

// do asks Redis, within the budget. It knows nothing of who asked, and whether
// he is gone: half a change would be worse than one that nobody waits for.
func (n *node) do(op operation) reply {
	if !n.up.Load() {
		return reply{failed: unavailable(n.awayFor())}
	}
	return n.ask(n.within(), op)
}

// turn is a short time: all who begin to ask in it have the same end.
type turn struct {
	ctx  context.Context
	over time.Time
}

// within returns a context that ends with the budget of a request that begins
// now, or up to a twenty-fifth of it earlier: a context and a timer for each
// would cost a tenth of the throughput (BenchmarkVerify).
func (n *node) within() context.Context {
	now := time.Now()
	if t := n.turn.Load(); t != nil && now.Before(t.over) {
		return t.ctx
	}
	ctx, cancel := context.WithTimeout(context.Background(), n.budget)
	_ = cancel // it ends by itself, under all who share it
	n.turn.Store(&turn{ctx, now.Add(n.budget / 25)})
	return ctx
}

// ask asks Redis. Until ctx ends it asks again if a connection breaks, or while a
// cluster moves the slot of the keys to another node.
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
			// What was asked for may still stand in the ring. Whoever is next
			// shall not stand behind it before Redis has answered somebody.
			n.kept.Add(1)
			n.ping()
			return
		}
		<-n.places
	}()
	var lost error // of an earlier turn, which may have been done
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
		} else if ok { // and nothing was done
			n.tellMoving(err)
			err = fmt.Errorf("the cluster moves the slot of these keys to another node: %w", err)
		} else {
			lost = err
			n.ping()
		}
		select {
		case <-ctx.Done():
			return failed(errors.Join(ctx.Err(), moved(err)))
		case <-n.ctx.Done():
			return failed(n.ctx.Err())
		case <-time.After(pause):
		}
	}
}

// moved returns err if Redis refused because it moves a slot, else nil.
func moved(err error) error {
	if refusal := (*rueidis.RedisError)(nil); errors.As(err, &refusal) {
		return err
	}
	return nil
}

// tellMoving logs that a slot is moved, at most once in movingEvery.
func (n *node) tellMoving(err error) {
	now := time.Now().UnixNano()
	last := n.moving.Load()
	if now-last > int64(movingEvery) && n.moving.CompareAndSwap(last, now) {
		n.logger().Warn("the redis cluster moves a slot to another node, and refuses what needs several of its keys (TRYAGAIN): requests of a realm in it wait, and are refused if that takes too long", zap.Error(err))
	}
}

// insist asks Redis as soon as it is there, until ctx ends.
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

// arrival returns a channel that is closed when Redis is there.
func (n *node) arrival() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.back
}
