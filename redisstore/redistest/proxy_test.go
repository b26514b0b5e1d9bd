package redistest_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-websms/websms/redisstore/redistest"
)

// shortly is how long a test waits to see that nothing happens.
const shortly = 100 * time.Millisecond

// client is a connection through a proxy.
type client struct {
	*testing.T
	net.Conn
	r *bufio.Reader
}

func dialProxy(t *testing.T, p *redistest.FaultProxy) *client {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &client{t, c, bufio.NewReader(c)}
}

func (c *client) send(command string) {
	c.Helper()
	if _, err := fmt.Fprint(c.Conn, command+"\r\n"); err != nil {
		c.Fatal(err)
	}
}

// reply returns the next line that comes within a time.
func (c *client) reply(within time.Duration) (string, error) {
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		return "", err
	}
	line, err := c.r.ReadString('\n')
	return strings.TrimSuffix(line, "\r\n"), err
}

func (c *client) want(reply string) {
	c.Helper()
	if got, err := c.reply(10 * time.Second); got != reply || err != nil {
		c.Fatalf("the reply is %q (%v), want %q", got, err, reply)
	}
}

func (c *client) wantSilence() {
	c.Helper()
	if got, err := c.reply(shortly); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.Fatalf("the reply is %q (%v), want none", got, err)
	}
}

func (c *client) wantReset() {
	c.Helper()
	if got, err := c.reply(10 * time.Second); !errors.Is(err, syscall.ECONNRESET) {
		c.Fatalf("the reply is %q (%v), want a reset", got, err)
	}
}

func startProxy(t *testing.T) (*redistest.Redis, *redistest.FaultProxy, *client) {
	t.Helper()
	r := redistest.Server(t)
	p := redistest.Proxy(t, r.Addr())
	c := dialProxy(t, p)
	c.send("INCR count")
	c.want(":1")
	return r, p, c
}

func TestProxyPassesOn(t *testing.T) {
	t.Parallel()
	_, p, c := startProxy(t)
	large := strings.Repeat("0123456789", 200_000)
	go fmt.Fprintf(c.Conn, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$%d\r\n%s\r\n", len(large), large)
	c.want("+OK")
	c.send("GET a")
	c.want(fmt.Sprintf("$%d", len(large)))
	c.want(large)
	c.send("QUIT")
	c.want("+OK")
	if _, err := c.reply(10 * time.Second); !errors.Is(err, io.EOF) {
		t.Errorf("after QUIT: %v, want the end", err)
	}
	dialProxy(t, p).Close() // a client that says nothing
}

func TestProxyLatency(t *testing.T) {
	t.Parallel()
	_, p, c := startProxy(t)
	p.Latency(200 * time.Millisecond)
	began := time.Now()
	for range 20 { // all at once: they wait together
		c.send("INCR count")
	}
	for i := range 20 {
		c.want(fmt.Sprintf(":%d", i+2))
	}
	if took := time.Since(began); took < 200*time.Millisecond || took > 2*time.Second {
		t.Errorf("replies that come 200 ms late take %v", took)
	}
	p.Latency(0)
	began = time.Now()
	c.send("PING")
	c.want("+PONG")
	if took := time.Since(began); took > 150*time.Millisecond {
		t.Errorf("without latency a reply takes %v", took)
	}
}

func TestProxyReset(t *testing.T) {
	t.Parallel()
	r, p, c := startProxy(t)
	other := dialProxy(t, p)
	other.send("PING")
	other.want("+PONG")
	p.Reset()
	c.wantReset()
	other.wantReset()
	c = dialProxy(t, p)
	c.send("INCR count")
	c.want(":2")
	// The server has noticed too: it has only c and the connection that asks.
	redistest.Eventually(t, "the server has no more connections", func() error {
		if list := r.Do("CLIENT", "LIST").(string); strings.Count(list, "\n") > 2 {
			return errors.New(list)
		}
		return nil
	})
}

// A process that starts programs has copies of its listener in them for a moment.
func TestProxyRefuseWhileProgramsStart(t *testing.T) {
	t.Parallel()
	_, p, _ := startProxy(t)
	done := make(chan struct{})
	var starters sync.WaitGroup
	for range 3 {
		starters.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					_ = exec.Command("true").Run() // where it is missing, the test proves less
				}
			}
		})
	}
	for range 200 {
		p.Refuse(true)
		if conn, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a new connection: %v, %v; want that it is refused", conn, err)
		}
		p.Refuse(false)
	}
	close(done)
	starters.Wait()
}

