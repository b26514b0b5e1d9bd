package redistest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/caddy-websms/websms/internal/process"
)

// RedisSentinel is a sentinel, with the master and the replica that it watches.
type RedisSentinel struct {
	t        testing.TB
	sentinel *Redis
	master   *Redis
	replica  *Redis
}

// Sentinel starts a master, its replica and one sentinel (quorum 1). It waits until the
// sentinel knows both, and the replica has all data of the master. The master and the
// replica get args, as in Server.
func Sentinel(t testing.TB, args ...string) *RedisSentinel {
	t.Helper()
	s := &RedisSentinel{t: t, master: Server(t, args...)}
	s.replica = Server(t, append([]string{
		"--replicaof", "127.0.0.1 " + strconv.Itoa(s.master.port), "--repl-diskless-sync-delay", "0",
	}, args...)...)
	s.sentinel = s.watch()
	Eventually(t, "the sentinel knows a replica that is in step", func() error {
		replicas, err := s.sentinel.Try("SENTINEL", "REPLICAS", s.Name())
		if err != nil {
			return err
		}
		if known := flatten(replicas); !followedBy(known, "flags", "slave") || !followedBy(known, "master-link-status", "ok") {
			return fmt.Errorf("it knows of %q", known)
		}
		return nil
	})
	return s
}

// watch starts the sentinel.
func (s *RedisSentinel) watch() *Redis {
	s.t.Helper()
	port, err := process.FreePort()
	if err != nil {
		s.t.Fatal(err)
	}
	r := &Redis{t: s.t, port: port, dir: s.t.TempDir()}
	// A sentinel writes its state into its configuration file.
	file := filepath.Join(r.dir, "sentinel.conf")
	config := fmt.Sprintf(`port %d
bind 127.0.0.1
dir %s
sentinel monitor %[3]s 127.0.0.1 %[4]d 1
sentinel down-after-milliseconds %[3]s 300
sentinel failover-timeout %[3]s 3000
`, port, r.dir, s.Name(), s.master.port)
	if s.master.password != "" {
		config += fmt.Sprintf("sentinel auth-pass %s %s\n", s.Name(), s.master.password)
	}
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := r.run(exec.Command("redis-server", file, "--sentinel")); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(r.Stop)
	return r
}

// Addr returns the address of the sentinel.
func (s *RedisSentinel) Addr() string { return s.sentinel.Addr() }

// Do sends a command to the sentinel, as Redis.Do does.
func (s *RedisSentinel) Do(args ...string) any {
	s.t.Helper()
	return s.sentinel.Do(args...)
}

// Name returns the name under which the sentinel watches the master.
func (s *RedisSentinel) Name() string { return "websms" }

// Master returns the server that is the master now.
func (s *RedisSentinel) Master() *Redis { return s.master }

// Failover kills the master. It waits until the sentinel names the replica as the master,
// and the replica agrees. A test can call it once.
func (s *RedisSentinel) Failover() {
	s.t.Helper()
	s.master.Stop()
	Eventually(s.t, "the sentinel has made the replica the master", func() error {
		addr, err := s.sentinel.Try("SENTINEL", "GET-MASTER-ADDR-BY-NAME", s.Name())
		if err != nil {
			return err
		}
		if now := flatten(addr); !slices.Contains(now, strconv.Itoa(s.replica.port)) {
			return fmt.Errorf("it names %q", now)
		}
		role, err := s.replica.Try("ROLE")
		if err != nil {
			return err
		}
		if is := flatten(role)[0]; is != "master" {
			return fmt.Errorf("the replica is a %s", is)
		}
		return nil
	})
	s.master, s.replica = s.replica, s.master
}

// followedBy reports whether value comes right after name in a list. A sentinel replies
// with lists of names and values.
func followedBy(list []string, name, value string) bool {
	i := slices.Index(list, name)
	return i >= 0 && i+1 < len(list) && list[i+1] == value
}
