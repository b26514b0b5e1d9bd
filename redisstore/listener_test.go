package redisstore

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/redisstore/redistest"
	"github.com/caddy-websms/websms/session"
)

// hears watches a challenge at b. After b has subscribed, it calls change and waits until
// the watcher is woken.
func hears(t *testing.T, redis []*redistest.Redis, b *process, id otp.ID, change func()) {
	t.Helper()
	changed, stop := b.Watch(id)
	awaitChannel(t, redis, b.wake(id))
	select {
	case <-changed: // the first wake-up comes with the subscription
		former := stop
		changed, stop = b.Watch(id)
		former()
	case <-time.After(patience):
		t.Fatal("nobody is woken when it begins to be listened for")
	}
	change()
	select {
	case <-changed:
	case <-time.After(patience):
		t.Error("a change is not heard of")
	}
	stop()
	redistest.Eventually(t, "it is subscribed to no more", func() error {
		for _, r := range redis {
			if list, ok := r.Do("PUBSUB", "CHANNELS", b.wake(id)).([]any); ok && len(list) == 1 {
				return errors.New("it is")
			}
		}
		return nil
	})
}

// awaitChannel waits until a node has subscribed to the channel of a challenge.
func awaitChannel(t *testing.T, redis []*redistest.Redis, channel string) {
	t.Helper()
	redistest.Eventually(t, "it is subscribed to", func() error {
		for _, r := range redis {
			if list, ok := r.Do("PUBSUB", "CHANNELS", channel).([]any); ok && len(list) == 1 {
				return nil
			}
		}
		return errors.New("it is not")
	})
}

// changes are all calls that must wake a watcher.
func changes(t *testing.T, redis []*redistest.Redis, a, b *process) {
	t.Helper()
	a.wantWorks(t)
	b.wantWorks(t)
	must := func(err error) {
		t.Helper()
		if err != nil && !errors.Is(err, otp.ErrWrongCode) {
			t.Error(err)
		}
	}
	r := reservation()
	must(a.Reserve(ctx, r))
	message := "MSG " + r.ID.String()
	for _, change := range []struct {
		name string
		do   func()
	}{
		{"Settle", func() {
			must(a.Settle(ctx, r.ID, &otp.Settlement{Sending: 1, Status: otp.Accepted, MessageID: message, Taken: r.Now, Now: now()}))
		}},
		{"Report", func() {
			if _, moved, err := a.Report(ctx, message, connexus.StateDelivered, now()); err != nil || !moved {
				t.Errorf("Report: %t, %v", moved, err)
			}
		}},
		{"Resend", func() {
			_, err := a.Resend(ctx, r.ID, &otp.Renewal{Now: now(), TTL: time.Minute})
			must(err)
		}},
		{"a wrong Attempt", func() {
			_, err := a.Attempt(ctx, r.ID, &otp.Answer{Proof: wrong, Now: now()})
			must(err)
		}},
		{"the right Attempt", func() {
			_, err := a.Attempt(ctx, r.ID, &otp.Answer{Proof: r.Proof, Now: now()})
			must(err)
		}},
	} {
		t.Run(change.name, func(t *testing.T) { hears(t, redis, b, r.ID, change.do) })
	}
	former, next := reservation(), reservation()
	next.Replaces = former.ID
	must(a.Reserve(ctx, former))
	t.Run("Reserve", func(t *testing.T) { hears(t, redis, b, former.ID, func() { must(a.Reserve(ctx, next)) }) })
}

// A change at one node wakes watchers at another.
func TestListenerHears(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t)
	changes(t, []*redistest.Redis{redis}, openProcess(t, at(redis.Addr())), openProcess(t, at(redis.Addr())))
}

func TestListenerHearsInCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.Cluster(t)
	s := &Store{Address: cluster.Addrs()}
	changes(t, cluster.Nodes, openProcess(t, s), openProcess(t, s))
}

