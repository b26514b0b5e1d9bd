package connexus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"time"
)

// maxReply bounds a reply's headers and, separately, its body, in bytes. True
// replies are a few hundred.
const maxReply = 64 << 10

// idleConns is how many connections wait for the next message. All go to one
// host, so net/http's own default of two would close nearly every one of them
// after a burst.
const idleConns = 64

// newTransport makes the client's own transport.
//
// It speaks HTTP/1.1 only: a connection that breaks then leaves one message in
// doubt and not every message in flight, and net/http sends a POST again by
// itself only if not one byte of it was written, which is harmless. (It does more
// for a request with an Idempotency-Key header, so none may ever be set.)
//
// Idle connections are dropped after 30 s, before nearly every server drops them
// (nginx: 75 s), because a server that hangs up while a message is being written
// leaves that message in doubt.
func newTransport(connect time.Duration) *http.Transport {
	h1 := new(http.Protocols)
	h1.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: connect}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    connect,
		Protocols:              h1,
		DisableCompression:     true, // nothing to gain on a few hundred bytes
		MaxIdleConns:           idleConns,
		MaxIdleConnsPerHost:    idleConns,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: maxReply,
	}
}

// reply is what came back: a status, and as much of a body as could be read.
type reply struct {
	status int
	header http.Header
	body   []byte
	err    error // why the body is not whole, or nil
}

var errTooLong = fmt.Errorf("the reply is longer than %d bytes", maxReply)

// exchange posts form to endpoint and reads the reply. The error, if any, is of
// KindCanceled, KindTimeout or KindUnavailable, and means that no status came.
func (c *Client) exchange(ctx context.Context, endpoint, bearer string, form url.Values) (reply, *Error) {
	attempt, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	way := &line{limit: c.connect, hangUp: cancel}
	defer way.stop()

	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(attempt, way.trace()),
		http.MethodPost, c.base+endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return reply{}, &Error{Kind: KindBadRequest, Endpoint: endpoint, Err: err}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "caddy-websms-connexus")
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}

	resp, err := c.http.Do(req)
	if err != nil {
		if cause := context.Cause(attempt); cause != nil {
			err = cause
		}
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // the rest is the URL, which Endpoint tells
		}
		e := &Error{Kind: failureKind(ctx, err, KindUnavailable), Endpoint: endpoint, Err: err}
		switch {
		case isRefused(err):
			e.again = true
		case way.mayHaveCarried():
			e.MaybeAccepted = true
			e.Err = c.safe(err, bearer)
		}
		return reply{}, e
	}
	defer resp.Body.Close()
	r := reply{status: resp.StatusCode, header: resp.Header}
	r.body, err = io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	switch {
	case err != nil:
		r.err = c.safe(err, bearer)
	case len(r.body) > maxReply:
		r.err = errTooLong
	}
	return r, nil
}

// failureKind tells a caller that gave up from a time-out and from anything else.
func failureKind(ctx context.Context, err error, otherwise Kind) Kind {
	var timeout net.Error
	switch {
	case errors.Is(ctx.Err(), context.Canceled), errors.Is(err, context.Canceled):
		return KindCanceled
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return KindTimeout
	}
	return otherwise
}

// isRefused reports whether there never was a connection because the other side,
// or a proxy on the way, did not take it. Having waited in vain is not refusal.
func isRefused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect") && !op.Timeout()
}

// line watches one request on its way to a connection: it hangs up when that
// takes longer than limit, and knows whether the request can have left.
type line struct {
	limit  time.Duration
	hangUp context.CancelCauseFunc

	mu        sync.Mutex
	timer     *time.Timer
	searching bool // asked for a connection and has none
}

func (l *line) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) {
			// Comes again when the transport tries another connection, which it
			// does only if nothing was written to the last one.
			l.mu.Lock()
			defer l.mu.Unlock()
			l.searching = true
			if l.timer != nil {
				l.timer.Stop()
			}
			l.timer = time.AfterFunc(l.limit, func() {
				l.hangUp(fmt.Errorf("no connection within %s: %w", l.limit, context.DeadlineExceeded))
			})
		},
		GotConn: func(httptrace.GotConnInfo) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.searching = false
			l.timer.Stop()
		},
	}
}

// mayHaveCarried reports whether the request may have reached the other side. A
// transport that tells the trace nothing gets the careful answer.
func (l *line) mayHaveCarried() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.searching
}

func (l *line) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
}
