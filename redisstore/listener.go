package redisstore

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

// listener receives the changes that other nodes make to the challenges that are
// watched here. It subscribes to one channel for each challenge, all over one
// connection.
type listener struct {
	node    *node
	channel string // prefix of the name of every channel
	wake    func(otp.ID)
	touched chan struct{} // has a value if changed is not empty

	mu      sync.Mutex
	wanted  map[otp.ID]int      // how many watchers a challenge has
	changed map[otp.ID]struct{} // challenges with their first watcher, or without one again
}

func newListener(n *node, channel string, wake func(otp.ID)) *listener {
	l := &listener{
		node: n, channel: channel, wake: wake, touched: make(chan struct{}, 1),
		wanted: make(map[otp.ID]int), changed: make(map[otp.ID]struct{}),
	}
	n.tasks.Go(l.run)
	return l
}

// want subscribes to the changes of a challenge, until the caller calls forget. It
// may call forget more than once.
func (l *listener) want(id otp.ID) (forget func()) {
	l.count(id, 1)
	return sync.OnceFunc(func() { l.count(id, -1) })
}

func (l *listener) count(id otp.ID, by int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.wanted[id]
	after := before + by
	if l.wanted[id] = after; after == 0 {
		delete(l.wanted, id)
	}
	if before == 0 || after == 0 {
		l.changed[id] = struct{}{}
		select {
		case l.touched <- struct{}{}:
		default:
		}
	}
}

// run keeps a connection open until the node closes.
func (l *listener) run() {
	for l.node.ctx.Err() == nil {
		select {
		case <-l.node.ctx.Done():
			return
		case <-l.node.arrival():
		}
		if client := l.node.client.Load(); client != nil {
			l.session(*client)
		}
		select {
		case <-l.node.ctx.Done():
		case <-time.After(beatEvery):
		}
	}
}

// session listens on one connection until the connection is lost.
func (l *listener) session(client rueidis.Client) {
	connection, release := client.Dedicate()
	defer release()
	heard := func(channel string) {
		if id, ok := session.ParseID(strings.TrimPrefix(channel, l.channel)); ok {
			l.wake(id)
		}
	}
	lost := connection.SetPubSubHooks(rueidis.PubSubHooks{
		OnMessage: func(m rueidis.PubSubMessage) { heard(m.Channel) },
		// A change may have come before the subscription, so the watchers must read again.
		OnSubscription: func(s rueidis.PubSubSubscription) {
			if s.Kind == "subscribe" {
				heard(s.Channel)
			}
		},
	})
	l.mu.Lock()
	for id := range l.wanted {
		l.changed[id] = struct{}{}
	}
	l.mu.Unlock()
	// Nobody publishes on this channel. Subscribing to it opens the connection
	// before a watcher needs it.
	ctx, cancel := context.WithTimeout(l.node.ctx, time.Second)
	err := connection.Do(ctx, connection.B().Subscribe().Channel(l.channel).Build()).Error()
	cancel()
	have := make(map[otp.ID]bool)
	for err == nil {
		if err = l.follow(connection, have); err != nil {
			return
		}
		select {
		case <-l.node.ctx.Done():
			return
		case reason := <-lost:
			_ = reason // run opens the next connection in any case; the beat logs if Redis is away
			return
		case <-l.touched:
		}
	}
}

// follow subscribes to challenges that are now watched, and unsubscribes from those
// that are watched no more. have holds the subscriptions of the connection.
func (l *listener) follow(c rueidis.DedicatedClient, have map[otp.ID]bool) error {
	var join, leave []string
	l.mu.Lock()
	for id := range l.changed {
		wanted := l.wanted[id] > 0
		switch {
		case wanted && !have[id]:
			have[id] = true
			join = append(join, l.channel+name(id))
		case !wanted && have[id]:
			delete(have, id)
			leave = append(leave, l.channel+name(id))
		}
	}
	clear(l.changed)
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(l.node.ctx, time.Second)
	defer cancel()
	if len(join) > 0 {
		if err := c.Do(ctx, c.B().Subscribe().Channel(join...).Build()).Error(); err != nil {
			return err
		}
	}
	if len(leave) > 0 {
		return c.Do(ctx, c.B().Unsubscribe().Channel(leave...).Build()).Error()
	}
	return nil
}