// A listener replaces a lost connection and subscribes to all watched challenges again. It
// wakes their watchers, because they may have missed a change.
func TestListenerReconnects(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t)
	proxy := redistest.Proxy(t, redis.Addr())
	a, b := openProcess(t, at(redis.Addr())), openProcess(t, at(proxy.Addr()))
	a.wantWorks(t)
	b.wantWorks(t)
	r := reservation()
	if err := a.Reserve(ctx, r); err != nil {
		t.Fatal(err)
	}
	hears(t, []*redistest.Redis{redis}, b, r.ID, func() {
		proxy.Reset()
		if _, err := a.Attempt(ctx, r.ID, &otp.Answer{Proof: wrong, Now: now()}); !errors.Is(err, otp.ErrWrongCode) {
			t.Error(err)
		}
	})
	b.wantWorks(t)
	hears(t, []*redistest.Redis{redis}, b, r.ID, func() {
		if _, err := a.Attempt(ctx, r.ID, &otp.Answer{Proof: r.Proof, Now: now()}); err != nil {
			t.Error(err)
		}
	})
	// With a half-open connection, the listener notices nothing until it ends.
	second := reservation()
	if err := a.Reserve(ctx, second); err != nil {
		t.Fatal(err)
	}
	changed, stop := b.Watch(second.ID)
	defer stop()
	awaitChannel(t, []*redistest.Redis{redis}, b.wake(second.ID))
	<-changed
	changed, stopAgain := b.Watch(second.ID)
	defer stopAgain()
	proxy.HalfOpen(true)
	if _, err := a.Attempt(ctx, second.ID, &otp.Answer{Proof: wrong, Now: now()}); !errors.Is(err, otp.ErrWrongCode) {
		t.Fatal(err)
	}
	proxy.HalfOpen(false)
	select {
	case <-changed:
	case <-time.After(patience):
		t.Error("what changed meanwhile is never heard of")
	}
}

// A change before the subscription wakes the watcher when the subscription begins.
func TestListenerMissesNothing(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t)
	a, b := openProcess(t, at(redis.Addr())), openProcess(t, at(redis.Addr()))
	a.wantWorks(t)
	b.wantWorks(t)
	for i := range 200 {
		r := reservation()
		if err := a.Reserve(ctx, r); err != nil {
			t.Fatal(err)
		}
		changed, stop := b.Watch(r.ID)
		if _, err := a.Attempt(ctx, r.ID, &otp.Answer{Proof: r.Proof, Now: now()}); err != nil {
			t.Fatal(err)
		}
		deadline := time.After(patience)
		for met := false; !met; {
			if _, err := b.Get(ctx, "", r.ID, now()); errors.Is(err, otp.ErrNoChallenge) {
				met = true
				continue
			}
			select {
			case <-changed:
				stop()
				changed, stop = b.Watch(r.ID)
			case <-deadline:
				t.Fatalf("round %d: the change is never heard of", i)
			}
		}
		stop()
	}
}

// Watchers that come and go leave nothing behind, here or in Redis.
func TestListenerForgets(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t)
	s := openProcess(t, at(redis.Addr()))
	s.wantWorks(t)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 50 {
				ids := []otp.ID{session.NewID(), session.NewID(), session.NewID()}
				var stops []func()
				for _, id := range append(ids, ids[0]) {
					_, stop := s.Watch(id)
					stops = append(stops, stop)
				}
				for _, stop := range stops {
					stop()
					stop() // a watcher may stop twice
				}
			}
		})
	}
	all.Wait()
	id := session.NewID()
	_, stop := s.Watch(id)
	awaitChannel(t, []*redistest.Redis{redis}, s.wake(id))
	stop()
	redistest.Eventually(t, "nothing is listened for", func() error {
		s.listen.mu.Lock()
		wanted, changed := len(s.listen.wanted), len(s.listen.changed)
		s.listen.mu.Unlock()
		channels := fmt.Sprint(redis.Do("PUBSUB", "CHANNELS", s.prefix+wakeChannel+"?*"))
		if wanted != 0 || changed != 0 || strings.Trim(channels, "[]") != "" {
			return fmt.Errorf("%d wanted, %d changed, channels %s", wanted, changed, channels)
		}
		return nil
	})
}

// If the ACL forbids channels, all other calls work. A process still receives its own
// changes.
func TestListenerForbidden(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t)
	redis.Do("ACL", "SETUSER", "gate", "on", ">hunter2", "~*", "resetchannels", "+@all")
	p := openProcess(t, &Store{Address: []string{redis.Addr()}, Username: "gate", Password: "hunter2"})
	p.wantWorks(t)
	r := reservation()
	if err := p.Reserve(ctx, r); err != nil {
		t.Fatal(err)
	}
	changed, stop := p.Watch(r.ID)
	defer stop()
	if _, err := p.Attempt(ctx, r.ID, &otp.Answer{Proof: r.Proof, Now: now()}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changed:
	default:
		t.Error("its own change is not heard of")
	}
	if n := p.logs.Len(); n > 1 {
		t.Errorf("%d lines are logged", n)
	}
}
