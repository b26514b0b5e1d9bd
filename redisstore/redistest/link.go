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
	lost   bool // some data was lost on the way; guarded by the proxy's mutex

	mu     sync.Mutex
	server *net.TCPConn // nil until the link is connected
}

// chunk is the data of one read, with the time when it must arrive.
type chunk struct {
	data []byte
	due  time.Time
}

const (
	chunkSize = 16 << 10
	inFlight  = 64 // at most so many chunks are on the way in one direction
)

// run passes data on in both directions until both have ended.
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
		l.reset() // no server listens, but the proxy has accepted the client already
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

// cut closes a connection with a reset. SO_LINGER 0 discards data that was not sent yet
// (RFC 9293, 3.6).
func cut(c *net.TCPConn) {
	_ = c.SetLinger(0) // it may have been closed
	c.Close()
}

// pass carries data from one end to the other. When one end closes its direction, pass
// closes it at the other end, after all data.
func (l *link) pass(from, to *net.TCPConn, replies bool) {
	way := make(chan chunk, inFlight)
	l.proxy.wg.Go(func() {
		defer close(way)
		l.take(from, way)
	})
	// After a failed write, the loop still takes all chunks, so that take can end.
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

// take reads until the connection ends.
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

// arrives waits until a chunk is due, and reports whether the faults let it through.
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
		case lost: // the link is reset when the fault ends
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
