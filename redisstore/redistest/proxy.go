package redistest

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/process"
)

// FaultProxy is a TCP proxy that simulates the faults of networks. Without a fault it
// passes all data on. A test may switch faults at any time, from any goroutine, and
// combine them.
type FaultProxy struct {
	t    testing.TB
	addr string
	to   string
	wg   sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener // nil while connections are refused
	links    map[*link]bool
	faults   faults
	changed  chan struct{} // closed when the faults change
	closed   bool
}

// faults are the faults that are switched on.
type faults struct {
	latency    time.Duration
	halfOpen   bool
	partition  bool
	cutReplies bool
}

// Proxy starts a proxy to the address to. The proxy and all its connections end with the
// test.
func Proxy(t testing.TB, to string) *FaultProxy {
	t.Helper()
	p := &FaultProxy{t: t, to: to, links: make(map[*link]bool), changed: make(chan struct{})}
	for p.listener == nil {
		port, err := process.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		p.addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		p.listener, _ = net.Listen("tcp", p.addr) // another process took the port: try the next one
	}
	p.accept(p.listener)
	t.Cleanup(p.close)
	return p
}

// Addr returns the address that the proxy listens on.
func (p *FaultProxy) Addr() string { return p.addr }

// Latency delays every reply by d: half of it on the way to the server, and half on the
// way back. The default is 0.
func (p *FaultProxy) Latency(d time.Duration) { p.change(func(f *faults) { f.latency = d }) }

// Partition stops all data in both directions. New connections are accepted, and nothing
// passes through them. No data is lost: when the partition ends, it arrives late, as TCP
// sends it again (RFC 9293, 3.8.1).
func (p *FaultProxy) Partition(on bool) { p.change(func(f *faults) { f.partition = on }) }

// HalfOpen drops all data in both directions, also of new connections, as if the other end
// had vanished without a sign. When it ends, the proxy resets all connections that have
// lost data or never got through. A restarted server, which does not know the connections,
// answers in the same way (RFC 9293, 3.5.1).
func (p *FaultProxy) HalfOpen(on bool) {
	p.change(func(f *faults) {
		f.halfOpen = on
		for l := range p.links {
			if !on && l.lost {
				l.reset()
			}
		}
	})
}

// CutReplies passes requests on, and resets a connection instead of passing on the first
// reply. So a client cannot know whether the server has carried out its request.
func (p *FaultProxy) CutReplies(on bool) { p.change(func(f *faults) { f.cutReplies = on }) }

// Refuse refuses new connections, as a port without a listener does. Existing connections
// stay. Refuse returns when the port refuses. That is not always at once: a program that
// this process is starting holds a copy of the listener until the kernel runs it.
func (p *FaultProxy) Refuse(on bool) {
	p.t.Helper()
	p.mu.Lock()
	refused := p.listener == nil
	if on && !refused {
		p.listener.Close()
		p.listener = nil
	}
	p.mu.Unlock()
	if on && !refused {
		Eventually(p.t, "the port refuses connections", p.refuses)
	}
	if on || !refused {
		return
	}
	var l net.Listener
	Eventually(p.t, "the proxy has its port again", func() (err error) {
		l, err = net.Listen("tcp", p.addr)
		return err
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listener = l
	p.accept(l)
}

// refuses returns an error if somebody listens on the port.
func (p *FaultProxy) refuses() error {
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		return nil
	}
	c.Close()
	return errors.New("it takes a connection")
}

// Reset ends all existing connections with a TCP reset at both ends.
func (p *FaultProxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.reset()
	}
}

func (p *FaultProxy) change(how func(*faults)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	how(&p.faults)
	close(p.changed)
	p.changed = make(chan struct{})
}

// now returns the current faults, whether l has lost data, and a channel that is closed
// when the faults change. A link that has lost data stays lost.
func (p *FaultProxy) now(l *link) (f faults, lost bool, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.lost = l.lost || p.faults.halfOpen
	return p.faults, l.lost, p.changed
}

func (p *FaultProxy) latency() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults.latency
}

// accept serves the connections of l until l is closed.
func (p *FaultProxy) accept(l net.Listener) {
	p.wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return // closed, by close or Refuse
			}
			p.serve(client.(*net.TCPConn))
		}
	})
}

// serve begins to pass data on between a client and the server.
func (p *FaultProxy) serve(client *net.TCPConn) {
	ctx, cancel := context.WithCancel(context.Background())
	l := &link{proxy: p, ctx: ctx, cancel: cancel, client: client}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		l.reset()
		return
	}
	p.links[l] = true
	p.wg.Go(func() {
		l.run()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.links, l)
	})
}

// close ends the proxy, and waits for all its goroutines.
func (p *FaultProxy) close() {
	p.mu.Lock()
	p.closed = true
	if p.listener != nil {
		p.listener.Close()
	}
	p.mu.Unlock()
	p.Reset()
	p.wg.Wait()
}
