package redistest

import (
	"context"
	"net"
	"sync"
	"time"
)

// link is one connection through a proxy.
type link struct {
	proxy  *FaultProxy
	ctx    context.Context // done when the link is reset
	cancel context.CancelFunc
	client *net.TCPConn
	lost   bool // something of it was lost on the way; of the proxy's mutex

	mu     sync.Mutex
	server *net.TCPConn // nil until it is connected
}

// chunk is what was read at once, and when it is to arrive.
type chunk struct {
	data []byte
	due  time.Time
}

const (
	chunkSize = 16 << 10
	inFlight  = 64 // chunks of one direction that are on the way at most
)

// run passes on in both directions until both have come to their end.
func (l *link) run() {
	defer l.client.Close()
	defer l.cancel()
	server := l.connect()
	if server == nil {
		return
	}
	defer server.Close()
	var both sync.WaitGroup
	both.Go(func() { l.pass(l.client, server, false) })
	both.Go(func() { l.pass(server, l.client, true) })
	both.Wait()
}

// connect returns a connection to the server, or nil if the link has ended.
func (l *link) connect() *net.TCPConn {
	for {
		f, lost, changed := l.proxy.now(l)
		if !lost && !f.partition {
			return l.dial()
		}
		select {
		case <-changed:
		case <-l.ctx.Done():
			return nil
		}
	}
}

func (l *link) dial() *net.TCPConn {
	conn, err := new(net.Dialer).DialContext(l.ctx, "tcp", l.proxy.to)
	if err != nil {
		l.reset() // nobody is there; the client has been told otherwise before
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil { // reset meanwhile
		cut(conn.(*net.TCPConn))
		return nil
	}
	l.server = conn.(*net.TCPConn)
	return l.server
}

// reset ends the link with a TCP reset at both ends.
func (l *link) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cancel()
	cut(l.client)
	if l.server != nil {
		cut(l.server)
	}
}

// cut closes a connection with a reset: what is not sent yet is thrown away
// (RFC 9293, 3.6, by way of SO_LINGER).
func cut(c *net.TCPConn) {
	_ = c.SetLinger(0) // it may have been closed
	c.Close()
}

// pass carries what comes from one end to the other. The end of what one has to
// say reaches the other in its place.
func (l *link) pass(from, to *net.TCPConn, replies bool) {
	way := make(chan chunk, inFlight)
	l.proxy.wg.Go(func() {
		defer close(way)
		l.take(from, way)
	})
	// What is on the way after a failed write is taken, and goes nowhere.
	for failed := false; ; {
		c, ok := <-way
		if !ok {
			break
		}
		if failed || !l.arrives(c, replies) {
			continue
		}
		_, err := to.Write(c.data)
		failed = err != nil
	}
	_ = to.CloseWrite() // it may be closed already
}

// take reads until there is no more.
func (l *link) take(from *net.TCPConn, way chan<- chunk) {
	for {
		data := make([]byte, chunkSize)
		n, err := from.Read(data)
		if n > 0 {
			way <- chunk{data[:n], time.Now().Add(l.proxy.latency() / 2)}
		}
		if err != nil {
			return
		}
	}
}

// arrives waits until it is time for a chunk, and reports whether it gets there.
func (l *link) arrives(c chunk, reply bool) bool {
	late := time.NewTimer(time.Until(c.due))
	defer late.Stop()
	select {
	case <-late.C:
	case <-l.ctx.Done():
		return false
	}
	for {
		f, lost, changed := l.proxy.now(l)
		switch {
		case lost: // and the link is reset when that is over
			return false
		case f.cutReplies && reply:
			l.reset()
			return false
		case !f.partition:
			return true
		}
		select {
		case <-changed:
		case <-l.ctx.Done():
			return false
		}
	}
}
