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
	// beatEvery is how often the node checks that Redis answers and can be written to.
	beatEvery = 500 * time.Millisecond

	// beatTries is how often a beat asks again after a broken connection, and
	// beatPause is the time in between. One broken connection does not mean that
	// Redis is away. A beat sends two commands, and the client may have to dial
	// each of its four connections anew.
	beatTries = 8
	beatPause = 10 * time.Millisecond

	// renewAfter is how long beats may fail before the node makes a new client.
	// The host name may resolve to another address by then.
	renewAfter = 5 * time.Second
)

// ping makes run check Redis at once.
func (n *node) ping() {
	select {
	case n.poke <- struct{}{}:
	default:
	}
}

// run checks every beatEvery whether Redis is there, until the node closes.
func (n *node) run() {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	var since time.Time // when Redis went away; zero: it is there
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
			n.pay(n.ctx) // before arrive: no request must see a change that is to be undone
			n.arrive(since)
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
			n.leave(err)
		case time.Since(since) > renewAfter && time.Since(n.dialled) > renewAfter:
			if client := n.client.Swap(nil); client != nil {
				go (*client).Close() // in the background: Close waits for commands without an answer
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

// beat checks Redis by writing to it, because a Redis that can only be read is of no
// use. It also fails if a newer build keeps data there that this build does not
// understand.
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
		if err == nil {
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

// greet opens all connections of a client to the server that holds n.alive. Without
// greet, the client opens each connection with the first command on it, and that
// command waits for the handshake even beyond its deadline.
func (n *node) greet(ctx context.Context, c rueidis.Client) {
	var all sync.WaitGroup
	for range 64 { // the client picks one of 4 by chance: the odds to miss one are 1 in 25 million
		all.Go(func() { c.Do(ctx, c.B().Pttl().Key(n.alive).Build()) })
	}
	all.Wait()
}

// arrive notes that Redis is there, and logs it if Redis was away since a time.
func (n *node) arrive(since time.Time) {
	if n.up.Swap(true) {
		return
	}
	n.mu.Lock()
	close(n.back)
	n.mu.Unlock()
	if !since.IsZero() {
		n.logger().Info("redis is there again: codes are sent and verified",
			zap.Duration("away", time.Since(since)))
	}
}

// leave notes and logs that Redis is away.
func (n *node) leave(err error) {
	if n.up.Swap(false) {
		n.mu.Lock()
		n.back = make(chan struct{})
		n.mu.Unlock()
	}
	if newer := (*schemaError)(nil); errors.As(err, &newer) {
		n.logger().Error("redis holds the data of a newer version: this process leaves it as it is, "+
			"and sends and verifies no code; sessions go on", zap.Error(err))
		return
	}
	n.logger().Error("redis is away or cannot be written to: no code is sent or verified until it is back; "+
		"sessions go on", zap.Error(err))
}

// advise logs a warning if Redis may evict keys, or is older than 6.2.
func (n *node) advise(c rueidis.Client) {
	ctx, cancel := context.WithTimeout(n.ctx, time.Second)
	defer cancel()
	text, err := c.Do(ctx, c.B().Info().Build()).ToString()
	if err != nil {
		return // an ACL may forbid INFO
	}
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		info[name] = value
	}
	if policy := info["maxmemory_policy"]; info["maxmemory"] != "0" && policy != "" && policy != "noeviction" {
		n.logger().Warn("redis forgets keys when its memory is full, and with them limits and locks: "+
			"set maxmemory-policy noeviction", zap.String("maxmemory_policy", policy))
	}
	if version := info["redis_version"]; olderThan(version, 6, 2) {
		n.logger().Warn("redis is older than 6.2, which this store needs: upgrade it", zap.String("redis_version", version))
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