func TestProxyRefuse(t *testing.T) {
	t.Parallel()
	_, p, c := startProxy(t)
	p.Refuse(true)
	p.Refuse(true)
	if conn, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a new connection: %v, %v; want that it is refused", conn, err)
	}
	c.send("INCR count") // goes on
	c.want(":2")
	p.Refuse(false)
	p.Refuse(false)
	c = dialProxy(t, p)
	c.send("INCR count")
	c.want(":3")
}

func TestProxyPartition(t *testing.T) {
	t.Parallel()
	r, p, c := startProxy(t)
	p.Partition(true)
	c.send("INCR count")
	c.wantSilence()
	fresh := dialProxy(t, p)
	fresh.send("PING")
	fresh.wantSilence()
	if got := r.Do("GET", "count"); got != "1" {
		t.Errorf("through the partition came something: count is %v", got)
	}
	p.Partition(false)
	c.want(":2")
	fresh.want("+PONG")

	// The server gets the request even if the client has given up.
	p.Partition(true)
	c.send("INCR count")
	c.Close()
	p.Partition(false)
	redistest.Eventually(t, "the server has counted to 3", func() error {
		if count := r.Do("GET", "count"); count != "3" {
			return fmt.Errorf("to %v", count)
		}
		return nil
	})
}

func TestProxyHalfOpen(t *testing.T) {
	t.Parallel()
	r, p, c := startProxy(t)
	idle := dialProxy(t, p)
	idle.send("PING")
	idle.want("+PONG")
	p.HalfOpen(true)
	c.send("INCR count")
	c.wantSilence()
	fresh := dialProxy(t, p)
	fresh.send("INCR count")
	fresh.wantSilence()
	p.HalfOpen(false)
	c.wantReset()
	fresh.wantReset()
	idle.send("INCR count") // this connection has lost nothing
	idle.want(":2")
	if got := r.Do("GET", "count"); got != "2" {
		t.Errorf("what was lost came: count is %v", got)
	}
}

func TestProxyCutReplies(t *testing.T) {
	t.Parallel()
	r, p, c := startProxy(t)
	p.CutReplies(true)
	c.send("INCR count")
	c.wantReset()
	if got := r.Do("GET", "count"); got != "2" {
		t.Errorf("count is %v, want 2: the request is carried out", got)
	}
	p.CutReplies(false)
	c = dialProxy(t, p)
	c.send("INCR count")
	c.want(":3")
}

// Without a server behind it, the proxy accepts connections and resets them.
func TestProxyToNobody(t *testing.T) {
	t.Parallel()
	r := redistest.Server(t)
	p := redistest.Proxy(t, r.Addr())
	r.Stop()
	conn, err := net.Dial("tcp", p.Addr())
	if err == nil { // else the reset has come already
		defer conn.Close()
		(&client{t, conn, bufio.NewReader(conn)}).wantReset()
	} else if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a new connection: %v, want a reset", err)
	}
	r.Restart()
	c := dialProxy(t, p)
	c.send("PING")
	c.want("+PONG")
}

// No goroutine of a proxy outlives its test, in each state of its connections.
func TestProxyEnds(t *testing.T) {
	t.Parallel()
	r := redistest.Server(t)
	var clients []*client
	var addr string
	t.Run("life", func(t *testing.T) {
		p := redistest.Proxy(t, r.Addr())
		addr = p.Addr()
		for _, fault := range []func(bool){func(bool) {}, p.Partition, p.HalfOpen} {
			fault(true)
			c, err := net.Dial("tcp", p.Addr())
			if err != nil {
				t.Fatal(err)
			}
			clients = append(clients, &client{t, c, bufio.NewReader(c)})
			clients[len(clients)-1].send(strings.Repeat("x", 1<<15))
		}
	})
	for _, c := range clients {
		c.T = t
		for err := error(nil); err == nil; { // the first one has been answered
			_, err = c.reply(10 * time.Second)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("a connection lives on")
			}
		}
		c.Close()
	}
	redistest.Eventually(t, "the proxy is gone", func() error {
		if _, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("a new connection: %v", err)
		}
		return nil
	})
}
