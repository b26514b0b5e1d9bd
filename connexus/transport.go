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

// maxReply bounds the headers of a reply and, separately, its body, in bytes. Real
// replies have a few hundred bytes.
const maxReply = 64 << 10

// idleConns bounds the connections that wait for the next message. All go to one
// host. The default of net/http, which is two, would close nearly all of them after
// a burst.
const idleConns = 64

// newTransport makes the client's own transport.
//
// It uses HTTP/1.1 only, for two reasons. A connection that breaks leaves one message
// in doubt, and not all messages in flight. And net/http then sends a POST again on
// its own only if no byte of it was written, which is harmless. (It does more for a
// request with an Idempotency-Key header, so never set one.)
//
// Idle connections are closed after 30 s. Nearly all servers keep them longer (nginx:
// 75 s). If a server closed one while a message is written, that message would be in
// doubt.
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

// reply is an HTTP response with as much of its body as could be read.
type reply struct {
	status int
	header http.Header
	body   []byte
	err    error // why the body is incomplete, or why the redirect is not followed, or nil
}

var errTooLong = fmt.Errorf("the reply is longer than %d bytes", maxReply)

// exchange posts form to endpoint, follows redirects within the home of the client, and
// reads the reply. The error, if any, is of KindCanceled, KindTimeout or
// KindUnavailable, and means that no status came.
func (c *Client) exchange(ctx context.Context, endpoint, bearer string, form url.Values) (reply, *Error) {
	address, body := c.base+endpoint, form.Encode()
	for hops := 0; ; hops++ {
		r, e := c.postTo(ctx, endpoint, address, bearer, body)
		if e != nil && hops > 0 {
			e.Err = c.safeAfterRedirect(e.Err, bearer)
		}
		if e != nil || !keepsMethod(r.status) {
			return r, e
		}
		if hops == maxRedirects {
			r.err = errManyRedirects
			return r, nil
		}
		var err error
		if address, err = c.home.follow(address, r.header.Get(hiddenLocation)); err != nil {
			r.err = err
			return r, nil
		}
		if ctx.Err() != nil { // the redirect took the request over from nobody
			return reply{}, &Error{Kind: failureKind(ctx, ctx.Err(), KindTimeout), Endpoint: endpoint, Err: ctx.Err()}
		}
	}
}

// postTo posts a form to an address, once, and reads the reply.
func (c *Client) postTo(ctx context.Context, endpoint, address, bearer, form string) (reply, *Error) {
	attempt, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	way := &line{limit: c.connect, hangUp: cancel}
	defer way.stop()

	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(attempt, way.trace()),
		http.MethodPost, address, strings.NewReader(form))
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
			err = ue.Err // the rest is the URL, which Endpoint names
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
	if keepsMethod(r.status) {
		if 0 <= resp.ContentLength && resp.ContentLength <= shortBody {
			_, _ = io.CopyN(io.Discard, resp.Body, shortBody) // so that the connection is used again; if this fails, it is not
		}
		return r, nil
	}
	r.body, err = io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	switch {
	case err != nil:
		r.err = c.safe(err, bearer)
	case len(r.body) > maxReply:
		r.err = errTooLong
	}
	return r, nil
}

// failureKind returns KindCanceled if the caller gave up, KindTimeout after a
// time-out, and otherwise in all other cases.
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

// isRefused reports whether the server, or a proxy before it, refused the connection.
// A time-out of the connection is not a refusal.
func isRefused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect") && !op.Timeout()
}

// line watches one request until it has a connection. It cancels the request if that
// takes longer than limit, and knows whether the request may have left.
type line struct {
	limit  time.Duration
	hangUp context.CancelCauseFunc

	mu        sync.Mutex
	timer     *time.Timer
	searching bool // the request has no connection yet
}

func (l *line) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) {
			// This is called again if the transport tries another connection, which
			// it does only if nothing was written to the former one.
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

// mayHaveCarried reports whether the request may have reached the server. If the
// transport does not call the trace, the result is true, to be careful.
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
