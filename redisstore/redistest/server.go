package redistest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/process"
)

// busPort is how far a server's port of the cluster bus is above the one of
// its clients, unless it is told otherwise (before Redis 7.0 it cannot be).
const busPort = 10000

// Redis is a redis-server of one test. Its methods may be called from any
// goroutine, those that fail the test (all but Addr and Try) only from the
// test's own.
type Redis struct {
	t        testing.TB
	port     int
	dir      string
	args     []string // after the port
	portArg  string
	password string      // of args, for Do
	tls      *tls.Config // for Do; nil: plain

	mu   sync.Mutex
	proc *process.Process
}

// Server starts a redis-server on a free port of the loopback interface. It
// keeps nothing on disk, unless args say otherwise: they are added to its
// command line, such as "--appendonly", "yes". It ends with the test.
func Server(t testing.TB, args ...string) *Redis {
	t.Helper()
	return launch(t, &Redis{portArg: "--port", args: args})
}

// launch starts r on a free port, and waits until it answers.
func launch(t testing.TB, r *Redis) *Redis {
	t.Helper()
	Need(t)
	r.t, r.dir = t, t.TempDir()
	if i := slices.Index(r.args, "--requirepass"); i >= 0 && i+1 < len(r.args) {
		r.password = r.args[i+1]
	}
	for range 10 {
		port, err := process.FreePort(busPort)
		if err != nil {
			t.Fatal(err)
		}
		r.port = port
		if err = r.start(); err == nil {
			t.Cleanup(r.Stop)
			return r
		}
		if !errors.Is(err, errPortTaken) {
			t.Fatal(err)
		}
	}
	t.Fatal("redis-server finds every port taken")
	return nil
}

var errPortTaken = errors.New("the port is taken")

// start runs the server on its port, until it answers.
func (r *Redis) start() error {
	// "--save" with nothing turns snapshots off. Uncompressed, a dump shows
	// what is in it. The working directory is set here too, as redis-server
	// would look for its files where the test runs.
	args := append([]string{
		r.portArg, strconv.Itoa(r.port), "--bind", "127.0.0.1", "--dir", r.dir, "--save", "",
		"--rdbcompression", "no", "--daemonize", "no",
	}, r.args...)
	cmd := exec.Command("redis-server", args...)
	cmd.Dir = r.dir
	return r.run(cmd)
}

// run starts the command line of a server or a sentinel, and waits until that
// answers.
func (r *Redis) run(cmd *exec.Cmd) error {
	proc, err := process.Start(cmd)
	if err != nil {
		return err
	}
	tick := time.NewTicker(pace)
	defer tick.Stop()
	late := time.After(patience)
	for {
		if err = r.answers(proc.Pid()); err == nil {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.proc = proc
			return nil
		}
		select {
		case <-tick.C:
		case <-proc.Done():
			if strings.Contains(proc.Log(), "Address already in use") {
				return errPortTaken
			}
			return fmt.Errorf("redis-server ended with %w; it wrote:\n%s", proc.Err(), proc.Log())
		case <-late:
			proc.Kill()
			return fmt.Errorf("redis-server does not answer: %w; it wrote:\n%s", err, proc.Log())
		}
	}
}

// answers reports why the process does not answer yet. Whoever else has the
// port has another process id.
func (r *Redis) answers(pid int) error {
	info, err := r.Try("INFO", "server")
	if err != nil {
		return err
	}
	if got := field(info, "process_id"); got != strconv.Itoa(pid) {
		return fmt.Errorf("process %s answers in place of %d", got, pid)
	}
	pong, err := r.Try("PING") // "LOADING" until what it kept is there
	if err == nil && pong != "PONG" {
		err = fmt.Errorf("to PING it says %v", pong)
	}
	return err
}

// Addr returns the address, as "127.0.0.1:12345". It stays the same.
func (r *Redis) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)) }

// Stop ends the server as kill -9 does. If it has ended before, Stop does nothing.
func (r *Redis) Stop() { r.process().Kill() }

// Restart stops the server and starts it again at the same address, with what
// it was told to keep: nothing, by default.
func (r *Redis) Restart() {
	r.t.Helper()
	r.Stop()
	// Whoever has taken the port meanwhile, such as a test in another
	// process that was only trying, is waited for.
	Eventually(r.t, "redis-server has its port again", func() error {
		err := r.start()
		if err != nil && !errors.Is(err, errPortTaken) {
			r.t.Fatal(err)
		}
		return err
	})
}

// Pause makes the server stand still: connections stay open and are even
// made, and nothing is answered.
func (r *Redis) Pause() {
	r.t.Helper()
	if err := r.process().Pause(); err != nil {
		r.t.Fatal(err)
	}
}

// Resume lets a paused server go on, with what it was sent meanwhile.
func (r *Redis) Resume() {
	r.t.Helper()
	if err := r.process().Resume(); err != nil {
		r.t.Fatal(err)
	}
}

// Do sends a command over a connection of its own and returns the reply: a
// string, an int64, nil, or a []any of those. If there is none, or it is an
// error, the test fails.
func (r *Redis) Do(args ...string) any {
	r.t.Helper()
	reply, err := r.Try(args...)
	if err != nil {
		r.t.Fatalf("redis-server: %s: %v", args[0], err)
	}
	return reply
}

// Try is Do for a command that may fail: an error reply is an Error, and
// whatever else keeps a reply from coming an error of another type. It waits
// for 10 s at most.
func (r *Redis) Try(args ...string) (any, error) {
	c, err := dial(r.Addr(), r.tls, r.password)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.do(args...)
}

// Log returns what the server has written since it was last started.
func (r *Redis) Log() string { return r.process().Log() }

func (r *Redis) process() *process.Process {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.proc
}

// Dump returns all that the server holds: of each database every key's name
// and its value as the command for its type returns them, one string a line;
// the channels that somebody has subscribed to; and a snapshot as it would lie
// on a disk, uncompressed.
func (r *Redis) Dump() []byte {
	r.t.Helper()
	dump, err := r.dump()
	if err != nil {
		r.t.Fatalf("dumping redis-server: %v", err)
	}
	return dump
}

func (r *Redis) dump() ([]byte, error) {
	c, err := dial(r.Addr(), r.tls, r.password)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	lines, err := dumpKeys(c)
	if err != nil {
		return nil, err
	}
	channels, err := c.do("PUBSUB", "CHANNELS")
	if err != nil {
		return nil, err
	}
	lines = append(lines, flatten(channels)...)
	if _, err := c.do("SAVE"); err != nil {
		return nil, err
	}
	file := filepath.Join(r.dir, "dump.rdb")
	snapshot, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	// It would be there again after a restart.
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return append([]byte(strings.Join(lines, "\n")+"\n"), snapshot...), nil
}
