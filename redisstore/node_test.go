package redisstore

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/redisstore/redistest"
	"github.com/caddy-websms/websms/session"
)

// patience bounds each wait. slack is how much longer than promised a step may take on a
// busy machine.
const (
	patience = 15 * time.Second
	slack    = 400 * time.Millisecond
)

// process stands for one Caddy: a node, its store, and its log.
type process struct {
	*store
	logs *observer.ObservedLogs
}

// openProcess opens a store as a configuration does, but does not wait for Redis.
func openProcess(t testing.TB, s *Store) *process {
	t.Helper()
	p := unclosedProcess(t, s, DefaultKeyPrefix+"alive")
	t.Cleanup(p.node.close)
	return p
}

func unclosedProcess(t testing.TB, s *Store, alive string) *process {
	t.Helper()
	option, err := provisioned(t, s).clientOption()
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zapcore.InfoLevel)
	log := zap.New(core)
	n := newNode(alive, func() (rueidis.Client, error) { return rueidis.NewClient(option) }, func() *zap.Logger { return log })
	return &process{store: newStore(n, s.prefix()), logs: logs}
}

func at(addr string) *Store { return &Store{Address: []string{addr}} }

// awaitLogged waits until the log has that many lines.
func (p *process) awaitLogged(t *testing.T, lines int) {
	t.Helper()
	redistest.Eventually(t, "it is logged", func() error {
		if n := p.logs.Len(); n < lines {
			return fmt.Errorf("%d lines, want %d", n, lines)
		}
		return nil
	})
}

// wantLogged checks that the lines of the log contain these texts, one each.
func (p *process) wantLogged(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for _, e := range p.logs.All() {
		got = append(got, e.Level.String()+" "+e.Message)
	}
	ok := len(got) == len(want)
	for i := 0; ok && i < len(want); i++ {
		ok = strings.Contains(got[i], want[i])
	}
	if !ok {
		t.Errorf("logged are %q, want %q", got, want)
	}
}

const (
	logAway  = "error redis is away"
	logThere = "info redis is there again"
	logNewer = "error redis holds the data of a newer version"
	logMoves = "warn the redis cluster moves a slot"
	logEvict = "warn redis forgets"
)

// works returns why a code cannot be sent and verified, or nil.
func (p *process) works() error {
	r := reservation()
	if err := p.Reserve(ctx, r); err != nil {
		return err
	}
	_, err := p.Attempt(ctx, r.ID, &otp.Answer{Proof: r.Proof, Now: now()})
	return err
}

// wantWorks waits until codes can be sent and verified.
func (p *process) wantWorks(t *testing.T) {
	t.Helper()
	redistest.Eventually(t, "a code is sent and verified", p.works)
}

// wantRefuses waits until requests are refused at once. Until then, none of them may wait
// longer than its budget or fail in another way.
func (p *process) wantRefuses(t *testing.T) {
	t.Helper()
	redistest.Eventually(t, "requests are refused at once", func() error {
		began := time.Now()
		_, err := p.Get(ctx, "", session.NewID(), now())
		if setErr := p.Reserve(ctx, reservation()); err == nil || errors.Is(err, otp.ErrNoChallenge) {
			err = setErr // a read-only Redis still answers reads
		}
		took := time.Since(began)
		if took > 2*requestBudget+slack {
			t.Fatalf("two requests waited for %v", took)
		}
		if err == nil {
			return errors.New("it works")
		}
		wantUnavailable(t, err)
		if !errors.Is(err, errAway) || p.node.up.Load() {
			return fmt.Errorf("after %v: %w", took, err)
		}
		return nil
	})
	began := time.Now()
	for range 100 {
		wantUnavailable(t, p.Reserve(ctx, reservation()))
	}
	if took := time.Since(began); took > requestBudget {
		t.Errorf("a hundred refusals took %v", took)
	}
}

// wantUnavailable checks that err is an *otp.UnavailableError with a Retry-After.
func wantUnavailable(t *testing.T, err error) {
	t.Helper()
	var away *otp.UnavailableError
	if !errors.As(err, &away) || away.RetryAfter <= 0 {
		t.Fatalf("the error is %v, want an UnavailableError that says when to come again", err)
	}
}

