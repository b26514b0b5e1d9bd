package redisstore

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"
)

const (
	// beatEvery is how often it is tried whether Redis is there, and writable.
	beatEvery = 500 * time.Millisecond

	// beatTries and beatPause are how often a beat is tried where a connection
	// breaks. One broken connection does not show that Redis is away. A beat asks
	// twice, and each of a client's four connections may have to be dialled anew.
	beatTries = 8
	beatPause = 10 * time.Millisecond

	// renewAfter is how long a connection may fail before all is dialled anew:
	// a name may stand for another machine by then.
	renewAfter = 5 * time.Second
)

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
		if err != nil {
			n.ails.Store(&err)
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

// beat writes to Redis, because a Redis that can only be read is of no use. It also
// fails if a newer build keeps data there that this one does not understand.
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
		if err == nil && !(n.up.Load() && n.hurries()) { // it was checked by the beat before
			err = n.checkSchema(ctx, c)
		}
		if newer := (*schemaError)(nil); errors.As(err, &newer) {
			return err
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
	if newer := (*schemaError)(nil); errors.As(err, &newer) {
		n.logger().Error("redis holds the data of a newer version: this process leaves it as it is, and sends and verifies no code; sessions go on", zap.Error(err))
		return
	}
	n.logger().Error("redis is away or cannot be written to: no code is sent or verified until it is back; sessions go on", zap.Error(err))
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
