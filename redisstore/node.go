package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
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

	// beatEvery is how often it is tried whether Redis is there, and writable.
	beatEvery = 500 * time.Millisecond

	// beatTries and beatPause are how often a beat is tried where a connection
	// breaks, which says nothing of Redis until the next one does.
	beatTries = 4
	beatPause = 10 * time.Millisecond

	// renewAfter is how long a connection may fail before all is dialled anew:
	// a name may stand for another machine by then.
	renewAfter = 5 * time.Second

	// maxAsking bounds what Redis has yet to answer: rueidis makes whoever finds
	// its ring full wait for a place without regard to any deadline.
	maxAsking = 512

	// maxOwed bounds what is to be done when Redis is there again.
	maxOwed = 10_000

	// owedAgain is when it is done once more: what a network has held up
	// may reach Redis after what was sent later.
	owedAgain = 3 * time.Second
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
	turn   atomic.Pointer[turn]
	known  chan struct{} // closed when it is first known whether Redis is there
	poke   chan struct{}
	places chan struct{} // one for each that Redis has yet to answer
	kept   atomic.Int64  // places of those who gave up waiting for their answer
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

// debt is what is to be done, or taken back, and when.
type debt struct {
	op    operation
	begun time.Time
	due   time.Time
	again bool
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
		return reply{failed: unavailable(errAway)}
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

// ask asks Redis until ctx ends, more than once if a connection breaks.
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
	for pause := 5 * time.Millisecond; ; pause *= 2 {
		client := n.client.Load()
		if client == nil {
			return failed(errAway)
		}
		result := op(ctx, *client)
		err := result.Error()
		if err == nil || rueidis.IsRedisNil(err) {
			return reply{result: result}
		}
		if _, ok := rueidis.IsRedisErr(err); ok {
			return failed(err)
		}
		lost = err
		n.ping()
		select {
		case <-ctx.Done():
			return failed(ctx.Err())
		case <-n.ctx.Done():
			return failed(n.ctx.Err())
		case <-time.After(pause):
		}
	}
}