// For each fault of Redis or the network: requests wait no longer than their budget, and
// later ones are refused at once. They succeed again when the fault is over. The log has
// one line for each change.
func TestNodeFaults(t *testing.T) {
	for _, fault := range []struct {
		name        string
		begin, over func(r *redistest.Redis, p *redistest.FaultProxy)
	}{
		{
			"killed", func(r *redistest.Redis, _ *redistest.FaultProxy) { r.Stop() },
			func(r *redistest.Redis, _ *redistest.FaultProxy) { r.Restart() },
		},
		{
			"hangs", func(r *redistest.Redis, _ *redistest.FaultProxy) { r.Pause() },
			func(r *redistest.Redis, _ *redistest.FaultProxy) { r.Resume() },
		},
		{
			"half open", func(_ *redistest.Redis, p *redistest.FaultProxy) { p.HalfOpen(true) },
			func(_ *redistest.Redis, p *redistest.FaultProxy) { p.HalfOpen(false) },
		},
		{
			"partition", func(_ *redistest.Redis, p *redistest.FaultProxy) { p.Partition(true) },
			func(_ *redistest.Redis, p *redistest.FaultProxy) { p.Partition(false) },
		},
		{
			"replies cut", func(_ *redistest.Redis, p *redistest.FaultProxy) { p.CutReplies(true) },
			func(_ *redistest.Redis, p *redistest.FaultProxy) { p.CutReplies(false) },
		},
		{
			"slow", func(_ *redistest.Redis, p *redistest.FaultProxy) { p.Latency(3 * time.Second) },
			func(_ *redistest.Redis, p *redistest.FaultProxy) { p.Latency(0) },
		},
		{
			"refused", func(_ *redistest.Redis, p *redistest.FaultProxy) { p.Refuse(true); p.Reset() },
			func(_ *redistest.Redis, p *redistest.FaultProxy) { p.Refuse(false) },
		},
		{
			"read only", func(r *redistest.Redis, _ *redistest.FaultProxy) { r.Do("REPLICAOF", "127.0.0.1", "1") },
			func(r *redistest.Redis, _ *redistest.FaultProxy) { r.Do("REPLICAOF", "NO", "ONE") },
		},
		{
			"full", func(r *redistest.Redis, _ *redistest.FaultProxy) { r.Do("CONFIG", "SET", "maxmemory", "1mb") },
			func(r *redistest.Redis, _ *redistest.FaultProxy) { r.Do("CONFIG", "SET", "maxmemory", "0") },
		},
	} {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Server(t)
			redis.Do("SETRANGE", "websms:filler", "2097152", "x") // more than "full" allows
			redis.Do("EXPIRE", "websms:filler", "3600")
			proxy := redistest.Proxy(t, redis.Addr())
			p := openProcess(t, at(proxy.Addr()))
			p.wantWorks(t)
			p.wantLogged(t)
			fault.begin(redis, proxy)
			p.wantRefuses(t)
			p.awaitLogged(t, 1)
			p.wantLogged(t, logAway)
			fault.over(redis, proxy)
			p.wantWorks(t)
			p.awaitLogged(t, 2)
			p.wantLogged(t, logAway, logThere)
		})
	}
}

// Redis may be away when a process starts, and the process does not wait for it.
func TestNodeAbsentAtStart(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t)
	redis.Stop()
	began := time.Now()
	p := openProcess(t, at(redis.Addr()))
	if took := time.Since(began); took > requestBudget {
		t.Errorf("opening took %v", took)
	}
	select {
	case <-p.node.known:
	case <-time.After(patience):
		t.Fatal("it is never known that Redis is away")
	}
	p.wantRefuses(t)
	p.wantLogged(t, logAway)
	redis.Restart()
	p.wantWorks(t)
	p.awaitLogged(t, 2)
	p.wantLogged(t, logAway, logThere)
}

// A password is wrong at first, and then corrected in Redis.
func TestNodeWrongPassword(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t)
	redis.Do("ACL", "SETUSER", "gate", "on", ">other", "~*", "&*", "+@all")
	p := openProcess(t, &Store{Address: []string{redis.Addr()}, Username: "gate", Password: "hunter2"})
	p.awaitLogged(t, 1)
	p.wantRefuses(t)
	redis.Do("ACL", "SETUSER", "gate", ">hunter2")
	p.wantWorks(t)
	p.awaitLogged(t, 2)
	p.wantLogged(t, logAway, logThere)
	for _, e := range p.logs.All() {
		if text := fmt.Sprint(e.Message, e.ContextMap()); strings.Contains(text, "hunter2") {
			t.Errorf("the password is logged: %s", text)
		}
	}
}

// A user that may not run scripts can make only the calls without scripts.
func TestNodeForbidden(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t)
	redis.Do("ACL", "SETUSER", "gate", "on", ">hunter2", "~*", "&*", "+@all", "-evalsha", "-eval")
	p := openProcess(t, &Store{Address: []string{redis.Addr()}, Username: "gate", Password: "hunter2"})
	<-p.node.known
	err := p.Reserve(ctx, reservation())
	wantUnavailable(t, err)
	if !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("the error does not say why: %v", err)
	}
	if _, err := p.Get(ctx, "", session.NewID(), now()); !errors.Is(err, otp.ErrNoChallenge) {
		t.Errorf("Get returns %v", err)
	}
	redis.Do("ACL", "SETUSER", "gate", "+evalsha", "+eval")
	p.wantWorks(t)
}

