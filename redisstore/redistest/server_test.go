package redistest_test

import (
	"bytes"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/redisstore/redistest"
)

func TestServer(t *testing.T) {
	t.Parallel()
	r := redistest.Server(t)
	host, _, err := net.SplitHostPort(r.Addr())
	if err != nil || host != "127.0.0.1" {
		t.Errorf("its address is %q (%v), want one of 127.0.0.1", r.Addr(), err)
	}
	for _, c := range []struct {
		command string
		want    any
	}{
		{"SET a 1", "OK"}, {"GET a", "1"}, {"GET b", nil}, {"INCR a", int64(2)}, {"CONFIG GET save", []any{"save", ""}},
	} {
		got := r.Do(strings.Fields(c.command)...)
		if list, ok := got.([]any); ok {
			want := c.want.([]any)
			if len(list) != 2 || list[0] != want[0] || list[1] != want[1] {
				t.Errorf("%s: %v, want %v", c.command, got, c.want)
			}
		} else if got != c.want {
			t.Errorf("%s: %v, want %v", c.command, got, c.want)
		}
	}
	var reply redistest.Error
	if _, err := r.Try("LPUSH", "a", "x"); !errors.As(err, &reply) || !strings.HasPrefix(reply.Error(), "WRONGTYPE") {
		t.Errorf("LPUSH on a string: %v, want an Error with WRONGTYPE", err)
	}
}

func TestStopAndRestart(t *testing.T) {
	t.Parallel()
	r := redistest.Server(t)
	addr := r.Addr()
	r.Do("SET", "a", "1")
	r.Dump() // a restart does not load the snapshot of Dump either
	r.Stop()
	if _, err := r.Try("PING"); err == nil {
		t.Error("a server that is stopped answers")
	}
	r.Stop() // does no harm
	r.Restart()
	if got := r.Do("GET", "a"); got != nil {
		t.Errorf("after a restart it has %v", got)
	}
	if r.Addr() != addr {
		t.Errorf("it was at %s and is at %s", addr, r.Addr())
	}
	r.Restart() // while it runs
	r.Do("PING")
}

func TestRestartKeepsWhatItIsToldTo(t *testing.T) {
	t.Parallel()
	r := redistest.Server(t, "--appendonly", "yes", "--appendfsync", "always")
	r.Do("SET", "a", "1")
	r.Restart()
	if got := r.Do("GET", "a"); got != "1" {
		t.Errorf("after a restart it has %v, want 1", got)
	}
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	r := redistest.Server(t)
	r.Pause()
	done := make(chan error, 1)
	go func() {
		_, err := r.Try("SET", "a", "1")
		done <- err
	}()
	select {
	case err := <-done:
		t.Errorf("a server that is paused answers (%v)", err)
	case <-time.After(50 * time.Millisecond):
	}
	r.Resume()
	if err := <-done; err != nil {
		t.Errorf("what was sent meanwhile: %v", err)
	}
	r.Pause() // the test ends while the server is paused
}

func TestPassword(t *testing.T) {
	t.Parallel()
	r := redistest.Server(t, "--requirepass", "sesame")
	if got := r.Do("ACL", "WHOAMI"); got != "default" {
		t.Errorf("it takes us for %v", got)
	}
	if log := r.Log(); !strings.Contains(log, "Ready to accept connections") {
		t.Errorf("its log says %q", log)
	}
}

// The dump of a server has all of its data.
func TestDump(t *testing.T) {
	t.Parallel()
	r := redistest.Server(t)
	values := []string{
		"SET string-key string-value", "HSET hash-key field-name field-value", "RPUSH list-key list-value",
		"SADD set-key set-value", "ZADD zset-key 1700000000123456 zset-member", "XADD stream-key * stream-field stream-value",
		"SET integer-key 6421234567", "SETEX short-key 100 short-value",
	}
	var want []string
	for _, command := range values {
		r.Do(strings.Fields(command)...)
		want = append(want, strings.Fields(command)[1:]...)
	}
	r.Do("SET", "large-key", strings.Repeat("x", 20000)+"needle")
	r.Do("EVAL", "redis.call('SELECT', '3') redis.call('SET', 'third', 'of database 3')", "0")
	for i := range 3000 { // more than one page of SCAN
		r.Do("SADD", "crowd", string(rune('a'+i%26))+strings.Repeat("z", i/26))
	}
	dump := r.Dump()
	for _, s := range append(want, "needle", "third", "of database 3") {
		if s != "*" && s != "100" && !bytes.Contains(dump, []byte(s)) {
			t.Errorf("the dump lacks %q", s)
		}
	}
	snapshot := dump[bytes.Index(dump, []byte("REDIS00")):]
	for _, s := range []string{"string-value", "field-value", "zset-member", "needle"} {
		if !bytes.Contains(snapshot, []byte(s)) {
			t.Errorf("the snapshot lacks %q", s)
		}
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	c := redistest.Cluster(t)
	if len(c.Addrs()) != 3 || c.Addrs()[0] != c.Nodes[0].Addr() {
		t.Fatalf("its addresses are %q", c.Addrs())
	}
	stored := 0
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
		for _, node := range c.Nodes {
			_, err := node.Try("SET", key, "value-of-"+key)
			var reply redistest.Error
			switch {
			case err == nil:
				stored++
			case !errors.As(err, &reply) || !strings.HasPrefix(reply.Error(), "MOVED"):
				t.Errorf("SET %s: %v, want OK or MOVED", key, err)
			}
		}
	}
	if stored != 6 {
		t.Errorf("six keys have %d places", stored)
	}
	dump := c.Dump()
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
		if !bytes.Contains(dump, []byte("value-of-"+key)) {
			t.Errorf("the dump lacks the value of %s", key)
		}
	}
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	s := redistest.Sentinel(t, "--requirepass", "sesame", "--masterauth", "sesame")
	first := s.Master()
	first.Do("SET", "a", "1")
	if got := first.Do("WAIT", "1", "10000"); got != int64(1) {
		t.Fatalf("%v replicas have what the master has, want 1", got)
	}
	s.Failover()
	if s.Master() == first {
		t.Fatal("the master is the one that was killed")
	}
	if got := s.Master().Do("GET", "a"); got != "1" {
		t.Errorf("the new master has %v, want 1", got)
	}
	s.Master().Do("SET", "a", "2")
	if s.Name() == "" || s.Addr() == first.Addr() || s.Addr() == s.Master().Addr() {
		t.Errorf("the sentinel is %q at %s", s.Name(), s.Addr())
	}
}
