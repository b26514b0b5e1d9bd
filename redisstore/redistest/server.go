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

// busPort is the distance from the port for clients to that of the cluster bus. It is the
// default, and fixed before Redis 7.0.
const busPort = 10000

// Redis is a redis-server of one test. Any goroutine may call Addr and Try. The other
// methods may fail the test, so only the goroutine of the test may call them.
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

// Server starts a redis-server on a free port of the loopback interface. args are added
// to its command line, such as "--appendonly", "yes". Without them the server keeps nothing
// on disk. It ends with the test.
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

// start starts the server on its port, and waits until it answers.
func (r *Redis) start() error {
	// An empty "--save" turns snapshots off. Without compression, a dump shows its
	// data in clear. The working directory is set as well, because redis-server
	// would otherwise look for files in the directory of the test.
	args := append([]string{
		r.portArg, strconv.Itoa(r.port), "--bind", "127.0.0.1", "--dir", r.dir, "--save", "",
		"--rdbcompression", "no", "--daemonize", "no",
	}, r.args...)
	cmd := exec.Command("redis-server", args...)
	cmd.Dir = r.dir
	return r.run(cmd)
}

// run starts a server or a sentinel, and waits until it answers.
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

// answers returns why the process does not answer yet, or nil. It compares the process id,
// because another process may have the port.
func (r *Redis) answers(pid int) error {
	info, err := r.Try("INFO", "server")
	if err != nil {
		return err
	}
	if got := field(info, "process_id"); got != strconv.Itoa(pid) {
		return fmt.Errorf("process %s answers in place of %d", got, pid)
	}
	pong, err := r.Try("PING") // the reply is LOADING until the server has read its data
	if err == nil && pong != "PONG" {
		err = fmt.Errorf("PING returns %v", pong)
	}
	return err
}

// Addr returns the address, such as "127.0.0.1:12345". It never changes.
func (r *Redis) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)) }

// Stop ends the server as kill -9 does. It does nothing if the server has ended already.
func (r *Redis) Stop() { r.process().Kill() }

// Restart stops the server and starts it again at the same address. The server keeps no
// data, unless its args say otherwise.
func (r *Redis) Restart() {
	r.t.Helper()
	r.Stop()
	// Another process may have taken the port for a moment, such as a test that
	// looks for a free one. So wait for the port.
	Eventually(r.t, "redis-server has its port again", func() error {
		err := r.start()
		if err != nil && !errors.Is(err, errPortTaken) {
			r.t.Fatal(err)
		}
		return err
	})
}

// Pause suspends the server. Connections stay open and new ones can be made, but the
// server answers nothing.
func (r *Redis) Pause() {
	r.t.Helper()
	if err := r.process().Pause(); err != nil {
		r.t.Fatal(err)
	}
}

// Resume continues a paused server. It then answers the commands that came meanwhile.
func (r *Redis) Resume() {
	r.t.Helper()
	if err := r.process().Resume(); err != nil {
		r.t.Fatal(err)
	}
}

// Do sends a command over a connection of its own and returns the reply: a string, an
// int64, nil, or a []any of those. The test fails if there is no reply, or an error reply.
func (r *Redis) Do(args ...string) any {
	r.t.Helper()
	reply, err := r.Try(args...)
	if err != nil {
		r.t.Fatalf("redis-server: %s: %v", args[0], err)
	}
	return reply
}

// Try is Do for a command that may fail. An error reply is returned as an Error. If there
// is no reply within 10 seconds, the error has another type.
func (r *Redis) Try(args ...string) (any, error) {
	c, err := dial(r.Addr(), r.tls, r.password)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.do(args...)
}

// Log returns the output of the server since its last start.
func (r *Redis) Log() string { return r.process().Log() }

func (r *Redis) process() *process.Process {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.proc
}

// Dump returns all data of the server:
//   - the name and the value of each key in each database, one string a line,
//   - the channels with subscribers,
//   - an uncompressed snapshot, as the server would write it to disk.
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
	// A restarted server would load the snapshot.
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return append([]byte(strings.Join(lines, "\n")+"\n"), snapshot...), nil
}