// insist asks Redis as soon as it is there, until ctx ends.
func (n *node) insist(ctx context.Context, op operation) reply {
	for {
		select {
		case <-n.arrival():
		case <-ctx.Done():
			return reply{failed: unavailable(errAway)}
		case <-n.ctx.Done():
			return reply{failed: unavailable(errAway)}
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

// takeBack sees to it that a change whose outcome is not known is undone, if
// it was done, when Redis is there again.
func (n *node) takeBack(err error, undo operation) {
	if !errors.Is(err, errLost) {
		return
	}
	n.owe(debt{op: undo, begun: time.Now(), due: time.Now()})
	n.ping()
}

// ping has it tried now whether Redis is there.
func (n *node) ping() {
	select {
	case n.poke <- struct{}{}:
	default:
	}
}

// run tries again and again whether Redis is there.
func (n *node) run() {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	var since time.Time // it is away
	for first := true; ; first = false {
		err := n.beat()
		if n.ctx.Err() != nil {
			return
		}
		switch {
		case err == nil:
			for range n.kept.Swap(0) {
				<-n.places
			}
			n.pay(n.ctx) // first: nobody shall meet what is to be undone
			n.arrive(since)
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
			n.leave(err)
		case time.Since(since) > renewAfter && time.Since(n.dialled) > renewAfter:
			if client := n.client.Swap(nil); client != nil {
				go (*client).Close() // which waits for what hangs
			}
		}
		if first {
			close(n.known)
		}
		select {
		case <-n.ctx.Done():
			return
		case <-ticker.C:
		case <-n.poke:
		}
	}
}

// beat writes to Redis: one that only answers is of no use.
func (n *node) beat() error {
	client := n.client.Load()
	if client == nil {
		dialled, err := n.dial()
		if err != nil {
			return err
		}
		client, n.dialled, n.greeted = &dialled, time.Now(), false
		n.client.Store(client)
		if !n.advised {
			n.advised = true
			n.advise(dialled)
		}
	}
	ctx, cancel := context.WithTimeout(n.ctx, n.patience)
	defer cancel()
	c := *client
	for try := 1; ; try++ {
		err := c.Do(ctx, c.B().Set().Key(n.alive).Value("1").PxMilliseconds(60_000).Build()).Error()
		if err == nil && !n.greeted {
			n.greeted = true
			n.greet(ctx, c)
		}
		_, refused := rueidis.IsRedisErr(err)
		if err == nil || refused || try == beatTries || ctx.Err() != nil {
			return err
		}
		time.Sleep(beatPause)
	}
}

// greet opens the connections of a client to the server that holds n.alive. It
// would open each, chosen by chance, with the first request on it, and who asks
// then waits for the handshake without regard to any deadline.
func (n *node) greet(ctx context.Context, c rueidis.Client) {
	var all sync.WaitGroup
	for range 64 { // of 4 connections, one is left out once in 25 million times
		all.Go(func() { c.Do(ctx, c.B().Pttl().Key(n.alive).Build()) })
	}
	all.Wait()
}

// arrive says that Redis is there.
func (n *node) arrive(since time.Time) {
	if n.up.Swap(true) {
		return
	}
	n.mu.Lock()
	close(n.back)
	n.mu.Unlock()
	if !since.IsZero() {
		n.logger().Info("redis is there again: codes are sent and verified", zap.Duration("away", time.Since(since)))
	}
}

// leave says that it is away.
func (n *node) leave(err error) {
	if n.up.Swap(false) {
		n.mu.Lock()
		n.back = make(chan struct{})
		n.mu.Unlock()
	}
	n.logger().Error("redis is away or cannot be written to: no code is sent or verified until it is back; sessions go on", zap.Error(err))
}

// pay does what is owed and due, until ctx ends.
func (n *node) pay(ctx context.Context) {
	n.mu.Lock()
	owed := n.owed
	n.owed = nil
	n.mu.Unlock()
	for i, d := range owed {
		if time.Since(d.begun) > messageLife {
			continue // what it would undo is over
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
		case r.failed != nil: // of its slot, perhaps
			d.due = time.Now().Add(owedAgain)
			n.owe(d)
		case !d.again:
			n.owe(debt{op: d.op, begun: d.begun, due: time.Now().Add(owedAgain), again: true})
		}
	}
}

func (n *node) owe(debts ...debt) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.owed = append(n.owed, debts[:min(len(debts), maxOwed-len(n.owed))]...)
}

// advise warns of a Redis that forgets what it was given, or is too old.
func (n *node) advise(c rueidis.Client) {
	ctx, cancel := context.WithTimeout(n.ctx, time.Second)
	defer cancel()
	text, err := c.Do(ctx, c.B().Info().Build()).ToString()
	if err != nil {
		return // an ACL may forbid to ask
	}
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		info[name] = value
	}
	if policy := info["maxmemory_policy"]; info["maxmemory"] != "0" && policy != "" && policy != "noeviction" {
		n.logger().Warn("redis forgets keys when its memory is full, and with them limits and locks: set maxmemory-policy noeviction", zap.String("maxmemory_policy", policy))
	}
	if version := info["redis_version"]; olderThan(version, 6, 2) {
		n.logger().Warn("redis is older than 6.2, which this was made for", zap.String("redis_version", version))
	}
}

// olderThan reports whether version is known and below major.minor.
func olderThan(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	a, err := strconv.Atoi(parts[0])
	if err != nil {
		return false
	}
	b, err := strconv.Atoi(parts[1])
	return err == nil && (a < major || a == major && b < minor)
}

// reply is what came of an operation. Its errors are *otp.UnavailableError.
type reply struct {
	result rueidis.RedisResult
	failed error
}

func (r reply) err() error { return r.failed }

func (r reply) strings() ([]string, error) {
	if r.failed != nil {
		return nil, r.failed
	}
	list, err := r.result.AsStrSlice()
	return list, understood(err)
}

// string returns "" for what is not there.
func (r reply) string() (string, error) {
	if r.failed != nil {
		return "", r.failed
	}
	text, err := r.result.ToString()
	if rueidis.IsRedisNil(err) {
		return "", nil
	}
	return text, understood(err)
}

func (r reply) int() (int64, error) {
	if r.failed != nil {
		return 0, r.failed
	}
	n, err := r.result.AsInt64()
	return n, understood(err)
}

// understood makes of an answer of another shape an error of ours.
func understood(err error) error {
	if err == nil {
		return nil
	}
	return unavailable(fmt.Errorf("redis answered what is not understood: %w", err))
}

// verdict returns what attempt.lua answers: if the code was right a number,
// when the challenge was to die; else a list.
func (r reply) verdict() (answer []string, died string, err error) {
	if r.failed != nil {
		return nil, "", r.failed
	}
	message, err := r.result.ToMessage()
	if err != nil {
		return nil, "", understood(err)
	}
	if n, err := message.AsInt64(); err == nil {
		return nil, strconv.FormatInt(n, 10), nil
	}
	answer, err = message.AsStrSlice()
	return answer, "", understood(err)
}

func (r reply) list() ([]rueidis.RedisMessage, error) {
	if r.failed != nil {
		return nil, r.failed
	}
	list, err := r.result.ToArray()
	return list, understood(err)
}