// With Sentinel, another server takes over.
func TestNodeFailover(t *testing.T) {
	t.Parallel()
	sentinel := redistest.Sentinel(t)
	p := openProcess(t, &Store{Address: []string{sentinel.Addr()}, Sentinel: &Sentinel{Master: sentinel.Name()}})
	p.wantWorks(t)
	sentinel.Failover()
	p.wantWorks(t)
	p.awaitLogged(t, 2)
	p.wantLogged(t, logAway, logThere)
	if n, ok := sentinel.Master().Do("EXISTS", "websms:alive").(int64); !ok || n != 1 {
		t.Error("the new master has not been written to")
	}
}

// An emptied Redis knows no challenge and takes new ones. If its cache of scripts was
// emptied, the node sends the scripts again.
func TestNodeFlushed(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t)
	p := openProcess(t, at(redis.Addr()))
	p.wantWorks(t)
	r := reservation()
	if err := p.Reserve(ctx, r); err != nil {
		t.Fatal(err)
	}
	redis.Do("SCRIPT", "FLUSH")
	if err := p.works(); err != nil {
		t.Errorf("without cached scripts: %v", err)
	}
	redis.Do("FLUSHALL")
	if _, err := p.Attempt(ctx, r.ID, &otp.Answer{Proof: r.Proof, Now: now()}); !errors.Is(err, otp.ErrNoChallenge) {
		t.Errorf("a challenge that is gone: %v", err)
	}
	if err := p.works(); err != nil {
		t.Errorf("emptied: %v", err)
	}
	p.wantLogged(t)
}

// The log warns once of a Redis that evicts keys, even if the node dials it again.
func TestNodeEvicting(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	p := openProcess(t, at(redis.Addr()))
	p.wantWorks(t)
	p.wantLogged(t, logEvict)
	dialled := p.node.client.Load()
	redis.Do("REPLICAOF", "127.0.0.1", "1")
	redistest.Eventually(t, "it is dialled anew twice", func() error {
		client := p.node.client.Load()
		switch {
		case client == nil || client == dialled:
			return errors.New("not yet")
		case p.node.up.Load():
			return errors.New("it is there")
		}
		return nil
	})
	redis.Do("REPLICAOF", "NO", "ONE")
	p.wantWorks(t)
	p.awaitLogged(t, 3)
	p.wantLogged(t, logEvict, logAway, logThere)
}

// close ends all goroutines of the node within seconds, in each state of Redis.
func TestNodeClose(t *testing.T) {
	redis := redistest.Server(t)
	proxy := redistest.Proxy(t, redis.Addr())
	gone := redistest.Server(t)
	gone.Stop()
	nothing := func(...bool) {}
	for _, state := range []struct {
		name          string
		addr          string
		before, after func(on ...bool)
	}{
		{"there", redis.Addr(), nothing, nothing},
		{"absent", gone.Addr(), nothing, nothing},
		{"hangs at start", redis.Addr(), func(...bool) { redis.Pause() }, nothing},
		{"hangs later", redis.Addr(), nothing, func(...bool) { redis.Pause() }},
		{"half open", proxy.Addr(), nothing, func(...bool) { proxy.HalfOpen(true) }},
		{"partition", proxy.Addr(), nothing, func(...bool) { proxy.Partition(true) }},
	} {
		t.Run(state.name, func(t *testing.T) {
			known := goleak.IgnoreCurrent()
			state.before()
			p := unclosedProcess(t, at(state.addr), DefaultKeyPrefix+"alive")
			if state.name != "hangs at start" {
				<-p.node.known
			}
			_, stop := p.Watch(session.NewID())
			state.after()
			_ = p.Reserve(ctx, reservation()) // so that something is under way
			began := time.Now()
			p.node.close()
			took := time.Since(began)
			stop()
			if took > 4*time.Second {
				t.Errorf("closing took %v", took)
			}
			if err := p.Reserve(ctx, reservation()); err == nil {
				t.Error("a closed node works")
			}
			redis.Resume()
			proxy.HalfOpen(false)
			proxy.Partition(false)
			proxy.Reset()
			// DelayDo of rueidis sleeps for a second, and ends.
			sleeps := goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1")
			if err := goleak.Find(known, sleeps); err != nil {
				t.Error(err)
			}
		})
	}
}

// If each connection breaks once, that is no outage, and the log has no line about it.
func TestNodeBrokenConnections(t *testing.T) {
	redis := redistest.Server(t)
	p := openProcess(t, at(redis.Addr()))
	p.wantWorks(t)
	for range 20 {
		redis.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		p.node.ping()
		p.wantWorks(t)
	}
	p.wantLogged(t)
}
